"""Does attention look where something happens? GenKD's λ over time against the labelled intervals of untrimmed video.

A network that reads clips slides over a video. λ (its mean over channels) says something of each step of its features;
windows overlap so that every moment stands once at each place of a window, and the mean over them is what counts: λ
depends on the place, too. Moments near both ends, which stand at some places only, are left out. The score is the area
under the ROC curve: the probability that λ is larger at a moment inside an interval than at one outside, 0.5 for a λ
that does not look. Controls: frame energy, which no network is needed for, and λ of a network with random weights
(docs/methods.md, 2.1).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.views import Raw, Window
from kdlab.clips.windows import WindowBatches, Windows, windows
from kdlab.layers import outputs

ENERGY = "frame energy"


@dataclass(frozen=True)
class Trace:
    """One video at ``seconds (S,)``, middles of its steps: ``signals`` by name, each ``(S,)``; ``inside (S,)``: does
    something labelled happen? ``segments`` are (start, end, class), ``group`` is the actor and place."""

    video: str
    group: str
    seconds: np.ndarray
    inside: np.ndarray
    segments: tuple[tuple[float, float, int], ...]
    signals: dict[str, np.ndarray]


def inside(seconds: np.ndarray, segments: Iterable[tuple[float, float, int]]) -> np.ndarray:
    """``(S,)`` bool: which moments lie in a segment, its start included and its end not."""
    return np.any([(seconds >= start) & (seconds < end) for start, end, _ in segments] or [seconds < -np.inf], axis=0)


def auc(signal: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of ``signal (S,)`` for ``positive (S,)`` bool, ties counted half, in [0, 1].

    Raises ``ValueError`` where all moments are inside, or none.
    """
    from scipy.stats import mannwhitneyu  # half a second of imports

    hits, misses = signal[positive], signal[~positive]
    if not len(hits) or not len(misses):
        raise ValueError(f"{len(hits)} of {len(signal)} moments are inside: alignment needs moments of both kinds")
    return float(mannwhitneyu(hits, misses, method="asymptotic").statistic / (len(hits) * len(misses)))


def sliding(window: Window) -> Windows:
    """Windows of the length and pixels of networks that saw ``window``, about as fast as their clips; each moment is
    seen in several of them."""
    return Windows(window.frames, window.side, window.crop, rate=7.5, stride=4)


def traces(nets: dict[str, nn.Module], catalogue: Catalogue, window: Windows) -> list[Trace]:
    """λ of each gated network, and the frame energy, over all test videos of a set of labelled segments.

    Energy is the mean absolute difference of pixels (0 to 1) from one step to the next, over the steps of one λ.
    Raises ``ValueError`` for a video without a moment that all its windows see.
    """
    # a last window that ends with its video stands at places of its own
    records = tuple(r for r in windows(catalogue, "test", window) if r.first % window.stride == 0)
    batches = WindowBatches(records, {"student": Raw()}, window)
    sums: dict[str, dict[str, np.ndarray]] = {}
    left, found = iter(records), []
    for batch in batches.evaluation(32):
        signals = _signals(nets, batch.views["student"])
        for row, record in zip(range(len(batch.labels)), left, strict=False):
            steps = max(batches.length(record), window.frames)
            for name, values in signals.items():
                total = sums.setdefault(record.video, {}).setdefault(name, np.zeros((2, steps)))
                within = np.repeat(values[row], window.frames // values.shape[1])
                total[:, record.first : record.first + window.frames] += [within, np.ones(window.frames)]
    for record in {r.video: r for r in records}.values():
        counts, over = sums[record.video][ENERGY][1, : batches.length(record)], window.frames // window.stride
        full = np.flatnonzero(counts == over)
        if not len(full):
            raise ValueError(f"{record.video} has {len(counts)} steps, too few for {over} windows of {window.frames} "
                             "over one moment; leave it out")
        seconds, segments = (full + 0.5) / window.rate, record.segments
        signals = {name: total[0, full] / total[1, full] for name, total in sums[record.video].items()}
        found.append(Trace(record.video, record.group, seconds, inside(seconds, segments), segments, signals))
    return found


@torch.no_grad()
def _signals(nets: dict[str, nn.Module], pixels: torch.Tensor) -> dict[str, np.ndarray]:
    """By name ``(B, T')``: λ of each network, and the frame energy at as many steps."""
    taps = {name: outputs(net, pixels, ["net.attention"]).taps for name, net in nets.items()}
    found = {name: tap["net.attention"].mean(1).numpy() for name, tap in taps.items()}
    steps = next(iter(found.values())).shape[1] if found else 4
    moved = (pixels[:, :, 1:] - pixels[:, :, :-1]).abs().mean((1, 3, 4))
    moved = torch.cat([moved[:, :1], moved], 1)  # a window's first step has no step before it
    return found | {ENERGY: moved.unflatten(1, (steps, -1)).mean(2).numpy()}


def areas(found: list[Trace]) -> dict[str, np.ndarray]:
    """By signal, the :func:`auc` of each video ``(V,)``."""
    return {name: np.array([auc(trace.signals[name], trace.inside) for trace in found]) for name in found[0].signals}
