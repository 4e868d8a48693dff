"""Questions 7 and 8. Early exits on compressed video: who should teach them, and in which order?

The exits learn from clips that their teachers have not seen: the networks are trained on one half of the scenes, the
exits on the other. Beside them, exits learn from the clips that their teachers have seen, as in the paper.
"""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F
from worlds import (
    EXITS,
    TUNING,
    Evidence,
    in_training,
    learnt,
    named,
    seed_of,
    tuning,
    with_choices,
)

from kdlab.night import ACTIONS, Night
from kdlab.night.make import NightStream
from kdlab.papers.progressive.method import Progressive
from kdlab.papers.progressive.networks import FINALS, ORDER, TRAINED
from kdlab.papers.progressive.recipes import ORDERS, crossed
from kdlab.study import Question
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, find_run
from kdlab.train.sizes import VARIETY

#: The probability that place and props belong to the class: here the three networks rank as in the papers.
CONTEXT = 0.9
_ORDERS = {name: f"PKD in the order {name.replace('-', ', ')}" for name in ORDERS}
REVERSED = "PKD in the order own, residual, motion"
TITLES = {
    "ce_ic": "labels",
    "own_final": "own final",
    "pkd": "PKD",
    "ce_kd": "labels + PKD",
    "ce_own": "labels + own final",
    "smoothing": "matched smoothing",
    "reversed": REVERSED,
    "random_teacher": "a random order",
    "mixture": "mean of three teachers",
} | _ORDERS
#: The conditions that are also trained on clips that their teachers have seen.
SEEN = "labels", "PKD", "own final", REVERSED, "a random order"
_RATES = {"settings.lr": (4e-3, 1.6e-2, 3.2e-2)}
_WARM = _RATES | {"method.temperature": (0.25, 0.5, 2.0, 4.0)}
_MIXED = _RATES | {"method.alpha": (0.25, 0.75)}
CANDIDATES = {
    "labels": _RATES | {"settings.weight_decay": (1e-3, 1e-1)},
    "PKD": _WARM,
    "own final": _WARM,
    "labels + PKD": _MIXED,
    "labels + own final": _MIXED,
    "matched smoothing": _WARM,
}
CANDIDATES |= dict.fromkeys(
    ("a random order", "untrained teachers", "mean of three teachers", REVERSED, *_ORDERS.values()),
    "PKD",
)
CANDIDATES |= {
    f"{name}, seen clips": name if name in ("labels", "own final") else "PKD" for name in SEEN
}


@dataclass(frozen=True, kw_only=True)
class Untrained(Progressive):
    """Control: the classifiers that teach have random weights."""

    def finals(self, batch) -> torch.Tensor:
        rows = []
        for k, modality in enumerate(ORDER):
            last = max(key for key in batch.views if key[0] == modality)
            pooled = batch.views[last].mean((1, 3, 4))
            generator = torch.Generator().manual_seed(k)
            classes = batch.views["finals"].shape[-1]
            weights = torch.randn(pooled.shape[1], classes, generator=generator)
            rows.append(pooled @ weights)
        return F.softmax(torch.stack(rows, 1) / self.temperature, dim=-1)


def crossed_in(study: str, size, world: int, context: float) -> dict[str, Recipe]:
    """The exits on networks of one half of the scenes, in a world of a ``study`` with a ``context``."""
    train, val, test = size.per_class
    split = (train, val + test, 1) if world in TUNING else size.per_class
    data = NightStream(Night(ACTIONS, split, VARIETY, context, world))
    return crossed(size, data, seed_of(world, study))


def base(size, world: int) -> dict[str, Recipe]:
    made = crossed_in("exits", size, world, CONTEXT)
    recipes = named(made, {f"{name}_unseen": title for name, title in TITLES.items()})
    untrained = replace(recipes["PKD"], condition="untrained_unseen", method=Untrained())
    half = made["pkd_seen"].data
    seen = {
        f"{title}, seen clips": replace(recipes[title], data=half, condition=f"{name}_seen")
        for name, title in TITLES.items()
        if title in SEEN
    }
    return recipes | seen | {"untrained teachers": untrained}


def of_exits(runs: dict[str, Run], split: str = "test") -> dict[str, float]:
    """Accuracy in percent, the mean of the nine trained exits, and of those on each network."""
    found = {}
    for name, run in runs.items():
        right = 100 * run.predictions(split).correct[:, TRAINED].mean(0)
        found |= {name: float(right.mean())} | {
            f"{name}, {modality}": float(right[3 * k : 3 * k + 3].mean())
            for k, modality in enumerate(ORDER)
        }
    return found


def on_validation(runs: dict[str, Run]) -> dict[str, float]:
    found = of_exits(runs, "val")
    return {name: found[name] for name in runs}


def networks_of(run: Run) -> dict[str, Run]:
    """The three networks under the exits of ``run``."""
    return {name: find_run(recipe, pretrained=False) for name, recipe in run.recipe.needs().items()}


def fitted_networks(run: Run) -> dict[str, float]:
    """The loss of each of the three networks under the exits of ``run`` on its training clips, in nats."""
    return learnt(in_training(networks_of(run)))


def measure(runs: dict[str, Run]) -> dict[str, float]:
    finals = runs["labels"].predictions("test").correct[:, FINALS]
    own = {"teacher, own finals": 100 * float(finals.mean())}
    return of_exits(runs) | own | fitted_networks(runs["labels"])


_MEAN = "mean accuracy of the nine trained exits on test clips, %"
QUESTIONS = [
    Question(
        "7",
        "Exits learn from clips that their teachers have not seen: do labels and PKD together beat labels?",
        "labels + PKD",
        "labels",
        rivals=(
            "labels + own final",
            "PKD",
            "own final",
            "matched smoothing",
            "untrained teachers",
        ),
        teacher="teacher, own finals",
        metric=_MEAN,
        spread=1.0,
    ),
    Question(
        "8a", "Does the order of PKD's teachers matter?", "PKD", REVERSED, metric=_MEAN, spread=2.0
    ),
    Question(
        "8b",
        "Is PKD's order, motion, residual, own, the best?",
        "PKD",
        "a random order",
        rivals=("mean of three teachers", *_ORDERS.values(), REVERSED),
        metric=_MEAN,
        spread=1.0,
    ),
]
#: Differences and values that stand beside the answer of a question: text, condition, other.
ALSO = {
    "7": [
        (
            f"labels + PKD over labels, {modality}",
            f"labels + PKD, {modality}",
            f"labels, {modality}",
        )
        for modality in ORDER
    ]
    + [
        ("labels + own final over labels", "labels + own final", "labels"),
        ("PKD over labels", "PKD", "labels"),
    ],
    "8b": [
        (
            "motion last: residual, own or own, residual first",
            "PKD in the order residual, own, motion",
            "PKD in the order own, residual, motion",
        ),
        (
            "residual last: motion, own or own, motion first",
            "PKD in the order motion, own, residual",
            "PKD in the order own, motion, residual",
        ),
    ],
    "8a": [
        (
            "the same on clips that their teachers have seen",
            "PKD, seen clips",
            f"{REVERSED}, seen clips",
        )
    ],
}
#: The axis of a picture, where one rival lies far away.
AXIS = {"7": (-2, 9)}
NOTES = {
    "7": "[Context](glossary.md#context) 0.9, also in 8. Untrained teachers lie right of the picture.",
    "8b": "*A random order* draws a teacher for each batch.",
    "8a": "The last teacher teaches for two thirds of the steps. 8b has pairs with one last teacher.",
}

tuned = tuning("exits", base, CANDIDATES, EXITS, on_validation)
conditions = with_choices("exits", base, CANDIDATES)
study = Evidence("exits", conditions, QUESTIONS, EXITS, measure)
