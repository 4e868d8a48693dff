"""Tables of notebook 01b say what the committed rows hold."""

import numpy as np
import pandas as pd
import pytest

from kdlab.measure.realism import MARKS
from kdlab.studies import data_tables, night_audit


def rows(*each: tuple) -> pd.DataFrame:
    return pd.DataFrame([dict(zip(("condition", "metric", "value"), row, strict=True)) for row in each])


def test_the_full_condition_stands_where_no_other_does():
    audit = rows(*(("full", "accuracy", v) for v in (70.0, 80.0)), ("full:clips10", "accuracy", 30.0),
                 *((f"full:clips{n}", "accuracy", 90.0) for n in night_audit.CLIPS if n not in (10, 40)),
                 *((f"full:variety{v:g}", "accuracy", 50.0) for v in night_audit.VARIETIES if v != 0.25),
                 ("marks:variety1", "median", 12.0))
    clips, variety = data_tables.along(audit).values()
    assert clips[40].tolist() == [70, 80] and clips[10].tolist() == [30] and clips[80].tolist() == [90]
    assert variety[0.25].tolist() == [70, 80] and variety[0.0].tolist() == [50]
    with pytest.raises(KeyError, match="full:clips80"):
        data_tables.along(audit[audit.condition != "full:clips80"])


def test_marks_have_their_range_and_the_share_inside():
    audit = rows(*((f"marks:variety{v}", mark, 1.5) for v in (0.25, 1) for mark in MARKS),
                 *((f"marks:variety{v}", f"{mark}_inside", 80.0) for v in (0.25, 1) for mark in MARKS))
    found = data_tables.marks(audit)
    assert list(found.columns) == ["mark", "real dark clips", "variety 0.25", "variety 1"]
    assert set(found["variety 1"]) == {"1.50, 80 % of clips inside"}
    limits = dict(zip(found["mark"], found["real dark clips"], strict=True))
    assert all(limits[mark].endswith("or more") == (high == np.inf) for mark, (_, high) in MARKS.items())


@pytest.fixture
def transfer() -> pd.DataFrame:
    found = rows(("zero_shot", "mean_recall", 60.0), ("zero_shot", "mean_recall_low", 50.0),
                 ("zero_shot", "mean_recall_high", 70.0), ("zero_shot:frozen", "mean_recall", 20.0),
                 ("from_nothing", "mean_recall", 18.0), ("finetuned", "mean_recall", 55.0),
                 ("majority", "accuracy", 30.0), ("zero_shot", "recall:Run", 65.0), ("zero_shot", "recall:Sit", 55.0),
                 ("finetuned", "recall:Run", 1.0))
    return pd.concat([found.assign(fold="A"), found.assign(fold="B", value=found.value / 2)])


def test_what_carries_over_is_told_of_each_fold(transfer):
    found = data_tables.carried(transfer)
    assert found["A"] == {"night": 60, "low": 50, "high": 70, "frozen": 20, "nothing": 18, "tuned": 55, "chance": 50,
                          "constant": 30}
    assert found["B"]["night"] == 30 and found["B"]["chance"] == 50


def test_recalls_are_those_of_the_conditions_that_are_named(transfer):
    found = data_tables.recalls(transfer, {"zero_shot": "night alone"})
    assert found.condition.tolist() == ["night alone"] * 2 and found.Run.tolist() == [65, 32.5]
