"""What a detector learns of where actions begin and end, as AFSD does (arXiv 2103.13137; docs/methods.md, 2.3).

A *map* ``(B, 2C, T)`` answers for T equal parts of a window of some steps; half of its channels look for starts, the
other half for ends. Segments are in steps. The numbers are those of the released code, but for rounding: there the
places of a segment's ends are whole steps.
"""

import torch
from torch.nn import functional as F

from kdlab.clips.untrimmed import IGNORED


def largest(level: torch.Tensor, low: torch.Tensor, high: torch.Tensor, steps: int) -> torch.Tensor:
    """The maximum of ``level (B, C, T)`` over the places that touch [low, high], each ``(B, 1, P)``: ``(B, C, P)``."""
    edges = torch.linspace(0, steps, level.shape[2] + 1, device=level.device)
    outside = (edges[:-1] >= high.mT) | (edges[1:] <= low.mT)
    return level[:, :, None].masked_fill(outside[:, None], -torch.inf).amax(3)


def pooled_ends(both: torch.Tensor, segments: torch.Tensor, steps: int) -> list[torch.Tensor]:
    """Boundary max pooling of a map ``(B, 2C, T)``: what it says of the starts and of the ends, each ``(B, C, P)``, of
    ``segments (B, 2, P)``. The region around an end is a quarter of the segment inwards and a tenth outwards, at least
    a step."""
    long = segments[:, 1:] - segments[:, :1]
    inwards, outwards = (long / 4).clamp_min(1), (long / 10).clamp_min(1)
    start, end = segments.clamp(0, steps).split(1, 1)
    starts, ends = both.chunk(2, 1)
    return [largest(starts, start - outwards, start + inwards, steps),
            largest(ends, end - inwards, end + outwards, steps)]


def boundary_targets(labels: torch.Tensor, steps: int) -> torch.Tensor:
    """Where a start, and where an end, is: ``(B, 2, steps)`` of zeros and ones, of ``labels (B, N, 3)`` as of
    :class:`kdlab.clips.untrimmed.WindowBatches`. An end takes a tenth of its segment, at least two steps, half on
    either side; segments to be left out have none."""
    ends, known = labels[..., :2], labels[..., 2] >= 0
    half = (ends.diff(dim=-1) / 10).clamp_min(2) / 2
    low, high = ((ends + way * half).round().clamp(0, steps - 1)[..., None] for way in (-1, 1))
    at = torch.arange(steps, device=labels.device)
    return ((low <= at) & (at <= high) & known[..., None, None]).any(1).to(labels.dtype)


def boundary_loss(both: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """−[y ln p + (1 − y) ln(1 − p)], a mean over places, of starts plus that of ends. p is the mean over channels of
    tanh of a map that is not negative; y are the ``targets (B, 2, steps)`` at the first steps of its places."""
    said = torch.tanh(both).unflatten(1, (2, -1)).mean(2)
    return 2 * F.binary_cross_entropy(said, F.interpolate(targets, said.shape[2]).to(said.dtype))


def spliced(labels: torch.Tensor, steps: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut an action of each window in two and put some background between, by moving frames; drawn from torch's global
    generator.

    Gives the frames' new order ``(B, steps)``; ``pieces (B, 2, 3)``, starts and ends of the action's first part, its
    second, and the background between; and which windows ``(B,)`` had an action and a background long enough. The
    others stay as they are. The inserted part is as long as the shortest action that ``labels`` tell of (of the video,
    where windows are ``dense``), the action more than twice that. The background is drawn from all stretches free of
    segments; released, a gap is drawn first, and then a stretch in it.
    """
    start, end, label = labels.unbind(-1)
    known = label >= 0
    told = known | (label == IGNORED) & (end <= 0)
    part = torch.where(told, end - start, steps).amin(1).ceil().clamp_max(steps)[:, None]
    long = known & (end - start > 2 * part)
    which = torch.rand_like(start).masked_fill(~long, -1).argmax(1, keepdim=True)
    start, end = labels[..., 0].gather(1, which), labels[..., 1].gather(1, which)
    places = ((end - start - part).ceil() - part).clamp_min(1)
    cut = start.ceil() + part + (torch.rand_like(start) * places).floor()

    at = torch.arange(steps, device=labels.device)
    low, high = (each[..., None] for each in labels[..., :2].unbind(-1))
    seen = ((low < high) & (low < at + 1) & (at < high)).any(1)
    before = F.pad(seen.cumsum(1), (1, 0))  # steps of segments before each
    until = (at + part).long()
    free = (until <= steps) & (before.gather(1, until.clamp_max(steps)) == before[:, :-1])
    taken = torch.rand(free.shape, device=labels.device).masked_fill(~free, -1).argmax(1, keepdim=True)

    done = long.any(1) & free.any(1)
    later = taken > start
    first = torch.where(later, cut, cut - part)  # of the inserted part
    moved = torch.where(later, (at >= first) & (at < taken + part), (at >= taken) & (at < cut))
    source = torch.where(later, at - part, at + part)
    source = torch.where((at >= first) & (at < first + part), taken + at - first, source)
    order = torch.where(moved & done[:, None], source, at).long()
    shift = torch.where(later, part, -part)
    parts = [start + shift.clamp_max(0), first, first + part, end + shift.clamp_min(0), first + 1, first + part - 1]
    return order, torch.cat(parts, 1).unflatten(1, (3, 2)).mT, done


def triplet_loss(both: torch.Tensor, pieces: torch.Tensor, done: torch.Tensor, steps: int) -> torch.Tensor:
    """max(0, 1 + |e₁ − s₂| − |e₁ − s₃|), a mean over the windows that are ``done``: where :func:`spliced` cut, the end
    of the first part is more like the start of the second than like the start of the background. s and e are what the
    map ``both`` says of ``pieces``; Euclidean distances over channels, as torch's ``TripletMarginLoss``."""
    starts, ends = pooled_ends(both, pieces, steps)
    each = F.triplet_margin_loss(ends[..., 0], starts[..., 1], starts[..., 2], reduction="none")
    return (each * done).sum() / done.sum().clamp_min(1)
