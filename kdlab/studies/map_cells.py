"""The map of gains: method × clips a class × steps × teacher, at demo size; what is trained in each cell, and its rows.

All cells are of dark clips of `night`, so that they can be compared. Twice the steps are often better here, and some
cells have a quarter of the demo's: the map is exempt from the rule that comparisons are made of converged networks. It
asks what a method gains at a budget, not what it gains in the end.

The map has two halves, by clips a class: a rule is drawn from one (:mod:`.map_drawn`) and tested on the other, with
other seeds and on test clips that nobody has read (:mod:`.map_held`).
"""

import itertools
from dataclasses import dataclass, replace

import torch

from kdlab.measure.transfer import accuracy_on, logits_on
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.night.streams import NightStream
from kdlab.papers.dual_light import regimes
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.generative import recipes as generative
from kdlab.papers.generative.generation import WAYS, explained
from kdlab.papers.generative.method import FeatureRepresentation
from kdlab.study import Outcome, Part, by_condition
from kdlab.study.entropies import mean_entropy
from kdlab.system.values import one_of, positive, whole
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, find
from kdlab.train.sizes import DEMO, GenerativeSize, Profile, RegimeSize, current

METHODS = {"same_light": "same-light KD", "dlkdd": "DL-KDD", "genkd": "GenKD"}
#: Of the teacher's network: the student's, a wider one, the student's that begins as one of bright clips.
TEACHERS = {"equal": "equal", "wide": "wide", "pretrained": "pre-trained"}
#: Half of the map → clips a class.
CLIPS = {"drawn": (10, 40), "held": (20, 80)}
#: Multiples of :data:`PASSES`. GenKD has no twice: a step of it costs five of CE, and the whole ten CPU hours.
MULTIPLES = {"same_light": (0.25, 0.5, 1.0, 2.0), "dlkdd": (0.25, 0.5, 1.0, 2.0), "genkd": (0.25, 0.5, 1.0)}
#: Clips that a network sees in training, one number for all clip counts: 440 steps of 16 clips, 880 of GenKD's 8. At 80
#: clips a class a quarter of it is whole epochs. A teacher sees as many in all cells, and so is shared between them.
PASSES = 440 * 16
#: The first seed of each half; a student of seed s has a teacher of seed s + 1.
FIRSTS = {"drawn": 100, "held": 110}
#: The data seed of the held half's test clips: those of 100 were read by the claims about DL-KDD.
HELD_CLIPS = 110
SEEDS = 8
#: Test clips a class, and validation clips a class for the gap that is known before anything is distilled.
TESTED = VALIDATED = 100
#: The wide teacher of the two KDs; GenKD's is the paper's teacher in our size.
WIDE = TinyR2Plus1D((12, 24, 60, 132))
BASELINES = {"same_light": "ce", "dlkdd": "ce", "genkd": "ce_gated"}
#: What a cell is told by.
METRICS = "gain", "gap", "val_gap", "entropy"
UNITS = "points", "points", "points", "nats"


@dataclass(frozen=True)
class Cell:
    """A place on the map: ``method``, kind of ``teacher``, training ``clips`` a class, multiple of ``steps``."""

    method: str
    teacher: str
    clips: int
    steps: float

    def __post_init__(self):
        one_of(METHODS, method=self.method)
        one_of(TEACHERS, teacher=self.teacher)
        whole(1, clips=self.clips)
        positive("1 is as long as a teacher", steps=self.steps)

    @property
    def name(self) -> str:
        """The student's condition, such as ``dlkdd:wide:c10:s0.25``."""
        return f"{self.method}:{self.teacher}:c{self.clips}:s{self.steps:g}"

    @property
    def baseline(self) -> str:
        """The condition of CE with the same network, clips, steps and seed."""
        return f"{BASELINES[self.method]}:c{self.clips}:s{self.steps:g}"

    @property
    def taught_by(self) -> str:
        """The teacher's condition."""
        return f"{self.method}:{self.teacher}:c{self.clips}:teacher"

    @classmethod
    def named(cls, name: str) -> "Cell":
        """The cell of a student's condition. Raises ``ValueError`` for another word."""
        words = name.split(":")
        if len(words) != 4 or words[2][:1] != "c" or words[3][:1] != "s":
            raise ValueError(f"{name!r} is no cell of the map, such as dlkdd:wide:c10:s0.25")
        return cls(words[0], words[1], int(words[2][1:]), float(words[3][1:]))


def cells(profile: Profile, half: str) -> list[Cell]:
    """All of one ``half``; at smoke size those of one clip count, with the fewest and the most steps."""
    small = profile.name == "smoke"
    counts = (3,) if small else CLIPS[half]
    return [Cell(method, teacher, clips, steps) for method, teacher, clips in itertools.product(
            METHODS, TEACHERS, counts) for steps in MULTIPLES[method][:: len(MULTIPLES[method]) - 1 if small else 1]]


def conditions(profile: Profile, half: str, seed: int) -> dict[str, Recipe]:
    """All that is trained in one ``half`` for one seed, by condition: students, their baselines, their teachers."""
    made = {}
    for cell in cells(profile, half):
        student, baseline = _generative(profile, cell, seed) if cell.method == "genkd" else _dual_light(
            profile, cell, seed)
        made |= {cell.baseline: baseline, cell.name: student, cell.taught_by: student.teacher}
    return made


def _dual_light(profile: Profile, cell: Cell, seed: int) -> tuple[Recipe, Recipe]:
    """A student and its baseline; the student's teacher has one time the steps."""
    def made(steps: float) -> dict[str, Recipe]:
        its = replace(profile, night=_clips(profile, cell), settings=_for(profile, cell, profile.settings, steps))
        return dual_light(its, seed)

    student, teacher = made(cell.steps)[cell.method], made(1)[cell.method].teacher
    if cell.teacher == "wide":
        teacher = replace(teacher, net=WIDE)
    if cell.teacher == "pretrained":
        began = regimes.start(current(profile.name, RegimeSize), "gn", teacher.seed, profile.night.variety)
        teacher = replace(teacher, start=began, settings=replace(teacher.settings, lr=regimes.RATE))
    return replace(student, teacher=teacher), made(cell.steps)["ce_raw"]


def _generative(profile: Profile, cell: Cell, seed: int) -> tuple[Recipe, Recipe]:
    """As :func:`_dual_light`, of GenKD's networks, whose wide teacher is its usual one."""
    size = current(profile.name, GenerativeSize)
    made = generative.conditions(size, _clips(profile, cell), seed)

    def long(recipe: Recipe, steps: float) -> Recipe:
        return replace(recipe, settings=_for(profile, cell, recipe.settings, steps))

    student = long(made["genkd"], cell.steps)
    teacher = long(student.teacher, 1)
    if cell.teacher != "wide":
        teacher = replace(teacher, net=student.net)
    if cell.teacher == "pretrained":
        bright = replace(profile.night, per_class=current(profile.name, RegimeSize).bright, seed=regimes.BRIGHT)
        began = replace(teacher, condition="start_fr", data=NightStream(bright),
                        settings=replace(teacher.settings, epochs=size.epochs))
        # fine-tuned at a quarter of the rate, as the start of the KDs is
        teacher = replace(teacher, start=began, settings=replace(teacher.settings, lr=teacher.settings.lr / 4))
    return replace(student, teacher=teacher), long(made["student_gate"], cell.steps)  # gated, as the student is


def _clips(profile: Profile, cell: Cell) -> Night:
    return replace(profile.night, per_class=(cell.clips, *profile.night.per_class[1:]))


def _for(profile: Profile, cell: Cell, settings: Settings, steps: float) -> Settings:
    """``settings`` with the epochs of whole batches that come nearest to so many times :data:`PASSES`."""
    count = cell.clips * len(profile.night.classes)
    batch = min(settings.batch_size, count)
    wanted = steps * (4 * batch if profile.name == "smoke" else PASSES)
    return replace(settings, epochs=max(1, round(wanted / (batch * (count // batch)))))


# --- the study -------------------------------------------------------------------------------------------------


def part(profile: Profile, half: str, seeds: int) -> Part:
    """One ``half`` of the map as a part of a study, tested on clips of its own."""
    small = profile.name == "smoke"
    tested = profile.night.count("test") if small else TESTED
    read = replace(profile.night, per_class=(0, 0, tested))
    on, data = (read, "night") if half == "drawn" else (replace(read, seed=HELD_CLIPS), "night_held")
    made = by_condition(lambda seed: conditions(profile, half, seed), seeds, first=FIRSTS[half])
    return Part(data, made, on=on, rows=rows, answers=lambda scores, runs: replace(scores, logits={}))


def rows(outcome: Outcome) -> list[dict]:
    """Test accuracy and CPU seconds of every run; validation accuracy of what is known before anything is distilled,
    and the entropy of what teachers say; and of every cell and seed the :data:`METRICS`: its ``gain`` over CE and the
    ``gap``, its teacher − CE, on test clips, ``val_gap`` on validation clips (points), and that entropy (nats). Of
    GenKD's teachers also R² of what their CVAEs make, of validation clips."""
    scores, table, known, nats = outcome.scores, [], {}, {}
    count = outcome.size.night.count("val") if outcome.size.name == "smoke" else VALIDATED
    validation = replace(outcome.size.night, per_class=(0, count, 0))
    right = {condition: scores.accuracy(condition) for condition in scores.predicted}
    for condition, column in outcome.runs.items():
        taught, before = column[0].recipe.teacher is not None, []
        for s, run in enumerate(column):
            numbers = [("accuracy", right[condition][s], "%"), ("cpu_seconds", run.provenance["cpu_seconds"], "s")]
            if not taught:
                known[condition, s] = accuracy_on(run, validation, "val")
                before = [("val_accuracy", known[condition, s], "%")]
            if condition.endswith("teacher"):
                nats[condition, s] = _entropy(run)
                before.append(("teacher_entropy", nats[condition, s], "nats"))
                before += _generation(run, validation)
            about = dict(condition=condition, seed=scores.seeds[s], recipe=run.folder.name)
            table += outcome.numbers(*numbers, *before, *_start(run), **about)
    for cell in map(Cell.named, (c for c, column in outcome.runs.items() if column[0].recipe.teacher)):
        for s, seed in enumerate(scores.seeds):
            gain, gap = (right[c][s] - right[cell.baseline][s] for c in (cell.name, cell.taught_by))
            before = known[cell.taught_by, s] - known[cell.baseline, s]
            values = gain, gap, before, nats[cell.taught_by, s]
            about = dict(condition=cell.name, seed=seed, recipe=outcome.runs[cell.name][s].folder.name)
            table += outcome.numbers(*zip(METRICS, values, UNITS, strict=True), **about)
    return table


def _entropy(teacher: Run) -> float:
    """Mean entropy in nats of a teacher's answers on its student's training clips, unsoftened."""
    return mean_entropy(torch.as_tensor(logits_on(teacher, split="train")).double())


def _generation(teacher: Run, validation: Night) -> list[tuple[str, float, str]]:
    """R² of what a teacher's CVAE rebuilds and generates (docs/methods.md, 2.1), where it has one."""
    if not isinstance(teacher.recipe.method, FeatureRepresentation):
        return []
    found, _ = explained(teacher, "val", validation)
    return [(f"r2:{way}", float(found[way].mean()), "%") for way in WAYS[:2]]


def _start(run: Run) -> list[tuple[str, float, str]]:
    """What the network of bright clips knew of bright validation clips, of a teacher that began as one."""
    if not run.recipe.start:
        return []
    return [("bright_val_accuracy", find(run.recipe.start, pretrained=False).predictions("val").accuracy, "%")]


SIZE = DEMO
