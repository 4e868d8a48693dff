"""Batches for a GPU: read ahead by threads, moved as whole ``uint8`` frames, cut and scaled there. Windows of untrimmed
video and segments of compressed clips have labels and rows of their own: they are cut by the threads, and then moved.

:class:`OnDevice` has the interface of ``ClipBatches`` and gives the same pixels. It can read ahead because what
``kdlab.train.loop.fit`` asks for is a function of (seed, step): :func:`plan` says it, and every request is compared
with it, so that a batch is served ahead of time or made on the spot, but is never another one.
"""

import copy
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from kdlab.clips.views import Batch, ClipBatches, Draw, View
from kdlab.launch import device, launched, precision
from kdlab.train.loop import Settings, seeded

__all__ = ["OnDevice", "fed", "folded", "in_bf16", "plan"]


def plan(count: int, settings: Settings, seed: int, step: int, rank: int = 0, world: int = 1):
    """What ``fit`` asks of ``count`` clips at ``step``: their indices, and the generator of their draws."""
    batch_size = min(settings.batch_size, count)
    epoch, place = divmod(step, count // batch_size)
    order = torch.randperm(count, generator=seeded(seed, 1, epoch)).tolist()
    return order[place * batch_size + rank : (place + 1) * batch_size : world], seeded(seed, 2, step, rank)


def fed(clips: ClipBatches, settings: Settings, seed: int):
    """``clips`` as the training loop should get them: themselves, or, where it runs on CUDA, :class:`OnDevice`."""
    if device() != "cuda" or not isinstance(clips, ClipBatches):  # features of frozen networks lie in memory
        return clips
    launch = launched()
    place = torch.device("cuda", launch.local_rank)
    return OnDevice(clips, settings, seed, place, rank=launch.rank, world=launch.world)


def folded(net: nn.Module) -> nn.Module:
    """A copy of the frozen ``net`` with its batch norms folded into the convolutions before: the same function but
    for rounding, in less time (a live teacher of the student's size: 1.31 instead of 1.45 of a step without one, on a
    CPU; benchmarks/steps.py). Layers lose their names, so it is not for methods that tap them.
    """
    try:
        return fuse(net.eval())
    except (TraceError, RuntimeError, TypeError):  # control flow that depends on the input: fold what lies below it
        net = copy.copy(net)
        net._modules = {name: folded(child) for name, child in net.named_children()}
        return net


def in_bf16(net: nn.Module) -> nn.Module:
    """``net`` with a forward pass in bf16 mixed precision, its output in fp32: for a frozen teacher in a ``bf16``
    training, whose loop puts only the networks that it trains into mixed precision. Itself where the hardware has no
    bf16 (:func:`kdlab.launch.precision`)."""
    if precision("bf16") != "bf16":
        return net
    plain = net.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return plain(x).float()

    net.forward = forward  # the layers keep their names, by which methods tap them
    return net


class OnDevice:
    """``clips`` on ``device``, for ``fit`` with these ``settings`` and ``seed``; ``ahead`` batches are made early.

    A batch's views are bit for bit those of ``clips`` on a CPU, in the same layout. ``ahead`` threads read and decode;
    on CUDA they copy from pinned memory and cut on a stream beside the training's. Evaluation is that of ``clips``.
    """

    def __init__(self, clips: ClipBatches, settings: Settings, seed: int, device: torch.device | str, *,
                 rank: int = 0, world: int = 1, ahead: int = 4):
        self.clips, self.records, self.evaluation = clips, clips.records, clips.evaluation
        self.device, self.ahead, self.next = torch.device(device), ahead, 0
        self.steps = settings.epochs * (len(self.records) // min(settings.batch_size, len(self.records)))
        self._plan = lambda step: plan(len(self.records), settings, seed, step, rank, world)
        self._seed_of = lambda step: seeded(seed, 2, step, rank).initial_seed()
        self._coming: dict[int, Future] = {}
        # one torch thread in each: they are the parallelism, and sums then have the bits of a CPU training
        self._threads = ThreadPoolExecutor(ahead, "feeding", torch.set_num_threads, (1,))
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def training(self, indices: Sequence[int], generator: torch.Generator) -> Batch:
        """The batch that ``ClipBatches.training`` would give; ``generator`` is not advanced."""
        step = self._step_of(list(indices), generator)
        wanted = range(0) if step is None else range(step, min(step + self.ahead + 1, self.steps))
        for other in self._coming.keys() - set(wanted):
            self._coming.pop(other).cancel()
        for ahead in wanted:
            if ahead not in self._coming:
                self._coming[ahead] = self._threads.submit(lambda at=ahead: self._made(*self._plan(at)))
        if step is None:
            job = self._threads.submit(self._made, indices, torch.Generator().set_state(generator.get_state()))
        else:
            job, self.next = self._coming.pop(step), step + 1
        batch, done = job.result()
        if done:
            done.wait()  # the training's stream waits, not this thread
            for tensor in (*batch.views.values(), batch.labels):
                tensor.record_stream(torch.cuda.current_stream(self.device))
        return batch

    def _step_of(self, indices: list[int], generator: torch.Generator) -> int | None:
        """The step that asks for exactly this: the next one, or, after a resume, another; None when no step does."""
        name = generator.initial_seed()
        for step in (self.next, *range(self.steps)):
            if step < self.steps and self._seed_of(step) == name:
                planned, draws = self._plan(step)
                return step if planned == indices and torch.equal(draws.get_state(), generator.get_state()) else None
        return None

    def _made(self, indices: Sequence[int], generator: torch.Generator):
        """``ClipBatches.training`` with the cutting on the device, and the event of its end there."""
        clips, chosen = self.clips, [self.records[i] for i in indices]
        if type(clips) is not ClipBatches:
            return self._moved(clips.training(indices, generator))
        draws = [clips.window.random(clips.length(record), generator) for record in chosen]
        tensors = {}
        with torch.cuda.stream(self._stream):  # does nothing for None
            for view in set(clips.views.values()):
                cut = [self._cut(draw, view, clips.pixels(record, view, draw.frames))
                       for record, draw in zip(chosen, draws, strict=True)]
                tensor = torch.stack(cut).permute(0, 4, 1, 2, 3).float().div_(255)
                tensors[view] = view.finish(tensor) if hasattr(view, "finish") else tensor
            labels = torch.tensor([r.label for r in chosen]).to(self.device)
            done = self._stream.record_event() if self._stream else None
        views = {name: tensors[view] for name, view in clips.views.items()}
        return Batch(views, labels, tuple(r.id for r in chosen)), done

    def _moved(self, batch: Batch):
        """A finished batch on the device, and the event of its arrival there."""
        move = lambda t: (t.pin_memory() if self._stream else t).to(self.device, non_blocking=True)  # noqa: E731
        with torch.cuda.stream(self._stream):
            batch = replace(batch, views={name: move(view) for name, view in batch.views.items()},
                            labels=move(batch.labels))
            return batch, self._stream.record_event() if self._stream else None

    def _cut(self, draw: Draw, view: View, frames: np.ndarray) -> torch.Tensor:
        """Move one clip's whole frames ``(T, h, w, C)`` and cut them there."""
        pixels = torch.from_numpy(frames)
        pixels = (pixels.pin_memory() if self._stream else pixels).to(self.device, non_blocking=True)
        return self.clips.window.shown(draw, pixels, view)
