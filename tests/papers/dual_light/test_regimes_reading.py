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
WITH = scores(dlkdd=(70, 71, 72), same_light=(72, 73, 74))


@pytest.fixture
def committed(monkeypatch):
    """Two cells, and no others."""
    cells = {"regimes-bn_none": WITHOUT, "regimes-gn_few": WITH}

    def load(name):
        if name not in cells:
            raise FileNotFoundError(name)
        return cells[name]

    monkeypatch.setattr(regimes_reading, "load_scores", load)


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
    assert list(found) == ["no labels a class, batch norm throughout",
                           "10 labels a class, each clip first normalised by itself"]
    assert [effect.mean for effect in found.values()] == pytest.approx([(10 + 3 + 1) / 3, -2])


def test_sentences_follow_the_evidence(committed):
    none, few, by_seed_one = sentences()
    assert none.startswith("**No labels a class.** What") and "+4.7 ± 11.7 points with batch norm through" in none
    assert few.startswith("**10 labels a class.** What the second light adds to same-light KD") and "−2.0 ± " in few
    assert "batch norm throughout, 3 seeds: DL-KDD's gain correlates with its teacher's gap by 1.00;" in by_seed_one
