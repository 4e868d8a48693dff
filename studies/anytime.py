"""Question 9. How should early exits on compressed video be used?

The context is 0.5: one I-frame alone does not tell the class.
"""

from dataclasses import replace

import numpy as np
from exits import conditions as exits
from exits import crossed_in, fitted_networks
from worlds import EXITS, Evidence

from kdlab.clips.coviar import SegmentBatches
from kdlab.datasets.splits import halves
from kdlab.papers.progressive.anytime import cost_per_exit, fit_run, trio_of
from kdlab.papers.progressive.networks import FINALS
from kdlab.papers.progressive.wise import curve, solve, threshold_for_budget
from kdlab.study import Question
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run

CONTEXT, SINGLE = 0.5, "the best single exit"


def conditions(size, world: int) -> dict[str, Recipe]:
    """The exits of PKD, as they were tuned for questions 7 and 8."""
    pkd = crossed_in("anytime", size, world, CONTEXT)["pkd_unseen"]
    chosen = exits(size, world)["PKD"]
    return {"PKD": replace(pkd, settings=chosen.settings, method=chosen.method)}


def costs_of(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Multiply–accumulates of one clip up to each of the twelve exits: of all networks so far, and of its own alone."""
    views = {name: backbone.view for name, backbone in run.recipe.needs().items()}
    clip = run.recipe.data.catalogue().split("test")[:1]
    seen = next(SegmentBatches(clip, views, run.recipe.window).evaluation())
    shapes = {name: tuple(view.shape[1:]) for name, view in seen.views.items()}
    costs = cost_per_exit(trio_of(run), shapes)
    before = np.repeat([0.0, costs[FINALS[0]], costs[FINALS[1]]], 4)
    return costs, costs - before


def single(run: Run) -> tuple[int, float]:
    """The exit that is best on one half of the held-out clips, and its share of right answers there."""
    held = run.predictions("val")
    other = ~halves(held.groups)
    right = (held.logits[other].argmax(-1) == held.labels[other][:, None]).mean(0)
    return int(right.argmax()), float(right.max())


def ways(run: Run) -> dict[str, np.ndarray]:
    """Logits ``(N, K)`` of test clips, for each way to use the twelve exits of ``run``. Weights are fitted on one half
    of the held-out clips; the exit is chosen on the other."""
    held, logits = run.predictions("val"), run.predictions("test").logits.astype(float)
    half = halves(held.groups)
    fused = np.zeros(held.logits.shape[1])  # late fusion: the three final classifiers alone
    fused[FINALS] = solve(held.logits[half][:, FINALS].astype(float), held.labels[half])
    return {
        "WISE": fit_run(run).test[0][:, -1],
        SINGLE: logits[:, single(run)[0]],
        "mean of exits": logits.mean(1),
        "late fusion": np.tensordot(logits, fused, (1, 0)),
    }


def measure(runs: dict[str, Run]) -> dict[str, float]:
    """Accuracy in percent of each way to use the twelve exits of PKD, with thresholds that are chosen on the half of
    the held-out clips on which exits are."""
    (run,) = runs.values()
    fitted, labels, (best, there) = fit_run(run), run.predictions("test").labels, single(run)
    right = {name: 100 * float((z.argmax(1) == labels).mean()) for name, z in ways(run).items()}
    costs, own = costs_of(run)
    budgets = np.linspace(float(costs[0]), float(costs[-1]), 50)
    thetas = [threshold_for_budget(*fitted.validate, costs, budget) for budget in budgets]
    enough = np.flatnonzero(curve(*fitted.validate, costs, thetas)["accuracy"] >= 100 * there)
    as_good = thetas[enough[0]] if len(enough) else 1.0
    same_cost = threshold_for_budget(*fitted.validate, costs, float(own[best]))
    good, cheap = (curve(*fitted.test, costs, [theta]).iloc[0] for theta in (as_good, same_cost))
    return (
        right
        | fitted_networks(run)
        | {
            "stopped early": float(good["accuracy"]),
            "MACs saved": 100 * (1 - float(good["cost"]) / float(own[best])),
            "stopped at equal cost": float(cheap["accuracy"]),
        }
    )


QUESTIONS = [
    Question(
        "9",
        "Does WISE beat the best single exit, late fusion and the mean of the exits?",
        "WISE",
        SINGLE,
        rivals=("late fusion", "mean of exits"),
        spread=2.0,
    ),
]
#: Differences and values that stand beside the answer of a question: text, condition, other.
ALSO = {
    "9": [
        (f"late fusion over {SINGLE}", "late fusion", SINGLE),
        ("WISE, stopped at the cost of that exit's network alone", "stopped at equal cost", SINGLE),
        ("WISE, stopped when it is as good as that exit", "stopped early", SINGLE),
        ("MACs that this saves over that exit's network alone, %", "MACs saved", "zero"),
    ]
}
NOTES = {
    "9": "Context 0.5. PKD is tuned for question 7. The best single exit and thresholds are chosen on validation clips."
}

study = Evidence("anytime", conditions, QUESTIONS, EXITS, measure)
