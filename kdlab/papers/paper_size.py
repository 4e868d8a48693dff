"""Training at a paper's own size, and a dry run that says what it needs and costs: one walk through a tree of recipes.

Each paper's ``paper_size`` names its data sets, its recipes and what is special about them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn
from torch.fx.experimental import _config as on_meta
from torch.utils.flop_counter import FlopCounterMode

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.datasets import DATA_SETS
from kdlab.clips.splits import VAL_SHARE
from kdlab.clips.views import Batch, Raw
from kdlab.distill.method import CrossEntropy
from kdlab.nets.pretrained import untrained
from kdlab.nets.video import build
from kdlab.night import Night
from kdlab.papers.reading_cost import ASSUMED, Prepared, films, lines, reading
from kdlab.system.launch import Launch, bf16, by_itself, launched
from kdlab.system.ranks import first
from kdlab.train.loop import Progress, Settings
from kdlab.train.many import in_order
from kdlab.train.parallel import cuts
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import obtain

# --- what a training costs -----------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """Of one clip: MACs ``forward`` and in a ``training`` step, and fp32 bytes ``kept`` for the way back; of the
    networks: numbers ``trained``, and ``frozen`` beside them."""

    forward: float
    training: float
    kept: int
    trained: int
    frozen: int


def example(recipe: Recipe, classes: int, labels: tuple[int, ...] = ()) -> tuple[dict[str, nn.Module], Batch, object]:
    """A training's networks, a batch of one empty clip (``labels`` is the shape of what stands for its class), and what
    of it the student sees."""
    channels, window = getattr(recipe.net, "channels", 3), recipe.window
    nets = {"student": build(untrained(recipe.net), classes, 0, torch.zeros(channels), torch.ones(channels))}
    views = {"student": torch.zeros(1, channels, window.frames, window.crop, window.crop)}
    if recipe.teacher:
        beside, _, views["teacher"] = example(recipe.teacher, classes, labels)
        nets |= {"teacher": beside.pop("student")} | {f"teacher_{name}": net for name, net in beside.items()}
        nets |= {name: net.eval().requires_grad_(False) for name, net in nets.items() if name != "student"}
    batch = Batch(views, torch.zeros(1, *labels, dtype=torch.float if labels else torch.long), ("",))
    if hasattr(recipe.method, "extra_nets"):
        nets |= recipe.method.extra_nets(nets, [batch], 0, {})
    return nets, batch, views["student"]


def activation_bytes(net: nn.Module, losses: Iterable[torch.Tensor]) -> int:
    """The most bytes that autograd keeps on the way to one of ``losses``, each of which is then walked back; parameters
    of ``net`` are not counted."""
    own = {t.untyped_storage()._cdata for t in net.state_dict(keep_vars=True).values()}
    most, kept = 0, {}  # holds the storages, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for loss in losses:
            most = max(most, sum(storage.nbytes() for key, storage in kept.items() if key not in own))
            kept.clear()
            loss.backward()
    return most


def cost(recipe: Recipe, classes: int, example: Callable = example, device: str = "meta") -> Cost:
    """What the recipe's own method does with its own networks on one clip of its own window, counted in a training step
    (torch's counter; 1 MAC = 2 FLOP). On the meta device no pixel is computed.

    Of passes that take turns by epochs it is the mean. A method that asks its teacher before the first step
    (``prepare``) has a step like that on labels alone.
    """
    return _cost(_alike(recipe), classes, example, device)


@cache
def _cost(recipe: Recipe, classes: int, example: Callable, device: str) -> Cost:
    if hasattr(recipe.method, "prepare"):
        recipe = replace(recipe, method=CrossEntropy(), teacher=None)
    method, turns = recipe.method, getattr(recipe.method, "alternating", 0) or 1
    with torch.device(device), on_meta.patch(meta_nonzero_assume_all_nonzero=True):  # all of a detector's answers learn
        nets, batch, seen = example(recipe, classes)
        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            nets["student"](seen)
        with FlopCounterMode(display=False) as training:
            steps = [method.losses(nets, batch, Progress(turn, turns)) for turn in range(min(2, turns))]
            kept = activation_bytes(nn.ModuleDict(nets), (loss for step in steps for _, loss, _ in step))
    names = {name for part in method.parts(nets).values() for name in part}
    sizes = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    trained = sum(sizes[name] for name in names)
    one, step = forward.get_total_flops() / 2, training.get_total_flops() / 2 / len(steps)
    return Cost(one, step, kept, trained, sum(sizes.values()) - trained)


def _alike(value):
    """A recipe (or a tuple of some) without what does not change its cost."""
    if isinstance(value, tuple):
        return tuple(map(_alike, value))
    if not isinstance(value, Recipe):
        return value
    same = dict(condition="", data=Night(), view=Raw(), start=None, settings=Settings(), seed=0)
    return type(value)(**{f.name: _alike(getattr(value, f.name)) for f in fields(value)} | same)


# --- a paper -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PaperSet:
    """A data set of the paper: its ``folder`` in the data root, and what its lists are known to name.

    ``clips`` are those of each split's list of training clips, from which validation is carved; where they are
    untrimmed videos, one trains on so many ``windows`` of them. So many clips does a split have ``in_all``, tested ones
    too, each of which is read at least once. ``published`` says who reports what, in percent.
    """

    title: str
    folder: str
    classes: int
    clips: tuple[int, ...]
    published: tuple[str, ...]
    splits: tuple[str, ...] = ("1", "2", "3")
    windows: int = 0
    in_all: int = 0


@dataclass(frozen=True)
class Paper:
    """A paper at its own size: the command ``kdlab paper NAME``.

    ``recipes(which, root, size, seed)`` gives the trainings on a data set by key: split, what else tells them apart,
    condition. ``rows(which, runs, size, say)`` are what the runs of those keys say: a value for each of ``columns``,
    the last of which becomes the table's, and a number in percent. ``section`` of docs/methods.md says whose its
    numbers are, ``otherwise`` what of the released settings is not reproduced, and ``switched`` what is where the
    settings are ``as_released``. ``fits(catalogue)`` raises ``ValueError`` for clips that cannot be used;
    ``special(which, root, size, clips)`` are more lines of a dry run, of ``clips`` to train on in each split;
    ``example`` is that of :func:`cost`. ``reading`` is what views cost the CPU, by the classes of their parts, where a
    dry run tells it.
    """

    name: str
    section: str
    sets: tuple[PaperSet, ...]
    recipes: Callable[..., dict[tuple[str, ...], Recipe]]
    rows: Callable[..., Iterable[tuple]]
    columns: tuple[str, ...]
    otherwise: str = "none is known"
    switched: str = ""
    fits: Callable[[Catalogue], object] = lambda catalogue: None
    special: Callable[..., list[str]] = lambda which, root, size, clips: []
    example: Callable = example
    reading: tuple[tuple[type, Prepared], ...] = ()

    def look(self, which: PaperSet, root: Path) -> list[Catalogue] | str:
        """The data set's catalogue for each split, or the reason why it cannot be opened."""
        place = root / which.folder
        mend = f"put {which.title} there; `kdlab paper {self.name} --dry-run` shows the layout"
        if not place.is_dir():
            return f"no folder {place}: {mend}"
        try:
            found = [UserClips(str(place), split).catalogue() for split in which.splits]
            self.fits(found[0])
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        if found[0].name.removesuffix(" (CoViAR)") != which.title:  # other clips in class folders would open, too
            return f"{place} holds {found[0].name}, by its lists and folders: {mend}"
        return found

    def dry_run(self, root: Path, size, tflops: float = 400, share: float = 0.35) -> str:
        """What :meth:`run` would need, do and be compared with, as text. ``tflops``: dense bf16 rate of the device that
        well-shaped matrix products reach; ``share``: what part of it these networks are assumed to reach."""
        lines, every, released = [], [], False
        for which in self.sets:
            there, made = self.look(which, root), self.recipes(which, root, size, 0)
            about = next(data for data in DATA_SETS if data.title == which.title)
            clips = [round((1 - VAL_SHARE) * count) for count in which.clips]
            if not isinstance(there, str):
                recipe = next(iter(made.values()))
                clips = [len(recipe.window.batches(one, "train", recipe.views()).records) for one in there]
            elif which.windows:
                clips = [round((1 - VAL_SHARE) * which.windows)]
            every += made.values()
            released |= any(recipe.settings.as_released for recipe in made.values())
            table = self._table(which, made, clips, 3.6e15 * tflops * share)
            lines += [
                f"{which.title}: {about.clips}",
                f"  put into   {root / which.folder}",
                f"  clips      {about.folders}",
                f"  lists      {about.lists}",
                f"  note       {about.remark}",
                f"  found      {f'no: {there}' if isinstance(there, str) else 'yes'}",
                f"  splits     {', '.join(which.splits)}: {_listed(clips)} training clips; {VAL_SHARE:.0%} validate",
                *self.special(which, root, size, clips),
                *self._reading(which, made, there, clips),
                indent(table.to_string(index=False, float_format="{:.1f}".format), "  "),
                f"  GPU time   {table.n @ table.h:,.1f} h a seed ({tflops:g} TFLOP/s × {share:g}: both assumed)",
                *(f"  compare    {line}" for line in which.published), "",
            ]
        lines += [
            "n trainings alike. GMACs: of a clip, forward and to train on it; M: million parameters; GiB: with"
            " optimiser and activations; h: of a GPU, all splits. Workspaces and evaluation are left out.",
            f"One training can be shared by {either(sharing(every))} processes (docs/cluster.md).",
            *([f"{'As released' if released else 'Only with --as-released'}: {self.switched}."] * bool(self.switched)),
            f"Released settings that are not reproduced: {self.otherwise}.",
            f"What is the paper's, the reference code's, ours or unknown: docs/methods.md, {self.section}.",
        ]
        return "\n".join(lines)

    def _reading(self, which: PaperSet, made: dict, there: list[Catalogue] | str, clips: list[int]) -> list[str]:
        """What the CPU does before a network sees anything, where that is known."""
        if not self.reading:
            return []
        in_all, seen = [which.in_all or count for count in which.clips], ASSUMED
        if not isinstance(there, str):
            in_all, seen = [len(one.records) for one in there], films(there)
        of = [dict(zip(which.splits, counts, strict=True)) for counts in (clips, in_all)]
        return lines(reading(made, *of, seen, dict(self.reading)), seen)

    def _table(self, which: PaperSet, made: dict, clips: list[int], flops: float) -> pd.DataFrame:
        """A line for the n trainings of a split that take the same; ``flops`` are those of an hour."""
        rows, parts = [], {}
        for key, recipe in made.items():
            for one in in_order([recipe]) if key[0] == which.splits[0] else ():
                parts.setdefault(one, " ".join(key[1:-1]))
        for recipe, part in parts.items():
            each, settings = cost(recipe, which.classes, self.example), recipe.settings
            half = settings.precision == "bf16"  # a copy of what is trained, beside gradients and AdamW's moments
            memory = (16 + 2 * half) * each.trained + 4 * each.frozen
            memory += settings.batch_size / settings.accumulate * each.kept / (1 + half)
            steps = _listed(settings.epochs * (n // min(n, settings.batch_size)) for n in clips)
            hours = 2 * each.training * settings.epochs * sum(clips) / flops
            row = {"part": part, "training": recipe.condition, "epochs": settings.epochs, "batch": settings.batch_size}
            row |= {"steps": steps, "clip": f"{recipe.window.frames} × {recipe.window.crop}²"}
            row |= {"GMACs": each.forward / 1e9, "to train": each.training / 1e9, "M": each.trained / 1e6}
            rows.append(row | {"M frozen": each.frozen / 1e6, "GiB": memory / 2**30, "h": hours})
        table = pd.DataFrame(rows).round(3)
        alike = table.groupby([name for name in table if name != "training"], sort=False, as_index=False).training
        return alike.agg(n="size", trainings=lambda names: ", ".join(dict.fromkeys(names)))

    def run(self, root: Path, size, seed: int = 0, say=print) -> pd.DataFrame:
        """Train (or find) everything on the data sets that are in ``root``; percent, a mean over the splits. Of several
        processes the first alone evaluates; the others get an empty table.

        All data sets are looked at before the first training. Those that are not there are named to ``say``, and the
        rows of each are said as it ends. Raises ``FileNotFoundError`` when there is none, and ``ValueError`` where
        recipes ask for bf16 and the hardware has none, or for batches that these processes cannot share.
        """
        found, rows = {which: self.look(which, root) for which in self.sets}, []
        missing = [f"{which.title} is left out: {why}" for which, why in found.items() if isinstance(why, str)]
        if len(missing) == len(found):
            raise FileNotFoundError("\n  ".join(["no data set of the paper can be opened:", *missing]))
        for line in missing:
            say(line)
        made = {which: self.recipes(which, root, size, seed) for which, there in found.items()
                if not isinstance(there, str)}
        every = [recipe for recipes in made.values() for recipe in recipes.values()]
        _has_bf16(every)
        self._is_shared(every)
        for which, recipes in made.items():
            runs = {key: obtain(recipe, say=say) for key, recipe in recipes.items()}
            if first():  # of several processes that train together
                with by_itself():
                    own = [(which.title, *row) for row in self.rows(which, runs, size, say)]
                rows += own
                say(f"{which.title} is through:\n{self._told(own).round(2).to_string()}")  # the next may fail
        return self._told(rows) if first() else pd.DataFrame()

    def _told(self, rows: list[tuple]) -> pd.DataFrame:
        names = ["data", *self.columns]
        return pd.DataFrame(rows, columns=[*names, "%"]).pivot_table("%", names[:-1], names[-1], sort=False)

    def _is_shared(self, recipes: list[Recipe]) -> None:
        """Raise ``ValueError`` where the processes that were started cannot share the batches: before clips are opened,
        which takes hours, and with the numbers that can, because no option of the command changes a batch."""
        if (world := launched().world) not in (counts := sharing(recipes)):
            sizes = either({recipe.settings.batch_size for recipe in in_order(recipes)}, "and")
            raise ValueError(f"kdlab paper {self.name} trains in batches of {sizes}, which {world} processes cannot "
                             f"share: start {either(counts)} of them")


def sharing(recipes: Iterable[Recipe]) -> list[int]:
    """The numbers of processes that can share each batch of ``recipes`` and of those they need, by the loop's rule."""
    settings = {recipe.settings for recipe in in_order(recipes)}

    def fits(world: int, one: Settings) -> bool:
        try:
            return bool(cuts(one.batch_size, one.batch_size, one.accumulate, Launch(world=world)))
        except ValueError:
            return False

    return [world for world in range(1, 1 + min((one.batch_size for one in settings), default=0))
            if all(fits(world, one) for one in settings)] or [1]


def either(numbers: Iterable[int], word: str = "or") -> str:
    """Numbers as a sentence has them.

    >>> either([8, 1, 2]), either({5}), either([6, 12], "and")
    ('1, 2 or 8', '5', '6 and 12')
    """
    *most, last = sorted(numbers)
    return f"{', '.join(map(str, most))} {word} {last}" if most else str(last)


def in_precision(value, precision: str):
    """A paper's size (or a tuple, or any dataclass) with all settings in it of ``precision``."""
    if isinstance(value, Settings):
        return replace(value, precision=precision)
    if isinstance(value, tuple):
        return tuple(in_precision(part, precision) for part in value)
    if not is_dataclass(value):
        return value
    return replace(value, **{f.name: in_precision(getattr(value, f.name), precision) for f in fields(value) if f.init})


def _has_bf16(recipes: Iterable[Recipe]) -> None:
    """Raise ``ValueError`` where a training wants bf16 that the hardware has not: at this size it would take months."""
    there, why = bf16()
    if not there and any(recipe.settings.precision == "bf16" for recipe in recipes):
        raise ValueError(f"the paper's size is trained in bf16, which this hardware has not ({why}): take a GPU of "
                         "compute capability 8.0 (Ampere) or later, or give --precision fp32")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(f"{n:,}" for n in numbers)
