"""Do internal classifiers inherit the errors of the networks that taught them? From kept predictions."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from kdlab.measure.inherited import inherited
from kdlab.papers.progressive.nets import FINALS, ORDER
from kdlab.papers.progressive.study import CROSSED, PLAN
from kdlab.study import Scores

#: Of methods that are told apart, on networks that know the clips and on those that have not seen them.
_METHODS = ("ce_ic", "smoothing", "own_final", "iframe_kd", "pkd")
CONDITIONS = tuple(f"{name}{clips}" for clips in ("", "_unseen", "_seen") for name in _METHODS)


def told(found: Mapping[str, Scores]) -> tuple[str, Scores, list[str]]:
    """Of what is committed the set on which inherited errors are told, its scores, and its conditions: exits that learn
    from networks which have not seen their clips where those are there, else those of ``night_context``."""
    data = next(data for data in (CROSSED.data, PLAN.data, PLAN.earlier) if data in found)
    tail = "_unseen" if data == CROSSED.data else ""
    return data, found[data], [f"{name}{tail}" for name in _METHODS]


def pairs(predicted: np.ndarray, teacher: str) -> tuple[np.ndarray, np.ndarray]:
    """What exits say and what their teacher says, ``(S, N * E)`` class indices each, a clip's E exits in a row, of
    ``predicted (S, N, 12)``. ``teacher`` is ``own``: all nine exits, each beside the final of its network; or a
    modality: the six on the *other* two networks beside its final, since its own exits see what it sees.
    """
    exits, finals = [], []
    for modality, final in zip(ORDER, FINALS, strict=True):
        if modality != teacher:
            exits += [final - 3, final - 2, final - 1]
            finals += 3 * [final if teacher == "own" else FINALS[ORDER.index(teacher)]]
    return tuple(predicted[:, :, some].reshape(len(predicted), -1) for some in (exits, finals))


def inherited_table(scores: Scores, conditions: Sequence[str] = CONDITIONS, teachers: Sequence[str] = ("own", *ORDER),
                    replicates: int = 2000) -> pd.DataFrame:
    """What the exits of each of the ``conditions`` share with each of the ``teachers`` (:func:`pairs`), in percent
    (:data:`kdlab.measure.inherited.MEASURES`): with that of their seed, with the same network of another seed, which
    never taught them, and the difference, an ``Effect`` in points, with the ends of its 95 % interval over seeds and
    test units.

    Exits share features with their own network whoever taught them: ``ce_ic``, which labels taught, says how much.
    Conditions that ``scores`` does not know are left out. Raises ``ValueError`` for a single seed.
    """
    rows = []
    for condition in (c for c in conditions if c in scores.predicted):
        for teacher in teachers:
            student, taught = pairs(scores.predicted[condition], teacher)
            each = student.shape[1] // len(scores.labels)
            labels, units = np.repeat(scores.labels, each), np.repeat(scores.units, each)
            for title, (own, other, gain) in inherited(student, taught, labels, units, replicates).items():
                rows.append((condition, teacher, title, own, other, gain, gain.low, gain.high, gain.seeds))
    return pd.DataFrame(rows, columns=["condition", "teacher", "measure", "its own", "of another seed", "difference",
                                       "low", "high", "seeds"])
