"""Tables for reading: every word shown, no nameless index."""

import pandas as pd
from pandas.io.formats.style import Styler


def table(rows: pd.DataFrame, caption: str = "", precision: int = 1) -> Styler:
    """``rows`` as a notebook display with texts in full (a plain DataFrame cuts them at 50 letters). An index that has
    a name becomes the first column; another is left out."""
    rows = rows.reset_index() if rows.index.name else rows
    left = [{"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: normal"},
            {"selector": "caption", "props": "text-align: left; font-weight: bold; padding: 0.4em 0"}]
    shown = rows.style.format(precision=precision, na_rep="").hide(axis="index").set_table_styles(left)
    return shown.set_caption(caption) if caption else shown
