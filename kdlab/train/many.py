"""Many runs at once: trained in as many processes as there are cores, each after those it needs, under one bar.

:func:`obtain_all` trains. A notebook, or a study's evaluation, that waits for runs is a :class:`Task`, which
:func:`scheduled` does beside the trainings, in the same processes.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

import kdlab
from kdlab import paths
from kdlab.system.contents import one_look
from kdlab.system.engines import Engine, EngineError, Pool, WorkerLost, WorkFailed, seen
from kdlab.system.launch import LaunchError, device, launched
from kdlab.system.processes import available_cores, longest_first
from kdlab.system.ranks import first
from kdlab.system.sources import foreign, in_cell
from kdlab.train.preparing import open_ahead
from kdlab.train.recipe import Recipe, check
from kdlab.train.rehearsal import rehearse, remember
from kdlab.train.runs import Run, obtain, usable
from kdlab.train.status import Board, standings, whole_seconds


class TrainingFailed(ValueError):
    """One of several trainings that ended with an error; the message names it."""


class WorkerDied(ChildProcessError):
    """A training process that was killed from outside."""


@dataclass(frozen=True, eq=False)
class Task:
    """``work()``, a function that other processes find, which needs the runs of ``recipes``, and takes about so many
    ``seconds`` of one core."""

    name: str
    work: Callable[[], object]
    recipes: tuple[Recipe, ...] = ()
    seconds: float = 30.0


def _obtain_named(recipe: Recipe, how: dict, say) -> Run:
    try:
        return obtain(recipe, **how, say=say)
    except Exception as error:  # in words, because not every exception survives the way between processes
        raise TrainingFailed(f"{recipe.name}: {type(error).__name__}: {error}") from error


def _work(recipe: Recipe, how: dict, after: Sequence[Path] = ()) -> tuple[Path, list[str]]:
    """The folder, and what there was to say of this very run. ``after`` are files that other machines have written,
    which a slow file system may show here later; what it does not show is made again."""
    for file in after:
        seen(file)
    torch.set_num_threads(1)
    os.environ["KDLAB_HEADLESS"] = "quiet"  # the owner of this process shows how far it is
    remember(recipe)  # its owner has rehearsed it
    lines: list[str] = []
    folder = _obtain_named(recipe, how, lines.append).folder
    return folder, [line for line in lines if line.startswith(f"{folder.name}:")]


def _do(work: Callable[[], object], cores: int) -> object:
    """``work()`` with so many ``cores``, here and in the processes that it starts."""
    os.environ |= {"KDLAB_HEADLESS": "quiet", "KDLAB_CORES": str(cores), "OMP_NUM_THREADS": str(cores)}
    torch.set_num_threads(cores)
    kdlab.give_memory_back()  # a training was here before, and a notebook has a process of its own
    return work()


def in_order(recipes: Iterable[Recipe]) -> list[Recipe]:
    """Recipes and those they need, each once, the needed first."""
    order: dict[Recipe, None] = {}
    for recipe in recipes:
        order |= dict.fromkeys([*in_order(recipe.needs().values()), recipe])
    return list(order)


def chains_first(todo: Sequence[Recipe], tasks: Sequence[Task], known: Mapping[str, float]) -> list[Recipe]:
    """``todo`` by what waits for it (:func:`kdlab.system.processes.longest_first`), trainings and ``tasks``; ``known``
    (name of a run → CPU seconds) tells what trainings took before. Where nothing is known epochs are compared."""
    found = standings(todo, {}, known=known)
    seconds = dict(zip(todo, whole_seconds(found).fillna(found.epochs), strict=True)) | {t: t.seconds for t in tasks}
    ordered = longest_first(_needs(todo, tasks, ()), seconds)
    return [item for item in ordered if not isinstance(item, Task)]


def _note(recipe: Recipe) -> Path:
    """What is there once ``recipe`` is trained."""
    return paths.runs_dir() / recipe.name / "run.json"


def _needs(todo: Sequence[Recipe], tasks: Sequence[Task], done: Iterable[Recipe]) -> dict:
    """Item → those it waits for, the tasks first: one that is ready is begun before another training."""
    done = set(done)
    needs: dict = {task: set(in_order(task.recipes)) - done for task in tasks}
    return needs | {recipe: set(recipe.needs().values()) - done for recipe in todo}


def scheduled(todo: Sequence[Recipe], done: dict[Recipe, Run], board: Board, workers: int, how: dict, *,
              engine: Engine | None = None, tasks: Sequence[Task] = (),
              begun: Callable[[Task], None] = lambda task: None,
              ended: Callable[[Task, object], bool] = lambda task, result: True) -> None:
    """Train ``todo``, in this order, and do ``tasks``, in ``workers`` processes, each after what it needs, which is in
    ``todo`` or ``done``; puts the runs into ``done``.

    A task counts as one core; towards the end, when less is left than there are cores, each has more. ``begun`` hears
    when one begins, and ``ended`` what it gave: when that returns False nothing else is begun. An ``engine`` other than
    the processes of this machine is given all at once, each task has one core, and ``begun`` hears nothing. Raises
    :class:`TrainingFailed` and what tasks raise once those at work have ended, and :class:`WorkerDied`.
    """
    if engine is None:
        open_ahead(todo)
    needs, left, here = _needs(todo, tasks, done), len(todo) + len(tasks), set(done)

    def call(item: Recipe | Task) -> Callable[[], object]:
        if not isinstance(item, Task):
            return partial(_work, item, how, [_note(r) for r in item.needs().values() if engine and r not in here])
        if engine is None:
            begun(item)
        return partial(_do, item.work, 1 if engine else max(1, workers // left))

    try:
        # Optimisers import torch's compiler, and torchvision with it, for more than a second: here once for all.
        with (engine or Pool((__name__, "lightning_fabric", "torchvision"))).started(workers) as in_turn:
            for finished in in_turn(call, needs):
                left -= len(finished)
                for item, result in finished:
                    if isinstance(item, Task):
                        board.beside.pop(item.name, None)
                        if not ended(item, result):
                            needs.clear()
                    else:
                        folder, lines = result
                        if engine and not seen(folder / "run.json"):
                            raise EngineError(f"{folder} was made on another machine and is not seen here: let "
                                              "KDLAB_RUNS name a folder that all machines share")
                        done[item] = Run(folder, item)
                        for line in lines:
                            board.say(line)
                board.show()
    except BrokenProcessPool as error:
        raise WorkerDied("a training process was killed. Out of memory? Then use fewer workers") from error
    except WorkFailed as error:
        raise TrainingFailed(str(error)) from error
    except WorkerLost as error:
        raise WorkerDied(str(error)) from error


def refuse_at_home(todo: Iterable[Recipe]) -> None:
    """Raise :class:`EngineError` for recipes that no other machine can train."""
    if (world := launched().world) > 1:
        raise EngineError(f"torchrun has started {world} processes, and an engine starts its own: leave one out")
    for kind in foreign(tuple(todo)):
        if kind.__module__ == "__main__":
            raise EngineError(f"{kind.__name__} stands in a notebook's cell, or in the script that runs, where no "
                              "other machine finds it: put it into a module beside it, and import it from there")


@contextmanager
def keeping(done: Mapping[Recipe, Run], board: Board, then: str) -> Iterator[None]:
    """What ends a schedule early also says how many of the board's recipes are ``done``, and ``then``."""

    def kept() -> str:
        return f"{len(done)} of {len(board.recipes)} runs are finished and kept{then}"

    try:
        yield
    except TrainingFailed as error:
        raise TrainingFailed(f"{error}\n{kept()}") from error
    except WorkerDied as error:
        raise WorkerDied(f"{error}. {kept()}") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: {kept()}") from None
    finally:
        board.bar.close()


def obtain_all(
    recipes: Sequence[Recipe], *, pretrained: bool = True, stale: str = "use", workers: int | None = None,
    engine: Engine | None = None, say=print
) -> list[Run]:
    """Runs of all ``recipes``, in order, trained in ``workers`` processes (all cores), each after those it needs.

    Each process trains on one thread, so the weights do not depend on how many there are. A bar shows how far they
    are. Raises :class:`StaleRun` before anything is trained, :class:`TrainingFailed` naming the run that did, once
    those that are running have ended, and :class:`WorkerDied` when a process is killed from outside. An interruption
    ends the workers and loses at most the epochs since the last checkpoints. Finished runs are kept; the same call
    goes on from there. An ``engine`` (:mod:`kdlab.system.engines`) trains them on other machines, to the same bits as
    here where their hardware is the same. Raises :class:`EngineError` where it is not there.
    """
    messages: dict[str, None] = {}

    def say_once(line: str) -> None:  # what is stale is seen here, and again where it is trained
        if line not in messages and first():
            messages[line] = None
            say(line)

    alone = launched().world == 1  # under torchrun all processes train each run together
    with one_look():
        for recipe in recipes:
            check(recipe)
        order = in_order(recipes)
        done = {r: run for r in order if (run := usable(r, pretrained, stale, say_once))}
        todo = [r for r in order if r not in done]
        if todo and engine:
            refuse_at_home(todo)
        elif todo:
            device()  # refuses one that is not here
        with suppress(LaunchError) if engine else nullcontext():  # its device may be on other machines alone
            rehearse(*todo)
        workers = min(workers or (len(todo) if engine else available_cores()), len(todo)) if alone else 1
        if not engine and workers > 1 and (here := in_cell(tuple(todo))):
            say_once(f"{here[0].__name__} stands in a cell of this notebook, where no other process finds it: its "
                     "trainings go one after the other; to use all cores, import it from a file beside the notebook")
            workers = 1
        how = dict(pretrained=pretrained, stale=stale)
        board = Board(order, done, workers, say_once)

    with keeping(done, board, "; the same call goes on from there"):
        if todo and (engine or workers > 1):
            scheduled(todo, done, board, workers, how, engine=engine)
        else:
            for recipe in todo:
                done[recipe] = _obtain_named(recipe, how, board.say)
                board.show()
    return [done[recipe] for recipe in recipes]
