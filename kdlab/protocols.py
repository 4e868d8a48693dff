"""What you can bring: a data set, a view, a window, a network and a method, with all that kdlab asks of each.

Write each as a frozen dataclass at the top level of a module of yours (a file beside the notebook will do), and give it
to a :class:`kdlab.train.recipe.Recipe`; you need not inherit from the classes here. Its fields are plain values,
tuples and other frozen dataclasses: they are the run's identity, and what its JSON holds. Its module, and what that
imports from its own package or folder, is hashed with the run, so a changed line makes the run stale. A run can be
opened wherever its classes have been imported. A class in a notebook's cell is refused, because training processes
cannot import it.

What is ``abstract`` below is required, all else optional; the docstrings of the optional say what happens without it.
Shapes: video ``(B, C, T, H, W)``, float, pixels in [0, 1]; logits ``(B, K)``; labels ``(B,)``, int64.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn


class Data(Protocol):
    """Clips with labels and splits."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A word for people: it begins the names of runs."""

    @abstractmethod
    def catalogue(self):
        """A ``kdlab.clips.catalogue.Catalogue(name, root, classes, records)``: each ``ClipRecord(id, path, label,
        split, group)`` a video file with its whole ``path``, ``label`` an index into ``classes``, ``split`` of train,
        val and test, ``group`` what must not be on both sides of a split (a person, a place). Train and test have
        clips. Makes or fetches what is missing, in any process that asks first; raises ``FileNotFoundError`` where it
        cannot. Your clips may lie anywhere; kdlab's own lie in ``kdlab.system.paths.data_dir()``."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes whenever a clip, label or split does, and with nothing else; ``self.catalogue().fingerprint()``."""

    def contents(self) -> str:
        """What the clips are, as part of a run's *name*, where the fields do not say it (a folder that may hold other
        clips tomorrow). Without it other clips make a run stale, not another one."""


class View(Protocol):
    """What a network sees of a clip. Teacher and student see two views of the same moment, place and flip."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Names the pixels on disk (the frame cache): every field that changes pixels belongs in it."""

    @abstractmethod
    def read(self, path: Path, indices: Sequence[int] | None = None) -> np.ndarray:
        """Frames of a file, all or those at ascending ``indices``: uint8 ``(T, H, W, C)``, as many as the file has. A
        view that has ``each_frame(path, indices)``, which yields them one by one, needs none: inherit ``read`` from
        ``kdlab.clips.decode.Streamed``, and frames from ``kdlab.clips.decode.each_frame``."""

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """Change a cut batch ``(B, C, T, H, W)`` in [0, 1] where it lies, CPU or GPU, before it is normalised. Without
        it the batch is as it was read."""

    def mirrored(self, pixels):
        """Cut ``(T, h, w, C)``, an array or a tensor, of a flipped clip. Without it left and right are swapped; motion
        also turns the sign of x."""


class Window(Protocol):
    """How a clip becomes a network's input. ``kdlab.clips.windows.Window(frames, side, crop)`` does for most: inherit
    from it and change ``moments(length, offset)`` or ``random(length, generator)``. A student and its teacher have one
    window, since they are shown one draw of each clip."""

    frames: int  # T
    side: int  # pixels of the short side to which frames are scaled for the cache
    crop: int  # H = W, in pixels

    @abstractmethod
    def batches(self, catalogue, split: str, views: dict):
        """A ``kdlab.clips.windows.ClipBatches`` (or one that inherits from it) of the clips of ``split``."""


class Net(Protocol):
    """A network before it has weights: the recipe's ``net``. The trained one is ``Normalised(make(K))``, which
    standardises pixels per channel first; its layers' names then begin with ``net.``."""

    @abstractmethod
    def make(self, num_classes: int) -> nn.Module:
        """Untrained, all its randomness torch's (it is seeded outside): video ``(B, C, T, H, W)``, standardised, to
        logits ``(B, num_classes)``, in training and in evaluation. It works on whatever device its weights lie. Video
        and the weights of 3-D convolutions lie channels-last in memory, so use ``reshape`` and not ``view``. Weights
        that ask for no gradient stay as they are, and layers that are in evaluation here (``layer.eval()``) stay there
        in training, so that a norm keeps its statistics. All that training changes is in parameters and persistent
        buffers: a run is built again from its recipe and these, and has to answer as before, which is tried before
        anything is trained."""

    #: The layer with a row a class, by which a ``start`` of other classes is fitted to these.
    head: str = "fc"
    #: Layers that give features ``(B, C', T', H', W')``, or on frames ``(B·T', C', H', W')``, which are read as those;
    #: the pixels' first. Grad-CAM looks at the last; else name
    #: a layer where one is wanted. For a detector or an attention head on top of it, the network's children come in the
    #: order in which they are applied, up to the last stage.
    stages: tuple[str, ...]
    #: C of the video that it sees.
    channels: int = 3
    #: Mean and deviation per channel that its weights were trained with; without it those of the training clips.
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def begin(self, net: nn.Module, start: nn.Module) -> nn.Module:
        """Put what fits of the trained ``start`` into the new ``net``, both Normalised. Without it all of it, the head
        row by row."""


class Method(Protocol):
    """A loss, and who learns from it."""

    @abstractmethod
    def parts(self, nets: dict[str, nn.Module]) -> dict[str, list[str]]:
        """Optimiser → names of the networks it trains (AdamW at the settings' rate, or by the rule that their
        ``as_released`` has for that name); every other is frozen and in eval mode. ``nets`` has ``student``, with a
        teacher ``teacher``, and those of :meth:`extra_nets`."""

    @abstractmethod
    def losses(self, nets: dict[str, nn.Module], batch, progress) -> Iterator[tuple[str, torch.Tensor, dict]]:
        """Yield ``(optimiser, loss, terms)``: the loop takes a step of that optimiser before it asks for the next, so
        several optimisers take turns on one batch. ``terms`` (name → scalar tensor) only go into the history.
        ``batch.views["student"]`` and ``["teacher"]`` are video, ``batch.labels`` and ``batch.ids`` theirs;
        ``progress.step``, ``.steps``, ``.fraction`` in [0, 1) and ``.prepared``. The global generators of torch, NumPy
        and Python are seeded for each step: draw from these. Ask the frozen under
        ``torch.no_grad()``; read layers by ``seen = kdlab.nets.layers.outputs(net, x, names)``: ``seen.logits``, and
        ``seen.taps[name]``."""

    def extra_nets(self, nets: dict[str, nn.Module], batches: Iterable, seed: int, needed: dict) -> dict:
        """More networks by name, trained (if :meth:`parts` says so) and saved beside the student: a regressor, a
        discriminator. ``batches`` are training batches in evaluation order, to read shapes from: under
        ``torch.no_grad()`` and in eval mode, since a pass in training mode moves batch norm's statistics. ``seed``
        alone decides weights (``torch.random.fork_rng``, ``torch.manual_seed``); ``needed["teacher"]`` is the teacher's
        run."""

    def prepare(self, nets: dict[str, nn.Module], batches: Iterable) -> object:
        """Computed once before the first step, found in ``progress.prepared``; ``batches`` are all training clips."""

    taps: tuple[str, ...]  # layers of the teacher that are read; without it a bf16 teacher loses its layers' names
