"""What the processes of one training tell each other before they compute together: that they mean the same, and what
the first has found or done. In one process all of it is nothing.

They talk through the store in which they met (:func:`kdlab.system.launch.meet`), not by collective operations, which
give up after minutes: the first process may wait for hours until another training lets a run go. Every process asks
the same questions in the same order.
"""

import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from kdlab.system.launch import LaunchError, launched, meet

_ENDED = "kdlab/ended"
_numbers = itertools.count()


class Disagreement(LaunchError):
    """Processes of one training that do not mean the same one."""


def first() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return launched().rank == 0


def alone(what: str) -> None:
    """Raise :class:`LaunchError` where several processes would each do ``what``, which is the work of one."""
    if (world := launched().world) > 1:
        raise LaunchError(f"{what} is done by one process, and {world} were started to train together: start it "
                          "without torchrun, srun or mpirun")


def told(what: str, decide: Callable[[], object]):
    """What ``decide()`` gives on the first process, a plain value, on all of them. ``what`` names the question.

    Where it raises there, the others raise :class:`LaunchError`; :class:`Disagreement` where their question is another.
    """
    if launched().world == 1:
        return decide()
    key = f"kdlab/{next(_numbers)}"
    if first():
        with ending():
            value = decide()
        store().set(key, json.dumps([what, value]))
        return value
    asked, value = json.loads(_awaited(key))
    if asked != what:
        raise _disagreement(launched().rank, "what is trained", asked, what)
    return value


def agree(**what: object) -> None:
    """Raise :class:`Disagreement` on all processes where one has another value of any of ``what`` than the first; the
    first that differs is named, so what explains the rest comes first."""
    launch = launched()
    if launch.world == 1:
        return
    key, mine = f"kdlab/{next(_numbers)}", {name: str(value) for name, value in what.items()}
    store().set(f"{key}/{launch.rank}", json.dumps(mine))
    found = [json.loads(_awaited(f"{key}/{rank}")) for rank in range(launch.world)]
    for name in mine:
        for rank, other in enumerate(found):
            if other.get(name) != found[0].get(name):
                raise _disagreement(rank, name.replace("_", " "), found[0].get(name), other.get(name))


@contextmanager
def ending() -> Iterator[None]:
    """Inside, an error of this process is told to the others, which would wait for it in vain."""
    try:
        yield
    except BaseException as error:
        launch = launched()
        if launch.world > 1 and not isinstance(error, LaunchError):
            why = (str(error) or type(error).__name__).splitlines()[0]
            store().set(_ENDED, f"process {launch.rank} ({socket.gethostname()}) of {launch.world} has ended: {why}")
        raise


@contextmanager
def computing() -> Iterator[None]:
    """Inside are collective operations, which raise :class:`LaunchError` where another process has ended."""
    try:
        yield
    except RuntimeError as error:  # all that torch's back ends raise
        known = _why() or f"another process of this training has ended ({str(error).splitlines()[0]})"
        raise LaunchError(f"{known}; the same call goes on from the last finished epoch") from error


def _disagreement(rank: int, what: str, one: object, other: object) -> Disagreement:
    return Disagreement(f"processes 0 and {rank} disagree about {what}, {str(one)[:60]} and {str(other)[:60]}: give "
                        "all the same kdlab, packages, clips and arguments, and one folder of runs")


@cache
def store():
    """Where the processes have met, for as long as this one lives. From here on the first shows how far all are."""
    if not first():
        os.environ["KDLAB_HEADLESS"] = "quiet"
    return meet(launched())


def _awaited(key: str) -> str:
    """What is set under ``key``, once it is. Raises :class:`LaunchError` when a process has ended instead."""
    pause = 0.001
    with computing():
        while not store().check([key]):
            if why := _why():
                raise LaunchError(why)
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
        return store().get(key).decode()


def _why() -> str:
    """Which process has ended, and of what; empty where none has said so."""
    try:
        return store().get(_ENDED).decode() if store().check([_ENDED]) else ""
    except RuntimeError:
        return ""
