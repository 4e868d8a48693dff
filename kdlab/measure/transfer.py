"""A network on clips of another world: fewer classes, other light, other scenes.

``night`` knows eleven classes and the real clips at hand six, one scene each in most: so logits are masked to the
classes that are there, every class counts alike, and a constant answer stands beside every number.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from kdlab.clips.views import Batch, View
from kdlab.layers import at_random
from kdlab.measure.bootstrap import interval
from kdlab.night import Night
from kdlab.train.loop import predict
from kdlab.train.recipe import UserClips
from kdlab.train.runs import Run, batches

#: Orders of frames that take time away from a clip: a network that reads motion must fall to chance.
PROBES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "frozen": lambda frames: np.full_like(frames, frames[len(frames) // 2]),
    "shuffled": lambda frames: frames[np.random.default_rng(len(frames)).permutation(len(frames))],
    "reversed": lambda frames: frames[::-1],
}


def logits_on(run: Run, data: Night | UserClips | None = None, view: View | None = None, statistics: bool = False,
              reorder: Callable | None = None, split: str = "test", trained: bool = True,
              among: Sequence[str] = ()) -> np.ndarray:
    """What a trained network says of the clips of ``split``: logits ``(N, K)`` of its own classes, or of those
    ``among`` them that can be right, in that order.

    By default of its own clips under its own view; of other ``data``, under another ``view``, with batch-norm
    ``statistics`` re-estimated on those very clips, or with frames in another order (:data:`PROBES`). Not ``trained``
    is what the network says with random weights in their place, decided by the seed (``layers.at_random``).
    Raises ``ValueError`` naming a class ``among`` which the network does not know.
    """
    recipe = replace(run.recipe, data=data or run.recipe.data, view=view or run.recipe.view)
    test = batches(recipe, split, {"student": recipe.view})
    net = run.net() if trained else at_random(run.net(), recipe.seed)
    net = re_estimated(net, test.evaluation(), "student") if statistics else net
    # A detector's tables of labels are as long as the fullest window of their batch needs, so they do not stack.
    shown = (replace(batch, labels=torch.zeros(len(batch.ids))) for batch in test.evaluation(reorder=reorder))
    logits = predict(net, shown, "student")[0].numpy()
    return narrowed(logits, run.provenance["classes"], among) if among else logits


def accuracy_on(run: Run, data: Night | UserClips, split: str = "test") -> float:
    """Accuracy in percent on the clips of ``split`` of other ``data``, among its classes: these clips may be more than
    the run's own, and their classes fewer. Raises ``ValueError`` naming a class that the network does not know."""
    catalogue = data.catalogue()
    labels = np.array([record.label for record in catalogue.split(split)])
    logits = logits_on(run, data, split=split, among=catalogue.classes)
    return 100 * float((logits.argmax(1) == labels).mean())


def narrowed(logits: np.ndarray, classes: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """``logits (N, K)`` of ``classes`` as ``(N, len(wanted))``: only the classes that can be right, in that order.

    Raises ``ValueError`` naming a wanted class the network was not trained on.
    """
    if unknown := [name for name in wanted if name not in classes]:
        raise ValueError(f"the network does not know {', '.join(unknown)}; it was trained on {', '.join(classes)}")
    return logits[..., [list(classes).index(name) for name in wanted]]


def mean_recall(correct: np.ndarray, labels: np.ndarray, replicates: int = 5000) -> tuple[float, float, float]:
    """Mean over classes of their recall, in percent, with a 95 % interval over seeds and over clips within a class.

    ``correct (S, N)`` in {0, 1}, one row a seed; ``labels (N,)``. Clips of one scene are not independent, and where a
    class has a single scene no interval over scenes exists: this one is too narrow for other scenes.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def drawn(seeds: np.ndarray, *clips: np.ndarray) -> float:
        values = correct[seeds].mean(0)
        return np.mean([values[of[places]].mean() for of, places in zip(classes, clips, strict=True)])

    low, high = interval(drawn, len(correct), *map(len, classes), replicates=replicates)
    return 100 * float(np.mean([correct[:, clips].mean() for clips in classes])), 100 * low, 100 * high


def re_estimated(net: nn.Module, batches: Iterable[Batch], view: str) -> nn.Module:
    """A copy of ``net`` whose batch-norm statistics are those of unlabelled ``batches``; no weight changes.

    Transductive when the batches are the test clips: report it apart.
    """
    other = copy.deepcopy(net)
    torch.optim.swa_utils.update_bn((batch.views[view] for batch in batches), other)
    return other.eval()
