"""WISE on one trained run: fitted on its held-out clips, walked on its test clips, and timed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from kdlab.clips.cache import resize
from kdlab.clips.segments import SegmentBatches
from kdlab.measure.cost import cpu_times, ratio_interval
from kdlab.papers.progressive.anytime import walk
from kdlab.papers.progressive.budgets import Parts, calibrated, parts
from kdlab.papers.progressive.nets import ORDER, Trio
from kdlab.papers.progressive.wise import combine, fit_wise, temperatures
from kdlab.train.runs import Run, batches


class Fitted(NamedTuple):
    """``weights (12, 12)``, and the temperatures ``heat (12,)`` of the sums, both of *calibrate*; the calibrated sums
    ``(N, 12, K)`` on ``validate`` and ``test``; the ``own`` parts of the clips."""

    weights: np.ndarray
    heat: np.ndarray
    validate: np.ndarray
    test: np.ndarray
    own: Parts


def fitted(run: Run) -> Fitted:
    """WISE on the exits of ``run``: one half of its held-out clips fits, the other chooses."""
    own, _ = parts(run)
    weights = fit_wise(*own.calibrate)
    heat = temperatures(combine(own.calibrate[0], weights), own.calibrate[1])
    return Fitted(weights, heat, *calibrated(own, weights), own)


def shown(run: Run) -> tuple[SegmentBatches, dict[str, torch.Tensor]]:
    """The test clips of ``run``, and what each of its three networks sees of them: modality → ``(N, C, T, H, W)``."""
    clips = batches(run.recipe, "test", {name: needed.view for name, needed in run.recipe.needs().items()})
    loaded = list(clips.evaluation())
    return clips, {name: torch.cat([batch.views[name] for batch in loaded]) for name in ORDER}


def rule(some: Fitted, theta: float) -> Callable:
    """For :func:`.anytime.walk`: stop where the calibrated sum of the exits so far is surer than ``theta``."""
    rows = torch.from_numpy(some.weights)

    def decide(k, said):
        z = torch.einsum("j,njc->nc", rows[k - 1, :k], said.double()) / some.heat[k - 1]
        return z.softmax(1).amax(1) > theta, z

    return decide


def counted(views: Mapping[str, torch.Tensor], reads: Counter) -> Callable:
    """For :func:`.anytime.walk`: clips from ``views``; ``reads`` notes how many of each modality were asked for."""
    def read(modality, indices):
        reads[modality] += len(indices)
        return views[modality][indices]

    return read


@torch.no_grad()
def on_paper(net: Trio, views: Mapping[str, torch.Tensor], some: Fitted) -> np.ndarray:
    """The calibrated sums ``(N, 12, K)`` where every clip goes through all twelve exits."""
    return combine(net(dict(views)).exits.double().numpy(), some.weights) / some.heat[:, None]


def decoding(clips: SegmentBatches) -> Callable:
    """For :func:`.anytime.walk`: clips read from their files each time, without a cache."""
    def read(modality, indices):
        view, window, found = clips.views[modality], clips.window, []
        for record in (clips.records[i] for i in indices):
            draw = window.centre(clips.length(record))
            rows = view.rows(record.path, clips.stretch(record)[0] + draw.frames)
            found.append(window.cut(draw, resize(view.read(record.path, rows), window.side)))
        return torch.from_numpy(np.stack(found)).permute(0, 4, 1, 2, 3).float().div_(255)

    return read


def times(net: Trio, clips: SegmentBatches, views: Mapping[str, torch.Tensor], decide: Callable, costs: np.ndarray,
          few: Sequence[int], repeats: int = 5) -> pd.DataFrame:
    """CPU time of a walk over ``few`` of the clips in percent of that of all exits, with 95 % ends, interleaved: of
    clips that were decoded before, and of clips read from their files. ``macs`` is the same share of multiply-
    accumulates, of the walk's ``costs (12,)``."""
    few = np.asarray(few)
    held, read = {name: x[few] for name, x in views.items()}, decoding(clips)
    from_files = lambda modality, indices: read(modality, few[indices])  # noqa: E731
    hold = counted(held, Counter())
    taken = cpu_times({
        "all, decoded before": lambda: net(held),
        "walk, decoded before": lambda: walk(net, hold, decide, len(few), costs),
        "all, decoding": lambda: net({name: read(name, few) for name in ORDER}),
        "walk, decoding": lambda: walk(net, from_files, decide, len(few), costs)}, repeats)
    macs = 100 * walk(net, hold, decide, len(few), costs).macs.mean() / costs[-1]
    rows = [(what, *(100 * v for v in ratio_interval(taken[f"walk, {what}"], taken[f"all, {what}"])), macs)
            for what in ("decoded before", "decoding")]
    return pd.DataFrame(rows, columns=["clips", "CPU time (%)", "low", "high", "MACs (%)"])
