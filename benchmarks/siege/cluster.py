"""Part ``cluster``: workers, jobs and nodes killed, two engines on one run folder, and what :mod:`siege.shares` does.

An engine that is not installed is not attacked, which the column "left" says.
"""

import importlib.util
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import psutil

from siege import shares
from siege.attack import Attack
from siege.camp import answers, recipe, student, undisturbed

SIZE = 80


def _recipes(field: Attack) -> tuple[list, list[dict]]:
    """A student, whose teacher comes first, and another training; what they must say."""
    its = [student(field.camp / "clips"), recipe(field.camp / "clips", 7)]
    return its, [undisturbed(field, "student"), undisturbed(field, "other seed")]


def _go_on(field: Attack, **how) -> None:
    """The same call, left alone: the bits of undisturbed trainings."""
    from kdlab.train.many import obtain_all

    its, right = _recipes(field)
    runs = field.call((), obtain_all, its, pretrained=False, say=lambda _: None, **how)
    if not runs or [answers(run) for run in runs] != right:
        field.found("wrong", "not the bits of undisturbed trainings")


def _with_a_kill(field: Attack, victim: Callable[[], psutil.Process | None], names: tuple, **how) -> None:
    """Train while ``victim()`` is killed, once a training has begun; then go on."""
    from kdlab.train.many import obtain_all

    delay = random.Random(field.number(2**31)).uniform(0, 1.5)
    begun, over = field.root / "runs", threading.Event()

    def kill() -> None:
        while not over.is_set() and not any(begun.glob("*/begun.json")):
            time.sleep(0.01)
        time.sleep(delay)
        process = victim()
        if process and not over.is_set():
            process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    its, right = _recipes(field)
    runs = field.call(names, obtain_all, its, pretrained=False, say=lambda _: None, **how)
    over.set()
    killer.join()
    before = {path: path.stat().st_mtime_ns for path in begun.glob("*/run.json")}
    if runs and [answers(run) for run in runs] != right:
        field.found("wrong", "not the bits of undisturbed trainings")
    _go_on(field, **how)
    if again := [path.parent.name for path, moment in before.items() if path.stat().st_mtime_ns != moment]:
        field.found("lost", f"done again after a kill: {again}")


def _child(words: str) -> psutil.Process | None:
    """The youngest process of this one's that ``words`` stand in."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if words in " ".join(process.cmdline()) and not process.children():
                found.append(process)
        except psutil.Error:
            continue
    return max(found, key=lambda process: process.pid, default=None)


def worker_killed(field: Attack) -> None:
    """A worker of the pool is killed: a sentence, and the same call goes on."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    _with_a_kill(field, lambda: _child("multiprocessing.forkserver"), ("was killed",), workers=2)


def job_killed(field: Attack) -> None:
    """A job of submitit's is killed."""
    from kdlab.system.engines import Slurm

    if not _installed(field, "submitit"):
        return
    _with_a_kill(field, lambda: _child("submitit.core._submit"), ("without a word",),
                 engine=Slurm(cluster="local", minutes=5, patience=5))


def node_killed(field: Attack) -> None:
    """One of Ray's two nodes is killed while both train: the other does all, and nothing is told but the lines."""
    from kdlab.system.engines import Ray

    if not _installed(field, "ray"):
        return
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        try:
            nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        except Exception as error:  # Ray gives a node half a minute, which a busy machine needs for its imports
            return field.left_over(f"nothing was attacked, because Ray did not start: {error}")
        node = field.pick(nodes)

        class Node:
            kill = staticmethod(lambda: cluster.remove_node(node, allow_graceful=False))

        _with_a_kill(field, lambda: Node, (), engine=Ray(cluster.address))
    finally:
        cluster.shutdown()


def two_engines(field: Attack) -> None:
    """The pool and submitit at one run folder at once: each training once, the same bits."""
    from kdlab.system.engines import Slurm
    from kdlab.train.many import obtain_all

    if not _installed(field, "submitit"):
        return
    its, right = _recipes(field)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    engines = [None, Slurm(cluster="local", minutes=5, patience=5)]
    pids = [shares._forked(partial(obtain_all, its, pretrained=False, workers=2, engine=engine, say=lambda _: None))
            for engine in engines]
    if any(os.waitpid(pid, 0)[1] for pid in pids):
        field.found("wrong", "an engine failed beside another")
    _go_on(field)
    shares.begun_once(field)


def stopped_owner(field: Attack) -> None:
    """The process that gave jobs to submitit is ended (SIGKILL); the pool goes on with the same runs meanwhile."""
    from kdlab.system.engines import Slurm
    from kdlab.train.many import obtain_all

    if not _installed(field, "submitit"):
        return
    its, _ = _recipes(field)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    engine = Slurm(cluster="local", minutes=5, patience=5)
    owner = shares._forked(lambda: obtain_all(its, pretrained=False, engine=engine, say=lambda _: None))
    runs = field.root / "runs"
    while not any(runs.glob("*/begun.json")) and os.waitpid(owner, os.WNOHANG)[0] == 0:
        time.sleep(0.01)
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    _go_on(field, workers=2)
    shares.begun_once(field)


def _installed(field: Attack, module: str) -> bool:
    if importlib.util.find_spec(module):
        return True
    field.left_over(f"{module} is not installed: nothing was attacked")
    return False


#: In turn; those that start Ray or jobs are dear.
KINDS = (*shares.KINDS, worker_killed, *shares.KINDS, job_killed, *shares.KINDS, two_engines, *shares.KINDS[:4],
         stopped_owner, *shares.KINDS, worker_killed, node_killed)
