"""A training is rehearsed on a few clips before anything is trained, so that its faults appear before hours are spent.

The rehearsal uses the functions of the training. It asks what a user cannot see: whether an answer depends on the other
clips of a batch, whether frozen networks stay frozen, whether a run can be resumed and opened again. No weight of the
training depends on it.
"""

import tempfile
import time
from collections import UserDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kdlab.clips.cache import resize
from kdlab.clips.records import Catalogue
from kdlab.clips.windows import ClipBatches
from kdlab.distill.adaptation import AsItIs
from kdlab.nets.layers import graph_of, one_thread
from kdlab.nets.video import Normalised, build
from kdlab.protocols import Data, Method, Net, View
from kdlab.system import paths
from kdlab.system.files import text_hash
from kdlab.system.sources import foreign_modules
from kdlab.train.device import device, seeded_generators
from kdlab.train.feeding import parts_of_batch
from kdlab.train.loop import Trained, Training, cpu_copies, weights_hash
from kdlab.train.preparing import batches, inputs_of, opened_splits
from kdlab.train.recipe import Inputs, Recipe, Snapshot, to_json
from kdlab.train.runs import Run, versions, write_run
from kdlab.train.settings import Settings

#: How far two answers to one clip may differ, as a share of the largest logit. GPUs round more coarsely than a CPU.
#: Statistics of three dark clips enlarge rounding to 1e-4 (re-estimated, after a first norm of each clip).
ON_CPU, ELSEWHERE = 1e-3, 1e-2
#: The columns of the history beside losses and terms.
_COLUMNS = {"epoch", "step", "lr", "val_accuracy", "val_loss"}
_ALONE = (
    "In evaluation mode nothing may be computed over the batch: give batch norm running statistics, "
    "and let attention and centring stay inside a clip"
)
#: What is wrong with a network whose second answers, in batches of this size, are others than its first.
_FAULTS = {
    64: "changes from pass to pass in evaluation mode. Random numbers must depend on self.training, "
    "as in nn.Dropout",
    1: f"is another alone than beside other clips. {_ALONE}",
    2: f"depends on the clips beside it. {_ALONE}",
}


def rehearse(recipe: Recipe, snapshot: Snapshot | None = None) -> None:
    """Rehearse the training of ``recipe`` on three clips of each split: first the recipes it needs, then its first, its
    middle and its last step, a checkpoint and a resume from it, evaluation, writing, and opening the run.

    Raises ``ValueError`` with the part that fails and how to fix it; errors in the clips are those of the training.
    Recipes that differ only in condition, seed, rate and batch size (above 1) are rehearsed once per version of the
    sources and packages, by any process.
    """
    snapshot = snapshot or Snapshot()
    if not _marker(recipe, snapshot).exists():
        temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with temporary as place, one_thread(device()), seeded_generators(0):
            _rehearsed(recipe, Path(place), snapshot)


def _marker(recipe: Recipe, snapshot: Snapshot) -> Path:
    """The file that exists once a recipe of this kind was rehearsed."""
    what = repr((_kind(recipe, snapshot), snapshot.sources(recipe), versions(), device()))
    return paths.cache_dir() / "rehearsed" / text_hash(what, 32)


def _kind(value, snapshot: Snapshot):
    """The properties on which a rehearsal depends: of kdlab's own clips only their type and classes; of settings all
    but the rate, for a batch of at most two clips."""
    if isinstance(value, Recipe):
        left_out = "condition", "seed", "data", "settings"
        parts = [getattr(value, f.name) for f in fields(value) if f.name not in left_out]
        parts.append(replace(_of_two(value, snapshot), lr=1.0))
        data = value.data
        if not foreign_modules(data):
            data = type(data), snapshot.catalogue(data).classes
        return type(value), data, *(_kind(part, snapshot) for part in parts)
    return tuple(_kind(part, snapshot) for part in value) if isinstance(value, tuple) else value


def _of_two(recipe: Recipe, snapshot: Snapshot) -> Settings:
    """The settings of ``recipe`` for a batch of two clips, in parts of one clip where the training has such parts."""
    settings = recipe.settings
    clips = len(snapshot.catalogue(recipe.data).split("train"))
    parts_of_one = 1 < settings.accumulate > min(settings.batch_size, clips) // 2
    return replace(
        settings, batch_size=min(2, settings.batch_size), accumulate=2 if parts_of_one else 1
    )


@dataclass(frozen=True)
class _Few(Data):
    """The first, the middle and the last clip of each split."""

    name: str
    few: Catalogue

    @classmethod
    def of(cls, data, snapshot: Snapshot) -> "_Few":
        every, records = snapshot.catalogue(data), []
        for split in ("train", "val", "test"):
            its = every.split(split)
            records += [its[k] for k in sorted({0, len(its) // 2, len(its) - 1}) if its]
        return cls(data.name, replace(every, records=tuple(records)))

    def catalogue(self) -> Catalogue:
        return self.few


def _rehearsed(recipe: Recipe, place: Path, snapshot: Snapshot) -> Run:
    """The run of ``recipe`` after a few steps, in the folder ``place``. A kind that was rehearsed before, as a teacher's
    may be, takes its steps and is written without the checks."""
    known = (marker := _marker(recipe, snapshot)).exists()
    needed = {}
    for what, other in recipe.needs().items():
        (place / what).mkdir()
        needed[what] = _rehearsed(other, place / what, snapshot)
    few = replace(
        recipe, data=_Few.of(recipe.data, snapshot), settings=_of_two(recipe, snapshot), seed=1
    )
    net, method = type(recipe.net).__qualname__, type(recipe.method).__qualname__
    if recipe.on_clips:
        _check_clips(recipe, few, snapshot.catalogue(recipe.data))
        if not known:
            with _doing(f"{net} does not fit these clips"):
                _check_net(few)
    what = f"{method} fails in a step of {recipe.stem}, whose networks are {', '.join(few.views())}"
    with _doing(what, taught=recipe.teacher is not None):
        ready, trained = _steps(few, needed, place)
    both = f"{net}, trained by {method},"
    with _doing(f"{both} cannot be evaluated and written"):
        about = {"recipe": to_json(recipe), "classes": [*few.data.catalogue().classes]}
        write_run(place, ready, trained, about, time.monotonic())
    run = Run(place, recipe)
    if not known:
        with _doing(f"{both} cannot be opened again"):
            _check_opened(ready, trained, run)
        with _doing(f"{both} answers a clip in more than one way"):
            _check_answers(ready, trained)
        with _doing(f"{both} cannot go on from a checkpoint"):
            _check_resumed(few, needed, place, trained)
        with suppress(OSError):  # without the marker the next process rehearses again
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
    return run


@contextmanager
def _doing(what: str, taught: bool = True) -> Iterator[None]:
    """Turn an error into a ``ValueError`` that says ``what`` went wrong; kdlab's own errors are full sentences. Where
    nothing is ``taught``, a method that asks for a teacher is told so."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith("kdlab."):
            raise
        message = (
            f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        )
        if message.endswith("is not an iterator"):
            message = "losses() must yield (optimiser, loss, terms), and not return it"
        if message == "KeyError: 'teacher'" and not taught:
            message = "it learns from a teacher, and the recipe has none: give it teacher=Recipe(…)"
        raise ValueError(f"{what}: {message}") from error


def _check_clips(recipe: Recipe, few: Recipe, catalogue: Catalogue) -> None:
    """Read the few clips; where one of them cannot be read, all, so that every such clip is reported. Raise
    ``ValueError`` where there are fewer clips than parts of a batch."""
    try:
        train, *_ = opened_splits(few, few.data.catalogue())
    except (ValueError, OSError):
        opened_splits(recipe, catalogue)
        raise
    for view in filter(foreign_modules, train.tags):
        _check_view(view, train)
    clips = len(catalogue.split("train"))
    parts_of_batch(min(recipe.settings.batch_size, clips), recipe.settings.accumulate)


def _check_view(view: View, clips: ClipBatches) -> None:
    """Raise ``ValueError`` where a clip that is read anew is another than in the cache."""
    path, side = clips.records[0].path, clips.window.side
    count = clips.cache.length(path, side, view.yield_frames, clips.tags[view])
    some = sorted({0, count // 2, count - 1})
    kept = clips.cache.frames(path, some, side, view.yield_frames, clips.tags[view])
    anew = resize(np.stack([*view.yield_frames(path, some)]), side)
    # an enhancer may round otherwise
    if anew.shape != kept.shape or np.abs(anew.astype(int) - kept).max() > 2:
        raise ValueError(
            f"{type(view).__qualname__} gives other frames {some} of {path} than the cache keeps as "
            f"{view.name!r}: its name must hold every field that changes pixels, and its read(path, "
            "indices) must give these frames, with no random numbers"
        )


# --- the steps ---------------------------------------------------------------------------------------------------


def _steps(
    recipe: Recipe, needed: dict, place: Path, resumed: bool = False
) -> tuple[Inputs, Trained]:
    """Train ``recipe`` for its first, its middle and its last step. The checkpoint after the first is kept in
    ``place``; ``resumed`` begins there."""
    recipe = recipe.fresh()
    ready, kept = inputs_of(recipe, needed, recipe.data.catalogue(), str), place / "begun"
    train, settings = ready.train, recipe.settings
    train.records = train.records[: settings.batch_size]  # there may be more than two windows
    run = _Observed(
        recipe.method, ready.nets, train, settings, recipe.seed, ready.validation, "", str
    )
    if resumed:
        run.resume(kept)
        if not run.done:
            raise ValueError("it cannot be read back")
    for step in sorted({0, run.steps // 2, run.steps - 1}):
        if step >= run.done:
            run.go_on_at(step)
            run.step()
            run.end_epoch()
            if step == 0:
                run.save(kept)
    if not resumed:
        run.check_owners()
        if recipe.teacher and recipe.on_clips:
            run.check_teacher()
    return ready, run.finished()


class _Networks(UserDict):
    """Networks by name, which notes the names that are asked for, in any way: all ways lead to ``__getitem__``."""

    def __init__(self, nets):
        super().__init__(nets)
        self.asked = set()

    def __getitem__(self, name: str) -> nn.Module:
        self.asked.add(name)
        return super().__getitem__(name)

    def __or__(self, others):  # pyright: ignore[reportIncompatibleMethodOverride]
        return dict(self) | others  # UserDict's would note elsewhere what is asked of it


class _Observed(Training):
    """A training that sees which networks its method asks for, and to which tensors the gradients of its losses go."""

    def _set_up(self, nets: dict[str, nn.Module]) -> None:
        learning = [w for net in nets.values() for w in net.parameters() if w.requires_grad]
        super()._set_up(nets)
        self.nets = _Networks(self.nets)
        self.before = {name: self._hash(name) for name in self.frozen}
        self.leaves, self.lasting = {}, set()
        # a network that is not declared frozen shows whether a loss has a gradient for it
        for weight in learning:
            weight.requires_grad_(True)

    def end_epoch(self) -> None:
        if taken := _COLUMNS & self.sums.keys():
            raise ValueError(f"losses() has a term {min(taken)!r}, as the history has: rename it")
        super().end_epoch()

    def backward(self, loss: Tensor) -> None:
        variables = (getattr(node, "variable", None) for node in graph_of([loss]))
        leaves = {id(leaf): leaf for leaf in variables if leaf is not None}
        self.lasting |= leaves.keys() & self.leaves.keys()
        self.leaves |= leaves
        super().backward(loss)

    def check_frozen(self) -> None:
        super().check_frozen()
        for name, before in self.before.items():
            if self._hash(name) != before:
                raise self.changed(name)

    def _hash(self, name: str) -> str:
        return weights_hash(cpu_copies(self.bare[name].state_dict()))

    def check_teacher(self) -> None:
        """Raise ``ValueError`` for a teacher that nobody asks for."""
        if "teacher" not in self.nets.asked and type(self.method).extra_nets is Method.extra_nets:
            raise ValueError(
                f"{type(self.method).__qualname__} does not use the recipe's teacher, so the student "
                "would learn without it: give the recipe a method that does, such as KD(), or no teacher"
            )

    def check_owners(self) -> None:
        """Raise ``ValueError`` for a tensor to which a loss has a gradient, and that no optimiser changes, and for a
        network that no loss has a gradient for. A tensor that is no parameter counts where two steps lead to it; one
        step's may be the input."""
        # a method may begin to train another network than the student later
        learners = self.owned if self.steps > 2 else ["student"]
        if isinstance(self.method, AsItIs):
            learners = []
        for name in learners:
            learning = {id(w) for w in self.bare[name].parameters() if w.requires_grad}
            if learning and not learning & self.leaves.keys():
                raise ValueError(
                    f"no loss has a gradient for the network {name!r}, so it would stay as it is: do not "
                    "detach its outputs, and yield a loss of each optimiser; or inherit from AsItIs"
                )
        names = {id(w): name for name, net in self.bare.items() for w in net.parameters()}
        owned = {id(w) for name in self.owned for w in self.bare[name].parameters()}
        for number, leaf in self.leaves.items():
            if number in owned or not (isinstance(leaf, nn.Parameter) or number in self.lasting):
                continue
            what = f"a tensor of shape {tuple(leaf.shape)} that is in no network"
            if number in names:
                what = f"the network {names[number]!r}"
            raise ValueError(
                f"a loss has a gradient for {what}, which no optimiser owns, so it would stay as it is: "
                "name its network in networks_by_optimiser(), or freeze it by requires_grad_(False) in "
                "extra_nets()"
            )


# --- the answers -------------------------------------------------------------------------------------------------


def _logits(ready: Inputs, net: nn.Module, batch_size: int = 64) -> Tensor:
    """The logits of ``net`` for the training clips in batches of ``batch_size``; an empty tensor where nothing is
    predicted."""
    return ready.answers(net, "train", batch_size)[1] if ready.splits else torch.zeros(0)


def _check_opened(ready: Inputs, trained: Trained, run: Run) -> None:
    """Raise ``ValueError`` where the rebuilt network answers otherwise than the trained one."""
    with seeded_generators(0):
        kept = _logits(ready, trained.nets["student"])
    with seeded_generators(0):
        opened = _logits(ready, run.net().to(trained.device))
    # bit for bit on a CPU; elsewhere two passes may sum in different orders
    same = (
        torch.equal(kept, opened)
        if trained.device == "cpu"
        else torch.allclose(kept, opened, 1e-3, 1e-4)
    )
    if not same:
        raise ValueError(
            "its outputs differ from those of the trained network. Keep all that training changes in "
            "parameters and persistent buffers, layers in nn.ModuleList or nn.ModuleDict"
        )


def _check_answers(ready: Inputs, trained: Trained) -> None:
    """Raise ``ValueError`` where the answer to a clip depends on the batch in which it stands, or on the pass."""
    net = trained.nets["student"]
    together = _logits(ready, net)
    if not together.numel():
        return
    allowed = (ON_CPU if trained.device == "cpu" else ELSEWHERE) * float(together.abs().max())
    for batch_size, fault in _FAULTS.items():
        logits = _logits(ready, net, batch_size)
        if logits.shape != together.shape:
            raise ValueError(
                "its answer to one clip alone has another shape: keep the batch axis (squeeze and reshape "
                "only axes that you name)"
            )
        difference = float((logits - together).abs().max())
        if not difference <= allowed:
            raise ValueError(f"its answer {fault} (logits differ by {difference:.2g})")


def _check_resumed(recipe: Recipe, needed: dict, place: Path, trained: Trained) -> None:
    _, resumed = _steps(recipe, needed, place, resumed=True)
    # elsewhere the order of sums may differ
    if trained.device == "cpu" and weights_hash(trained.weights()) != weights_hash(
        resumed.weights()
    ):
        raise ValueError(
            "a training that is interrupted and goes on ends in other weights. Keep all that steps change "
            "in parameters and persistent buffers, and draw from the global generators of torch, NumPy or "
            "Python, which are seeded for each step"
        )


# --- the network -------------------------------------------------------------------------------------------------


def _check_net(recipe: Recipe) -> None:
    """Raise ``ValueError`` where the untrained network lacks a layer that its spec names, changes in evaluation mode or,
    for labelled clips, does not return one row of logits per clip."""
    clips = batches(recipe, "train", {"student": recipe.view})
    x = next(iter(replace(clips, records=clips.records[:3]).evaluation())).views["student"]
    kind, classes = type(recipe.net).__qualname__, len(recipe.data.catalogue().classes)
    net = _made(recipe.net, classes, x.shape[1])
    weights = {*net.state_dict()}
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with torch.no_grad():
        logits = net.eval()(x)
    if added := {*net.state_dict()} - weights:
        raise ValueError(
            f"{kind} adds {min(added)!r} while it runs, so its run could not be opened: make every layer "
            "in __init__"
        )
    for name, buffer in net.named_buffers():
        if not torch.equal(buffer, before[name]):
            raise ValueError(
                f"{kind} changes its buffer {name!r} in evaluation: only training may change a network"
            )
    if all(record.label >= 0 for record in clips.records):
        _check_logits(kind, logits, (len(x), classes))


def _made(spec: Net, classes: int, seen: int) -> Normalised:
    """The untrained network of ``spec`` for clips of ``seen`` channels, if it is what the spec says."""
    kind, channels = type(spec).__qualname__, spec.channels
    if seen != channels:
        raise ValueError(
            f"{kind} sees video of {channels} channels and the view has {seen}: give the network "
            f"channels = {seen}, or another view"
        )
    given = spec.statistics
    if given and {len(values) for values in given} != {channels}:
        raise ValueError(
            f"{kind}.statistics must have a mean and a deviation for each of {channels} channels"
        )
    with _doing(f"{kind}.make({classes}) fails"):
        again = spec.make(classes)
        if not isinstance(again, nn.Module):
            raise ValueError("it must return the network, a torch.nn.Module")
        net = build(spec, classes, 0, *map(torch.tensor, given or ()))
    layers = dict(net.net.named_modules())
    named = [*spec.stages] + ([spec.head] if spec.head != Net.head else [])
    if lost := [name for name in named if name not in layers]:
        raise ValueError(
            f"{kind} names a layer {lost[0]!r}, and its network has {', '.join(filter(None, layers))}"
        )
    if not {*map(id, net.parameters())}.isdisjoint(map(id, again.parameters())):
        raise ValueError(
            f"{kind}.make gives the same weights twice, so a teacher would move with its student: let it "
            "make a new network at each call"
        )
    return net


def _check_logits(kind: str, logits, wanted: tuple[int, int]) -> None:
    given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if given != wanted:
        raise ValueError(
            f"{kind} gives {given} for {wanted[0]} clips, where {wanted} is wanted, a row a clip and a "
            "column a class"
        )
    sums = logits.sum(1)
    if (
        wanted[1] > 1
        and (logits >= 0).all()
        and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)
    ):
        raise ValueError(
            f"{kind} gives probabilities in evaluation, where logits are wanted: losses and measures do "
            "their own softmax, so take it out of the network"
        )
