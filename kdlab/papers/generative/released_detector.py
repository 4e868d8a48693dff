"""The trained students of THUMOS14 that GenKD's authors released: AFSD (arXiv 2103.13137) on Top-I3D, RGB and flow.

Names of layers, shapes and the forward pass are those of the released ``BDNet_student``; sampling, decoding, soft-NMS
and the fusion of two streams are those of its test (docs/methods.md, 2.3). kdlab's own :mod:`.detector` has other
layers. A window has 256 steps, at 10 a second, of 96² pixels. Class 0 is the background.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.clips.records import Catalogue
from kdlab.clips.untrimmed import AtRate, VideoWindow, Windows, windows
from kdlab.clips.views import Raw
from kdlab.measure.detection import SPAN, annotated, evaluate, tiou
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.layers import features, trunk
from kdlab.papers.generative.detector import around, largest
from kdlab.papers.generative.networks import ToPoint, normed
from kdlab.system.pool import track
from kdlab.train.device import device
from kdlab.video.container import timeline

#: The released test: frames squeezed to 112², the centre of 96², a window every 128 steps.
WINDOW = Windows(frames=256, side=112, crop=96, rate=10.0, stride=128)
_WIDE, _LEVELS = 512, (64, 32, 16, 8, 4, 2)  # channels, and places of each level
_TAPS = {
    "Mixed_4f": (832, 64, 6),
    "Mixed_5c": (1024, 32, 3),
}  # channels, steps, height and width of the features


def _conv(channels_in: int, channels: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """A convolution over time under its released name. An odd zero of the padding goes to the end, as released."""
    total = kernel - stride
    return nn.Sequential(
        OrderedDict(
            pad=nn.ConstantPad1d((total // 2, total - total // 2), 0.0),
            conv1d=nn.Conv1d(channels_in, channels, kernel, stride),
        )
    )


def _near(kernel: int = 3, stride: int = 1, channels: int = _WIDE) -> nn.Sequential:
    return normed(_conv(_WIDE, channels, kernel, stride), channels)


def _to_point(channels: int, size: int) -> ToPoint:
    return ToPoint(channels, _WIDE, (1, size, size))


def attention_layers(channels: int, steps: int, size: int) -> tuple[nn.Module, nn.Module]:
    """The released layers that give λ from features ``(B, C, T, size, size)``: over space, then over time."""
    time = nn.Sequential(*_near(channels=channels), nn.Linear(channels, steps), nn.Sigmoid())
    return normed(_to_point(channels, size), _WIDE), time


def attend(features: Tensor, space: nn.Module, time: nn.Module) -> Tensor:
    """λ ``(B, C, T)`` by the :func:`attention_layers`; time is stretched to C steps before λ."""
    return time(F.interpolate(space(features).flatten(2), features.shape[1]))


def boundary_max(both: Tensor, regions: Tensor) -> Tensor:
    """Boundary max pooling as the released CUDA operator has it: the map ``both (B, 2C, T)`` → ``(B, 2C, P)``.

    ``regions (B, 4, P)``, whole numbers, are the first and last place around each start, and around each end. Half of
    the channels see starts, half ends. Places outside are moved to the nearest one. A region that ends before it begins
    is its first place. (The pooling of :mod:`.detector` has no whole places.)
    """
    steps = both.shape[2]
    halves = zip(both.chunk(2, 1), regions.clamp(0, steps - 1).chunk(2, 1), strict=True)
    return torch.cat(
        [largest(half, at[:, :1], at.amax(1, keepdim=True) + 1, steps) for half, at in halves], 1
    )


def regions(places: Tensor, reach: Tensor, more: float) -> Tensor:
    """The regions ``(B, 4, P)`` of :func:`boundary_max` around the ends of segments that begin ``reach[:, 0]`` before
    ``places (P,)`` and end ``reach[:, 1]`` after them; ``more`` is added to their lengths. A region reaches a quarter
    of the segment inwards and a tenth outwards, each at least one place."""
    long = reach.sum(1, keepdim=True) + more
    return torch.cat(around(places - reach[:, :1], places + reach[:, 1:], long), 1).round()


class Branch(nn.ModuleDict):
    """The second stage's features ``(B, 512, P)`` of one level: of the ends in the map of each step, of the ends in the
    level, and of the level itself."""

    def __init__(self):
        super().__init__(
            {
                "cur_point_conv": _near(1),
                "lr_conv": _near(1, channels=2 * _WIDE),
                "roi_conv": _near(1),
                "proposal_conv": normed(_conv(4 * _WIDE, _WIDE), _WIDE),
            }
        )

    def forward(self, level: Tensor, each_step: Tensor, cells: Tensor, steps: Tensor):
        in_steps = self["roi_conv"](boundary_max(each_step, steps))
        in_level = boundary_max(self["lr_conv"](level), cells)
        parts = [in_steps, in_level, self["cur_point_conv"](level)]
        return self["proposal_conv"](torch.cat(parts, 1))


class Pyramid(nn.Module):
    """Features ``(B, 832, 64, 6, 6)`` and ``(B, 1024, 32, 3, 3)`` → answers ``(B, 126, 2K + 5)`` at the priors of six
    levels, finest first. K counts the background, class 0. An answer has the distances to start and end in steps, the
    second stage's moves of both in halves of the segment, K logits of either stage, and the logit of the quality."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.pyramids = nn.ModuleList()
        for channels, _, size in _TAPS.values():
            point = OrderedDict(conv3d=_to_point(channels, size))
            self.pyramids.append(normed(nn.Sequential(point), _WIDE))
        self.pyramids.extend(_near(stride=2) for _ in _LEVELS[2:])
        self.loc_tower, self.conf_tower = (nn.Sequential(_near(), _near()) for _ in range(2))
        self.loc_head, self.conf_head, self.center_head = (
            _conv(_WIDE, n, 3) for n in (2, num_classes, 1)
        )
        self.loc_proposal_branch, self.conf_proposal_branch = Branch(), Branch()
        self.prop_loc_head, self.prop_conf_head = _conv(_WIDE, 2), _conv(_WIDE, num_classes)
        self.deconv = nn.Sequential(*_near(), *_near(), *_near(1))
        self.loc_heads = nn.ModuleList(nn.ParameterDict({"scale": torch.ones(1)}) for _ in _LEVELS)

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        fine, coarse = self.pyramids[0](near).flatten(2), self.pyramids[1](far).flatten(2)
        levels = [fine + F.interpolate(coarse, fine.shape[2]), coarse]
        for halve in self.pyramids[2:]:
            levels.append(halve(levels[-1]))
        each_step = self.deconv(F.interpolate(levels[0], WINDOW.frames))
        levels = zip(levels, self.loc_heads, strict=True)
        answers = [self._answers(level, own["scale"], each_step) for level, own in levels]
        return torch.cat(answers, 2).mT

    def _answers(self, level: Tensor, scale: Tensor, each_step: Tensor) -> Tensor:
        """The answers ``(B, 2K + 5, P)`` at the priors of one level."""
        cells = torch.arange(level.shape[2], device=level.device)
        wide = WINDOW.frames / level.shape[2]
        place, label = self.loc_tower(level), self.conf_tower(level)
        reach = torch.exp(scale * self.loc_head(place))
        in_cells, in_steps = (
            regions(cells, reach / wide, 0),
            regions((cells + 0.5) * wide, reach, 1),
        )
        refined_place = self.loc_proposal_branch(place, each_step, in_cells, in_steps)
        refined_label = self.conf_proposal_branch(label, each_step, in_cells, in_steps)
        moves, quality = self.prop_loc_head(refined_place), self.center_head(refined_place)
        first, second = self.conf_head(label), self.prop_conf_head(refined_label)
        return torch.cat([reach, moves, first, second, quality], 1)


class ReleasedDetectorNet(nn.Module):
    """Windows ``(B, C, 256, 96, 96)`` → the answers ``(B, 126, 2K + 5)`` of :class:`Pyramid`. ``attention`` tells
    whether there are layers that give λ, ``gated`` whether λ is used. Raises ``ValueError`` for other windows."""

    def __init__(self, num_classes: int, channels: int, attention: bool, gated: bool):
        super().__init__()
        self.gated = gated
        self.backbone = nn.Module()
        self.backbone._model = trunk(I3D(TOP, channels).make(1), "Mixed_5c")
        if attention:
            self.deconv2, self.Att_Head_4f = attention_layers(*_TAPS["Mixed_4f"])
            self.deconv1, self.Att_Head_5c = attention_layers(*_TAPS["Mixed_5c"])
        self.coarse_pyramid_detection = Pyramid(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (WINDOW.frames, WINDOW.crop, WINDOW.crop):
            raise ValueError(
                f"the released detectors take windows of 256 × 96², got {tuple(x.shape[2:])}: cut others"
            )
        near, far = features(self.backbone._model, x, tuple(_TAPS)).values()
        if self.gated:
            near = _gate(near, self.deconv2, self.Att_Head_4f)
            far = _gate(far, self.deconv1, self.Att_Head_5c)
        return self.coarse_pyramid_detection(near, far)


def _gate(features: Tensor, *layers: nn.Module) -> Tensor:
    """F ⊙ λ / Σλ, the sum over channels and steps of each window."""
    where = attend(features, *layers)
    return features * (where / where.sum((1, 2), keepdim=True))[..., None, None]


def _steps(path: Path) -> int:
    """The number of steps of a video."""
    return max(1, int(timeline(path).seconds * WINDOW.rate + 1e-6))


def rgb_steps(path: Path) -> np.ndarray:
    """The steps ``uint8 (T, 112, 112, 3)`` of a video as the released extraction samples them: the last frame of each,
    squeezed by cubic filters that widen as frames shrink, like Pillow's."""
    moments = np.arange(_steps(path)) + 0.4999  # AtRate adds half a step
    small = []
    for frame in AtRate(Raw(), WINDOW.rate).each_frame(path, moments):
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
        size = WINDOW.side, WINDOW.side
        small.append(F.interpolate(pixels, size, mode="bicubic", antialias=True))
    return torch.cat(small).permute(0, 2, 3, 1).numpy()


def flow_steps(folder: str | Path, path: Path) -> np.ndarray:
    """The flow from each step of a video to the next, quantised, in an array as released: ``folder``/<video>.npy, uint8
    (T, 112, 112, 2), memory-mapped. Raises ``ValueError`` for a missing file, and for an array of another kind or whose
    T is not that of the video (± 1)."""
    steps, place = _steps(path), Path(folder, f"{path.stem}.npy")
    frame = WINDOW.side, WINDOW.side, 2
    flow = np.load(place, mmap_mode="r") if place.is_file() else np.empty(0)
    if (flow.shape[1:], flow.dtype) != (frame, np.uint8) or abs(len(flow) - steps) > 1:
        raise ValueError(
            f"{place} is missing or not uint8 {(steps, *frame)}: put {path.name}'s flow as released there"
        )
    return flow


def window(steps: np.ndarray, first: int) -> Tensor:
    """The window ``(1, C, 256, 96, 96)`` of a video's ``steps`` from ``first`` on, in [0, 1]; grey after its end."""
    centre = steps[first : first + WINDOW.frames, 8:-8, 8:-8] / np.float32(255)  # 96² of 112²
    pixels = torch.from_numpy(centre).permute(3, 0, 1, 2)[None]
    return F.pad(pixels, (0, 0, 0, 0, 0, WINDOW.frames - len(centre)), value=0.5)


def decoded(answers: Tensor) -> tuple[Tensor, Tensor]:
    """Segments ``(…, P, 2)`` in steps of the window, cut to it, and scores ``(…, P, K − 1)`` without the background,
    from ``answers (…, P, 2K + 5)``: the mean of both stages' softmax, times the sigmoid of the quality."""
    classes = (answers.shape[-1] - 5) // 2
    reach, moves, first, second, quality = answers.split([2, 2, classes, classes, 1], -1)
    priors = torch.cat([(torch.arange(n) + 0.5) * WINDOW.frames / n for n in _LEVELS])[:, None]
    reach = (reach + moves * reach.sum(-1, keepdim=True) / 2) * torch.tensor([-1.0, 1.0])
    scores = (first.softmax(-1) + second.softmax(-1)) / 2 * quality.sigmoid()
    return (priors + reach).clamp(0, WINDOW.frames), scores[..., 1:]


def soft_nms(table: pd.DataFrame, sigma: float) -> pd.DataFrame:
    """What the released Gaussian soft-NMS keeps of the segments of one class and video, with their new scores. It ends
    at 5000, or with one segment of at least 0.001 left: it drops that one, which
    :func:`kdlab.measure.detection.soft_nms` keeps."""
    segments, left = table[SPAN].to_numpy(), table["score"].to_numpy(copy=True)
    kept, scores = [], []
    while (left >= 0.001).sum() > 1 and len(kept) < 5000:
        kept.append(best := int(left.argmax()))
        scores.append(left[best])
        left[best] = 0
        left *= np.exp(-(tiou(segments, segments[best]) ** 2) / sigma)
    return table.iloc[kept].assign(score=scores)


def found(answers: Tensor, records: Sequence[VideoWindow], sigma: float) -> pd.DataFrame:
    """The segments that the released test finds, a table as in :mod:`kdlab.measure.detection`, from the ``answers (W,
    P, 2K + 5)`` to the windows ``records``. A segment that ends before it starts counts as one of length zero."""
    segments, scores = (part.double().numpy() for part in decoded(answers))
    w, prior, label = np.nonzero(scores > 0.01)
    videos = np.array([record.video for record in records])
    firsts = np.array([record.first for record in records])
    start, end = (segments[w, prior] + firsts[w, None]).T / WINDOW.rate
    table = pd.DataFrame({"video": videos[w], "label": label, "start": start})
    table["end"] = np.maximum(start, end)
    table["score"] = scores[w, prior, label]
    kept = (soft_nms(group, sigma) for _, group in table.groupby(["video", "label"]))
    return pd.concat([table[:0], *kept], ignore_index=True)


def mean_ap(
    nets: Sequence[nn.Module],
    channels: Sequence[int],
    catalogue: Catalogue,
    flow: str | Path | None,
) -> tuple[int, dict[str, float]]:
    """The number of test videos of ``catalogue``, and the mAP in [0, 1] by tIoU and average
    (:meth:`kdlab.measure.detection.Evaluation.mean_ap`). ``channels`` of the networks are 3 or 2. Answers of several
    are averaged, as in the released test. ``flow`` is the folder of :func:`flow_steps`.

    Raises the errors of :func:`kdlab.clips.untrimmed.windows` and of :func:`flow_steps` before work begins.
    """
    records, on, answers = windows(catalogue, "test", WINDOW), device(), []
    paths = dict.fromkeys(record.path for record in records)
    flows = {path: flow_steps(flow, path) for path in paths} if 2 in channels else {}
    with torch.no_grad():
        for path in track(paths, "testing"):
            steps = [rgb_steps(path) if n == 3 else flows[path] for n in channels]
            for first in (record.first for record in records if record.path == path):
                streams = zip(nets, steps, strict=True)
                summed = sum(net(window(its, first).to(on)).cpu() for net, its in streams)
                answers.append(summed / len(nets))
    table = found(torch.cat(answers), records, 0.1 if 3 in channels else 0.5)
    tested, count = [record.video for record in records], len(catalogue.classes)
    return len(paths), evaluate(annotated(records), table, count, videos=tested).mean_ap()
