"""The trained students that GenKD's authors released: Top-I3D on UCF-101 and HMDB-51, and on THUMOS14 as the backbone
of a detector (:mod:`.released_detector`), RGB and flow.

Their README (``aaai-24/Generative-based-KD``) links the files; kdlab downloads none. ``kdlab released FILE FOLDER``
tests one on the clips of a data set. Names of layers, shapes and the forward pass are those of the released code
(docs/methods.md, 2.2). Its test of recognition gates RGB features and leaves flow features as they are.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from kdlab.clips.views import Flow, FlowFiles, Raw
from kdlab.clips.windows import ConsecutiveWindow
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.pretrained import Weights, read_state
from kdlab.nets.video import IMAGENET, build
from kdlab.papers.generative.networks import gate, mean_log_probability
from kdlab.papers.generative.released_detector import (
    ReleasedDetectorNet,
    attend,
    attention_layers,
    mean_ap,
)
from kdlab.protocols import Net, Statistics
from kdlab.system.pool import track
from kdlab.train.device import device
from kdlab.train.loop import predict

#: The released test: the middle 64 frames, short side 240, the centre of 224².
WINDOW = ConsecutiveWindow(64, 240, 224)
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
            self.deconv1, self.Att_Head_5c = attention_layers(1024, *_FEATURES[:2])

    def forward(self, x: Tensor) -> Tensor:
        *stages, pool, dropout, logits = self.backbone._model
        for stage in stages:
            x = stage(x)
        if self.gated:
            if x.shape[2:] != _FEATURES:
                raise ValueError(
                    f"the released students take clips of 64 × 224², got features {tuple(x.shape[2:])} of "
                    f"other clips: give the window {WINDOW}"
                )
            x = gate(x, attend(x, self.deconv1, self.Att_Head_5c))
        return mean_log_probability(logits(dropout(pool(x))).flatten(2).transpose(1, 2))


@dataclass(frozen=True)
class Released(Net):
    """The network of a released file, ``Released.of(path)``: its number of ``classes``, of a ``detector`` with the
    background; ``channels``, 3 for RGB and 2 for flow; with the layers of ``attention`` or without. A detector uses
    them if ``gated``. For another number of classes the last layer of recognition is random."""

    weights: Weights | None
    classes: int = 101
    channels: int = 3
    attention: bool = True
    detector: bool = False
    gated: bool = True

    head: ClassVar = "backbone._model.logits.conv3d"
    stages: ClassVar = tuple(f"backbone._model.{name}" for name in I3D.stages)

    @classmethod
    def of(cls, path: str | Path) -> "Released":
        """The student in the file at ``path``. Raises ``ValueError`` for a file of another network, and the errors of
        :class:`~kdlab.nets.pretrained.Weights`."""
        weights = Weights.of(path)
        shapes = {
            name.removeprefix("module."): tensor.shape
            for name, tensor in read_state(Path(weights.path)).items()
        }
        detector = any(name.startswith("coarse_pyramid_detection.") for name in shapes)
        head = "coarse_pyramid_detection.conf_head.conv1d" if detector else cls.head
        ends = [f"{name}.weight" for name in ("backbone._model.Conv3d_1a_7x7.conv3d", head)]
        if wrong := [name for name in ends if len(shapes.get(name, ())) < 3]:
            raise ValueError(
                f"{path} is no released student of GenKD, since {wrong[0]} is missing or no "
                "convolution: give a file of their README's folder"
            )
        first, last = (shapes[name] for name in ends)
        attention = any(name.startswith("Att_Head_5c.") for name in shapes)
        return cls(weights, last[0], first[1], attention, detector)

    @property
    def statistics(self) -> Statistics:
        """The statistics of the released test: ImageNet's, or 0.5 and 0.226 for flow; for a detector 0.5 and 0.5."""
        flow = (0.5,) * self.channels, (0.5 if self.detector else 0.226,) * self.channels
        return IMAGENET if self.channels == 3 and not self.detector else flow

    def make(self, num_classes: int) -> nn.Module:
        kind, gated = ReleasedNet, self.channels == 3
        if self.detector:
            kind, gated = ReleasedDetectorNet, self.gated
        net = kind(num_classes, self.channels, self.attention, self.attention and gated)
        return self.weights.into(net, self.head) if self.weights else net


def _built(spec: Released) -> nn.Module:
    return build(spec, spec.classes, 0, *map(torch.tensor, spec.statistics))


def _recognised(spec: Released, file, folder, split: str, flow) -> str:
    """A line with the top-1 and top-5 accuracy of a student of recognition. Arguments are those of :func:`tested`."""
    catalogue = UserClips(str(folder), split).catalogue()
    if spec.classes != len(catalogue.classes):
        raise ValueError(
            f"{file} has {spec.classes} classes, {folder} has {len(catalogue.classes)}: give the data set "
            "that the student was trained on"
        )
    view = Raw() if spec.channels == 3 else FlowFiles(str(flow)) if flow else Flow()
    clips = WINDOW.batches(catalogue, "test", {"student": view})
    batches = track(clips.evaluation(4), "testing", -(-len(clips.records) // 4))
    logits, labels, _ = predict(_built(spec), batches, "student")
    hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    top_1, top_5 = (100 * float(right.float().mean()) for right in (hits[:, 0], hits.any(1)))
    return f"top-1 {top_1:.2f} %, top-5 {top_5:.2f} % of {len(labels)} test clips of split {split}"


def tested(
    file: str | Path,
    folder: str | Path,
    split: str | None = None,
    flow: str | Path | None = None,
    other: str | Path | None = None,
) -> str:
    """A line with the scores of the student in ``file`` on the data set in ``folder``, for either task.

    ``split`` is by default 1 for recognition, and the only one of THUMOS14. ``flow`` is a folder of flow pictures;
    without it, a flow network sees DIS flow. For a detector ``flow`` is a folder of arrays
    (:func:`~.released_detector.flow_steps`), and ``other`` a flow student that is tested together with the RGB student
    ``file``: without its gate, as in the released test of both.

    Raises ``ValueError`` for students that do not fit the data set, each other or ``flow``, and the errors of
    :meth:`Released.of`, of the clips and of :func:`~.released_detector.mean_ap`, before work begins.
    """
    specs = [replace(Released.of(path), gated=path == file) for path in (file, other) if path]
    channels = [spec.channels for spec in specs]
    if other and (channels != [3, 2] or not all(spec.detector for spec in specs)):
        raise ValueError(
            f"{other} cannot join {file}: give an RGB and a flow student of THUMOS14, in this order"
        )
    if not specs[0].detector:
        return _recognised(specs[0], file, folder, split or "1", flow)
    if bool(flow) != (2 in channels):
        raise ValueError(
            f"{file}: {'leave out --flow, no student sees it' if flow else 'give --flow, its arrays'}"
        )
    catalogue = UserClips(str(folder), split).catalogue()
    if wrong := [spec.classes - 1 for spec in specs if spec.classes != len(catalogue.classes) + 1]:
        raise ValueError(
            f"a student of {wrong[0]} classes, but {folder} has {len(catalogue.classes)}: give THUMOS14"
        )
    nets = [_built(spec).eval().to(device()) for spec in specs]
    videos, score = mean_ap(nets, channels, catalogue, flow)
    by_tiou = ", ".join(f"{100 * score[f'0.{n}']:.2f} at 0.{n}" for n in range(1, 8))
    return f"mAP {100 * score['0.1-0.5']:.2f} % (mean of tIoU 0.1 to 0.5; {by_tiou}) of {videos} test videos"
