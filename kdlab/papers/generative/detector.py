"""An anchor-free temporal action detector on any video backbone, after AFSD (Lin et al., arXiv 2103.13137).

The backbone's features at some layers (*taps*), averaged over space, are the first levels of a temporal pyramid.
Convolutions of stride 2 add coarser levels, and each level receives the features of the next coarser one. All levels
share their heads. At every place of every level (a *prior*), the heads predict the class logits, the distances to the
action's start and end, and the quality (the expected tIoU). With ``refine`` a second stage corrects the first: it pools
the largest activations around both ends of each prediction, in the finest level and, with ``boundaries``, also in a map
with a place for each step. Three things differ from AFSD: space is averaged and not convolved, classes are sigmoids (an
action can have two names), and one branch refines instead of two. A ``gated`` detector has GenKD's attention on its
taps, and a CVAE for each tap (docs/methods.md, 2.3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.nets.layers import outputs, trunk
from kdlab.nets.video import TinyR2Plus1D
from kdlab.papers.generative.networks import CVAE, Attention, CVAEs, normed_gate
from kdlab.protocols import Net, Statistics
from kdlab.system.values import integer


@dataclass(frozen=True)
class Detector(Net):
    """A detector on the network ``of``, whose layers ``taps`` give features ``(B, C, T, h, w)``, finest first. Its
    input has ``steps`` frames; the ``levels`` of its pyramid have ``width`` channels. ``gated`` is the side of its
    square windows in pixels and puts attention on each tap; 0 leaves attention out. With ``boundaries`` the second
    stage has a map of starts and ends for each step, which :class:`kdlab.papers.generative.detection.Detection` can
    train."""

    of: TinyR2Plus1D = TinyR2Plus1D()
    taps: tuple[str, ...] = ("stages.2", "stages.3")
    steps: int = 64
    levels: int = 4
    width: int = 64
    refine: bool = False
    gated: int = 0
    boundaries: bool = False

    def __post_init__(self):
        integer(1, steps=self.steps, levels=self.levels, width=self.width)
        integer(0, gated=self.gated)
        if not 1 <= len(self.taps) <= self.levels or self.width % 8:
            raise ValueError(
                f"a detector needs a tap, a level for each tap, and a width in eights, got {self}"
            )
        if self.boundaries and not self.refine:
            raise ValueError("boundaries are those of the second stage: give refine=True, too")

    @property
    def channels(self) -> int:
        """The channels of the backbone's input video."""
        return self.of.channels

    @property
    def statistics(self) -> Statistics | None:
        """The input statistics of the backbone's weights; None without weights."""
        return self.of.statistics

    def make(self, num_classes: int) -> "DetectionNet":
        return DetectionNet(self, num_classes)


class DetectionNet(nn.Module):
    """Video ``(B, C, steps, H, W)`` → predictions ``(B, S, P, K + 3)`` of S = 1 stage, or 2 with ``refine``, at P
    priors: K class logits, start and end in steps of the window, and the logit of the quality. ``priors (P,)`` are the
    priors' places in steps.

    A gated detector has ``attentions``, which give λ, and the ``shape`` ``(C, T', h, w)`` of the features at each tap.
    """

    def __init__(self, spec: Detector, num_classes: int):
        super().__init__()
        self.spec = spec
        self.backbone, wide = trunk(spec.of.make(1), spec.taps[-1]).eval(), spec.width
        shapes = self._shapes(32)
        self.laterals = nn.ModuleList(_block(shape[0], wide, 1) for shape in shapes)
        self.downs, lengths = nn.ModuleList(), [shape[1] for shape in shapes]
        while len(lengths) < spec.levels:
            self.downs.append(_block(wide, wide, 3, 2))
            lengths.append(-(-lengths[-1] // 2))
        self.class_tower, self.place_tower = _blocks(wide), _blocks(wide)
        self.class_head = nn.Conv1d(wide, num_classes, 3, padding=1)
        self.place_head = nn.Conv1d(wide, 3, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(spec.levels))
        # an initial probability of 0.01 (focal loss, 1708.02002)
        nn.init.constant_(self.class_head.bias, -4.6)
        if spec.refine:
            self.ends = _block(wide, 2 * wide, 1)
            self.join = _block((3 + spec.boundaries) * wide, wide, 1)
            self.second_head = nn.Conv1d(wide, num_classes + 3, 1)
            nn.init.constant_(self.second_head.bias[:num_classes], -4.6)
        if spec.boundaries:
            self.moments = _blocks(wide, 3, 3, 1)
            self.at_moments = _block(wide, wide, 1)
        priors = [(torch.arange(length) + 0.5) * spec.steps / length for length in lengths]
        self.register_buffer("priors", torch.cat(priors), persistent=False)
        self.shape = self._shapes(spec.gated) if spec.gated else ()
        self.attentions = nn.ModuleList(Attention(c, t, tuple(size)) for c, t, *size in self.shape)
        self.backbone.train()

    def _shapes(self, pixels: int) -> tuple[tuple[int, ...], ...]:
        """The shapes ``(C, T', h, w)`` at the taps, found with a black clip."""
        black = torch.zeros(1, self.spec.channels, self.spec.steps, pixels, pixels)
        with torch.no_grad():
            return tuple(tuple(tap.shape[1:]) for tap in self.features(black))

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the layers that give F, tap by tap, then of the layers that give λ; none without gates."""
        if not self.attentions:
            return ()
        features = [f"net.backbone.{name}" for name in self.spec.taps]
        return *features, *(f"net.attentions.{i}" for i in range(len(features)))

    def new_cvae(self, deterministic: bool = False) -> CVAEs:
        """An untrained CVAE for each tap."""
        return CVAEs(CVAE(c, tuple(size), deterministic) for c, _, *size in self.shape)

    def features(self, x: Tensor) -> list[Tensor]:
        """The backbone's features ``(B, C, T, h, w)`` at the taps. Raises ``ValueError`` for a wrong number of frames."""
        if x.shape[2] != self.spec.steps:
            raise ValueError(
                f"this detector sees windows of {self.spec.steps} frames, got {x.shape[2]}"
            )
        taps = outputs(self.backbone, x, self.spec.taps).taps
        return [taps[name] for name in self.spec.taps]

    def detect(self, maps: list[Tensor]) -> Tensor:
        """Predictions ``(B, S, P, K + 3)`` from the features of :meth:`features`, plain or gated."""
        levels = [lateral(m.mean((3, 4))) for lateral, m in zip(self.laterals, maps, strict=True)]
        for down in self.downs:
            levels.append(down(levels[-1]))
        for i in reversed(range(len(levels) - 1)):
            levels[i] = levels[i] + F.interpolate(levels[i + 1], levels[i].shape[2])
        logits, places = [], []
        for level, scale in zip(levels, self.scales, strict=True):
            logits.append(self.class_head(self.class_tower(level)))
            reach, quality = self.place_head(self.place_tower(level)).split([2, 1], 1)
            reach = F.softplus(scale * reach) * (self.spec.steps / level.shape[2])
            start, end = reach.split(1, 1)
            places.append(torch.cat([-start, end, quality], 1))
        places = torch.cat(places, 2) + F.pad(self.priors.expand(2, -1), (0, 0, 0, 1))
        stages = [torch.cat([torch.cat(logits, 2), places], 1)]
        if self.spec.refine:
            stages.append(self._refined(levels, places[:, :2].detach()))
        return torch.stack(stages, 1).transpose(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(x)
        if not self.attentions:
            return self.detect(maps)
        attention = []
        for m, shape, attend in zip(maps, self.shape, self.attentions, strict=True):
            if m.shape[1:] != shape:
                raise ValueError(
                    f"a window of {tuple(x.shape[3:])} pixels gives features {tuple(m.shape[1:])}, this "
                    f"network attends to {shape}: make it as Detector(gated={x.shape[-1]})"
                )
            attention.append(attend(m))
        return self.detect(self.gated(maps, attention))

    def gated(self, maps: list[Tensor], attention: list[Tensor]) -> list[Tensor]:
        """The features ``maps`` after the gate with ``attention``, tap by tap."""
        return [normed_gate(m, its) for m, its in zip(maps, attention, strict=True)]

    def _refined(self, levels: list[Tensor], first: Tensor) -> Tensor:
        """The second stage's prediction ``(B, K + 3, P)`` from the ``first`` stage's starts and ends ``(B, 2, P)``."""
        pooled = pooled_ends(self.ends(levels[0]), first, self.spec.steps)
        if self.spec.boundaries:
            each_step = self.moments(F.interpolate(levels[0], self.spec.steps))
            at_moments = pooled_ends(each_step, first, self.spec.steps)
            pooled.append(self.at_moments(torch.cat(at_moments, 1)))
        again = self.second_head(self.join(torch.cat([torch.cat(levels, 2), *pooled], 1)))
        logits, moved, quality = again.split([again.shape[1] - 3, 2, 1], 1)
        return torch.cat([logits, first + moved * (first[:, 1:] - first[:, :1]) / 2, quality], 1)


def _block(channels_in: int, channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv1d(channels_in, channels, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(8, channels), nn.ReLU())


def _blocks(wide: int, *kernels: int) -> nn.Sequential:
    return nn.Sequential(*(_block(wide, wide, kernel) for kernel in kernels or (3, 3)))


def largest(level: Tensor, low: Tensor, high: Tensor, steps: int) -> Tensor:
    """The maximum ``(B, C, P)`` of ``level (B, C, T)`` over the places that overlap [low, high], each ``(B, 1, P)``."""
    edges = torch.linspace(0, steps, level.shape[2] + 1, device=level.device)
    outside = (edges[:-1] >= high.mT) | (edges[1:] <= low.mT)
    return level[:, :, None].masked_fill(outside[:, None], -torch.inf).amax(3)


def pooled_ends(both: Tensor, segments: Tensor, steps: int) -> list[Tensor]:
    """Boundary max pooling of the map ``both (B, 2C, T)``: features of the starts and of the ends of ``segments (B, 2,
    P)``, each ``(B, C, P)``. The pooled region around a start or an end reaches a quarter of the segment inwards and a
    tenth outwards, each at least one step."""
    long = segments[:, 1:] - segments[:, :1]
    edges = around(*segments.clamp(0, steps).split(1, 1), long)
    starts, ends = both.chunk(2, 1)
    return [largest(starts, *edges[:2], steps), largest(ends, *edges[2:], steps)]


def around(start: Tensor, end: Tensor, long: Tensor) -> tuple[Tensor, ...]:
    """The edges of the regions around ``start`` and around ``end`` of segments that are ``long``. Each reaches a
    quarter of the segment inwards and a tenth outwards, each at least one step."""
    inwards, outwards = (long / 4).clamp_min(1), (long / 10).clamp_min(1)
    return start - outwards, start + inwards, end - inwards, end + outwards
