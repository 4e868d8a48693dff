"""Train many runs at once, each after the runs it needs, in processes of this machine or on others through an executor.

A run's folder on a shared disk holds its state: a lost machine costs only the epochs since the last checkpoint.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from kdlab.system.pool import available_cores, pool, track
from kdlab.train.obtain import finished_run, obtain
from kdlab.train.preparing import cache_clips
from kdlab.train.recipe import Recipe, Snapshot, check
from kdlab.train.rehearsal import rehearse
from kdlab.train.runs import Run


def in_training_order(recipes: Iterable[Recipe]) -> list[Recipe]:
    """The recipes and those they need, each once; a needed recipe comes before the one that needs it."""
    order: dict[Recipe, None] = {}
    for recipe in recipes:
        order |= dict.fromkeys([*in_training_order(recipe.needs().values()), recipe])
    return list(order)


def obtain_all(
    recipes: Sequence[Recipe],
    *,
    pretrained: bool = True,
    stale: str = "use",
    workers: int | None = None,
    executor: Executor | None = None,
    say=print,
) -> list[Run]:
    """The runs of all ``recipes``, in order, trained in ``workers`` processes (default: one per core).

    Each process trains on one thread, so the weights do not depend on the number of processes. An ``executor``
    (:class:`Ray`, :class:`Slurm`) trains on other machines that see the same folders. Raises ``ValueError`` before any
    training for a recipe that :func:`obtain` refuses. If a run fails, the runs in progress finish first; then a
    ``ValueError`` names the failed run. Finished runs are kept, and the same call continues from there.
    """
    say_once = cache(say)  # a stale run is reported here and by the process that trains
    for recipe in recipes:
        check(recipe)
    order, snapshot, done = in_training_order(recipes), Snapshot(), {}
    for recipe in order:
        if run := finished_run(recipe, pretrained, stale, say_once, snapshot):
            done[recipe] = run
    todo = [recipe for recipe in order if recipe not in done]
    workers = min(workers or available_cores(), len(todo))
    if not executor:  # its machines rehearse, since their device may be absent here
        for recipe in todo:
            rehearse(recipe, snapshot)
        if workers > 1:
            cache_clips(todo, snapshot)
    if executor or workers > 1:
        with nullcontext(executor) if executor else pool(workers) as trains:
            ends = _as_they_end(todo, set(done), trains, pretrained, stale)
            for recipe, folder, lines in track(ends, "trainings", len(todo)):
                done[recipe] = Run(folder, recipe)
                for line in lines:
                    say_once(line)
    else:
        for recipe in todo:
            done[recipe] = obtain(
                recipe, pretrained=pretrained, stale=stale, say=say_once, snapshot=snapshot
            )
    return [done[recipe] for recipe in recipes]


def _as_they_end(
    todo: list[Recipe], done: set[Recipe], executor: Executor, pretrained: bool, stale: str
):
    """Submit each recipe once the runs it needs are done; yield each as it ends. After a failure no other begins."""
    waiting, running, failed = list(todo), {}, []
    while running or (waiting and not failed):
        ready = [r for r in waiting if not failed and done.issuperset(r.needs().values())]
        waiting = [r for r in waiting if r not in ready]
        running |= {executor.submit(_train, recipe, pretrained, stale): recipe for recipe in ready}
        for job in wait(running, return_when=FIRST_COMPLETED).done:
            recipe = running.pop(job)
            try:
                folder, lines = job.result()
            except Exception as error:  # includes a killed process
                failed.append(f"{recipe.stem}: {type(error).__name__}: {error}")
            else:
                done.add(recipe)
                yield recipe, folder, lines
    if failed:
        raise ValueError(
            f"{failed[0]}\n{len(todo) - len(waiting) - len(failed)} of {len(todo)} runs are finished "
            "and kept; the same call goes on from there"
        )


def _train(recipe: Recipe, pretrained: bool, stale: str) -> tuple[Path, list[str]]:
    """The run's folder, and the lines that :func:`obtain` reported about this run."""
    torch.set_num_threads(1)
    lines: list[str] = []
    folder = obtain(recipe, pretrained=pretrained, stale=stale, say=lines.append).folder
    return folder, [line for line in lines if line.startswith(f"{folder.name}:")]


# --- other machines --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ray(Executor):
    """A Ray cluster at ``address``, or a Ray of this machine; needs the extra ``ray``. A training takes one core and
    ``gpus`` GPUs."""

    address: str | None = None
    gpus: float = 0

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        import ray  # pyright: ignore[reportMissingImports]

        if not ray.is_initialized():
            ray.init(self.address, log_to_driver=False)
        remote = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=5)(fn)
        return remote.remote(*args, **kwargs).future()


@dataclass(frozen=True)
class Slurm(Executor):
    """SLURM through submitit, which keeps its files in ``folder``; needs the extra ``slurm``. ``options`` are
    submitit's: ``(("timeout_min", 600), ("gpus_per_node", 1))``."""

    folder: str
    options: tuple[tuple[str, object], ...] = ()
    cluster: str | None = None

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        import submitit  # pyright: ignore[reportMissingImports]

        executor = submitit.AutoExecutor(self.folder, cluster=self.cluster)
        executor.update_parameters(**dict(self.options))
        job, waits = executor.submit(fn, *args, **kwargs), ThreadPoolExecutor(1)
        try:
            return waits.submit(job.result)
        finally:
            waits.shutdown(wait=False)
