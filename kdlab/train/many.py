"""Many runs at once: trained in as many processes as there are cores, each after those it needs, under one bar."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import torch

from kdlab.system.contents import one_look
from kdlab.system.launch import device, launched
from kdlab.system.processes import available_cores, in_turn, pool
from kdlab.system.sources import in_cell
from kdlab.train.preparing import open_ahead
from kdlab.train.recipe import Recipe, check
from kdlab.train.rehearsal import rehearse
from kdlab.train.runs import Run, obtain, usable
from kdlab.train.status import Board


class TrainingFailed(ValueError):
    """One of several trainings that ended with an error; the message names it."""


class WorkerDied(ChildProcessError):
    """A training process that was killed from outside."""


def _obtain_named(recipe: Recipe, how: dict, say) -> Run:
    try:
        return obtain(recipe, **how, say=say)
    except Exception as error:  # in words, because not every exception survives the way between processes
        raise TrainingFailed(f"{recipe.name}: {type(error).__name__}: {error}") from error


def _work(recipe: Recipe, how: dict) -> tuple[Path, list[str]]:
    """The folder, and what there was to say of this very run."""
    torch.set_num_threads(1)
    os.environ["KDLAB_HEADLESS"] = "quiet"  # the owner of this process shows how far it is
    lines: list[str] = []
    folder = _obtain_named(recipe, how, lines.append).folder
    return folder, [line for line in lines if line.startswith(f"{folder.name}:")]


def in_order(recipes: Iterable[Recipe]) -> list[Recipe]:
    """Recipes and those they need, each once, the needed first."""
    order: dict[Recipe, None] = {}
    for recipe in recipes:
        order |= dict.fromkeys([*in_order(recipe.needs().values()), recipe])
    return list(order)


def obtain_all(
    recipes: Sequence[Recipe], *, pretrained: bool = True, stale: str = "use", workers: int | None = None, say=print
) -> list[Run]:
    """Runs of all ``recipes``, in order, trained in ``workers`` processes (all cores), each after those it needs.

    Each process trains on one thread, so the weights do not depend on how many there are. A bar shows how far they
    are. Raises :class:`StaleRun` before anything is trained, :class:`TrainingFailed` naming the run that did, once
    those that are running have ended, and :class:`WorkerDied` when a process is killed from outside. An interruption
    ends the workers and loses at most the epochs since the last checkpoints. Finished runs are kept; the same call
    goes on from there.
    """
    messages: dict[str, None] = {}

    def say_once(line: str) -> None:  # what is stale is seen here, and again where it is trained
        if line not in messages:
            messages[line] = None
            say(line)

    alone = launched().world == 1  # under torchrun all processes train each run together
    with one_look():
        for recipe in recipes:
            check(recipe)
        order = in_order(recipes)
        done = {r: run for r in order if (run := usable(r, pretrained, stale, say_once))}
        todo = [r for r in order if r not in done]
        if todo:
            device()  # refuses one that is not here
        for recipe in todo:
            rehearse(recipe)
        workers = min(workers or available_cores(), len(todo)) if alone else 1
        if workers > 1 and (here := in_cell(tuple(todo))):
            say_once(f"{here[0].__name__} stands in a cell of this notebook, where no other process finds it: its "
                     "trainings go one after the other; to use all cores, import it from a file beside the notebook")
            workers = 1
        how = dict(pretrained=pretrained, stale=stale)
        board = Board(order, done, workers, say_once)

    def kept() -> str:
        return f"{len(done)} of {len(order)} runs are finished and kept; the same call goes on from there"

    try:
        if workers > 1:
            open_ahead(todo)
            needs = {r: {needed for needed in r.needs().values() if needed not in done} for r in todo}
            # Optimisers import torch's compiler, and torchvision with it, for more than a second: here once for all.
            with pool(workers, preload=[__name__, "lightning_fabric", "torchvision"]) as processes:
                for ended in in_turn(processes, workers, partial(_work, how=how), needs):
                    for recipe, (folder, lines) in ended:
                        done[recipe] = Run(folder, recipe)
                        for line in lines:
                            board.say(line)
                    board.show()
        else:
            for recipe in todo:
                done[recipe] = _obtain_named(recipe, how, board.say)
                board.show()
    except TrainingFailed as error:
        raise TrainingFailed(f"{error}\n{kept()}") from error
    except BrokenProcessPool as error:
        raise WorkerDied(f"a training process was killed. Out of memory? Then use fewer workers. {kept()}") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: {kept()}") from None
    finally:
        board.bar.close()
    return [done[recipe] for recipe in recipes]
