"""Sentences and tables of notebook 08 say what the rows say."""

import pandas as pd

from kdlab.papers.progressive.nets import CLAIMED
from kdlab.studies.flatness_rows import HEADS, MEASURES, correlations, hierarchy, wide
from kdlab.studies.flatness_told import gap_told, newest, of_gaps, order_told, read_from, taught_table, values
from tests.studies.test_flatness import made_up

RISING = dict(zip(CLAIMED, (1.0, 2.0, 4.0), strict=True))
NAMES = {"night_context": "places tell", "night_bright": "places tell nothing"}


def test_confirming_rows_take_the_place_of_those_read_before():
    old = made_up(RISING)
    new = old.assign(seed=old.seed + 100)
    other = old.assign(data="night_bright")
    found = newest(pd.concat([old, other, new]))
    context = found[found.data == "night_context"]
    assert context.seed.min() == 100
    assert found[found.data == "night_bright"].seed.max() == 3
    assert read_from(found, NAMES) == ("night_context (places tell): 4 seeds, confirming; "
                                       "night_bright (places tell nothing): 4 seeds, read before")
    assert read_from(old, NAMES).endswith("night_bright (places tell nothing): nothing yet")


def test_the_gap_is_read_of_each_set_of_all_and_of_the_registered_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    new = made_up(RISING).assign(seed=lambda t: t.seed + 100)
    rows = pd.concat([new, made_up(RISING).assign(data="night_bright")])
    found = of_gaps(rows, NAMES)
    assert list(found) == ["stopped, places tell", "all, with finished networks"]
    assert set(found["stopped, places tell"].data) == {"night_context"}
    assert len(found["all, with finished networks"]) == len(rows)
    gaps = new[new.metric == "gap"].assign(metric="gap_fresh", value=7.0)
    pd.concat([new, gaps]).to_csv(tmp_path / "flatness_gap.csv", index=False)
    (*_, registered) = of_gaps(rows, NAMES).values()
    assert set(registered[registered.metric == "gap"].value) == {7.0} and len(registered) == len(new)


def test_networks_without_confirming_seeds_stay_beside_those_that_have_them():
    """Exits and finished networks are of the first seeds for ever; other networks on the same set have new ones."""
    stopped = made_up(RISING).assign(seed=lambda t: t.seed + 100)
    beside = [made_up(RISING, net=net).assign(condition=lambda t, net=net: net + ":motion:" + ("1" if net in HEADS else
                                                                                             "end"))
              for net in (*HEADS, "tiny")]
    found = newest(pd.concat([stopped, *(some.drop_duplicates(["seed", "metric"]) for some in beside)]))
    assert taught_table(found).exit.tolist() == ["motion 1"]
    assert set(wide(found).seed[wide(found).net == "tiny"]) == {0, 1, 2, 3}
    assert set(wide(found).seed[wide(found).net == "matched"]) == {100, 101, 102, 103}


def test_the_order_is_told_with_the_network_that_is_flattest():
    rows = made_up(dict(zip(CLAIMED, (4.0, 2.0, 1.0), strict=True)), skip=[("motion", 0.1, 0)])
    found = {"places tell": hierarchy(rows, "night_context"), "nothing measured": hierarchy(rows, "night_bright")}
    assert order_told(found) == ["places tell, at 0.5 nats: of 4 measures 4 against it; the flattest by 4 of 4: motion",
                                 "places tell, at 0.1 nats: of 4 measures 4 missing; the flattest by 4 of 4: motion"]
    table = values(found)
    assert list(table.columns) == ["set", "loss (nats)", "measure", *CLAIMED, "I < R < M?"] and len(table) == 8
    assert 0.9 < float(table.motion[0].split()[0]) < 1.1 and " to " in table.motion[0]
    assert table.measure[0] == "trace / P"
    assert values({}).empty


def test_the_gap_is_told_with_the_sign_of_the_correlations():
    measures = pd.DataFrame({"predictor": [*MEASURES, "train_loss"], "low": [0.5, -0.1, 0, 0, 0.1],
                             "high": [0.9, 0.4, 0.5, 0.5, 0.4], "within": [0.1, -0.2, -0.3, -0.1, 0.2],
                             "within_half": 0.15, "networks": 9, "trainings": 7})
    said = gap_told(measures)
    assert "Over 9 networks of 7 trainings" in said and "by trace / P." in said
    assert "between -0.30 and +0.10 (± 0.15): 2 of 4 surely off zero" in said
    assert "by none of the four measures" in gap_told(measures.assign(low=0.0))
    assert "surely off zero" in gap_told(correlations(made_up(RISING), replicates=20))


def test_exits_are_told_as_factors():
    rows = made_up(RISING, net=HEADS[0])
    rows = rows.assign(condition=HEADS[0] + ":motion:1", seed=rows.seed).drop_duplicates(["seed", "metric"])
    taught = rows.assign(condition=HEADS[1] + ":motion:1", value=[2 * v if m in MEASURES else v for m, v in
                                                                  zip(rows.metric, rows.value, strict=True)])
    table = taught_table(pd.concat([rows, taught]))
    assert table.exit.tolist() == ["motion 1"] and table["trace / P"][0] == "2 (2 to 2)"
    assert taught_table(made_up(RISING)).empty
