"""The trained students that GenKD's authors released: Top-I3D on UCF-101 and HMDB-51, RGB and flow.

Their README (``aaai-24/Generative-based-KD``) links the files; kdlab downloads none. ``kdlab released FILE FOLDER``
tests one on the clips of a data set. Names of layers, shapes and the forward pass are those of the released code
(docs/methods.md, 2.2). Its test gates RGB features and leaves flow features as they are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from kdlab.clips.user_clips import UserClips
from kdlab.clips.views import Flow, FlowFiles, Raw
from kdlab.clips.windows import ConsecutiveWindow
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.pretrained import Statistics, Weights, read_state
from kdlab.nets.video import IMAGENET, build
from kdlab.papers.generative.networks import ToPoint, gate, mean_log_probability
from kdlab.system.pool import track
from kdlab.train.loop import predict

#: The released test: the middle 64 frames, short side 240, the centre of 224².
WINDOW = ConsecutiveWindow(64, 240, 224)
_STRETCHED = 1024  # steps to which the released attention stretches features over time
_FEATURES = (8, 7, 7)  # (T', h, w) of a clip of the window


class ReleasedNet(nn.Module):
    """Video ``(B, C, 64, 224, 224)`` → logits ``(B, K)``: the log of the mean probability over steps. Layers have the
    released names. ``attention`` tells whether there are layers that give λ, ``gated`` whether λ is used."""

    def __init__(self, num_classes: int, channels: int, attention: bool, gated: bool):
        super().__init__()
        self.gated = gated
        self.backbone = nn.Module()
        self.backbone._model = I3D(TOP, channels).make(num_classes)
        if attention:
            self.deconv1 = nn.Sequential(ToPoint(1024, 512, (1, *_FEATURES[1:])), nn.GroupNorm(32, 512), nn.ReLU())
            near = nn.Sequential()
            near.conv1d = nn.Conv1d(512, 1024, 3, padding=1)
            self.Att_Head_5c = nn.Sequential(near, nn.GroupNorm(32, 1024), nn.ReLU(),
                                             nn.Linear(_STRETCHED, _FEATURES[0]), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *stages, pool, dropout, logits = self.backbone._model
        for stage in stages:
            x = stage(x)
        if self.gated:
            if x.shape[2:] != _FEATURES:
                raise ValueError(f"the released students take clips of 64 × 224², got features {tuple(x.shape[2:])} of "
                                 f"other clips: give the window {WINDOW}")
            x = gate(x, self.Att_Head_5c(F.interpolate(self.deconv1(x).flatten(2), _STRETCHED)))
        return mean_log_probability(logits(dropout(pool(x))).flatten(2).transpose(1, 2))


@dataclass(frozen=True)
class Released:
    """The network of a released file, ``Released.of(path)``: its number of ``classes``; ``channels``, 3 for RGB and 2
    for flow; with the layers of ``attention`` or without. For another number of classes its last layer is random."""

    weights: Weights | None
    classes: int = 101
    channels: int = 3
    attention: bool = True

    head: ClassVar = "backbone._model.logits.conv3d"
    stages: ClassVar = tuple(f"backbone._model.{name}" for name in I3D.stages)

    @classmethod
    def of(cls, path: str | Path) -> "Released":
        """The student in the file at ``path``. Raises ``ValueError`` for a file of another network, which includes the
        released detectors, and the errors of :class:`~kdlab.nets.pretrained.Weights`."""
        weights = Weights.of(path)
        shapes = {name.removeprefix("module."): tensor.shape for name, tensor in read_state(Path(weights.path)).items()}
        if any(name.startswith("coarse_pyramid_detection.") for name in shapes):
            raise ValueError(f"{path} is a student of THUMOS14: kdlab's detector has other layers than AFSD's "
                             "(docs/methods.md, 2.3), so give a student of UCF-101 or HMDB-51")
        ends = [f"backbone._model.{name}.weight" for name in ("Conv3d_1a_7x7.conv3d", "logits.conv3d")]
        if wrong := [name for name in ends if len(shapes.get(name, ())) != 5]:
            raise ValueError(f"{path} is no released student of GenKD, since {wrong[0]} is missing or no 3-D "
                             "convolution: give a file of their README's folder")
        first, last = (shapes[name] for name in ends)
        return cls(weights, last[0], first[1], any(name.startswith("Att_Head_5c.") for name in shapes))

    @property
    def statistics(self) -> Statistics:
        """The statistics of the released test: ImageNet's, or 0.5 and 0.226 for flow."""
        return IMAGENET if self.channels == 3 else ((0.5,) * self.channels, (0.226,) * self.channels)

    def make(self, num_classes: int) -> nn.Module:
        net = ReleasedNet(num_classes, self.channels, self.attention, self.attention and self.channels == 3)
        return self.weights.into(net, self.head) if self.weights else net


def accuracies(file: str | Path, folder: str | Path, split: str = "1", flow: str | Path | None = None
               ) -> tuple[int, float, float]:
    """The number of test clips in ``split`` of the data set in ``folder``, and the top-1 and top-5 accuracy in percent
    of the student in ``file``. ``flow`` is a folder of flow pictures; without it, a flow network sees DIS flow.

    Raises ``ValueError`` for a student of other classes, and the errors of :meth:`Released.of` and of the clips.
    """
    spec, catalogue = Released.of(file), UserClips(str(folder), split).catalogue()
    if spec.classes != len(catalogue.classes):
        raise ValueError(f"{file} has {spec.classes} classes, {folder} has {len(catalogue.classes)}: give the data set "
                         "that the student was trained on")
    view = Raw() if spec.channels == 3 else FlowFiles(str(flow)) if flow else Flow()
    clips = WINDOW.batches(catalogue, "test", {"student": view})
    net = build(spec, len(catalogue.classes), 0, *map(torch.tensor, spec.statistics))
    batches = track(clips.evaluation(4), "testing", -(-len(clips.records) // 4))
    logits, labels, _ = predict(net, batches, "student")
    hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return len(labels), 100 * float(hits[:, 0].float().mean()), 100 * float(hits.any(1).float().mean())
