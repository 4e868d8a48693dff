"""What notebook 10b says of the regimes is computed, and true of other evidence, too."""

import numpy as np
import pytest

from kdlab.papers.dual_light import regimes_reading
from kdlab.papers.dual_light.regimes_reading import by_seed, by_seed_picture, second_light, sentences
from kdlab.study import Scores
from tests.figures import legible

UNITS = 100


def scores(**right) -> Scores:
    """Conditions → how many of 100 clips each of three seeds gets right."""
    labels = np.zeros(UNITS, int)
    predicted = {c: np.array([(np.arange(UNITS) >= n).astype(int) for n in each]) for c, each in right.items()}
    return Scores(("a", "b"), (1, 2, 3), np.array([str(k) for k in range(UNITS)]), np.arange(UNITS), labels, predicted)


WITHOUT = scores(re_estimated=(50, 60, 70), enhanced_re=(60, 64, 71), dlkdd_re=(61, 65, 72), same_light_re=(51, 62, 71))
SPECIAL = scores(dlkdd_re=(60, 60, 60), same_light_re=(50, 51, 52), as_is=(10, 20, 30), transductive=(40, 40, 40))
WITH = scores(dlkdd=(70, 71, 72), same_light=(72, 73, 74))


@pytest.fixture
def committed(monkeypatch):
    """Two cells, and one that is special; no others."""
    cells = {"regimes-bn_none": WITHOUT, "regimes-gn_few": WITH}

    def load(name):
        if name not in cells:
            raise FileNotFoundError(name)
        return cells[name]

    special = {"bn": {"gamma": WITHOUT, "unbalanced": SPECIAL, "real dark clips": SPECIAL}, "gn": {}}
    monkeypatch.setattr(regimes_reading, "load_scores", load)
    monkeypatch.setattr(regimes_reading, "cells", special.get)


def test_gaps_and_gains_are_counted_from_re_estimated_statistics():
    found = by_seed(WITHOUT)
    assert found.index.tolist() == [1, 2, 3] and found.gap.tolist() == pytest.approx([10, 4, 1])
    assert found.dlkdd_re.tolist() == pytest.approx([11, 5, 2])
    assert found.same_light_re.tolist() == pytest.approx([1, 2, 1])


def test_a_point_for_each_seed_and_student_and_the_line_of_equal_gain(styled):
    fig = by_seed_picture([("one", WITHOUT), ("two", WITHOUT)], "made up")
    said = legible(fig)
    assert "one; 3 seeds" in said and "same-light KD" in said and "made up" in said
    dual, same, line = fig.axes[1].lines
    assert dual.get_xydata().tolist() == pytest.approx(np.array([[10, 11], [4, 5], [1, 2]]))
    assert same.get_ydata().tolist() == pytest.approx([1, 2, 1])
    assert line.get_xdata().tolist() == line.get_ydata().tolist() == pytest.approx([0, 10])


def test_the_second_light_is_read_in_each_cell_that_is_there(committed):
    found = second_light()
    assert list(found) == ["no labels, batch norm", "10 labels, clip norm", "none, unbalanced, batch norm (3 seeds)"]
    assert [effect.mean for effect in found.values()] == pytest.approx([(10 + 3 + 1) / 3, -2, 9])


def test_levels_of_real_clips_end_with_what_is_no_way():
    found = regimes_reading.levels({"one": SPECIAL, "other": WITHOUT}).set_index("way")
    assert list(found) == ["one", "other"] and found.index[0] == "as it is"
    assert found.index[-1] == "statistics of the test clips themselves" and found.one.iloc[-1].startswith("40.0 ± ")
    assert found.loc["as it is", "other"] == "" and found.loc["re-estimated statistics", "one"] == ""


def test_sentences_follow_the_evidence(committed):
    none, few, special, by_seed_one = sentences()
    assert special.startswith("**No labels, unbalanced.** +9.0 ± ") and special.count("points with") == 1
    assert none.startswith("**No labels a class.** What") and "+4.7 ± 11.7 points with batch norm through" in none
    assert few.startswith("**10 labels a class.** What the second light adds to same-light KD") and "−2.0 ± " in few
    assert "batch norm throughout, 3 seeds: DL-KDD's gain correlates with its teacher's gap by 1.00;" in by_seed_one
