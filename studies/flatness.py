"""Question 10. Are flatter minima better ones here?

Ten networks of each modality of compressed video, which differ in how they were trained and in nothing else. Each is
taken where its loss on all its training clips comes down to the bound of a failed network: a lower loss alone is both
flatter and, often, better. Three measures of sharpness, fixed beforehand; a rank correlation with test accuracy in each
modality.
"""

from itertools import islice

import numpy as np
import torch
from exits import CONTEXT
from exits import conditions as exits
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F
from worlds import EXITS, FITTED, FLATNESS, WORLDS, changed, seed_of

from kdlab.measure.flatness import Hessian, sharpness
from kdlab.measure.lanczos import extremes
from kdlab.nets.compressed import matched
from kdlab.night import ACTIONS, Night
from kdlab.night.make import NightStream
from kdlab.papers.progressive.exits import features_of
from kdlab.papers.progressive.networks import ORDER
from kdlab.papers.progressive.recipes import trio
from kdlab.study import Question, Study
from kdlab.train.at_loss import at_loss
from kdlab.train.loop import predict
from kdlab.train.preparing import batches
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, find_run
from kdlab.train.sizes import VARIETY

#: How the networks of a set are trained: rate, clips of a batch, weight decay.
VARIANTS = {
    f"rate {lr:g}, batches of {size}, decay {decay:g}": {
        "settings.lr": lr,
        "settings.batch_size": size,
        "settings.weight_decay": decay,
    }
    for lr, size, decay in (
        (1e-3, 16, 1e-2),
        (2e-3, 16, 1e-2),
        (4e-3, 16, 1e-2),
        (8e-3, 16, 1e-2),
        (1e-3, 8, 1e-2),
        (4e-3, 8, 1e-2),
        (4e-3, 32, 1e-2),
        (8e-3, 32, 1e-2),
        (4e-3, 16, 0.3),
        (8e-3, 16, 0.3),
    )
}
MEASURES = "largest eigenvalue", "SAM 0.05", "ASAM 0.5"
#: Training clips on which sharpness is measured.
CLIPS = 22


def networks(size, world: int) -> dict[str, Recipe]:
    """The networks that are compared, by modality and variant."""
    data = NightStream(Night(ACTIONS, size.per_class, VARIETY, CONTEXT, world))
    three = zip(ORDER, trio(size, data, seed_of(world, "flatness"), net=matched), strict=True)
    return {
        f"{modality}, {name}": changed(recipe, change)
        for modality, recipe in three
        for name, change in VARIANTS.items()
    }


def conditions(size, world: int) -> dict[str, Recipe]:
    """The exits of which it is asked whether PKD flattens; :func:`measure` trains the :func:`networks` to a loss."""
    taught = exits(EXITS if size is FLATNESS else size, world)
    return {f"exits by {name}": taught[name] for name in ("labels", "PKD")}


def sharp(hessian: Hessian) -> np.ndarray:
    """The logarithms of :data:`MEASURES`."""
    values = (
        extremes(hessian, 0.1, smallest=False).largest,
        sharpness(hessian, 0.05, steps=1).ascent,
        sharpness(hessian, 0.5, True, steps=1).ascent,
    )
    return np.log(np.maximum(values, 1e-12))


def of_network(recipe: Recipe) -> dict[str, float] | None:
    """Accuracy on test clips, loss, size of the gradient and sharpness of a network at the loss :data:`FITTED`; None
    where it never comes there."""
    net = at_loss(recipe, FITTED)
    if net is None:
        return None
    loaded = next(iter(batches(recipe, "train").evaluation(CLIPS)))
    hessian = Hessian(net, [(loaded.views["student"], loaded.labels)], gauss_newton=True)
    value, gradient = hessian.gradient()
    logits, labels, _ = predict(net, batches(recipe, "test").evaluation(), "student")
    return {
        "accuracy": 100 * float((logits.argmax(1) == labels).float().mean()),
        "loss": float(value),
        "gradient": float(torch.linalg.vector_norm(gradient)),
    } | dict(zip(MEASURES, sharp(hessian), strict=True))


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
    """Spearman's, in percent; 0 where all values of one are equal."""
    return 100 * float(np.nan_to_num(spearmanr(a, b).statistic)) if np.ptp(a) and np.ptp(b) else 0.0


def measure(runs: dict[str, Run]) -> dict[str, float]:
    """What was measured of each network; rank correlations of flatness with accuracy, within modalities and across them,
    for each measure and in the mean; and by how many percent PKD makes the exits flatter."""
    labels, pkd = runs["exits by labels"], runs["exits by PKD"]
    world = labels.recipe.seed // 1000
    found = {name: of_network(recipe) for name, recipe in networks(FLATNESS, world).items()}
    kept = {name: values for name, values in found.items() if values}
    sets = {
        "within modalities": [[n for n in kept if n.startswith(modality)] for modality in ORDER],
        "across modalities": [[n for n in kept if n.endswith(variant)] for variant in VARIANTS],
    }
    rows = {f"{of} of {name}": v for name, values in kept.items() for of, v in values.items()}
    rows["networks at this loss"] = float(len(kept))
    for what, groups in sets.items():
        each = [
            [
                correlation([-kept[n][name] for n in some], [kept[n]["accuracy"] for n in some])
                for some in groups
                if len(some) > 2
            ]
            for name in MEASURES
        ]
        rows |= {
            f"flatness {what}, {name}": float(np.mean(of))
            for name, of in zip(MEASURES, each, strict=True)
        }
        rows[f"flatness {what}"] = float(np.mean(each))
    less = 100 * (1 - np.exp(of_heads(pkd) - of_heads(labels)))
    return rows | {
        f"PKD flattens, {name}": float(value) for name, value in zip(MEASURES, less, strict=True)
    }


QUESTIONS = [
    Question(
        "10",
        "Are flatter minima better ones here, within a modality?",
        "flatness within modalities",
        metric="Spearman's rank correlation of flatness with test accuracy, mean over three modalities and three measures "
        "(100: perfect)",
        unit="%",
        small=10.0,
        spread=25.0,
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
        (
            f"how much flatter PKD's exits are than those of labels, {name}, %",
            f"PKD flattens, {name}",
            "zero",
        )
        for name in MEASURES
    ]
}
NOTES = {
    "10": "Each correlation within a modality is over ten networks at 0.25 nats on their training clips, fewer where some "
    "never come down to it. Such a network is no minimum: its gradient is not zero."
}

study = Study("flatness", conditions, QUESTIONS, FLATNESS, measure=measure, worlds=WORLDS)
