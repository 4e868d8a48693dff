"""The bases of your own data set, view, network and method, with the defaults of all that is optional.

Write each as a frozen dataclass at the top level of a module of yours (a file beside the notebook will do), as in
``class MyNet(Net)``, and give it to a :class:`kdlab.train.recipe.Recipe`. The fields are plain values, tuples and other
frozen dataclasses. They identify the run, and its JSON holds them. kdlab hashes the module with the run, the modules of
its bases, and every file of yours that they import: a changed line makes the run stale. A run can be opened wherever
its classes have been imported. kdlab refuses a class from a notebook's cell, or from the script that you start, because
training processes cannot import it. A window of your own inherits from ``kdlab.clips.windows.Window``.

Members marked ``abstract`` are required, and so is a ``name`` without a value. All others have their default here.
Write ``head = "classify"`` without an annotation: an annotated member becomes a field, and part of the run's identity.
Shapes: video ``(B, C, T, H, W)``, float, pixels in [0, 1]; logits ``(B, K)``; labels ``(B,)``, int64.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from kdlab.video.decode import gathered, mirrored

#: Mean and standard deviation per channel of pixels in [0, 1].
Statistics = tuple[tuple[float, ...], tuple[float, ...]]


class Data(ABC):
    """Clips with labels and splits."""

    #: A readable word.
    name: str

    @property
    def short_name(self) -> str:
        """The word for these clips in the names of runs."""
        return self.name

    @abstractmethod
    def catalogue(self) -> Any:
        """A ``kdlab.clips.records.Catalogue(name, root, classes, records)`` with a ``ClipRecord(id, path, label, split,
        group)`` for each video file. ``path`` is the whole path, ``label`` an index into ``classes``, ``split`` is
        train, val or test. ``group`` names what must not stand on both sides of a split (a person, a place): a group in
        test and in another split is refused. Train and test must have clips. Records are sorted by id. The first
        process that calls this makes or fetches missing clips, and raises ``FileNotFoundError`` where it cannot. Your
        clips may lie anywhere; kdlab's own lie in ``kdlab.system.paths.data_dir()``."""

    def fingerprint(self) -> str:
        """A hash that changes if and only if clips, ids, labels, splits, groups, times or the order of classes change."""
        return self.catalogue().fingerprint()

    def contents(self) -> str:
        """A hash of the clips that becomes part of a run's *name*. Define it where the fields do not fix the clips (a
        folder may hold other clips tomorrow). While it is empty, other clips make the same run stale; else they make a
        new run."""
        return ""


class View:
    """A network's view of a clip. Teacher and student see two views of the same moment, place and flip.

    Define ``read``, or ``each_frame``, which needs less memory.
    """

    #: The name of the pixels in the frame cache on disk. It must contain every field that changes pixels.
    name: str

    def read(self, path: Path, indices: Sequence[int] | None = None) -> np.ndarray:
        """Frames of a file, uint8 ``(T, H, W, C)``: all, or those at ascending ``indices``, as many as the file
        has."""
        return gathered(self.each_frame, path, indices)

    def each_frame(self, path: Path, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield the frames of :meth:`read` one by one. ``kdlab.video.decode.each_frame`` yields those of a file."""
        yield from self.read(path, indices)

    def yield_frames(
        self, path: Path, indices: Sequence[int] | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the frames by the one of the two that the most derived class defines."""
        own = next(
            kind for kind in type(self).__mro__ if {"read", "each_frame"} & vars(kind).keys()
        )
        if "each_frame" in vars(own):
            return self.each_frame(path, indices)
        return iter(self.read(path, indices))

    def contents(self) -> str:
        """As :meth:`Data.contents`: a hash of files of its own that the fields do not fix."""
        return ""

    def finish(self, pixels: Tensor) -> Tensor:
        """The cropped batch ``(B, C, T, H, W)`` in [0, 1], changed on its own device (CPU or GPU) before it is
        normalised."""
        return pixels

    def mirrored(self, pixels: np.ndarray) -> np.ndarray:
        """The crop ``(T, h, w, C)`` of a flipped clip: left and right are swapped. A view of motion must also change
        the sign of x."""
        return mirrored(pixels)


class Net(ABC):
    """A network before it has weights: the recipe's ``net``. kdlab trains ``Normalised(make(K))``, which standardises
    pixels per channel first. Where you read a layer of that, its name begins with ``net.``; ``head`` and ``stages``
    name layers of ``make(K)``, without it."""

    @abstractmethod
    def make(self, num_classes: int) -> nn.Module:
        """The untrained module: standardised video ``(B, C, T, H, W)`` → logits ``(B, num_classes)``, in training and
        in evaluation. T and H = W are those of the recipe's window. Draw random numbers from torch alone, which kdlab
        seeds before. The module must work on the
        device of its weights. Video and the weights of 3-D convolutions lie channels-last in memory, so use ``reshape``
        and not ``view``. Weights without ``requires_grad`` stay as they are. Layers that you put in eval mode here
        (``layer.eval()``) stay in it during training, so a norm keeps its statistics. Training may change only
        parameters and persistent buffers: kdlab rebuilds a run from its recipe and these, and the rebuilt network must
        predict as before. kdlab checks that before it trains. A file of weights belongs into a field, as a
        ``kdlab.nets.pretrained.Weights``: then other contents make another run."""

    #: The classification layer, with one row per class in its ``weight``. Its rows are matched by class to those of a
    #: ``start`` that was trained on other classes. A network that gives it another name must have it.
    head: str = "fc"
    #: Layers whose outputs are features, ordered from the pixels to the logits. Features are ``(B, C', T', H', W')``;
    #: features of frames ``(B·T', C', H', W')`` are converted to that shape. Grad-CAM uses the last stage. Distillers
    #: compare the stages of student and teacher, which are ``Normalised.stage_names``. Without stages, name a layer
    #: wherever one is needed. Under a detector, an attention head or SimKD, the network's children up to the last stage
    #: must be declared in the order in which they are applied.
    stages: tuple[str, ...] = ()
    #: C of the input video.
    channels: int = 3
    #: Mean and standard deviation per channel with which the weights were trained. None: those of the training clips. A
    #: ``start`` brings its own.
    statistics: Statistics | None = None

    def begin(self, net: nn.Module, start: nn.Module) -> Any:
        """Put the matching weights of the trained ``start`` into the new ``net``, in place, and return None; both are
        Normalised. Here it is left to kdlab, which takes all weights and statistics, those of the head row by row."""
        return NotImplemented


class Method(ABC):
    """A loss, and the networks that it trains."""

    @abstractmethod
    def networks_by_optimiser(self, nets: dict[str, nn.Module]) -> dict[str, list[str]]:
        """Optimiser → names of the networks that it trains. Optimisers are AdamW at the settings' rate, or follow the
        rule of the settings' ``as_released`` for that name. These networks are in training mode; all others are frozen
        and in eval mode. ``nets`` holds ``student``, ``teacher`` if there is one, and the networks of
        :meth:`extra_nets`."""

    @abstractmethod
    def losses(
        self, nets: dict[str, nn.Module], batch, progress
    ) -> Iterator[tuple[str, Tensor, dict]]:
        """Yield ``(optimiser, loss, terms)``. The loop takes a step of that optimiser before it asks for the next loss,
        so several optimisers can take turns on one batch. All parts of an accumulated batch must yield the same losses.
        ``terms`` (name → scalar tensor) are only recorded in the history, beside ``loss_<optimiser>``; name none of
        them epoch, step, lr or val_accuracy. ``batch.views["student"]`` and ``["teacher"]`` are video, with
        ``batch.labels`` and ``batch.ids``. ``progress`` has ``step``, ``steps``, ``fraction`` in [0, 1), ``prepared``,
        and the ``seed`` of the step. The global generators of torch, NumPy and Python are seeded for each step: draw
        from these, or from ``seed`` where all parts of an accumulated batch must draw the same. Run frozen networks
        under ``torch.no_grad()``. To read layers, call ``out = kdlab.nets.layers.outputs(net, x, names)``:
        ``out.logits`` and ``out.taps[name]``."""

    def extra_nets(
        self, nets: dict[str, nn.Module], batches: Iterable, seed: int, needed: dict
    ) -> dict:
        """Further networks by name, such as a regressor or a discriminator; not named student or teacher. Make them
        on the CPU; kdlab moves them to the device of the training.

        | what it is | :meth:`networks_by_optimiser` | its weights | its file |
        |---|---|---|---|
        | trained | lists it | with gradients | beside the student's |
        | frozen | does not list it | ``requires_grad_(False)`` | none: made anew from ``seed`` |
        | a mean of the student's weights | lists it | ``requires_grad_(False)`` | beside the student's |

        Your method may change the last kind; call its ``eval()`` in :meth:`losses`, since what is listed is in training
        mode. ``batches`` are training batches in evaluation order, from which you can read shapes. Do so under
        ``torch.no_grad()`` and ``kdlab.nets.layers.evaluating(net)``, since a pass in training mode changes batch
        norm's statistics. ``seed`` alone must determine the weights (``kdlab.nets.layers.seeded_weights``).
        ``needed`` maps ``teacher`` and ``start`` to their runs."""
        return {}

    def prepare(self, nets: dict[str, nn.Module], batches: Iterable) -> object:
        """A value computed before the first step and passed on as ``progress.prepared``. ``batches`` yield all training
        clips once. The student is in training mode and as it is at its start; a training that goes on from a checkpoint
        computes the value again."""
        return None
