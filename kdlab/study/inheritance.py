"""Whose errors students give: :mod:`kdlab.measure.inherited` of the predictions that a study has kept."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from kdlab.measure.inherited import inherited
from kdlab.study.scores import Scores
from kdlab.system.values import whole


def inheritance(scores: Scores, pairs: Iterable[tuple], replicates: int = 2000) -> pd.DataFrame:
    """Three rows for each (student, teacher) of conditions, one for each of ``inherited.MEASURES``.

    ``own`` and ``other`` are percentages, with the student's own teacher and with an equal one of another seed, which
    never taught it; ``gain`` is their difference, an ``Effect`` in points. ``ece`` is the student's calibration error
    in percent, of the first seed, and NaN where its logits were not kept.

    The teacher of a student of seed s is the network of seed s in the teacher's condition; of (student, teacher, 1),
    that of seed s + 1: students of the last seed, whose teacher nobody asked, are left out. The other teacher is of the
    seed after its own teacher's (after the last, the first): not the student's, whose initial weights it would share.
    Raises ``ValueError`` for a condition that ``scores`` lacks or whose networks have several exits, and where fewer
    than two students have their teacher there.
    """
    table = []
    for student, teacher, *shift in pairs:
        for name in (student, teacher):
            if name not in scores.predicted:
                raise ValueError(f"nothing was predicted by {name!r}: give conditions among "
                                 f"{', '.join(scores.predicted)}")
            if scores.predicted[name].ndim != 2:
                raise ValueError(f"{name!r} has several exits, each with answers of its own: choose one of them")
        students, own, other = _rows(scores.seeds, *shift).T
        answers, taught = scores.predicted[student][students], scores.predicted[teacher]
        found = inherited(answers, taught[own], scores.labels, scores.units, replicates, taught[other])
        ece = scores.ece(student) if student in scores.logits else float("nan")
        table += [(student, teacher, measure, *numbers, ece) for measure, numbers in found.items()]
    return pd.DataFrame(table, columns=["student", "teacher", "measure", "own", "other", "gain", "ece"])


def learnt_lines(found: Mapping[str, Scores], beside: Callable[[Scores], pd.DataFrame],
                 table: Callable[[Scores], pd.DataFrame]) -> list[str]:
    """For the ``lines`` of a study, of each data set in ``found``: ``beside``, what there was to learn from teachers,
    and ``table``, whose errors students give; in its stead why there is none (``ValueError``: too few seeds, or
    networks that hardly err)."""
    lines = []
    for data, scores in found.items():
        lines.append(f"{data}, what there was to learn\n{beside(scores).round(3).to_string(index=False)}")
        try:
            told = table(scores).round(1).to_string(index=False)
        except ValueError as error:
            told = str(error)
        lines.append(f"{data}, whose errors students give\n{told}")
    return lines


def _rows(seeds: tuple[int, ...], shift: int = 0) -> np.ndarray:
    """Places in ``seeds`` of each student, its teacher and the other one, ``(S', 3)``."""
    whole(0, "how far a teacher's seed is from its student's", shift=shift)
    place = {seed: k for k, seed in enumerate(seeds)}
    pairs = [(k, place[seed + shift]) for seed, k in place.items() if seed + shift in place]
    if len(pairs) < 2:
        raise ValueError(f"of {len(seeds)} seeds {len(pairs)} have their teacher there: give at least {2 + shift} in a "
                         "row, for one is compared with another's")
    return np.array([(k, own, (own + 1) % len(seeds)) for k, own in pairs])
