"""Does a student inherit its teacher's errors? Against a teacher as good that never taught it.

That student and teacher err on the same clips says little, since some clips are hard for everybody. So what a student
shares with its teacher is compared with what it shares with the teacher of another seed, which has learnt from the same
clips in the same way.
"""

import numpy as np

from kdlab.measure.bootstrap import counts
from kdlab.measure.paired import Effect
from kdlab.system.values import alike


def sums(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What the measures below are made of: for each clip, 0 or 1, ``(6, S, N)``: teacher wrong; student gives the
    teacher's wrong answer; student right; teacher right; both right or both wrong; 1. Answers are class indices
    ``(S, N)``, ``labels (N,)``. Raises ``ValueError`` for other shapes."""
    alike(student=student, teacher=teacher, labels=np.broadcast_to(labels, student.shape))
    wrong, right = teacher != labels, student == labels
    rows = wrong, wrong & (student == teacher), right, ~wrong, right == ~wrong, np.ones_like(wrong)
    return np.stack(rows).astype(float)


def share_inherited(summed: np.ndarray) -> np.ndarray:
    """P(student gives the teacher's wrong answer | teacher wrong) in percent, of the first axis of :func:`sums` summed
    over clips; NaN for a teacher that is always right."""
    with np.errstate(invalid="ignore"):
        return 100 * summed[1] / summed[0]


def consistency(summed: np.ndarray) -> np.ndarray:
    """Error consistency in percent (Geirhos et al., arXiv 2006.16736): how much more often both are right or both are
    wrong than two of these accuracies would be by chance, as a share of what is possible (Cohen's κ)."""
    _, _, student, teacher, same, count = summed
    chance = (student * teacher + (count - student) * (count - teacher)) / count**2
    with np.errstate(invalid="ignore"):
        return 100 * (same / count - chance) / (1 - chance)


def agreement(summed: np.ndarray) -> np.ndarray:
    """P(the same answer | both wrong) in percent: agreement in which no accuracy has a part. Of K classes that are
    taken for each other alike, strangers have 100 / (K − 1); NaN where the two never err on the same clip."""
    _, alike_wrong, student, teacher, same, count = summed
    with np.errstate(invalid="ignore"):
        return 100 * alike_wrong / ((count - student - teacher + same) / 2)


#: What is told, by its title.
MEASURES = {"teacher's wrong answers given": share_inherited, "error consistency": consistency,
            "the same answer where both err": agreement}


def inherited(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, units: np.ndarray | None = None,
              replicates: int = 2000, other: np.ndarray | None = None) -> dict[str, tuple[float, float, Effect]]:
    """By the title of each of :data:`MEASURES`: with the ``teacher``, with an ``other`` one that never taught this
    student (default: that of the next row), and the difference, in points, with its interval over seeds and ``units``
    (of clips; default: each alone).

    ``(S, N)`` class indices; row s of ``teacher`` taught row s of ``student``. Raises ``ValueError`` for a single seed,
    of which there is no other teacher, and where networks err so seldom that nothing can be told.
    """
    student, teacher = np.asarray(student), np.asarray(teacher)
    if len(student) < 2:
        raise ValueError("one seed has no teacher of another seed to be compared with: give at least two")
    _, unit_of = np.unique(np.arange(student.shape[1]) if units is None else units, return_inverse=True)
    count = int(unit_of.max()) + 1
    weights = np.vstack([np.ones(count), counts(count, replicates)])  # the first row is the sample itself
    teachers = teacher, np.roll(teacher, -1, 0) if other is None else np.asarray(other)
    drawn = [np.stack([[np.bincount(unit_of, row, count) for row in each] for each in sums(student, its, labels)])
             @ weights.T for its in teachers]  # each (6, S, 1 + R)
    found = {}
    for title, measure in MEASURES.items():
        with_own, with_other = (measure(its) for its in drawn)
        gaps = with_own - with_other
        if not np.isfinite(gaps).all():
            raise ValueError(f"{title}: in some sample of {count} test units a network makes no error; take more clips")
        found[title] = float(with_own[:, 0].mean()), float(with_other[:, 0].mean()), Effect.of_samples(gaps, count)
    return found
