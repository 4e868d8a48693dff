"""Batches for a GPU: read ahead by threads, moved as whole ``uint8`` frames, cut and scaled there. Windows of untrimmed
video and segments of compressed clips have labels and rows of their own: they are cut by the threads, and then moved.
And a frozen teacher's network in bf16."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from kdlab.clips.views import View
from kdlab.clips.windows import Batch, ClipBatches, Draw
from kdlab.system.launch import precision


def fed(clips, requests: Iterable[tuple], device: torch.device) -> Iterator[Batch]:
    """``clips.training(indices, generator)`` of each of ``requests``, in order, on ``device``; on CUDA made ahead. A
    request may name a part of the batch, too.

    A batch's views are bit for bit those of ``clips`` on a CPU, in the same layout.
    """
    if device.type != "cuda":
        yield from (clips.training(*request).to(device) for request in requests)
        return
    if not isinstance(clips, ClipBatches):  # features of frozen networks, which may lie on the disk
        yield from (batch.to(device) for batch in ahead(clips.training, requests))
        return
    for batch, done in ahead(OnDevice(clips, device).training, requests):
        done.wait()  # the training's stream waits, not this thread
        for tensor in (*batch.views.values(), batch.labels):
            tensor.record_stream(torch.cuda.current_stream(device))
        yield batch


def ahead(make: Callable, requests: Iterable[tuple], threads: int = 4) -> Iterator:
    """``make(*request)`` of each, in order, by so many ``threads`` that are as many ahead. Each has one torch thread:
    they are the parallelism, and sums then have the bits of a CPU training."""
    with ThreadPoolExecutor(threads, "feeding", torch.set_num_threads, (1,)) as workers:
        coming = deque()
        try:
            for request in requests:
                coming.append(workers.submit(make, *request))
                if len(coming) > threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for job in coming:
                job.cancel()


def in_bf16(net: nn.Module) -> nn.Module:
    """``net`` with a forward pass in bf16 mixed precision, its output in fp32: for a frozen teacher in a ``bf16``
    training, whose loop puts only the networks that it trains into mixed precision. Itself where the hardware has no
    bf16 (:func:`kdlab.system.launch.precision`)."""
    if precision("bf16") != "bf16":
        return net
    plain = net.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return plain(x).float()

    net.forward = forward  # the layers keep their names, by which methods tap them
    return net


class OnDevice:
    """``clips`` made on ``device``: on CUDA copied from pinned memory and cut on a stream beside the training's."""

    def __init__(self, clips: ClipBatches, device: torch.device | str):
        self.clips, self.device = clips, torch.device(device)
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def training(self, indices: Sequence[int], generator: torch.Generator, *part: slice):
        """The batch that ``ClipBatches.training`` would give, and on CUDA the event of its end there."""
        clips, chosen = self.clips, [self.clips.records[i] for i in indices]
        if type(clips) is not ClipBatches:
            batch = clips.training(indices, generator, *part)
            with torch.cuda.stream(self._stream):  # does nothing for None
                views = {name: self._moved(view) for name, view in batch.views.items()}
                return replace(batch, views=views, labels=self._moved(batch.labels)), self._event()
        draws = [clips.window.random(clips.length(record), generator) for record in chosen]
        for own in part:
            chosen, draws = chosen[own], draws[own]
        tensors = {}
        with torch.cuda.stream(self._stream):
            for view in set(clips.views.values()):
                cut = [self._cut(draw, view, clips.pixels(record, view, draw.frames))
                       for record, draw in zip(chosen, draws, strict=True)]
                tensor = torch.stack(cut).permute(0, 4, 1, 2, 3).float().div_(255)
                tensors[view] = view.finish(tensor) if hasattr(view, "finish") else tensor
            labels = torch.tensor([r.label for r in chosen]).to(self.device)
            views = {name: tensors[view] for name, view in clips.views.items()}
            return Batch(views, labels, tuple(r.id for r in chosen)), self._event()

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        return (tensor.pin_memory() if self._stream else tensor).to(self.device, non_blocking=True)

    def _event(self):
        return self._stream.record_event() if self._stream else None

    def _cut(self, draw: Draw, view: View, frames: np.ndarray) -> torch.Tensor:
        """Move one clip's whole frames ``(T, h, w, C)`` and cut them there."""
        return self.clips.window.shown(draw, self._moved(torch.from_numpy(frames)), view)
