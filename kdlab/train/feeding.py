"""The clips of each step, in an order that the seed alone decides, on the device of the training."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import torch

from kdlab.clips.windows import Batch
from kdlab.train.device import seed_all, seeded
from kdlab.train.settings import Settings


def clips_of_batch(
    count: int, settings: Settings, seed: int, step: int
) -> tuple[list[int], torch.Generator]:
    """The indices of the clips in the batch at ``step`` of a training, out of ``count``, and the generator of their
    draws."""
    batch_size = min(settings.batch_size, count)
    epoch, place = divmod(step, count // batch_size)
    order = torch.randperm(count, generator=seeded(seed, 1, epoch)).tolist()
    return order[place * batch_size : (place + 1) * batch_size], seeded(seed, 2, step, 0)


def parts_of_batch(batch_size: int, accumulate: int) -> list[slice]:
    """``accumulate`` slices of a batch, as equal as can be, in order. Raises ``ValueError`` for fewer clips than
    parts."""
    if accumulate > batch_size:
        raise ValueError(
            f"a batch of {batch_size} clips has not one for each of accumulate={accumulate} parts: give "
            "fewer parts, or more clips"
        )
    edges = [batch_size * part // accumulate for part in range(accumulate + 1)]
    return [slice(*pair) for pair in pairwise(edges)]


def parts_wanted(count: int, settings: Settings, seed: int, steps: range) -> Iterator[tuple]:
    """The arguments of ``clips.training`` for each part of the batches of ``steps``, out of ``count`` clips."""
    parts = parts_of_batch(min(settings.batch_size, count), settings.accumulate)
    for step in steps:
        for part in parts:
            # a view or a window may draw from the global generators, and on a CPU draws the same after a resume
            seed_all(seed, 2, step, 1)
            request = clips_of_batch(count, settings, seed, step)
            yield request if len(parts) == 1 else (*request, part)


def batches_on_device(clips, wanted: Iterable[tuple], device: torch.device) -> Iterator[Batch]:
    """``clips.training(*request)`` for each request in ``wanted``, in order, on ``device``; on CUDA they are made ahead
    by threads."""
    if device.type != "cuda":
        for request in wanted:
            yield clips.training(*request).to(device)
        return
    for batch in made_ahead(lambda *request: _pinned(clips.training(*request)), wanted):
        yield _changed(batch, lambda tensor: tensor.to(device, non_blocking=True))


def _pinned(batch: Batch) -> Batch:
    return _changed(batch, lambda tensor: tensor if tensor.is_cuda else tensor.pin_memory())


def _changed(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    views = {name: change(view) for name, view in batch.views.items()}
    return replace(batch, views=views, labels=change(batch.labels))


def made_ahead(make: Callable, requests: Iterable[tuple], threads: int = 4) -> Iterator:
    """Yield ``make(*request)`` for each request, in order; ``threads`` workers compute up to ``threads`` results ahead.
    Each worker has one torch thread: the workers are the parallelism, and sums then have the bits of a CPU training."""
    workers, coming = ThreadPoolExecutor(threads, "feeding", torch.set_num_threads, (1,)), deque()
    try:
        for request in requests:
            coming.append(workers.submit(make, *request))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        workers.shutdown(cancel_futures=True)
