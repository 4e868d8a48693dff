"""Engines that carry work out on other machines: Ray, and SLURM through submitit. Both are extras of kdlab's.

An engine is given items, what each needs, and for each a function without arguments. Nothing but that function and what
it returns travels: all else lies in folders that every machine sees under the same name. So one engine goes on with
what another has begun, and a machine that is lost costs what it was at.
"""

import contextlib
import os
import pickle
import re
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kdlab import paths
from kdlab.system.launch import TORCHRUN, device
from kdlab.system.processes import available_cores, in_turn, pool
from kdlab.system.values import not_negative, whole

#: What an engine does: (item → function, item → the items it needs) → lists of (item, what its function gave), as
#: :func:`kdlab.system.processes.in_turn` gives them.
InTurn = Callable[[Callable[[object], Callable], Mapping], Iterator[list[tuple]]]


class EngineError(ValueError):
    """An engine that is not installed, not reachable, or whose machines lack what kdlab needs there."""


class WorkFailed(ValueError):
    """What another machine had to say of the work that failed there."""


class WorkerLost(ChildProcessError):
    """A process on another machine that ended without a word, more often than it was begun again."""


#: Seconds until a file that another machine has written is seen here; a network's file system keeps old listings.
PATIENCE = 60.0


class Engine(Protocol):
    """Where work is done."""

    def started(self, workers: int) -> contextlib.AbstractContextManager[InTurn]:
        """While it lasts, as many as ``workers`` items may be at work at once. When one fails, those at work end and no
        other is begun; after an interruption nothing goes on."""


@dataclass(frozen=True)
class Pool:
    """Processes of this machine, which have imported ``preload``."""

    preload: tuple[str, ...] = ()

    @contextmanager
    def started(self, workers: int) -> Iterator[InTurn]:
        with pool(workers, self.preload) as processes:
            yield lambda call, needs: in_turn(lambda item: processes.submit(call(item)), workers, needs)


@dataclass(frozen=True)
class Ray:
    """A Ray cluster at ``address`` (``host:port``, ``auto``, ``ray://…``; default: ``$RAY_ADDRESS``), or a Ray of this
    machine alone, which begins and ends with the work. An item takes a core, and where it trains on a GPU one of them.

    What needs another item is begun where Ray has its result. A node that is lost costs the items it was at, which are
    begun again elsewhere up to ``retries`` times. ``patience``: seconds until each machine sees a new file.
    """

    address: str | None = None
    retries: int = 5
    patience: float = 20.0

    def __post_init__(self):
        whole(0, retries=self.retries)
        not_negative(patience=self.patience)

    @contextmanager
    def started(self, workers: int) -> Iterator[InTurn]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        ray = _imported("ray", "ray")
        own = not ray.is_initialized()
        if own:
            self._connect(ray, workers)
        try:
            with _probe() as probe:
                yield lambda call, needs: self._in_turn(ray, call, needs, probe)
        finally:
            if own:
                ray.shutdown()

    def _connect(self, ray, workers: int) -> None:
        address = self.address or os.environ.get("RAY_ADDRESS")
        how = dict(log_to_driver=False, logging_level="ERROR")
        deaf = signal.getsignal(signal.SIGTERM)
        try:
            if address and address != "local":
                _answers(address)
                ray.init(address, **how)
            else:  # nothing large travels, and the least store has 75 MB
                ray.init("local", num_cpus=min(workers, available_cores()), object_store_memory=100 * 2**20,
                         include_dashboard=False, **how)
        except (OSError, RuntimeError, ValueError) as error:
            place = f"at {address}" if address else "of this machine"
            raise EngineError(f"the Ray {place} cannot be reached ({_line(error)}): start one there with `ray start "
                              "--head`, name another address, or leave it out (and RAY_ADDRESS) for one of this "
                              "machine") from error
        finally:
            with contextlib.suppress(ValueError, TypeError):  # Ray's own would end the work without a word
                signal.signal(signal.SIGTERM, deaf)

    def _in_turn(self, ray, call, needs, probe) -> Iterator[list[tuple]]:
        wanted = "GPU" if _device() == "cuda" else "CPU"
        if not ray.cluster_resources().get(wanted):
            raise EngineError(f"no node of this Ray has a {wanted}: start one that has, or set KDLAB_DEVICE")
        remote = ray.remote(_carry_out).options(num_cpus=1, num_gpus=int(wanted == "GPU"), max_retries=self.retries)
        refs, failed = {}, []
        for item in _ordered(needs):
            there = [refs[needed] for needed in needs[item] if needed in refs]
            refs[item] = remote.remote(Call.of(call(item), probe, self.patience), *there)
        waiting = {ref: item for item, ref in refs.items()}
        try:
            while waiting:
                ray.wait(list(waiting), timeout=2)
                ended, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
                results = []
                for ref in ended:
                    item = waiting.pop(ref)
                    try:
                        results.append((item, ray.get(ref)))
                    except ray.exceptions.RayError as error:
                        failed.append(error)
                        for other in waiting:  # those at work do not hear it: see _carry_out
                            ray.cancel(other)
                yield results
        except BaseException:
            for ref in waiting:
                ray.cancel(ref, force=True)
            raise
        if failed:
            raise _of_ray(ray, failed[0])


@dataclass(frozen=True)
class Slurm:
    """Arrays of jobs through submitit: first what needs nothing, then, once it has ended well, what needs it.

    A job asks for a core, ``minutes``, and where it trains on a GPU one of them. At the time limit, or when it is
    preempted, it is queued again and goes on from its checkpoint. ``options`` are submitit's (``slurm_partition``,
    ``slurm_account``, ``mem_gb``, …); sbatch's own variables (``$SBATCH_PARTITION``, …) hold as well. ``cluster``
    "local" are processes of this machine, to try it. The jobs' logs stay in ``runs/slurm/`` where one has failed.
    """

    minutes: int = 240
    options: Mapping[str, object] = field(default_factory=dict)
    cluster: str = "slurm"
    patience: float = PATIENCE
    #: SLURM's own limit is 1001, where nobody has raised it.
    longest_array: int = 1000
    requeued: int = 100

    def __post_init__(self):
        whole(5, "SLURM warns a job 90 to 150 s before its time is up", minutes=self.minutes)
        whole(1, longest_array=self.longest_array)
        whole(0, requeued=self.requeued)
        not_negative(patience=self.patience)

    @contextmanager
    def started(self, workers: int) -> Iterator[InTurn]:
        submitit = _imported("submitit", "slurm")
        if self.cluster == "slurm" and not shutil.which("sbatch"):
            raise EngineError("here is no SLURM (no sbatch on the PATH): call this on a machine that submits to one")
        folder = paths.runs_dir() / "slurm" / time.strftime(f"%Y%m%d-%H%M%S-{secrets.token_hex(2)}")
        executor = submitit.AutoExecutor(folder, self.cluster, slurm_max_num_timeout=self.requeued,
                                         local_max_num_timeout=self.requeued)
        with _probe() as probe:
            yield lambda call, needs: self._in_turn(executor, call, needs, probe, workers)
        shutil.rmtree(folder, ignore_errors=True)

    def _in_turn(self, executor, call, needs, probe, workers) -> Iterator[list[tuple]]:
        levels, jobs, rows, before, failed = _levels(needs), {}, {}, [], []
        try:
            while jobs or (levels and not failed):
                while levels and not failed and (not jobs or self.cluster == "slurm"):  # which alone knows dependencies
                    level = levels.pop(0)
                    calls = [Call.of(call(item), probe, self.patience) for item in level]
                    begun = self._submit(executor, calls, before, workers)
                    jobs |= dict(zip(level, begun, strict=True))
                    rows |= dict.fromkeys(level, len(levels))
                    before = sorted({job.job_id.partition("_")[0] for job in begun})
                ended = {item: jobs.pop(item) for item in [item for item, job in jobs.items() if job.done()]}
                results = []
                for item, job in ended.items():
                    if error := job.exception():
                        failed.append((error, job.paths.stderr, rows[item]))
                    else:
                        results.append((item, job.result()))
                if failed:  # later rows wait for it in vain, also where SLURM keeps no accounts that would say so
                    for item in [item for item, job in jobs.items()
                                 if rows[item] < failed[0][2] or job.state == "PENDING"]:
                        jobs.pop(item).cancel(check=False)
                yield results
                if not ended:
                    time.sleep(1)
        except BaseException:
            for job in jobs.values():
                job.cancel(check=False)
            raise
        if failed:
            raise _of_submitit(*failed[0][:2])

    def _submit(self, executor, calls, before, workers) -> list:
        jobs = []
        try:
            executor.update_parameters(**dict(
                name="kdlab", timeout_min=self.minutes, cpus_per_task=1, slurm_array_parallelism=workers,
                gpus_per_node=1 if _device() == "cuda" else None,
                slurm_dependency=f"afterok:{':'.join(before)}" if before else None,
                slurm_additional_parameters={"kill-on-invalid-dep": "yes"}) | dict(self.options))
            for first in range(0, len(calls), self.longest_array):
                jobs += executor.submit_array(calls[first : first + self.longest_array])
            return jobs
        except Exception as error:  # submitit's, a process's, or an assertion on one of the options
            for job in jobs:
                job.cancel(check=False)
            raise EngineError(f"SLURM does not take the jobs: {_line(error)}. Mend the engine's options or sbatch's "
                              "variables (SBATCH_PARTITION, SBATCH_ACCOUNT)") from error


def seen(file: Path, patience: float = PATIENCE) -> bool:
    """Whether ``file``, which another machine has written, is there, at the latest after so many seconds."""
    deadline = time.monotonic() + patience
    while not file.is_file():
        if time.monotonic() > deadline:
            return False
        time.sleep(min(1, patience))
        with contextlib.suppress(OSError):  # a network's file system looks again when the folder is listed
            os.listdir(file.parent)
    return True


# --- what travels ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A function as another machine carries it out: pickled, so that where it cannot be imported is told in a sentence,
    with the places of this process. ``probe`` is a file that every machine must see."""

    work: bytes
    modules: tuple[str, ...]
    folder: str
    places: Mapping[str, str]
    probe: Path
    patience: float

    @classmethod
    def of(cls, work: Callable, probe: Path, patience: float) -> "Call":
        places = {name: value for name, value in os.environ.items() if name.startswith("KDLAB_")}
        places |= {"KDLAB_RUNS": str(paths.runs_dir()), "KDLAB_DATA": str(paths.data_dir()),
                   "KDLAB_FIGURES": str(paths.figures_dir()), "KDLAB_DEVICE": _device()}
        modules = tuple(os.path.abspath(place) for place in sys.path)
        return cls(pickle.dumps(work), modules, os.getcwd(), places, probe, patience)

    def __call__(self):
        if not seen(self.probe, self.patience):
            raise EngineError(f"{socket.gethostname()} does not see {self.probe.parent}, which all machines must "
                              "share: let KDLAB_RUNS name a folder of a file system that each of them mounts there")
        for name in [name for name in os.environ if name.startswith("KDLAB_") and name != "KDLAB_CACHE"]:
            del os.environ[name]
        os.environ.update(self.places)
        for name in TORCHRUN:
            os.environ.pop(name, None)
        with contextlib.suppress(OSError):
            os.chdir(self.folder)
        sys.path += [place for place in self.modules if place not in sys.path]
        try:
            work = pickle.loads(self.work)
        except (ImportError, AttributeError) as error:
            raise EngineError(f"{socket.gethostname()} cannot import what the work is made of ({_line(error)}): put "
                              "that module where all machines see it, and its folder on PYTHONPATH") from error
        return work()

    def checkpoint(self):
        """What submitit queues again at the time limit: the same, for what was done lies in its folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _carry_out(call: Call, *needed):
    """``needed`` are results, whose being there says that this may begin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ray cancels with it; what is at work ends, or is killed
    return call()


@contextmanager
def _probe() -> Iterator[Path]:
    """A new file beside the runs."""
    probe = paths.runs_dir() / f".shared-{secrets.token_hex(8)}"
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.touch()
    try:
        yield probe
    finally:
        probe.unlink(missing_ok=True)


# --- in words --------------------------------------------------------------------------------------------------


def _imported(module: str, extra: str):
    try:
        return __import__(module)
    except ImportError as error:
        raise EngineError(f"{module} is not installed here: pip install 'kdlab[{extra}]'") from error


def _answers(address: str) -> None:
    """Raise ``OSError`` where nobody listens; Ray itself would wait for minutes."""
    if found := re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)", address):
        socket.create_connection((found[1], int(found[2])), 10).close()


def _of_ray(ray, error) -> Exception:
    if "No module named 'kdlab" in str(error):
        return _without_kdlab("Ray")
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, EngineError) else WorkFailed(_line(cause))
    return WorkerLost(f"a worker of Ray died, the last time with {type(error).__name__}: {_line(error)}")


def _of_submitit(error, log: Path) -> Exception:
    """``error`` holds the traceback of the job, whose last words are the sentence."""
    if "No module named 'kdlab" in str(error):
        return _without_kdlab("SLURM")
    trace = str(error).split("-" * 22)[1] if type(error).__name__ == "FailedJobError" else ""
    if found := re.findall(r"^(?:\w+\.)*(\w+): (.*(?:\n[^\s].*)*)\n*\Z", trace, re.MULTILINE):
        kind, text = found[-1]
        return EngineError(text) if kind == EngineError.__name__ else WorkFailed(f"{text} (see {log})")
    return WorkerLost(f"a job ended without a word: {_line(error)}. Its log is {log}")


def _without_kdlab(engine: str) -> EngineError:
    return EngineError(f"a node of this {engine} has no kdlab: install the same version there")


def _line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


# --- order -----------------------------------------------------------------------------------------------------


def _levels(needs: Mapping) -> list[list]:
    """The items in rows, each of which needs only those before it; in their order."""
    left, levels = dict(needs), []
    while left:
        levels.append([item for item in left if not any(needed in left for needed in left[item])])
        for item in levels[-1]:
            del left[item]
    return levels


def _ordered(needs: Mapping) -> Iterable:
    """The items, each after those it needs."""
    return [item for level in _levels(needs) for item in level]


def _device() -> str:
    """What is trained on: ``$KDLAB_DEVICE``, else what this machine has."""
    return os.environ.get("KDLAB_DEVICE") or device()
