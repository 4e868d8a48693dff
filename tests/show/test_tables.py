import pandas as pd

from kdlab.show.tables import table


def test_a_named_index_is_a_column_and_what_is_missing_is_empty():
    rows = pd.DataFrame({"claim": ["D1"], "effect": ["+1.9 ± 0.9"], "lead": [float("nan")]}).set_index("claim")
    html = table(rows, "A caption").to_html()
    assert ">D1<" in html and ">+1.9 ± 0.9<" in html and "nan" not in html and "A caption" in html
    assert ">0<" not in table(rows.reset_index()).to_html()
