"""The pictures of the README leave no row hanging."""

from kdlab.show import gallery
from kdlab.studies import controls


def test_every_row_that_continues_another_stands_below_it():
    shown = list(gallery._rivals())
    rows = [what for asked in controls.COMPARISONS.values() for what in asked]
    followers = [what for what in shown if what.startswith("…")]
    assert followers and "teacher shown raw clips" in shown
    for what in followers:
        assert shown[shown.index(what) - 1] == rows[rows.index(what) - 1]
