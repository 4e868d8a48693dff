"""Question 6. Does generative distillation help temporal detection?

GenKD's student has a gate on its features. So its baseline has it, too; the plain network of labels alone shows what the
gate does by itself.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
from worlds import (
    DETECTION,
    LOSS,
    TUNING,
    Evidence,
    changed,
    for_share,
    named,
    seed_of,
    tuning,
    with_choices,
)

from kdlab.measure.detection import best_width, evaluated, headline
from kdlab.night.untrimmed import Untrimmed, UntrimmedStream
from kdlab.papers.generative.detection_recipes import CLASSES
from kdlab.papers.generative.detection_recipes import conditions as detection
from kdlab.papers.paper_size import twice
from kdlab.study import Question, Study
from kdlab.system.files import write_atomically
from kdlab.train.many import obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.sizes import VARIETY

TITLES = {
    "det_teacher": "teacher",
    "det_student": "labels alone",
    "det_gated": "gated labels alone",
    "det_genkd": "GenKD",
    "det_untrained": "an untrained teacher",
    "det_gated_2x": "gated twice the steps",
}
#: A tenth of the paper's, which lost three points in the tuning of the second edition.
BETA = 1.0
_RATES = {"settings.lr": (2e-3, 8e-3)}
CANDIDATES = {
    "gated labels alone": _RATES | {"settings.weight_decay": (1e-3, 1e-1)},
    "GenKD": _RATES | {"method.beta": (0.1, 10.0)},
    "an untrained teacher": "GenKD",
    "labels alone": "gated labels alone",
    "gated twice the steps": "gated labels alone",
    "GenKD in labels' time": "GenKD",
}


def base(size, world: int) -> dict[str, Recipe]:
    train, val, test = size.videos
    videos = (train, val + test, 1) if world in TUNING else size.videos
    data = UntrimmedStream(Untrimmed(CLASSES, videos, size.seconds, VARIETY, seed=world))
    made = detection(size, seed_of(world, "detection"), data)
    gated = replace(made["det_student"], condition="det_gated", net=made["det_genkd"].net)
    made |= {"det_gated": gated, "det_gated_2x": replace(twice(gated), condition="det_gated_2x")}
    recipes = named(made, TITLES)
    for name in ("GenKD", "an untrained teacher"):
        recipes[name] = changed(recipes[name], {"method.beta": BETA})
    # a step of GenKD costs twice one of gated labels
    return recipes | {"GenKD in labels' time": for_share(recipes["GenKD"], 0.5)}


def scored(runs: dict[str, Run], split: str) -> dict[str, float]:
    """mAP in percent over tIoU 0.1 to 0.5. The width of soft-NMS is chosen on the validation videos of the first of the
    runs that learnt from labels."""
    sigma = width(runs)
    return {name: headline(run, split, sigma) for name, run in runs.items()}


def width(runs: dict[str, Run]) -> float:
    """The width of soft-NMS, chosen on validation videos."""
    return best_width(next(run for name, run in runs.items() if "labels alone" in name))


def measure(runs: dict[str, Run]) -> dict[str, float]:
    """mAP on test videos, and the last loss of each network on the classes of its training windows, which all of them
    have in common."""
    losses = {name + LOSS: float(run.history.focal.iloc[-1]) for name, run in runs.items()}
    return scored(runs, "test") | losses


on_validation = partial(scored, split="val")


class Detecting(Study):
    """A study that first keeps the detections of all runs, and the true segments, in NAME-WORLD.csv.gz."""

    def draw(self, world: int, folder: Path, size=None, workers=None, say=print) -> None:
        recipes = self.recipes(world, size)
        trained = obtain_all([*recipes.values()], pretrained=False, workers=workers, say=say)
        runs = dict(zip(recipes, trained, strict=True))
        sigma, tables = width(runs), []
        for name, run in runs.items():
            seen = evaluated(run, sigma=sigma)
            tables.append(seen.found.assign(condition=name))
        tables.append(seen.truth.assign(condition="truth"))
        table = pd.concat(tables).round({"start": 3, "end": 3, "score": 5})
        file = folder / f"{self.name}-{world}.csv.gz"
        write_atomically(file, lambda path: table.to_csv(path, index=False, compression="gzip"))
        super().draw(world, folder, size, workers, say)


class Detections(Evidence, Detecting):
    """The evidence of question 6."""


QUESTIONS = [
    Question(
        "6",
        "Does generative distillation help temporal detection?",
        "GenKD",
        "gated labels alone",
        rivals=("an untrained teacher", "gated twice the steps"),
        teacher="teacher",
        metric="mAP over tIoU 0.1 to 0.5, %",
        spread=2.5,
    )
]
#: Differences that stand beside the answer of a question: text, condition, other.
ALSO = {
    "6": [
        ("in labels' CPU time", "GenKD in labels' time", "gated labels alone"),
        ("the gate alone", "gated labels alone", "labels alone"),
        ("gated twice the steps over gated labels", "gated twice the steps", "gated labels alone"),
    ]
}

tuned = tuning("detection", base, CANDIDATES, DETECTION, on_validation)
conditions = with_choices("detection", base, CANDIDATES)
study = Detections("detection", conditions, QUESTIONS, DETECTION, measure)
