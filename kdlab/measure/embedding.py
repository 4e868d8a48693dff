"""Where clips lie in the features of several networks, on one pair of axes.

Two networks with other first weights have other channels, so their features cannot be laid upon each other as they are.
Here each network's features are turned (one rotation, one scale, one shift: orthogonal Procrustes) onto those of a
first network, as well as it goes on clips that are not shown, and all are then seen on the first network's two main
axes (PCA). How much of the first network's picture a turned one gives again is a number; an untrained network's is what
turning alone can do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kdlab.layers import at_random, features
from kdlab.nets.video import stages
from kdlab.train.runs import Run, batches


def clip_features(run: Run, split: str = "test", trained: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """What the last stage of a run's network gives for each clip of ``split`` under the run's own view, averaged over
    time and place, ``(N, C)``; and labels ``(N,)``. Not ``trained``: of random weights, decided by the seed.

    Raises ``ValueError`` for a network that names no stages.
    """
    import torch

    tap = f"net.{stages(run.recipe.net)[-1]}"
    shown = batches(replace(run.recipe, teacher=None), split, {"student": run.recipe.view})
    net = run.net().eval() if trained else at_random(run.net(), run.recipe.seed)
    found, labels = [], []
    with torch.no_grad():
        for batch in shown.evaluation():
            found.append(features(net, batch.views["student"], [tap])[tap].mean((2, 3, 4)).numpy())
            labels.append(batch.labels.numpy())
    return np.concatenate(found), np.concatenate(labels)


@dataclass(frozen=True)
class Turn:
    """``x (N, C)`` → ``(x − centre) · turn + shift``, ``(N, C')``."""

    centre: np.ndarray
    turn: np.ndarray
    shift: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (x - self.centre) @ self.turn + self.shift


def procrustes(x: np.ndarray, y: np.ndarray) -> Turn:
    """The rotation (and reflection), scale and shift of ``x (N, C)`` that come nearest to ``y (N, C')``, of the same
    clips in the same order. Raises ``ValueError`` where these are not as many, or ``x`` does not vary."""
    if len(x) != len(y):
        raise ValueError(f"features of {len(x)} and of {len(y)} clips: give both of the same clips")
    centre, shift = x.mean(0), y.mean(0)
    left, sizes, right = np.linalg.svd((x - centre).T @ (y - shift), full_matrices=False)
    if not (spread := np.square(x - centre).sum()):
        raise ValueError("the features to turn are the same for every clip: give two clips or more, and a trained "
                         "network")
    return Turn(centre, sizes.sum() / spread * (left @ right), shift)


def main_axes(x: np.ndarray, count: int = 2) -> tuple[Turn, np.ndarray]:
    """Onto the ``count`` directions in which ``x (N, C)`` varies most, and their shares ``(count,)`` of its variance.
    The sign of each is such that its largest coefficient is positive."""
    centre = x.mean(0)
    _, sizes, rows = np.linalg.svd(x - centre, full_matrices=False)
    axes = rows[:count].T
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), range(count)])
    return Turn(centre, axes, np.zeros(count)), np.square(sizes[:count]) / np.square(sizes).sum()


@dataclass(frozen=True)
class Embedding:
    """``points``: name → ``(N, 2)``, on the axes of the first one, which hold ``shares (2,)`` of its variance;
    ``given_again``: name → how much of the first one's points a network gives again, 1 for all; below 0, less than
    their mean would."""

    points: dict[str, np.ndarray]
    shares: np.ndarray
    given_again: dict[str, float]


def embedding(fitted: Mapping[str, np.ndarray], shown: Mapping[str, np.ndarray]) -> Embedding:
    """Features ``shown``, name → ``(N, C)``, turned onto those of the first name as ``fitted`` ones (name → ``(M, C)``,
    of other clips) tell. Raises ``ValueError`` where the names differ, or the clips are not the same for all."""
    if list(fitted) != list(shown):
        raise ValueError(f"features of {list(fitted)} to fit and of {list(shown)} to show: give the same networks")
    first = next(iter(shown))
    axes, shares = main_axes(fitted[first])
    turned = {name: x if name == first else procrustes(fitted[name], fitted[first])(x) for name, x in shown.items()}
    points = {name: axes(x) for name, x in turned.items()}
    if len({len(x) for x in points.values()}) > 1:
        raise ValueError(f"features of {[len(x) for x in points.values()]} clips to show: give all of the same clips")
    own = points[first]
    spread = np.square(own - own.mean(0)).sum()
    return Embedding(points, shares, {name: float(1 - np.square(x - own).sum() / spread) for name, x in points.items()})
