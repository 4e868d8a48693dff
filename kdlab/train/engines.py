"""Executors that train on other machines, for :func:`kdlab.train.many.obtain_all`: all see kdlab's folders.

A run's folder on the shared disk is the state: a machine that is lost costs the epochs since the last checkpoint.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

from kdlab.system.values import not_negative


@dataclass(frozen=True)
class Ray(Executor):
    """A Ray cluster at ``address``, or a Ray of this machine; needs the extra ``ray``. A training takes a core, or so
    many ``gpus``."""

    address: str | None = None
    gpus: float = 0

    def __post_init__(self):
        not_negative(gpus=self.gpus)

    def submit(self, work: Callable, *arguments) -> Future:
        import ray

        if not ray.is_initialized():
            ray.init(self.address, log_to_driver=False)
        return ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=5)(work).remote(*arguments).future()


@dataclass(frozen=True)
class Slurm(Executor):
    """SLURM through submitit, whose files lie in ``folder``; needs the extra ``slurm``. ``options`` are submitit's:
    ``(("timeout_min", 600), ("gpus_per_node", 1))``."""

    folder: str
    options: tuple[tuple[str, object], ...] = ()
    cluster: str | None = None

    def submit(self, work: Callable, *arguments) -> Future:
        import submitit

        executor = submitit.AutoExecutor(self.folder, cluster=self.cluster)
        executor.update_parameters(**dict(self.options))
        job, waits = executor.submit(work, *arguments), ThreadPoolExecutor(1)
        try:
            return waits.submit(job.result)
        finally:
            waits.shutdown(wait=False)
