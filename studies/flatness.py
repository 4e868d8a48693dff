"""Question 10. At equal training loss, is the I-frame network flatter than the residual one, and that than the motion one?

The paper orders its teachers by this flatness. Here the three networks have one size and one recipe. Each is taken where
its loss on all its training clips comes down to the bound of a failed network: a lower loss alone is both flatter and,
often, better. Three measures of sharpness were fixed beforehand. Two networks of a modality differ in their rate alone:
is the flatter one better?
"""

from itertools import islice

import numpy as np
import pandas as pd
import torch
from exits import CONTEXT, networks_of
from exits import conditions as exits
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
from kdlab.train.runs import Run
from kdlab.train.sizes import VARIETY

#: The rates of the two networks of a modality.
RATES = 1e-3, 4e-3
MEASURES = "largest eigenvalue", "SAM 0.05", "ASAM 0.5"
#: Training clips on which sharpness is measured, ten of each class.
CLIPS = 110


def networks(size, world: int) -> dict[str, Recipe]:
    """The networks that are compared, by modality and rate."""
    data = NightStream(Night(ACTIONS, size.per_class, VARIETY, CONTEXT, world))
    three = zip(ORDER, trio(size, data, seed_of(world, "flatness"), net=matched), strict=True)
    return {
        f"{modality}, rate {lr:g}": changed(recipe, {"settings.lr": lr})
        for modality, recipe in three
        for lr in RATES
    }


def conditions(size, world: int) -> dict[str, Recipe]:
    """The exits of which it is asked whether PKD flattens; :func:`measure` trains the :func:`networks` to a loss."""
    taught = exits(EXITS if size is FLATNESS else size, world)
    return {f"exits by {name}": taught[name] for name in ("labels", "PKD")}


def sharp(hessian: Hessian) -> np.ndarray:
    """The :data:`MEASURES` in decibels: 10 of them are a factor of ten, 3 a factor of two."""
    values = (
        extremes(hessian, 0.1, smallest=False).largest,
        sharpness(hessian, 0.05, steps=1).ascent,
        sharpness(hessian, 0.5, True, steps=1).ascent,
    )
    return 10 * np.log10(np.maximum(values, 1e-12))


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
    needed = networks_of(run)
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


def measure(runs: dict[str, Run]) -> dict[str, float]:
    """What was measured of each network; the flatness of each modality, sharpness with the other sign, for each
    measure and in the mean; by how many points of accuracy the flatter of two networks is ahead, mean over modalities;
    and by how many percent PKD makes the exits flatter."""
    labels, pkd = runs["exits by labels"], runs["exits by PKD"]
    world = labels.recipe.seed // 1000
    found = {name: of_network(recipe) for name, recipe in networks(FLATNESS, world).items()}
    table = pd.DataFrame({name: values for name, values in found.items() if values}).T
    rows = {f"{of} of {name}": v for (name, of), v in table.stack().items()}
    rows["networks at this loss"] = float(len(table))
    table["flatness"] = -table[[*MEASURES]].mean(axis=1)
    gains = []
    for modality in ORDER:
        some = table[table.index.str.startswith(modality)].sort_values("flatness")
        means = some.mean()
        rows |= {f"{modality} flatness, {name}": -means[name] for name in MEASURES}
        rows |= {f"{modality} flatness": means.flatness, f"{modality} accuracy": means.accuracy}
        if len(some) > 1:
            gains.append(some.accuracy.iloc[-1] - some.accuracy.iloc[0])
    rows["accuracy of the flatter over the sharper"] = float(np.mean(gains))
    less = 100 * (1 - 10 ** ((of_heads(pkd) - of_heads(labels)) / 10))
    return rows | {
        f"PKD flattens, {name}": float(value) for name, value in zip(MEASURES, less, strict=True)
    }


QUESTIONS = [
    Question(
        "10",
        "At equal training loss, is the I-frame network flatter than those of motion and residual, as in the paper?",
        "iframe flatness",
        "motion flatness",
        rivals=("residual flatness",),
        metric="sharpness in decibels with the other sign, mean of three measures",
        unit="dB",
        spread=2.0,
        helps="is flatter",
    )
]
_PAIRS = [("iframe", "motion"), ("iframe", "residual"), ("residual", "motion")]
#: Values that stand beside the answer of a question: text, condition, other.
ALSO = {
    "10": [("residual over motion", "residual flatness", "motion flatness")]
    + [
        (f"{one} over {other}, {name}", f"{one} flatness, {name}", f"{other} flatness, {name}")
        for name in MEASURES
        for one, other in _PAIRS
    ]
    + [
        (f"accuracy of {one} over {other}, points", f"{one} accuracy", f"{other} accuracy")
        for one, other in _PAIRS
    ]
    + [
        (
            "the flatter of two networks of a modality over the sharper, points of accuracy",
            "accuracy of the flatter over the sharper",
            "zero",
        )
    ]
    + [
        (
            f"PKD's exits, flatter than those of labels, {name}, %",
            f"PKD flattens, {name}",
            "zero",
        )
        for name in MEASURES
    ]
}
NOTES = {
    "10": "Networks of equal size, at 0.25 nats on their training clips, two of each modality in a world. 3 dB are a "
    "factor of two. Such a network is no minimum: its gradient is not zero."
}

study = Study("flatness", conditions, QUESTIONS, FLATNESS, measure=measure, worlds=WORLDS)
