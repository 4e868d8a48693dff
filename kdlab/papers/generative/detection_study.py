"""The study of GenKD for temporal detection on untrimmed `night`: verdict G4.

A student without and with generative distillation, its teacher, and the control that decides: the same distillation
from a teacher with random weights. What that gains is attention and regularisation, not knowledge. Soft-NMS has one
width for all detectors of a seed, chosen on validation videos by its student alone. The headline is GenKD's own
average, over tIoU 0.1 to 0.5; intervals are over seeds, each with a teacher of its own, and test videos
(``kdlab.measure.detections``).

The student with twice the steps, which only tells whether the others had enough of them, has fewer seeds and is a part
of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from kdlab.clips.windows import windows
from kdlab.measure.detection import AVERAGES, TIOUS, Evaluation, annotated, evaluate
from kdlab.measure.detections import effect_of, found_by, mean_aps, of_split, resampled, seen_by
from kdlab.measure.paired import Effect
from kdlab.papers.generative.detection_recipes import DEMO, STUDY, TEACHER_SEED, TITLES, conditions, night
from kdlab.papers.generative.generation import generates, generation_rows
from kdlab.study import (
    CONVERGED,
    Claim,
    Outcome,
    Part,
    Plan,
    Scores,
    Study,
    beside,
    by_condition,
    fresh,
    obtained,
    origin,
)
from kdlab.study import convergence as study_convergence
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.sizes import DetectionSize

#: Runs of demo size, from which `kdlab reproduce` knows where a user's should lie.
DEMO_SEEDS = 3
#: GenKD's own protocol on THUMOS14; fixed before the test videos were looked at.
HEADLINE = "0.1-0.5"
METRICS = (*(f"{t:g}" for t in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)), *AVERAGES)
#: Confirming seeds begin after the teacher's, and test videos that nobody has read are so many.
FIRST, FRESH = TEACHER_SEED + 1, 120
#: What tells whether the student had enough steps, and how many seeds are enough for that.
_LONGER, LONGER_SEEDS = ("det_student", "det_student_2x"), 3
#: Whose CVAEs are asked whether they generate: of the claim's gate.
GENERATIVE = ("det_teacher", "det_genkd")
#: Widths of Gaussian soft-NMS to choose from.
WIDTHS = (0.1, 0.3, 0.5)


@dataclass(frozen=True)
class Detections(Scores):
    """What every run of a study found in the same test videos, ``ids``: condition → one :class:`Evaluation` a seed."""

    found: dict[str, list[Evaluation]] = field(default_factory=dict)
    sigmas: tuple[float, ...] = ()  # by seed, the width of soft-NMS with which they were found; not kept on disk
    _samples: dict = field(default_factory=dict, repr=False, compare=False)  # bootstraps, each made once

    @property
    def truth(self) -> pd.DataFrame:
        return next(iter(self.found.values()))[0].truth

    def mean_ap(self, condition: str, name: str = HEADLINE) -> np.ndarray:
        """Percent, ``(S,)``; ``name`` is one of :data:`METRICS`."""
        return mean_aps(self.found[condition], name)

    def effect(self, condition: str, baseline: str, name: str = HEADLINE) -> Effect:
        """Paired difference in points of mAP, of the seeds that both have."""
        seeds = min(len(self.found[c]) for c in (condition, baseline))
        for c in (condition, baseline):
            if (c, name, seeds) not in self._samples:
                self._samples[c, name, seeds] = resampled(self.found[c][:seeds], self.ids, name)
        return effect_of(*(self._samples[c, name, seeds] for c in (condition, baseline)), len(self.ids))

    def and_seeds(self, others: Sequence["Detections"]) -> "Detections":
        found = {c: [its for s in (self, *others) for its in s.found.get(c, [])] for c in self.found}
        return replace(super().and_seeds(others), found=found, sigmas=(), _samples={})

    def _arrays(self) -> dict[str, np.ndarray]:
        place = {video: i for i, video in enumerate(self.ids)}
        arrays = {"truth": self.truth.assign(video=self.truth["video"].map(place)).to_numpy(float)}
        for condition, each in self.found.items():
            table = pd.concat([its.found.assign(seed=s, video=its.found.video.map(place))
                               for s, its in enumerate(each)])
            where = table[["seed", "video", "label"]].to_numpy(int)
            arrays[f"found/{condition}/where"] = where.astype(np.min_scalar_type(where.max(initial=0)))
            arrays[f"found/{condition}/what"] = table[["start", "end", "score"]].to_numpy(np.float32)
        return arrays

    @classmethod
    def _from(cls, arrays: dict[str, np.ndarray], note: dict) -> dict:
        def segments(columns: list[str], values: np.ndarray) -> pd.DataFrame:
            table = pd.DataFrame(values, columns=columns)
            return table.assign(video=arrays["ids"][table.video.astype(int)], label=table.label.astype(int))

        truth, found = segments(["video", "label", "start", "end"], arrays["truth"]), {}
        for condition, names in note["recipes"].items():
            values = np.hstack([arrays[f"found/{condition}/{what}"].astype(float) for what in ("where", "what")])
            table = segments(["seed", "video", "label", "start", "end", "score"], values)
            found[condition] = [_scored(truth, table[table.seed == s].drop(columns="seed"), len(note["classes"]))
                                for s in range(len(names))]
        return {"found": found}


def _scored(truth: pd.DataFrame, found: pd.DataFrame, classes: int) -> Evaluation:
    """As an :class:`Evaluation`, of numbers as they are saved."""
    kept = found.astype({"start": np.float32, "end": np.float32, "score": np.float32})
    return evaluate(truth, kept.astype({"start": float, "end": float, "score": float}), classes, TIOUS)


def columns(size: DetectionSize, seeds: int, longer: bool = False, data=None,
            first: int = 0) -> dict[str, list[Recipe]]:
    """Condition → one recipe a seed, from ``first`` on; with ``longer`` the student and that with twice the steps
    alone. ``data`` as in ``conditions``."""
    names = _LONGER if longer else [name for name in TITLES if name != "det_student_2x"]
    return by_condition(lambda seed: conditions(size, seed, data), seeds, names, first)


def collected(made: dict[str, list[Recipe]], *, unit: str = "clip", **how) -> tuple[Detections, dict[str, list[Run]]]:
    """Obtain ``made`` (:func:`columns`, or trainings of your own with a ``det_student`` among them): what they find in
    the test videos, by the width of soft-NMS that the student of their seed chose on its validation videos, and the
    runs. The ``unit`` of detection is always a video; ``how`` as in :func:`kdlab.study.collect`."""
    runs = obtained(made, **{"pretrained": False, "stale": "refuse"} | how)
    return seen_in(runs), runs


def seen_in(runs: dict[str, list[Run]], data=None, *, unit: str = "clip") -> Detections:
    """What finished ``runs`` find in their own test videos, or in those of other ``data``; ``unit`` as above."""
    students = runs["det_student"]
    widths, first = tuple(map(width, students)), students[0]
    some = of_split(first) if data is None else windows(data.catalogue(), "test", first.recipe.window)
    classes = tuple(first.provenance["classes"])
    truth, videos = annotated(some), np.array(list(dict.fromkeys(window.video for window in some)))
    found = {c: [_scored(truth, found_by(run, sigma=sigma, data=data), len(classes))
                 for run, sigma in zip(column, widths, strict=False)] for c, column in runs.items()}
    seeds, labels = tuple(run.recipe.seed for run in students), np.zeros(len(videos), int)
    return Detections(classes, seeds, videos, videos, labels, **origin(runs), found=found, sigmas=widths)


def width(student: Run) -> float:
    """Of :data:`WIDTHS` the one with the best :data:`HEADLINE` on the ``student``'s validation videos."""
    return max(WIDTHS, key=lambda sigma: mean_aps([seen_by(student, "val", sigma=sigma)], HEADLINE)[0])


def effects(scores: Detections, name: str = HEADLINE) -> dict[str, Effect]:
    """The comparisons of G4 in points of mAP ``name``, by their titles."""
    pairs = {"GenKD − student": ("det_genkd", "det_student"),
             "GenKD − GenKD from an untrained teacher": ("det_genkd", "det_untrained"),
             "untrained teacher's − student": ("det_untrained", "det_student"),
             "teacher − student": ("det_teacher", "det_student")}
    return {title: scores.effect(*pair, name) for title, pair in pairs.items()}


def ledger(scores: Detections) -> pd.DataFrame:
    """The row of claim G4."""
    return study.verdicts(scores)


def convergence(table: pd.DataFrame, read: str = "night_untrimmed_fresh") -> tuple[float, float, str]:
    """As :func:`kdlab.study.convergence`, in *validation* mAP of the student; of the networks that are ``read`` on this
    data: the registered ones have trainings of their own for it."""
    data = {"night_untrimmed_fresh": "night_untrimmed_longer"}.get(read, read)
    return study_convergence(table, data, "det_student", "det_student_2x", f"val_map@{HEADLINE}")


def _parts(size: DetectionSize, seeds: int) -> list[Part]:
    demo = columns(beside(size), seeds if size.name == "smoke" else DEMO_SEEDS)
    made, videos = columns(size, seeds, first=FIRST), None if size.name == "smoke" else FRESH
    longer = columns(size, min(seeds, LONGER_SEEDS), longer=True, first=FIRST)
    again = dict(on=fresh(night(size), videos), asked=seen_in, rows=_fresh_rows)
    return [Part("night_untrimmed", made, gather=collected, rows=_rows),
            Part("night_untrimmed_fresh", made, gather=collected, **again),
            Part("night_untrimmed_longer", longer, file="", gather=collected, rows=_rows),
            Part("night_untrimmed_demo", demo, file="", gather=collected, rows=_map_rows)]


def _rows(outcome: Outcome) -> list[dict]:
    """Tidy rows of what was :func:`collected`: mAP on test videos, and on validation; CPU seconds."""
    table, scores = _map_rows(outcome), outcome.scores
    for seed, sigma in zip(scores.seeds, scores.sigmas, strict=True):
        outcome.say(f"seed {seed}: soft-NMS of width {sigma:g}, chosen on validation videos")
    for condition, column in outcome.runs.items():
        for seed, sigma, one in zip(scores.seeds, scores.sigmas, column, strict=False):  # a condition may have fewer
            value = mean_aps([seen_by(one, "val", sigma=sigma)], HEADLINE)[0]
            values = (f"val_map@{HEADLINE}", value, "%"), ("cpu_seconds", one.provenance["cpu_seconds"], "s")
            table += outcome.numbers(*values, condition=condition, seed=seed, recipe=one.folder.name)
    return table


def _fresh_rows(outcome: Outcome) -> list[dict]:
    """Tidy rows about the test videos alone: mAP, and how much the CVAEs explain there."""
    return _map_rows(outcome) + generation_rows(outcome, GENERATIVE)


def _map_rows(outcome: Outcome) -> list[dict]:
    """Tidy rows of every run: mAP on test videos at each of :data:`METRICS`."""
    table, scores = [], outcome.scores
    for condition, each in scores.found.items():
        for s, its in enumerate(each):
            values = [(f"map@{name}", 100 * value, "%") for name, value in its.mean_ap().items() if name in METRICS]
            recipe = scores.recipes[condition][s]
            table += outcome.numbers(*values, condition=condition, seed=scores.seeds[s], recipe=recipe)
    return table


def _map(runs: dict[str, list[Run]], condition: str) -> float:
    """Mean :data:`HEADLINE` of the runs of a condition, as :func:`collected` reads it."""
    found = [seen_by(run, sigma=width(student))
             for run, student in zip(runs[condition], runs["det_student"], strict=True)]
    return float(mean_aps(found, HEADLINE).mean())


def convergence_line(table: pd.DataFrame) -> str:
    """:func:`convergence` in words."""
    gain, half, word = convergence(table)
    return f"twice the student's steps: {gain:+.1f} ± {half:.1f} points on validation: {word}"


def gate(rows: pd.DataFrame) -> tuple[bool, str]:
    """Of G4: is the student not surely too short of training for a fair comparison, and do the CVAEs of teacher and
    student generate?"""
    generative, words = generates(rows, "night_untrimmed_fresh", GENERATIVE)
    return convergence(rows)[2] in CONVERGED and generative, f"{convergence_line(rows)}; {words}"


def _lines(found: dict[str, Detections], rows: pd.DataFrame) -> list[str]:
    """What there is to say of the differences, and whether the student had enough steps."""
    said = [f"{title}: {each} points" for title, each in effects(found["night_untrimmed"]).items()] \
        if "night_untrimmed" in found else []
    return [*said, convergence_line(rows)]


study = Study(
    "detection", _parts, size=STUDY, seeds=10, opened=Detections.load, metric=f"map@{HEADLINE}", number=_map,
    titles=TITLES, committed=True, seedwise=True, lines=_lines,
    yours=lambda: Part("night_untrimmed_demo", columns(DEMO, DEMO.seeds)),
    claims=[Claim("G4", "GenKD helps temporal detection", "det_genkd", "det_student",
                  {"det_untrained": "an untrained teacher"}, f"student + GenKD − student, mAP at tIoU {HEADLINE}",
                  metric=f"map@{HEADLINE}", gate=gate,
                  plan=Plan("night_untrimmed_fresh", "night_untrimmed", FRESH, "videos", first=FIRST))],
)
