"""Before the first step of a training: its networks and batches are built, and all of it is rehearsed on two clips.

The rehearsal uses the same functions as the training, so an error in a network or a method appears before hours are
spent. No weight depends on it.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.windows import ClipBatches, open_all
from kdlab.nets.layers import one_thread
from kdlab.nets.norms import folded
from kdlab.nets.video import begin_as, build, for_classes
from kdlab.system import paths
from kdlab.system.sources import foreign_classes, source_hash
from kdlab.train.loop import Settings, Trained, fit, predict, seeded_generators, weights_hash
from kdlab.train.processes import as_single_process, device
from kdlab.train.recipe import Prepared, Recipe, to_json
from kdlab.train.runs import CHECKPOINT, Run, versions, write_run


def batches(recipe: Recipe, split: str, views: dict | None = None) -> ClipBatches:
    """The clips of ``split`` in the views of the recipe's networks (or in other ``views``), cut by the recipe's
    ``window``."""
    return recipe.window.batches(recipe.data.catalogue(), split, views or recipe.views())


def opened_splits(recipe: Recipe) -> tuple[ClipBatches, ClipBatches, ClipBatches]:
    """Training, validation and test clips, after a check that each can be read; raises as :func:`open_all`. Test clips
    have only the view of the trained network."""
    parts = batches(recipe, "train"), batches(recipe, "val"), batches(recipe, "test", {"student": recipe.view})
    open_all(parts)
    return parts


def cache_clips(recipes: Iterable[Recipe]) -> None:
    """Fill the cache with the clips of ``recipes``, on all cores, before each recipe is trained in a process with one
    core. Errors in the clips are ignored here; the trainings report them."""
    # a recipe with its own prepare() learns from networks, whose recipes open the clips
    alike = {(r.data, r.window, *r.views().values()): r for r in recipes if not hasattr(r, "prepare")}
    for recipe in alike.values():
        with suppress(ValueError, OSError):
            opened_splits(recipe)


def prepared(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable) -> Prepared:
    """The :class:`.recipe.Prepared` of ``recipe``; ``needed`` maps ``teacher`` and ``start`` to their runs.

    ``say`` is told of a teacher that is worse than its student. Records without a label, such as windows of untrimmed
    video, have no validation during training, and are not compared: such a method distils features, whose shapes it
    checks itself.
    """
    with seeded_generators(recipe.seed, 6):  # for networks initialised from NumPy or Python
        if hasattr(recipe, "prepare"):
            return recipe.prepare(needed, catalogue)
        return _prepared(recipe, needed, catalogue, say)


def _prepared(recipe: Recipe, needed: dict, catalogue: Catalogue, say: Callable) -> Prepared:
    train, validation, _ = opened_splits(recipe)
    labelled = all(record.label >= 0 for record in train.records)
    given = getattr(recipe.net, "statistics", None)  # those of its pre-training; else those of the clips' view
    statistics = map(torch.tensor, given) if given else train.statistics("student")
    net = build(recipe.net, len(catalogue.classes), recipe.seed, *statistics)
    nets = {"student": net}
    if start := needed.get("start"):
        if hasattr(recipe.net, "begin"):
            recipe.net.begin(net, start.net())
        else:
            begin_as(net, start.net(), catalogue.classes, start.provenance["classes"],
                     getattr(recipe.net, "head", "fc"))
    if teacher := needed.get("teacher"):
        taught = teacher.provenance["classes"]
        if not labelled and list(taught) != list(catalogue.classes):
            raise ValueError(f"{teacher.folder.name}: the teacher detects {', '.join(taught)}, the student "
                             f"{', '.join(catalogue.classes)}; train both on the same classes")
        nets["teacher"] = for_classes(teacher.net(), taught, catalogue.classes).eval().requires_grad_(False)
        if labelled and (warning := _warning_of_teacher(nets, train)):
            say(f"{recipe.name}: {warning}")
    if hasattr(recipe.method, "extra_nets"):
        nets |= recipe.method.extra_nets(nets, train.evaluation(), recipe.seed, needed)
    if teacher:
        few = next(replace(train, records=train.records[:2]).evaluation())
        nets["teacher"] = folded(nets["teacher"], few.views["teacher"])  # after extra_nets, which may copy its norms

    def answers(student: nn.Module, split: str, most: int | None = None):
        loaded = batches(recipe, split, {"student": recipe.view})
        if not loaded.records:
            return (), None
        # The length of a table of labels depends on the fullest window of the batch, so tables do not stack.
        shown = (b if labelled else replace(b, labels=torch.zeros(len(b.ids))) for b in loaded.evaluation())
        return loaded.records, predict(student, islice(shown, most), "student")[0]

    return Prepared(nets, train, validation if labelled else None, answers)


def _warning_of_teacher(nets: dict[str, nn.Module], train: ClipBatches) -> str:
    """A sentence where the teacher is worse than the student before its training; else nothing."""
    sample = replace(train, records=train.records[:: max(1, len(train.records) // 16)])  # of many classes
    batch, right = next(sample.evaluation()), {}
    for role in ("teacher", "student"):
        logits, labels, _ = predict(nets[role], [batch], role)
        right[role] = 100 * float((logits.argmax(1) == labels).float().mean())
    if right["teacher"] >= right["student"]:
        return ""
    return (f"The teacher is worse than the student on this batch ({right['teacher']:.1f} % right against "
            f"{right['student']:.1f} %): see that it has its own view and normalisation, or train it longer.")


# --- the rehearsal ----------------------------------------------------------------------------------------------


def rehearse(recipe: Recipe) -> None:
    """Rehearse the training of ``recipe`` on two clips: first the recipes it needs, then its steps, a checkpoint and a
    resume from it, evaluation, writing, and rebuilding the network. Raises ``ValueError`` with the part that fails and
    how to fix it; errors in the clips are those of the training. Recipes that differ only in condition, seed, rate and
    batch size (above 1) are rehearsed once per version of the sources and packages, by any process."""
    if not _marker(recipe).exists():
        temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with temporary as place, as_single_process(), seeded_generators(0):
            _rehearsed(recipe, Path(place))


def _marker(recipe: Recipe) -> Path:
    """The file that exists once a recipe of this kind was rehearsed."""
    what = repr((_kind(recipe), source_hash(recipe), versions(), device()))
    return paths.cache_dir() / "rehearsed" / hashlib.sha256(what.encode()).hexdigest()[:32]


def _kind(value):
    """The properties on which a rehearsal depends: of kdlab's own clips only their type and classes; of settings all
    but the rate, with a batch size of at most 2."""
    if isinstance(value, Recipe):
        each = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in ("condition", "seed", "data")}
        data = value.data if foreign_classes(value.data) else (type(value.data), value.data.catalogue().classes)
        return type(value), data, *map(_kind, each.values())
    if isinstance(value, Settings):
        return replace(value, lr=1.0, batch_size=min(2, value.batch_size))
    return tuple(map(_kind, value)) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class _Few:
    """Two clips of each split of the data ``of``: the first and the middle one."""

    of: object
    name: str

    def catalogue(self) -> Catalogue:
        every = self.of.catalogue()
        splits = [every.split(split) for split in ("train", "val", "test")]
        return replace(every, records=tuple(record for of in splits for record in of[:: max(1, len(of) // 2)][:2]))

    def fingerprint(self) -> str:
        return f"few of {self.of.fingerprint()}"


def _rehearsed(recipe: Recipe, place: Path) -> Run:
    """The run of ``recipe`` after two steps, in the folder ``place``. A kind that was rehearsed before only produces
    its run."""
    known = (marker := _marker(recipe)).exists()
    needed = {}
    for what, other in recipe.needs().items():
        (place / what).mkdir()
        needed[what] = _rehearsed(other, place / what)
    settings = replace(recipe.settings, batch_size=min(2, recipe.settings.batch_size), accumulate=1)
    few = replace(recipe, data=_Few(recipe.data, recipe.data.name), settings=settings, seed=1)  # Run.net() has seed 0
    if not hasattr(recipe, "prepare"):
        try:
            opened_splits(few)
        except (ValueError, OSError):
            opened_splits(recipe)  # reports all unreadable clips, not only these
            raise
    net, method = type(recipe.net).__qualname__, type(recipe.method).__qualname__
    doing = f"{net} does not fit these clips"
    try:
        if not (known or hasattr(recipe, "prepare")):
            _check_net(few)
        doing = f"{method} fails in the first step of {recipe.stem}, whose networks are {', '.join(few.views())}"
        ready, trained = _steps(few, needed, place / CHECKPOINT, keep=place / "begun")
        weights = weights_hash(trained.weights())
        doing = f"{net}, trained by {method}, cannot be evaluated and written"
        write_run(place, ready, trained, {"recipe": to_json(recipe), "classes": [*few.data.catalogue().classes]},
                  time.monotonic())
        doing = f"{net}, trained by {method}, cannot be opened again"
        run = Run(place, recipe)
        if known:
            return run
        answers = [_first_answers(ready, net) for net in (trained.nets["student"], run.net().to(trained.device))]
        # bit for bit on a CPU; elsewhere two passes may sum in different orders
        if not (torch.equal if trained.device == "cpu" else partial(torch.allclose, rtol=1e-3, atol=1e-4))(*answers):
            raise ValueError("its outputs differ from those of the trained network. Keep all that training changes in "
                             "parameters and persistent buffers, layers in nn.ModuleList or nn.ModuleDict")
        doing = f"{net}, trained by {method}, cannot go on from a checkpoint"
        resumed = _steps(few, needed, place / "begun")[1]
        # elsewhere the order of sums may differ
        if trained.device == "cpu" and weights != weights_hash(resumed.weights()):
            raise ValueError("a training that is interrupted and goes on ends in other weights. Keep all that steps "
                             "change in parameters and persistent buffers, and draw from the global generators of "
                             "torch, NumPy or Python, which are seeded for each step")
    except Exception as error:
        if type(error).__module__.startswith("kdlab."):  # its message is already a full sentence
            raise
        if isinstance(error, KeyError) and error.args == ("teacher",) and not getattr(recipe, "teacher", None):
            raise ValueError(f"{method} learns from a teacher, and the recipe of {recipe.stem} has none: give it "
                             "teacher=Recipe(…)") from error
        message = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{doing}: {message}") from error
    with suppress(OSError):  # without the marker the next process rehearses again
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    return run


def _steps(recipe: Recipe, needed: dict, checkpoint: Path, keep: Path | None = None) -> tuple[Prepared, Trained]:
    """Train ``recipe`` for two steps, or resume with the second from a ``checkpoint``. The checkpoint after the first
    step is copied to ``keep``."""
    ready, begun = prepared(recipe, needed, recipe.data.catalogue(), str), checkpoint.exists()
    if hasattr(ready.train, "records"):
        ready.train.records = ready.train.records[: recipe.settings.batch_size]  # there may be more than two windows

    def two(steps: range):
        if begun and not steps.start:
            raise ValueError("it cannot be read back")
        for step in steps[: 2 - steps.start]:
            yield step
            if keep and step == 0:
                shutil.copy(checkpoint, keep)

    return ready, fit(recipe.method, ready.nets, ready.train, recipe.settings, recipe.seed, validation=ready.validation,
                      checkpoint=checkpoint, progress=two, say=str)


def _first_answers(ready: Prepared, net: nn.Module) -> torch.Tensor:
    """The logits of ``net`` for one batch; an empty tensor where nothing is predicted."""
    with seeded_generators(0):
        found = (ready.answers(net, split, 1) for split in ready.splits)
        return next((logits for records, logits in found if records), torch.zeros(0))


def _check_net(recipe: Recipe) -> None:
    """Raise ``ValueError`` where the untrained network lacks a layer that its spec names or, for labelled clips, does
    not return one row of logits per clip."""
    spec, classes = recipe.net, len(recipe.data.catalogue().classes)
    clips = batches(recipe, "train", {"student": recipe.view})
    x = next(iter(replace(clips, records=clips.records[:2]).evaluation())).views["student"]
    labelled = all(record.label >= 0 for record in clips.records)
    kind, channels = type(spec).__qualname__, getattr(spec, "channels", 3)
    if x.shape[1] != channels:
        raise ValueError(f"{kind} sees video of {channels} channels and the view has {x.shape[1]}: give the network "
                         f"channels = {x.shape[1]}, or another view")
    given = getattr(spec, "statistics", None)
    if given and {len(values) for values in given} != {channels}:
        raise ValueError(f"{kind}.statistics must have a mean and a deviation for each of {channels} channels")
    try:
        net = build(spec, classes, 0, *map(torch.tensor, given or ()))
    except Exception as error:
        if type(error).__module__.startswith("kdlab."):
            raise
        raise ValueError(f"{kind}.make({classes}) fails: {type(error).__name__}: {error}") from error
    layers = dict(net.net.named_modules())
    named = [*getattr(spec, "stages", ())] + ([spec.head] if hasattr(type(spec), "head") else [])
    if lost := [name for name in named if name not in layers]:
        raise ValueError(f"{kind} names a layer {lost[0]!r}, and its network has {', '.join(filter(None, layers))}")
    if not {*map(id, net.parameters())}.isdisjoint(map(id, spec.make(classes).parameters())):
        raise ValueError(f"{kind}.make gives the same weights twice, so a teacher would move with its student: let it "
                         "make a new network at each call")
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with torch.no_grad(), one_thread():
        logits = net.eval()(x)
    if moved := [name for name, buffer in net.named_buffers() if not torch.equal(buffer, before[name])]:
        raise ValueError(f"{kind} changes its buffer {moved[0]!r} in evaluation: only training may change a network")
    if labelled and (shape := tuple(getattr(logits, "shape", ()))) != (len(x), classes):
        raise ValueError(f"{kind} gives {shape or type(logits).__name__} for {len(x)} clips, where "
                         f"{(len(x), classes)} is wanted, a row a clip and a column a class")
    if labelled and classes > 1 and (logits >= 0).all() and torch.allclose(
            logits.sum(1), torch.ones(len(x)), atol=1e-3):
        raise ValueError(f"{kind} gives probabilities in evaluation, where logits are wanted: losses and measures do "
                         "their own softmax, so take it out of the network")
