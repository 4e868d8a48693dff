"""Runs: the folder a recipe fills, and how a notebook, a study or the command line obtains one.

``obtain(recipe)`` looks in ``runs/``, then in the committed ``pretrained/``, then trains, and says which. A run folder
holds ``weights.safetensors``, ``history.csv``, ``predictions.npz`` and, written last, ``run.json`` (recipe and
provenance): a folder without ``run.json`` is unfinished work that the next call resumes.
"""

import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from torch import nn

from kdlab import paths
from kdlab.clips.decode import chosen
from kdlab.nets.pretrained import untrained
from kdlab.nets.video import build, load_weights
from kdlab.system.contents import one_look
from kdlab.system.files import StorageFull, sweep
from kdlab.system.launch import device, launched
from kdlab.system.progress import track
from kdlab.system.ranks import agree, first, told
from kdlab.system.sources import foreign, loaded, source_hash
from kdlab.system.stored import DamagedRun, damaged, read_note, read_weights
from kdlab.system.stored import weights_hash as weights_hash
from kdlab.train.loop import fit
from kdlab.train.preparing import batches as batches
from kdlab.train.preparing import prepared
from kdlab.train.recipe import NotImported, Recipe, check, from_json, own_clips, to_json
from kdlab.train.rehearsal import rehearse
from kdlab.train.writing import CHECKPOINT, unlike, versions, write_run


class StaleRun(ValueError):
    """A run made by other sources or from other clips than today's, where that is not acceptable."""


class ChangedClips(ValueError):
    """Clips that were changed while a network was trained on them."""


@dataclass(frozen=True)
class Predictions:
    """``logits (N, K)`` and ``labels (N,)`` of the clips ``ids (N,)`` and their ``groups (N,)``, in catalogue order.

    Where a network has E exits, ``logits`` are ``(N, E, K)`` and ``correct`` is ``(N, E)``. Of a detector they are its
    answers ``(W, S, P, K + 3)`` to the windows ``ids``, labels are −1, and ``kdlab.measure.detection`` scores them.
    """

    ids: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """``(N,)`` bool: is the largest logit the label's?"""
        return self.logits.argmax(-1) == np.expand_dims(self.labels, tuple(range(1, self.logits.ndim - 1)))

    @property
    def accuracy(self) -> float:
        """In percent; the mean over exits, where there are several; nan of untrimmed videos, which have no label."""
        return float("nan") if (self.labels < 0).any() else 100 * float(self.correct.mean())


class NoPredictions(ValueError):
    """A run of something that gives no classes, such as a learnt enhancer."""


@dataclass(frozen=True)
class Run:
    """A finished training on disk; ``wanted`` is the recipe that it was obtained for, if it was."""

    folder: Path
    wanted: Recipe | None = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "folder", Path(self.folder))

    @cached_property
    def provenance(self) -> dict:
        """Recipe, seed, versions, source and data fingerprints, device, CPU seconds, first losses.

        Raises :class:`DamagedRun`, as all that reads a file of the run does.
        """
        return read_note(self.folder / "run.json")

    @cached_property
    def recipe(self) -> Recipe:
        """The one asked for, else the one written down. Raises :class:`.recipe.NotImported` where that is of a class
        that is not."""
        if self.wanted is not None:
            return self.wanted
        written = self.provenance["recipe"]
        chosen()  # a decoder that is not there is no fault of the run's
        try:
            return from_json(written)
        except NotImported as error:
            every = sorted(_modules(written))
            text = str(error).replace(f"import {error.name} first", f"import {', '.join(every)} first")
            again = "; to train it again, delete the run" * (self.folder.parent == paths.runs_dir())
            raise NotImported(f"{self.folder.name}: {text}. Its predictions() and history need no recipe{again}",
                              " ".join(every)) from error
        except (ValueError, TypeError, AttributeError, KeyError, ImportError) as error:
            raise damaged(self.folder / "run.json", f"its recipe cannot be rebuilt ({error})") from error

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch."""
        try:
            return pd.read_csv(self.folder / "history.csv")
        except (OSError, ValueError) as error:
            raise damaged(self.folder / "history.csv", error) from error

    def predictions(self, split: str = "test") -> Predictions:
        """What the trained network said of ``val`` or ``test``; with exits also of one draw of ``train``.

        Raises ``ValueError`` for a split without clips, and of a run that predicts nothing.
        """
        path = self.folder / "predictions.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                splits = sorted({name.partition("_")[0] for name in file.files})
                if split in splits:
                    return Predictions(*(file[f"{split}_{k}"] for k in ("ids", "groups", "labels", "logits")))
        except Exception as error:  # broken bytes make the reader raise anything, from BadZipFile to struct.error
            raise damaged(path, error) from error
        if not splits:
            raise NoPredictions(f"{self.folder.name} learnt no classes, so it predicts nothing: see its history")
        raise ValueError(f"{path} has predictions of {' and '.join(splits)}, none of {split!r}; choose one of these")

    def net(self, name: str = "student") -> nn.Module:
        """The trained network, in eval mode, with its normalisation; ``name`` for methods that train several.

        Raises ``ValueError`` for a name that was not trained as a whole network, :class:`DamagedRun`.
        """
        path = self.folder / "weights.safetensors"
        state = read_weights(path, self.provenance["weights"])
        own = {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}
        classes = len(self.provenance["classes"])
        if hasattr(self.recipe, "prepare") and name == "student":  # it sees features, which nothing normalises
            with torch.random.fork_rng(devices=[]):
                net = self.recipe.net.make(classes)
        elif "mean" in own and "std" in own:
            shape = own["mean"].flatten(), own["std"].flatten()  # of as many channels as the network sees
            net = build(untrained(self.recipe.net), classes, 0, *shape)
        else:
            there = sorted({key.partition(".")[0] for key in state})
            parts = {key.partition(".")[0] for key in state if key.partition(".")[2] in ("mean", "std")} or {"student"}
            opens = f"{', '.join(there)}, of which net() opens {', '.join(sorted(parts & {*there}))}"
            raise ValueError(f"{path} holds no network {name!r} of the recipe's kind; there are the weights of {opens}")
        return load_weights(net, own, str(path)).eval()

    def staleness(self, recipe: Recipe | None = None) -> str:
        """Why this run is not what today's sources and clips would give; empty when it is.

        ``recipe`` is the one asked for, which may find its clips elsewhere than where they lay when this run was made.
        """
        recipe, reasons = recipe or self.recipe, []
        if self.provenance.get("digest", recipe.digest()) != recipe.digest():
            raise damaged(self.folder / "run.json", "it tells of another recipe than its folder is named after")
        if self.provenance["sources"] != source_hash(recipe):
            reasons.append("made by other sources")
        if self.provenance["data"] != recipe.data.fingerprint():
            reasons.append("made from other clips")
        for what, needed in {} if reasons else recipe.needs().items():
            run = find(needed, pretrained=True)
            if run and run.provenance["weights"] != self.provenance["needed"].get(what):
                reasons.append(f"made with another training of its {what}")
        return " and ".join(reasons)


def _modules(written) -> set[str]:
    """The modules that a written recipe names and this process has not imported, but for kdlab's."""
    if isinstance(written, list):
        return set().union(*map(_modules, written))
    if not isinstance(written, dict):
        return set()
    module = str(written.get("type", "kdlab")).partition(":")[0]
    own = {module} if module.split(".")[0] != "kdlab" and loaded(module) is None else set()
    return own.union(*map(_modules, written.values()))


def find(recipe: Recipe, pretrained: bool) -> Run | None:
    """The finished run of ``recipe``, stale or not, in ``runs/`` or (``pretrained``) among the committed ones."""
    name = recipe.name
    places = [paths.runs_dir()] + ([paths.pretrained_dir()] if pretrained else [])
    for place in places:
        if os.path.lexists(place / name / "run.json"):  # also one that cannot be read: using it says so
            return Run(place / name, recipe)
    return None


def unfit(run: Run, recipe: Recipe | None = None) -> str:
    """Why ``run`` is not to be shown, for lists that go on with the next: stale, damaged, or of classes that are not
    imported; empty when it is sound."""
    try:
        return run.staleness(recipe)
    except (DamagedRun, NotImported) as error:
        return str(error)


def committed_runs() -> list[Run]:
    """The runs in ``pretrained/``."""
    return [Run(note.parent) for note in sorted(paths.pretrained_dir().glob("*/run.json"))]


def obtain(recipe: Recipe, *, pretrained: bool = True, stale: str = "use", say=print) -> Run:
    """The run of ``recipe``: found, or trained now (its teacher and its start first).

    ``pretrained=False`` ignores the committed weights. ``stale`` says what to do with a run made by other sources or
    clips: ``"use"`` it and say so, ``"retrain"`` it, or ``"refuse"`` with :class:`StaleRun`. One on clips of your own,
    or of classes of your own, is never used: where ``"use"`` stands it is trained again, too. The old one is kept in
    ``runs/stale/``. ``say`` receives lines. Raises ``ValueError`` for a recipe that :func:`.recipe.check` refuses,
    :class:`DamagedRun` for one whose files are not what its training wrote.
    Two processes that want the same run do not train it twice, unless they were started to train together: then all do,
    and the first looks for the run, locks, says and writes it (:mod:`kdlab.system.ranks`).
    """
    say = say if first() else lambda line: None
    with one_look():
        check(recipe)
        folder = paths.runs_dir() / recipe.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock") if first() else contextlib.nullcontext():
            if run := usable(recipe, pretrained, stale, say):
                return run
            rehearse(recipe)
            if first() and (folder / "run.json").is_file():
                if launched().world == 1 and (run := usable(recipe, False, "retrain", str)):
                    return run  # finished meanwhile by a process that no lock stopped
                _set_aside(folder)
            how = dict(pretrained=pretrained, stale=stale, say=say)
            return _train(recipe, {what: obtain(other, **how) for what, other in recipe.needs().items()}, folder, say)


def usable(recipe: Recipe, pretrained: bool, stale: str, say) -> Run | None:
    """The finished run, told in one line, if there is one and ``stale`` lets it pass. Of several processes all have to
    ask, have the same sources, clips and packages, and get what the first finds."""
    if launched().world == 1:
        return _usable(recipe, pretrained, stale, say)
    agree(**versions(), sources=source_hash(recipe), clips=recipe.data.fingerprint(), recipe=recipe.name)
    place = told(lambda: str(run.folder) if (run := _usable(recipe, pretrained, stale, say)) else "")
    return Run(Path(place), recipe) if place else None


def _usable(recipe: Recipe, pretrained: bool, stale: str, say) -> Run | None:
    if stale not in ("use", "retrain", "refuse"):
        raise ValueError(f"stale must be 'use', 'retrain' or 'refuse', got {stale!r}")
    run = find(recipe, pretrained)
    if run is None:
        return None
    why = run.staleness(recipe)
    if why and stale == "refuse":
        raise StaleRun(f"{run.folder} is stale: {why}. Delete it, or call obtain(..., stale='retrain').")
    if why and stale == "retrain":
        say(f"{recipe.name}: STALE: {why}; trained again")
        return None
    if why and (own_clips(recipe) or foreign(recipe)):
        yours = "clips" if own_clips(recipe) else "code"
        say(f"{recipe.name}: STALE: {why}; trained again, because it is of your own {yours}")
        return None
    origin = "found in pretrained/" if run.folder.parent == paths.pretrained_dir() else "found"
    say(f"{recipe.name}: {origin}{f', STALE: {why}' if why else ''}{_trained_by(run)}")
    return run


def _trained_by(run: Run) -> str:
    """What there is to say of a run that another number of processes has trained than are here."""
    theirs, here = run.provenance.get("processes", 1), launched().world
    if theirs == here or (here > 1 and theirs == 1):
        return ""
    return f"; {theirs} processes trained it, and {here} would give other bits: delete it to train it anew"


def _set_aside(folder: Path) -> None:
    """Make room for a new training: what was finished moves to ``runs/stale/``, in place of what lay there."""
    kept = folder.parent / "stale" / folder.name
    try:
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        shutil.move(folder, kept)
    except OSError as error:
        why = f"cannot move {folder} to {kept}: {error}; make room there, or delete {folder}"
        raise StorageFull(why) from error


def _train(recipe: Recipe, needed: dict[str, Run], folder: Path, say) -> Run:
    device()  # refuses one that is not here before any clip is read
    catalogue = recipe.data.catalogue()
    catalogue.require("train", "test")
    ready = prepared(recipe, needed, catalogue, say)
    bar = lambda steps: track(steps, recipe.name, total=len(steps))  # noqa: E731
    named = lambda text: say(f"{recipe.name}: {text}")  # noqa: E731
    if os.path.lexists(folder) and not folder.is_dir():
        raise damaged(folder / "run.json", f"{folder} is no folder")
    identity = _identity(recipe, needed)
    begun = json.dumps(identity, sort_keys=True)
    if first():
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
    wall = time.monotonic()
    how = dict(validation=ready.validation, checkpoint=folder / CHECKPOINT, identity=begun, progress=bar, say=named)
    try:
        trained = fit(recipe.method, ready.nets, ready.train, recipe.settings, recipe.seed, **how)
    except KeyboardInterrupt:
        say(f"{recipe.name}: interrupted; the same call goes on from its last finished epoch")
        raise
    with one_look(again=True):
        if recipe.digest() != identity["digest"] or recipe.data.fingerprint() != identity["data"]:
            what = f"the clips in {catalogue.root} changed while {folder.name} was trained"
            raise ChangedClips(f"{what}, so it is of neither these nor those. Call again to train on those of now.")
    if launched().world == 1 and (run := usable(recipe, False, "retrain", str)):  # as in obtain
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return run
    about = identity | {"classes": list(catalogue.classes), "notes": list(catalogue.notes), "clips": catalogue.sizes()}
    told(lambda: write_run(folder, ready, trained, about, wall))
    run = Run(folder, recipe)
    if first():
        if why := unlike(ready, trained.nets["student"], run.net()):
            say(f"{recipe.name}: its predictions are those of the network that was trained, but {why}; then delete "
                f"{folder} and train it again")
        accuracy = run.predictions().accuracy if ready.splits else np.nan
        outcome, teacher = f"test {accuracy:.1f} %", needed.get("teacher")
        if np.isnan(accuracy):  # of an enhancer, or a detector, whose mAP is measure's, which stands on runs
            outcome = f"loss {trained.history[-1]['loss_net']:.2f} in the last epoch"
        elif teacher:
            outcome += f", teacher {teacher.predictions().accuracy:.1f} %"
        say(f"{recipe.name}: trained in {trained.cpu_seconds:.0f} CPU s, {outcome}")
    return run


def _identity(recipe: Recipe, needed: dict[str, Run]) -> dict:
    """What a checkpoint must agree with to be resumed."""
    return {
        "recipe": to_json(recipe),
        "sources": source_hash(recipe),
        "data": recipe.data.fingerprint(),
        "needed": {what: run.provenance["weights"] for what, run in needed.items()},
        "digest": recipe.digest(),
        "processes": launched().world,
    }
