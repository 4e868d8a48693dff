"""Obtain the run of a recipe for a notebook, a study or the command line: find it, or train it now.

The order is: check the recipe, look in ``runs/`` and in the committed ``pretrained/``, rehearse, obtain the runs that
it needs, train, write.
"""

import json
import shutil
import time
from pathlib import Path

import numpy as np
from filelock import FileLock

from kdlab.protocols import Data
from kdlab.system import paths
from kdlab.system.files import delete_old_drafts
from kdlab.system.pool import track
from kdlab.system.sources import dataclasses_in, foreign_modules
from kdlab.system.values import one_of
from kdlab.train.loop import fit
from kdlab.train.preparing import inputs_of
from kdlab.train.recipe import Inputs, Recipe, Snapshot, check, to_json
from kdlab.train.rehearsal import rehearse
from kdlab.train.runs import CHECKPOINT, Run, find_run, write_run


def obtain(
    recipe: Recipe,
    *,
    pretrained: bool = True,
    stale: str = "use",
    say=print,
    snapshot: Snapshot | None = None,
) -> Run:
    """The run of ``recipe``: found, or trained now (its teacher and its start first).

    ``pretrained=False`` ignores the committed weights. ``stale`` decides about a run made by other sources or clips:
    ``"use"`` it and report it, or ``"retrain"`` it. A stale run on clips or with classes of your own is always trained
    again. The old run is kept in ``runs/stale/``. ``say`` receives lines of text. Files are listed once; a ``snapshot``
    that several calls share lists them once for all. Raises ``ValueError`` for a recipe that :func:`.recipe.check`
    refuses, and :class:`.runs.DamagedRun` for a run whose files are not those its training wrote.

    Two processes that want the same run do not train it twice.
    """
    check(recipe)
    snapshot = snapshot or Snapshot()
    folder = paths.runs_dir() / snapshot.name(recipe)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if run := finished_run(recipe, pretrained, stale, say, snapshot):
            return run
        snapshot.catalogue(recipe.data).require("train", "test")
        rehearse(recipe, snapshot)
        needed = {}
        for what, other in recipe.needs().items():
            needed[what] = obtain(
                other, pretrained=pretrained, stale=stale, say=say, snapshot=snapshot
            )
        return _train(recipe, needed, folder, say, snapshot)


def finished_run(
    recipe: Recipe, pretrained: bool, stale: str, say, snapshot: Snapshot
) -> Run | None:
    """The finished run of ``recipe``, if there is one and ``stale`` accepts it; ``say`` receives a line."""
    one_of(("use", "retrain"), stale=stale)
    run = find_run(recipe, pretrained, snapshot)
    if run is None:
        return None
    why = run.staleness(snapshot)
    own_clips = any(
        isinstance(part, Data) and snapshot.contents(part) for part in dataclasses_in(recipe)
    )
    if why and (stale == "retrain" or own_clips or foreign_modules(recipe)):
        say(f"{run.folder.name}: STALE: {why}; trained again")
        return None
    origin = "found in pretrained/" if run.folder.parent == paths.pretrained_dir() else "found"
    say(f"{run.folder.name}: {origin}{f', STALE: {why}' if why else ''}")
    return run


def _train(recipe: Recipe, needed: dict[str, Run], folder: Path, say, snapshot: Snapshot) -> Run:
    def say_of_run(text: str) -> None:
        say(f"{folder.name}: {text}")

    catalogue = snapshot.catalogue(recipe.data)
    recipe = recipe.fresh()
    ready = inputs_of(recipe, needed, catalogue, say_of_run)
    made_from = _made_from(recipe, needed, snapshot)
    _set_aside(folder)
    folder.mkdir(exist_ok=True)
    delete_old_drafts(folder)
    began = time.monotonic()
    try:
        trained = fit(
            recipe.method,
            ready.nets,
            ready.train,
            recipe.settings,
            recipe.seed,
            validation=ready.validation,
            checkpoint=folder / CHECKPOINT,
            identity=json.dumps(made_from, sort_keys=True),
            progress=lambda steps: track(steps, folder.name),
            say=say_of_run,
        )
    except KeyboardInterrupt:
        say_of_run("interrupted; the same call goes on from its last finished epoch")
        raise
    _check_unchanged(recipe, made_from, folder, catalogue.root)
    about = {
        "classes": list(catalogue.classes),
        "notes": list(catalogue.notes),
        "clips": catalogue.sizes(),
    }
    write_run(folder, ready, trained, made_from | about, began)
    run = Run(folder, recipe)
    outcome = _outcome(run, ready, needed.get("teacher"))
    say_of_run(f"trained in {trained.cpu_seconds:.0f} CPU s, {outcome}")
    return run


def _made_from(recipe: Recipe, needed: dict[str, Run], snapshot: Snapshot) -> dict:
    """What a run must have in common with a checkpoint from which it goes on."""
    return {
        "recipe": to_json(recipe),
        "sources": snapshot.sources(recipe),
        "data": snapshot.fingerprint(recipe.data),
        "needed": {what: run.provenance["weights"] for what, run in needed.items()},
        "digest": snapshot.digest(recipe),
    }


def _check_unchanged(recipe: Recipe, made_from: dict, folder: Path, root: Path) -> None:
    """Raise ``ValueError`` where the clips are no longer those of which the training began."""
    now = Snapshot()
    if (now.digest(recipe), now.fingerprint(recipe.data)) != (
        made_from["digest"],
        made_from["data"],
    ):
        raise ValueError(
            f"the clips in {root} changed while {folder.name} was trained, so it belongs to neither "
            "version. Call again to train on the present clips."
        )


def _outcome(run: Run, ready: Inputs, teacher: Run | None) -> str:
    """The accuracy of a run and of its teacher; the last loss of an enhancer or a detector, whose mAP
    ``kdlab.measure`` computes from the run."""
    accuracy = run.predictions().accuracy if ready.splits else np.nan
    if np.isnan(accuracy):
        losses = run.history.filter(like="loss_").iloc[-1]
        return f"{losses.index[0]} {losses.iloc[0]:.2f} in the last epoch"
    text = f"test {accuracy:.1f} %"
    return text + (f", teacher {teacher.predictions().accuracy:.1f} %" if teacher else "")


def _set_aside(folder: Path) -> None:
    """Make room for a new training: a finished run moves to ``runs/stale/`` and replaces the one there."""
    if not (folder / "run.json").is_file():
        return
    kept = folder.parent / "stale" / folder.name
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(exist_ok=True)
    shutil.move(folder, kept)
