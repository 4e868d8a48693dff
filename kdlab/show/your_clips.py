"""Somebody's own clips in a notebook: how they are named, and what is said of them beside a result, which is computed,
since no sentence is true of all data."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdlab.clips.splits import SPLITS
from kdlab.measure.paired import effect
from kdlab.study import Scores
from kdlab.train.recipe import UserClips


def given(data: str | None, test_fold: str = "", own_folds: int = 0, on_damaged: str = "raise") -> UserClips | None:
    """Your clips as a notebook's parameters name them; ``None`` without ``data``. Raises ``ValueError`` for another
    ``on_damaged`` than *raise* or *skip* and for a single fold."""
    return UserClips(data, test_fold or None, own_folds or None, on_damaged) if data else None


def learnt_from(data, many: Sequence[int] | None = None, each: str = "clips a class", counted: str = "clips") -> str:
    """A line for printing: what the networks of a notebook learn from. ``many`` says how many of ``each`` there are to
    train, choose and test on; without it what is there is ``counted``."""
    how_many = numbers(data, counted) if many is None else f"{'/'.join(map(str, many))} {each}"
    clips = f"{data.name}, {data.fingerprint()[:12]}, {how_many}"
    return f"networks of this notebook: {clips} to train, choose and test on"


def numbers(data, what: str = "clips") -> str:
    """``60/12/18 clips``: how many to train, choose and test on."""
    catalogue = data.catalogue()
    return f"{'/'.join(str(len(catalogue.split(split))) for split in SPLITS)} {what}"


def best_constant(scores: Scores) -> float:
    """Accuracy in percent of always answering the commonest class of the test clips."""
    return 100 * float(np.bincount(scores.labels).max()) / len(scores.labels)


def about(scores: Scores, titles: Mapping[str, str]) -> str:
    """Sentences for printing: what the intervals resample, the best constant answer and chance, and which of the
    conditions named by ``titles`` lie above that answer by their 95 % interval."""
    clips, groups = len(scores.labels), len(np.unique(scores.units))
    if groups == clips:
        lines = [f"Intervals are over {clips} test clips, each a group of its own.",
                 "Where clips share a place or a person and no group says so, intervals are too narrow."]
    else:
        lines = [f"Intervals are over {groups} groups (as your table or folders name them) of {clips} test clips."]
    lines.append(f"Best constant answer {best_constant(scores):.1f} %, chance {100 / len(scores.classes):.1f} %.")
    constant = np.tile(scores.labels == np.bincount(scores.labels).argmax(), (len(scores.seeds), 1))
    shown = [c for c in titles if c in scores.predicted]
    above = [titles[c] for c in shown if effect(scores.correct(c), constant, scores.units).low > 0]
    lines.append(f"Above the constant answer by their 95 % interval: {', '.join(above) or 'none'}.")
    if len(above) < len(shown):
        lines += ["A network that is not above it tells nothing about methods. In small sets a class is often recorded",
                  "in few places; a network trained from nothing learns the places, and the test clips lie in others.",
                  "More places a class help, or networks pre-trained elsewhere."]
    return "\n".join(lines)
