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

from kdlab.clips.user_clips import UserClips
from kdlab.system import paths
from kdlab.system.files import delete_old_drafts, memo
from kdlab.system.pool import track
from kdlab.system.sources import dataclasses_in, foreign_classes, source_hash
from kdlab.system.values import one_of
from kdlab.train.loop import fit
from kdlab.train.preparing import prepared
from kdlab.train.recipe import Recipe, check, to_json
from kdlab.train.rehearsal import rehearse
from kdlab.train.runs import CHECKPOINT, Run, find_run, write_run


def obtain(recipe: Recipe, *, pretrained: bool = True, stale: str = "use", say=print) -> Run:
    """The run of ``recipe``: found, or trained now (its teacher and its start first).

    ``pretrained=False`` ignores the committed weights. ``stale`` decides about a run made by other sources or clips:
    ``"use"`` it and report it, or ``"retrain"`` it. A stale run on clips or with classes of your own is always trained
    again. The old run is kept in ``runs/stale/``. ``say`` receives lines of text. Raises ``ValueError`` for a recipe
    that :func:`.recipe.check` refuses, and :class:`.runs.DamagedRun` for a run whose files are not those its training
    wrote.

    Two processes that want the same run do not train it twice.
    """
    check(recipe)
    with memo():
        folder = paths.runs_dir() / recipe.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if run := finished_run(recipe, pretrained, stale, say):
                return run
            rehearse(recipe)
            how = dict(pretrained=pretrained, stale=stale, say=say)
            return _train(recipe, {what: obtain(other, **how) for what, other in recipe.needs().items()}, folder, say)


def finished_run(recipe: Recipe, pretrained: bool, stale: str, say) -> Run | None:
    """The finished run of ``recipe``, if there is one and ``stale`` accepts it; ``say`` receives a line."""
    one_of(("use", "retrain"), stale=stale)
    run = find_run(recipe, pretrained)
    if run is None:
        return None
    why = run.staleness()
    own_clips = any(isinstance(part, UserClips) for part in dataclasses_in(recipe))
    if why and (stale == "retrain" or own_clips or foreign_classes(recipe)):
        say(f"{recipe.name}: STALE: {why}; trained again")
        return None
    origin = "found in pretrained/" if run.folder.parent == paths.pretrained_dir() else "found"
    say(f"{recipe.name}: {origin}{f', STALE: {why}' if why else ''}")
    return run


def _train(recipe: Recipe, needed: dict[str, Run], folder: Path, say) -> Run:
    catalogue = recipe.data.catalogue()
    catalogue.require("train", "test")
    ready = prepared(recipe, needed, catalogue, say)
    identity = {
        "recipe": to_json(recipe),
        "sources": source_hash(recipe),
        "data": recipe.data.fingerprint(),
        "needed": {what: run.provenance["weights"] for what, run in needed.items()},
        "digest": recipe.digest(),
    }
    _set_aside(folder)
    folder.mkdir(exist_ok=True)
    delete_old_drafts(folder)
    began = time.monotonic()
    try:
        trained = fit(recipe.method, ready.nets, ready.train, recipe.settings, recipe.seed, validation=ready.validation,
                      checkpoint=folder / CHECKPOINT, identity=json.dumps(identity, sort_keys=True),
                      progress=lambda steps: track(steps, recipe.name, total=len(steps)),
                      say=lambda text: say(f"{recipe.name}: {text}"))
    except KeyboardInterrupt:
        say(f"{recipe.name}: interrupted; the same call goes on from its last finished epoch")
        raise
    with memo():
        if recipe.digest() != identity["digest"] or recipe.data.fingerprint() != identity["data"]:
            what = f"the clips in {catalogue.root} changed while {folder.name} was trained"
            raise ValueError(f"{what}, so it belongs to neither version. Call again to train on the present clips.")
    about = identity | {"classes": list(catalogue.classes), "notes": list(catalogue.notes), "clips": catalogue.sizes()}
    write_run(folder, ready, trained, about, began)
    run = Run(folder, recipe)
    accuracy = run.predictions().accuracy if ready.splits else np.nan
    outcome, teacher = f"test {accuracy:.1f} %", needed.get("teacher")
    if np.isnan(accuracy):  # an enhancer, or a detector: kdlab.measure, which uses runs, computes its mAP
        outcome = f"loss {trained.history[-1]['loss_net']:.2f} in the last epoch"
    elif teacher:
        outcome += f", teacher {teacher.predictions().accuracy:.1f} %"
    say(f"{recipe.name}: trained in {trained.cpu_seconds:.0f} CPU s, {outcome}")
    return run


def _set_aside(folder: Path) -> None:
    """Make room for a new training: a finished run moves to ``runs/stale/`` and replaces the one there."""
    if not (folder / "run.json").is_file():
        return
    kept = folder.parent / "stale" / folder.name
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(exist_ok=True)
    shutil.move(folder, kept)
