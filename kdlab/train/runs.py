"""Read and write runs: the folders that trainings leave.

A run's folder holds ``weights.safetensors``, ``history.csv``, ``predictions.npz`` and, written last, ``run.json``
(recipe and provenance). A folder without ``run.json`` is unfinished, and the next call of
:func:`kdlab.train.obtain.obtain` resumes it. Weights are loaded as data, never as code.
"""

import json
import os
import platform
import time
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from kdlab import __version__
from kdlab.nets.pretrained import Weights
from kdlab.nets.video import build, load_weights
from kdlab.system import paths
from kdlab.system.files import read_json, save_arrays, write_content, write_csv
from kdlab.train.device import cpu_features
from kdlab.train.loop import Trained, weights_hash
from kdlab.train.recipe import Inputs, NotImported, Recipe, Snapshot, from_json

#: The file in the run's folder from which a training resumes.
CHECKPOINT = "checkpoint.pt"
#: The packages whose versions can change the bits of a run.
DECIDING_PACKAGES = ("torch", "numpy", "av", "opencv-python-headless")


class DamagedRun(ValueError):
    """A file in a run's folder is missing, unreadable, or not the one that the training wrote."""


def damaged(file: Path, cause: object) -> DamagedRun:
    """The error to raise for ``file`` in a run's folder, with the remedy."""
    why = (
        getattr(cause, "strerror", None)
        or str(cause).strip().partition("\n")[0]
        or type(cause).__name__
    )
    mend = f"delete the folder {file.parent}, and the same call trains it again"
    if file.parent.parent == paths.pretrained_dir():
        mend = f"restore the committed file: git checkout -- pretrained/{file.parent.name}"
    elif not (file.parent / "run.json").exists():
        mend = "name the folder of a run, which has a run.json"
    return DamagedRun(f"{file} is damaged: {why}; {mend}")


class NoPredictions(ValueError):
    """A run without class predictions, such as that of a learnt enhancer."""


@dataclass(frozen=True)
class Predictions:
    """``logits (N, K)`` and ``labels (N,)`` of the clips ``ids (N,)`` and their ``groups (N,)``, in catalogue order.

    Where a network has E exits, ``logits`` are ``(N, E, K)`` and ``correct`` is ``(N, E)``. For a detector, ``logits``
    are its outputs ``(W, S, P, K + 3)`` for the windows ``ids``, labels are −1, and ``kdlab.measure.detection`` scores
    them.
    """

    ids: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """``(N,)`` bool: True where the largest logit is the label's."""
        return (self.logits.argmax(-1).T == self.labels).T

    @property
    def accuracy(self) -> float:
        """Accuracy in percent; with several exits their mean; nan for untrimmed videos, which have no label."""
        return float("nan") if (self.labels < 0).any() else 100 * float(self.correct.mean())


@dataclass(frozen=True)
class Run:
    """A finished training on disk; ``wanted`` is the recipe for which it was obtained, if any."""

    folder: Path
    wanted: Recipe | None = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "folder", Path(self.folder))

    @cached_property
    def provenance(self) -> dict:
        """Recipe, seed, versions, source and data fingerprints, device, CPU seconds, first losses.

        Raises :class:`DamagedRun`, like every method that reads a file of the run.
        """
        return _read_note(self.folder / "run.json")

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe for which the run was obtained, else the one in ``run.json``. Raises :class:`.recipe.NotImported`
        where that contains a class that is not imported."""
        if self.wanted is not None:
            return self.wanted
        try:
            return cast(Recipe, from_json(self.provenance["recipe"]))
        except NotImported as error:
            raise NotImported(
                f"{self.folder.name}: {error}. Its predictions() and history need no recipe; to train it "
                "again, delete the run"
            ) from error
        except (ValueError, TypeError, AttributeError, KeyError, ImportError) as error:
            raise damaged(
                self.folder / "run.json", f"its recipe cannot be rebuilt ({error})"
            ) from error

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch."""
        try:
            return pd.read_csv(self.folder / "history.csv")
        except (OSError, ValueError) as error:
            raise damaged(self.folder / "history.csv", error) from error

    def predictions(self, split: str = "test") -> Predictions:
        """The trained network's predictions on ``val`` or ``test``; a network with exits also has those on one draw of
        ``train``.

        Raises ``ValueError`` for a split without clips, and for a run that predicts nothing.
        """
        path = self.folder / "predictions.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                splits = sorted({name.partition("_")[0] for name in file.files})
                if split in splits:
                    return Predictions(
                        *(file[f"{split}_{k}"] for k in ("ids", "groups", "labels", "logits"))
                    )
        except Exception as error:
            # broken bytes make the reader raise anything, from BadZipFile to struct.error
            raise damaged(path, error) from error
        if not splits:
            raise NoPredictions(
                f"{self.folder.name} learnt no classes, so it predicts nothing: see its history"
            )
        raise ValueError(
            f"{path} has predictions of {' and '.join(splits)}, none of {split!r}; choose one of these"
        )

    def net(self) -> nn.Module:
        """The trained student, in eval mode, with its normalisation. Raises :class:`DamagedRun`."""
        path = self.folder / "weights.safetensors"
        own = named_with("student.", read_weights(path))
        classes = len(self.provenance["classes"])
        if self.recipe.on_clips:
            return network_of(self.recipe, classes, own, str(path))
        with torch.random.fork_rng(devices=[]):  # its input is features, which are not normalised
            return load_weights(self.recipe.net.make(classes), own, str(path)).eval()

    def staleness(self, snapshot: Snapshot | None = None) -> str:
        """The reason why today's sources and clips would give another run; empty when they would give this one."""
        recipe, reasons, snapshot = self.recipe, [], snapshot or Snapshot()
        digest = snapshot.digest(recipe)
        if self.provenance["sources"] != snapshot.sources(recipe):
            reasons.append("made by other sources")
        if self.provenance["data"] != snapshot.fingerprint(recipe.data):
            reasons.append("made from other clips")
        elif self.provenance.get("digest", digest) != digest:
            raise damaged(
                self.folder / "run.json", "its recipe is not the one that its folder is named after"
            )
        if not reasons:
            for what, other in recipe.needs().items():
                run = find_run(other, True, snapshot)
                if run and run.provenance["weights"] != self.provenance["needed"].get(what):
                    reasons.append(f"made with another training of its {what}")
                elif run and (why := run.staleness(snapshot)):
                    reasons.append(f"made with a {what} that was {why}")
        return " and ".join(reasons)


def network_of(recipe: Recipe, classes: int, state: dict[str, Tensor], source: str) -> nn.Module:
    """The recipe's network for ``classes`` classes with the weights ``state``, in eval mode; ``source`` names the
    weights in errors."""
    return load_weights(build(untrained(recipe.net), classes, 0), state, source).eval()


def untrained(spec):
    """The network ``spec`` without its checkpoints, at any depth: its weights come from a run's folder."""
    inner = {f.name: v for f in fields(spec) if is_dataclass(v := getattr(spec, f.name))}
    return replace(
        spec, **{k: None if isinstance(v, Weights) else untrained(v) for k, v in inner.items()}
    )


def _read_note(file: Path) -> dict:
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise damaged(file, error) from error


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors in ``file``. Raises :class:`DamagedRun` where their :func:`.loop.weights_hash` differs from that in
    the ``run.json`` beside it, if there is one."""
    note = file.with_name("run.json")
    noted = _read_note(note).get("weights") if note.exists() else None
    try:
        state = load(file.read_bytes())
    except Exception as error:
        # broken bytes make the reader raise anything, from KeyError to TypeError
        raise damaged(file, error) from error
    if noted and noted != (actual := weights_hash(state)):
        raise damaged(
            file, f"the hash of its tensors is {actual[:12]}…, and {noted[:12]}… was noted"
        )
    return state


def named_with(prefix: str, values: dict) -> dict:
    """Those of the ``values`` whose name begins with ``prefix``, by the rest of their name."""
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def find_run(recipe: Recipe, pretrained: bool, snapshot: Snapshot | None = None) -> Run | None:
    """The finished run of ``recipe``, stale or not, in ``runs/`` or (``pretrained``) among the committed runs."""
    name = (snapshot or Snapshot()).name(recipe)
    places = [paths.runs_dir()] + ([paths.pretrained_dir()] if pretrained else [])
    for place in places:
        # also an unreadable one: its use raises DamagedRun
        if os.path.lexists(place / name / "run.json"):
            return Run(place / name, recipe)
    return None


def why_unusable(run: Run) -> str:
    """Why ``run`` must not be shown: it is stale, damaged, or its classes are not imported; empty when it is sound. For
    lists that skip such runs."""
    try:
        return run.staleness()
    except (DamagedRun, NotImported) as error:
        return str(error)


def committed_runs() -> list[Run]:
    """The runs in ``pretrained/``."""
    return [Run(note.parent) for note in sorted(paths.pretrained_dir().glob("*/run.json"))]


def versions() -> dict[str, str]:
    """The installed versions of kdlab and of the packages that determine a run's bits."""
    return {"kdlab": __version__} | {name: version(name) for name in DECIDING_PACKAGES}


def write_run(folder: Path, ready: Inputs, trained: Trained, about: dict, began: float) -> None:
    """Write the networks of ``trained``, their predictions and the provenance ``about`` into ``folder``; delete the
    checkpoint. ``began`` is the start of the training by ``time.monotonic``. Raises ``ValueError``, and writes nothing,
    for a network with weights or logits that are not finite."""
    for owned in trained.owned:
        for name, weight in trained.nets[owned].named_parameters():
            _check_finite(f"{owned}.{name}", weight)
    predictions = _predictions(ready, trained.nets["student"])
    state = trained.weights()
    write_content(folder / "weights.safetensors", save(state))
    write_csv(folder / "history.csv", pd.DataFrame(trained.history))
    save_arrays(folder / "predictions.npz", predictions)
    note = about | {
        "weights": weights_hash(state),
        "steps": trained.steps,
        "device": trained.device,
        "precision": trained.precision,
        "cpu": cpu_features(),
        "cpu_seconds": round(trained.cpu_seconds, 2),
        "wall_seconds": round(time.monotonic() - began, 2),
        "first_losses": trained.first_losses,
        "versions": versions(),
        "python": platform.python_version(),
    }
    write_content(folder / "run.json", json.dumps(note, indent=1))
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _predictions(ready: Inputs, student: nn.Module) -> dict[str, np.ndarray]:
    """The arrays of :class:`Predictions` of each split, as in ``test_ids`` and ``test_logits``."""
    arrays = {}
    for split in ready.splits:
        records, logits = ready.answers(student, split)
        if not records:
            continue
        _check_finite(f"what it says of {split} clips", logits)
        for name in ("id", "group", "label"):
            arrays[f"{split}_{name}s"] = np.array([getattr(record, name) for record in records])
        arrays[f"{split}_logits"] = logits.numpy()
    return arrays


def _check_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():  # the loss of the last step was still finite
        raise ValueError(
            f"{name} is no number after the last step: lower the learning rate, or look for a "
            "division by zero in the method"
        )
