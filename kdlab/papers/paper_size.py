"""Papers at their own size: their data sets, their recipes, and the cost of a training step.

The ``recipes`` module of each paper has a ``PAPER``; ``kdlab paper NAME`` lists or trains its recipes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from kdlab.clips.untrimmed import Windows
from kdlab.clips.windows import Batch
from kdlab.datasets.released import TRAINED
from kdlab.datasets.splits import VAL_SHARE
from kdlab.datasets.user_clips import UserClips
from kdlab.distill.method import CrossEntropy
from kdlab.nets.video import build
from kdlab.protocols import Method
from kdlab.train.device import bf16
from kdlab.train.loop import Progress
from kdlab.train.many import in_training_order
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run, untrained


def named(recipes: dict[str, Recipe]) -> dict[str, Recipe]:
    """Condition → recipe, where each recipe has the name of its condition."""
    return {name: replace(recipe, condition=name) for name, recipe in recipes.items()}


def twice(recipe: Recipe) -> Recipe:
    """``recipe`` with twice the epochs."""
    settings = recipe.settings
    return replace(recipe, settings=replace(settings, epochs=2 * settings.epochs))


class Cost(NamedTuple):
    """Multiply–accumulates of one clip, in a ``forward`` pass and in a ``training`` step, and the number of ``trained``
    parameters."""

    forward: float
    training: float
    trained: int


def example(recipe: Recipe, classes: int) -> tuple[dict[str, nn.Module], Batch, object]:
    """The networks of a training, a batch of one empty clip, and the student's view of that batch."""
    window = recipe.window
    nets = {"student": build(untrained(recipe.net), classes, 0)}
    size = recipe.net.channels, window.frames, window.crop, window.crop
    views = {"student": torch.zeros(1, *size)}
    if recipe.teacher:
        of_teacher, _, views["teacher"] = example(recipe.teacher, classes)
        for name, net in of_teacher.items():
            role = "teacher" if name == "student" else f"teacher_{name}"
            nets[role] = net.eval().requires_grad_(False)
    segments = isinstance(window, Windows)
    labels = torch.zeros(1, 1, 3) if segments else torch.zeros(1, dtype=torch.long)
    batch = Batch(views, labels, ("",))
    nets |= recipe.method.extra_nets(nets, [batch], 0, {})
    return nets, batch, views["student"]


def cost(recipe: Recipe, classes: int, example: Callable = example, device: str = "meta") -> Cost:
    """The cost of one clip under the recipe's own method and networks, by torch's counter (1 MAC = 2 FLOP). On the meta
    device no pixel is computed.

    For passes that alternate by epochs, the training cost is their mean. A method that uses its teacher only before the
    first step (``prepare``) is counted as a step on labels alone.
    """
    from torch.fx.experimental import _config as on_meta  # these import sympy and triton
    from torch.utils.flop_counter import FlopCounterMode

    if type(recipe.method).prepare is not Method.prepare:
        recipe = replace(recipe, method=CrossEntropy(), teacher=None)
    method, turns = recipe.method, getattr(recipe.method, "alternating", 0) or 1
    all_priors_learn = on_meta.patch(meta_nonzero_assume_all_nonzero=True)
    with torch.device(device), all_priors_learn:
        nets, batch, clip = example(recipe, classes)
        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            nets["student"](clip)
        steps = min(2, turns)
        with FlopCounterMode(display=False) as training:
            for turn in range(steps):
                for _, loss, _ in method.losses(nets, batch, Progress(turn, turns)):
                    loss.backward()
    trained = {name for part in method.networks_by_optimiser(nets).values() for name in part}
    return Cost(
        forward.get_total_flops() / 2,
        training.get_total_flops() / 2 / steps,
        sum(p.numel() for name in trained for p in nets[name].parameters()),
    )


@dataclass(frozen=True)
class PaperSet:
    """A data set of the paper, in ``folder`` of the data root (docs/real-clips.md has the layout).

    ``clips`` is the number of training clips in each split's list, from which validation is carved. For untrimmed
    videos, ``windows`` is the number of windows to train on.
    """

    title: str
    folder: str
    classes: int
    clips: tuple[int, ...]
    splits: tuple[str, ...] = ("1", "2", "3")
    windows: int = 0

    def by_split(self, root: Path) -> dict[str, UserClips]:
        """Split → its clips in the data root."""
        return {split: UserClips(str(root / self.folder), split) for split in self.splits}


UCF_101 = PaperSet("UCF-101", "ucf101", 101, TRAINED["UCF-101"])
HMDB_51 = PaperSet("HMDB-51", "hmdb51", 51, TRAINED["HMDB-51"])


@dataclass(frozen=True)
class Paper:
    """A paper at its own size: the command ``kdlab paper NAME``.

    ``recipes(which, root, size, seed)`` gives the recipes on a data set by key: split, further marks such as the
    stream, condition. ``section`` of docs/methods.md gives the source of each number, and the released settings that
    are not reproduced. ``example`` is that of :func:`cost`.
    """

    section: str
    sets: tuple[PaperSet, ...]
    recipes: Callable
    example: Callable = example

    def overview(self, root: Path, size, tflops: float = 140) -> str:
        """A text with the paper's data sets, and its recipes with their hyper-parameters and costs. ``tflops`` is the
        assumed rate of these networks on a GPU."""
        table, lines = self._table(root, size), []
        macs = 1e9 * table["to train"] @ table.epochs
        for which in self.sets:
            listed = [which.windows] if which.windows else which.clips
            clips = [round((1 - VAL_SHARE) * count) for count in listed]
            there = "found" if (root / which.folder).is_dir() else "not there (docs/real-clips.md)"
            lines += [
                f"{which.title}: {root / which.folder}, {there}",
                f"  splits {', '.join(which.splits)}: {', '.join(map(str, clips))} training clips, in all about "
                f"{2 * macs * sum(clips) / (3.6e15 * tflops):,.0f} h of a GPU ({tflops:g} TFLOP/s: assumed)",
            ]
        return "\n".join(
            [
                *lines,
                "",
                table.to_string(index=False, float_format="{:.2f}".format),
                "",
                "GMACs: of a clip, forward and to train on it; M: million parameters that are trained.",
                "What is the paper's, the reference code's, ours or unknown, and what others report: docs/methods.md, "
                f"{self.section}.",
            ]
        )

    def _table(self, root: Path, size) -> pd.DataFrame:
        """A row for each recipe on the first split of the first data set, and for each teacher that these need."""
        first = self.sets[0]
        names = {
            recipe: " ".join(marks)
            for (split, *marks), recipe in self.recipes(first, root, size, 0).items()
            if split == first.splits[0]
        }
        rows, costs = [], {}
        for recipe in in_training_order(names):
            alike = recipe.method, recipe.net, recipe.teacher and recipe.teacher.net, recipe.window
            if alike not in costs:
                costs[alike] = cost(recipe, first.classes, self.example)
            s, window = recipe.settings, recipe.window
            rows.append(
                {
                    "training": names.get(recipe, f"its teacher, {recipe.condition}"),
                    "epochs": s.epochs,
                    "batch": s.batch_size,
                    "rate": f"{s.lr:g}",
                    "clip": f"{window.frames} × {window.crop}²",
                    "GMACs": costs[alike].forward / 1e9,
                    "to train": costs[alike].training / 1e9,
                    "M": costs[alike].trained / 1e6,
                }
            )
        return pd.DataFrame(rows)

    def run(self, root: Path, size, seed: int = 0, say=print) -> dict[tuple[str, ...], Run]:
        """Train (or find) all recipes on the data sets in ``root``: (title, *key) → run. Raises ``FileNotFoundError``
        when ``root`` has none of the data sets, and ``ValueError`` for bf16 on hardware without it."""
        sets = [which for which in self.sets if (root / which.folder).is_dir()]
        if not sets:
            raise FileNotFoundError(
                f"none of {', '.join(which.folder for which in self.sets)} is in {root}: "
                "docs/real-clips.md says how to put them there"
            )
        recipes = {
            (which.title, *key): recipe
            for which in sets
            for key, recipe in self.recipes(which, root, size, seed).items()
        }
        has_bf16, why = bf16()
        if not has_bf16 and any(recipe.settings.precision == "bf16" for recipe in recipes.values()):
            raise ValueError(
                f"the paper's size is trained in bf16, which this hardware has not ({why}): take a GPU of "
                "compute capability 8.0 (Ampere) or later, or give --precision fp32"
            )
        runs = {}
        for key, recipe in recipes.items():
            run = runs[key] = obtain(recipe, say=say)
            accuracy = run.predictions().accuracy
            # windows of untrimmed video have no label, and their accuracy is not a number
            score = "a detector" if accuracy != accuracy else f"{accuracy:.2f} % of test clips"
            say(f"{', '.join(key)}: {score}, {run.folder}")
        return runs
