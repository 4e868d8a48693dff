"""Students that repeat their teacher's errors, and others that do not, told apart by made-up answers."""

import numpy as np
import pytest

from kdlab.papers.dual_light import inherited_errors
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.dual_light.study import LEARNERS
from kdlab.study import Scores
from kdlab.train.sizes import SMOKE

SEEDS, CLIPS, CLASSES = 4, 400, 5


def answers() -> Scores:
    """Teachers err on half of the clips, each seed by itself; of every ten errors DL-KDD's student of seed s repeats
    eight of the enhanced network's of seed s + 1; CE's students err by themselves."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, CLIPS)

    def alone() -> np.ndarray:
        wrong = (labels + rng.integers(1, CLASSES, (SEEDS, CLIPS))) % CLASSES
        return np.where(rng.random((SEEDS, CLIPS)) < 0.5, wrong, labels)

    enhanced, raw = alone(), alone()
    student = np.where(rng.random((SEEDS, CLIPS)) < 0.8, np.roll(enhanced, -1, axis=0), labels)
    ids = np.arange(CLIPS).astype(str)
    return Scores(tuple("abcde"), tuple(range(100, 100 + SEEDS)), ids, ids, labels,
                  {"ce_enhanced": enhanced, "ce_raw": raw, "dlkdd": student})


def test_who_was_taught_gives_its_teachers_errors():
    rows = inherited_errors.found(answers())
    assert [*zip(rows.student, rows.teacher, strict=True)] == [
        ("dlkdd", "ce_enhanced"), ("ce_raw", "ce_enhanced"), ("dlkdd", "ce_raw"), ("ce_raw", "ce_raw")]
    assert rows.taught.tolist() == [True, False, False, False]
    first = rows.iloc[0]
    assert first.own == pytest.approx(80, abs=5) and first.own - first.other == pytest.approx(first.gain.mean)
    assert first.gain.low > 50 and all(abs(gain.mean) < 8 for gain in rows.gain.iloc[1:])
    named = inherited_errors.gains(rows)
    assert [*named][0] == "DL-KDD, of the enhanced network *" and sum("*" in name for name in named) == 1
    said = inherited_errors.sentence(rows)
    assert f"DL-KDD {first.gain} points. Of 3 pairs without such teaching, 0 are surely above zero." in said
    assert inherited_errors.shown(rows)["taught by it"].tolist() == ["yes", "no", "no", "no"]


def test_who_was_taught_by_whom_is_what_their_recipes_say():
    made = dual_light(SMOKE)
    teachers = {name: made[name].needs().get("teacher") for name in LEARNERS if name in made}
    said = {(name, teacher.condition) for name, teacher in teachers.items() if teacher}
    # matched smoothing takes the teacher's mean entropy, and nothing of a clip
    assert said - {("label_smoothing", "ce_enhanced")} == inherited_errors.TAUGHT


def test_of_one_seed_there_is_no_stranger():
    scores = answers()
    one = {name: its[:1] for name, its in scores.predicted.items()}
    with pytest.raises(ValueError, match="have their teacher there"):
        inherited_errors.found(Scores(scores.classes, (100,), scores.ids, scores.units, scores.labels, one))
