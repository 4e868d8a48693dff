"""Question 10. Are flatter minima better ones here?

Sets of networks that differ in how they were trained, and in nothing else, for each modality of compressed video. Three
measures of sharpness, fixed beforehand; a rank correlation with test accuracy in each set. And: does PKD flatten?
"""

from itertools import islice

import numpy as np
import torch
from exits import conditions as exits
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F
from worlds import EXITS, FLATNESS, WORLDS, changed, seed_of

from kdlab.measure.flatness import Hessian, sharpness
from kdlab.measure.lanczos import extremes
from kdlab.nets.compressed import matched
from kdlab.night import ACTIONS, Night
from kdlab.night.make import NightStream
from kdlab.papers.progressive.exits import features_of
from kdlab.papers.progressive.networks import ORDER
from kdlab.papers.progressive.recipes import CONTEXT, trio
from kdlab.study import Question, Study
from kdlab.study.study import accuracies
from kdlab.train.preparing import batches
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, find_run
from kdlab.train.sizes import VARIETY

#: How the networks of a set are trained.
VARIANTS = {
    "as elsewhere": {},
    "a quarter of the rate": {"settings.lr": 1e-3},
    "batches of 8": {"settings.batch_size": 8},
    "more decay": {"settings.weight_decay": 0.5},
}
MEASURES = "largest eigenvalue", "SAM 0.05", "ASAM 0.5"
#: Training clips on which sharpness is measured.
CLIPS = 22


def conditions(size, world: int) -> dict[str, Recipe]:
    data = NightStream(Night(ACTIONS, size.per_class, VARIETY, CONTEXT, world))
    three = zip(ORDER, trio(size, data, seed_of(world, "flatness"), net=matched), strict=True)
    made = {
        f"{modality}, {name}": changed(recipe, change)
        for modality, recipe in three
        for name, change in VARIANTS.items()
    }
    taught = exits(EXITS if size is FLATNESS else size, world)
    return made | {f"exits by {name}": taught[name] for name in ("labels", "PKD")}


def sharp(hessian: Hessian) -> np.ndarray:
    """The logarithms of :data:`MEASURES`."""
    values = (
        extremes(hessian, 0.1, smallest=False).largest,
        sharpness(hessian, 0.05, steps=1, starts=1).ascent,
        sharpness(hessian, 0.5, True, steps=1, starts=1).ascent,
    )
    return np.log(np.maximum(values, 1e-12))


def of_network(run: Run) -> tuple[np.ndarray, float]:
    """The sharpness of a network, and its loss in nats on the same training clips."""
    loaded = next(iter(batches(run.recipe, "train").evaluation(CLIPS)))
    hessian = Hessian(run.net(), [(loaded.views["student"], loaded.labels)], gauss_newton=True)
    return sharp(hessian), hessian.value()[0]


def of_heads(run: Run) -> np.ndarray:
    """The sharpness of the nine exits of ``run`` together, of their mean loss on labels."""
    needed = {
        name: find_run(recipe, pretrained=False) for name, recipe in run.recipe.needs().items()
    }
    nets = {name: other.net() for name, other in needed.items()}
    weights = tuple(other.provenance["weights"] for other in needed.values())
    seen = features_of(run.recipe, run.recipe.data.catalogue(), nets, weights)["train"]
    (batch,) = islice(seen.evaluation(CLIPS), 1)
    heads: nn.Module = run.net()

    def loss() -> torch.Tensor:
        logits = heads(batch.views)
        return F.cross_entropy(
            logits.flatten(0, 1), batch.labels.repeat_interleave(logits.shape[1])
        )

    return sharp(Hessian.of(loss, list(heads.parameters())))


def correlation(a, b) -> float:
    """Spearman's, in hundredths; 0 where all values of one are equal."""
    return 100 * float(np.nan_to_num(spearmanr(a, b).statistic)) if np.ptp(a) and np.ptp(b) else 0.0


def measure(runs: dict[str, Run]) -> dict[str, float]:
    """Accuracies; rank correlations of flatness with accuracy, within modalities and across them, for each measure and
    in the mean; by how many percent PKD makes the exits flatter; the logarithm of each measure of each network."""
    right = accuracies(runs)
    names = [[f"{modality}, {variant}" for variant in VARIANTS] for modality in ORDER]
    found = {name: of_network(runs[name]) for row in names for name in row}
    flat = {name: -values for name, (values, _) in found.items()}
    rows = {}
    for what, sets in (
        ("within modalities", names),
        ("across modalities", list(zip(*names, strict=True))),
    ):
        each = [
            [correlation([flat[n][k] for n in some], [right[n] for n in some]) for some in sets]
            for k in range(len(MEASURES))
        ]
        rows |= {
            f"flatness {what}, {name}": float(np.mean(of))
            for name, of in zip(MEASURES, each, strict=True)
        }
        rows[f"flatness {what}"] = float(np.mean(each))
    fit = [correlation([-found[n][1] for n in some], [right[n] for n in some]) for some in names]
    pkd, labels = (of_heads(runs[f"exits by {name}"]) for name in ("PKD", "labels"))
    less = 100 * (1 - np.exp(pkd - labels))
    rows |= {
        f"PKD flattens, {name}": float(value) for name, value in zip(MEASURES, less, strict=True)
    }
    rows |= {
        f"{measure} of {name}": float(-value)
        for name in found
        for measure, value in zip(MEASURES, flat[name], strict=True)
    }
    return right | rows | {"fit within modalities": float(np.mean(fit))}


QUESTIONS = [
    Question(
        "10",
        "Are flatter minima better ones here, within a modality?",
        "flatness within modalities",
        metric="Spearman's rank correlation of flatness with test accuracy, mean over three modalities and three measures, "
        "in hundredths",
        unit="hundredths",
        small=10.0,
        spread=40.0,
        helps="predicts accuracy",
    )
]
_KINDS = [
    f"flatness {where} modalities{name}"
    for where in ("within", "across")
    for name in ("", *(f", {measure}" for measure in MEASURES))
]
#: Values that stand beside the answer of a question: text, condition, other.
ALSO = {
    "10": [(kind, kind, "zero") for kind in _KINDS[1:]]
    + [
        ("a low training loss, within modalities", "fit within modalities", "zero"),
        *(
            (
                f"how much flatter PKD's exits are than those of labels, {name}, %",
                f"PKD flattens, {name}",
                "zero",
            )
            for name in MEASURES
        ),
    ]
}
NOTES = {
    "10": "Each correlation within a modality is over four networks, whose training losses differ."
}

study = Study("flatness", conditions, QUESTIONS, FLATNESS, measure=measure, worlds=WORLDS)
