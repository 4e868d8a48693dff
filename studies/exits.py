"""Questions 7, 8 and 9. Early exits on compressed video: who should teach them, in which order, and how to use them.

The exits learn from clips that their teachers have not seen: the networks are trained on one half of the scenes, the
exits on the other.
"""

import numpy as np
from worlds import EXITS, TUNED_IN, WORLDS, named, seed_of, tuning, with_choices

from kdlab.clips.coviar import SegmentBatches
from kdlab.datasets.splits import halves
from kdlab.night import ACTIONS, Night
from kdlab.night.make import NightStream
from kdlab.papers.progressive.anytime import cost_per_exit, fit_run, trio_of
from kdlab.papers.progressive.networks import FINALS, ORDER, TRAINED
from kdlab.papers.progressive.recipes import CONTEXT, ORDERS, crossed
from kdlab.papers.progressive.wise import curve, solve, threshold_for_budget
from kdlab.study import Question, Study
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.sizes import VARIETY

#: The best fixed exit of the first edition.
FIXED, LAST = 11, "the I-frame network's last exit"
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
    "random_teacher": "a random teacher",
    "mixture": "mean of three teachers",
} | _ORDERS
_WARM = ({}, {"method.temperature": 4.0})
#: Condition → the values that are tuned.
CANDIDATES = {
    "labels": ({}, {"settings.lr": 4e-3}),
    "PKD": _WARM,
    "own final": _WARM,
    "labels + PKD": _WARM,
    "labels + own final": _WARM,
    "matched smoothing": _WARM,
}
CANDIDATES |= dict.fromkeys(
    ("a random teacher", "mean of three teachers", REVERSED, *_ORDERS.values()), "PKD"
)
CANDIDATES |= dict.fromkeys(
    ("WISE", LAST, "late fusion", "mean of exits"), ()
)  # fitted on held-out clips


def base(size, world: int) -> dict[str, Recipe]:
    train, val, test = size.per_class
    night = Night(
        ACTIONS,
        (train, val + test, 1) if world in TUNED_IN else size.per_class,
        VARIETY,
        CONTEXT,
        world,
    )
    made = crossed(size, NightStream(night), seed_of(world))
    return named(made, {f"{name}_unseen": title for name, title in TITLES.items()})


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


def ways(run: Run) -> dict[str, float]:
    """Accuracy in percent of each way to use the twelve exits of ``run``, and the multiply–accumulates that stopping
    early saves at the accuracy of the last finished exit. Weights are fitted on one half of the held-out clips, the
    threshold is chosen on the other."""
    fitted, held, test = fit_run(run), run.predictions("val"), run.predictions("test")
    half, logits, labels = halves(held.groups), test.logits.astype(float), test.labels
    fused = np.zeros(held.logits.shape[1])  # late fusion: the three final classifiers alone
    fused[FINALS] = solve(held.logits[half][:, FINALS].astype(float), held.labels[half])
    answers = {
        "WISE": fitted.test[0][:, -1],
        LAST: logits[:, FIXED],
        "mean of exits": logits.mean(1),
        "late fusion": np.tensordot(logits, fused, (1, 0)),
    }
    found = {name: 100 * float((z.argmax(1) == labels).mean()) for name, z in answers.items()}
    views = {name: backbone.view for name, backbone in run.recipe.needs().items()}
    seen = next(
        SegmentBatches(
            run.recipe.data.catalogue().split("test")[:1], views, run.recipe.window
        ).evaluation()
    )
    costs = cost_per_exit(
        trio_of(run), {name: tuple(view.shape[1:]) for name, view in seen.views.items()}
    )
    # keep the last finished exit: the cheapest exit, on held-out clips, that is no worse than the last
    own = (held.logits[~half].argmax(-1) == held.labels[~half][:, None]).mean(0)
    last = int(np.flatnonzero(own >= own[FIXED])[0])
    budgets = np.linspace(float(costs[0]), float(costs[last]), 50)
    thetas = [threshold_for_budget(*fitted.validate, costs, budget) for budget in budgets]
    table = curve(*fitted.validate, costs, thetas)
    enough = np.flatnonzero(table["accuracy"] >= 100 * own[FIXED])
    stopped = curve(*fitted.test, costs, [thetas[enough[0]] if len(enough) else 1.0]).iloc[0]
    return found | {
        "MACs saved": 100 * (1 - float(stopped["cost"]) / float(costs[last])),
        "stopped early": float(stopped["accuracy"]),
        "last finished exit": 100 * float((logits[:, last].argmax(1) == labels).mean()),
    }


def measure(runs: dict[str, Run]) -> dict[str, float]:
    finals = runs["labels"].predictions("test").correct[:, FINALS]
    return of_exits(runs) | {"teacher, own finals": 100 * float(finals.mean())} | ways(runs["PKD"])


_MEAN = "mean accuracy of the nine trained exits on test clips, %"
QUESTIONS = [
    Question(
        "7",
        "Exits learn from clips that their teachers have not seen: do labels and PKD together beat labels?",
        "labels + PKD",
        "labels",
        rivals=("labels + own final", "PKD", "own final", "matched smoothing"),
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
        "a random teacher",
        rivals=("mean of three teachers", *_ORDERS.values(), REVERSED),
        metric=_MEAN,
        spread=1.0,
    ),
    Question(
        "9",
        "Does WISE beat the best fixed exit, late fusion and the mean of the exits?",
        "WISE",
        LAST,
        rivals=("late fusion", "mean of exits"),
        spread=2.0,
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
    "9": [
        (
            "late fusion over the I-frame network's last exit",
            "late fusion",
            "the I-frame network's last exit",
        ),
        ("MACs saved by stopping early, %", "MACs saved", "zero"),
        ("its accuracy over the exit it is compared with", "stopped early", "last finished exit"),
    ],
}
NOTES = {
    "8a": "The last teacher teaches for two thirds of the steps. Here it is motion, the weakest. Question 8b has "
    "pairs of orders with one last teacher: they differ by half a point at most.",
    "9": "The exits are those of PKD. The fixed exit was the best one of the first edition. Stopping early is "
    "compared with the cheapest exit that is as good as the last one on validation clips. The cost of an "
    "exit includes all networks before its own.",
}

conditions = with_choices("exits", base, CANDIDATES)
tuned = tuning("exits", base, CANDIDATES, EXITS, on_validation)
study = Study("exits", conditions, QUESTIONS, EXITS, measure=measure, worlds=WORLDS)
