"""What enhancing at inference costs where the enhancer is learnt, as the paper's is: Zero-DCE before the classifier.

D4 was registered with gamma, a table look-up. This is measured beside it and decides nothing.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw
from kdlab.measure.cost import cpu_times, macs
from kdlab.papers.dual_light.curves import CurveNet
from kdlab.papers.dual_light.study import pathway
from kdlab.train.runs import Run

#: Widths of Zero-DCE: kdlab's, and the released one.
WIDTHS = {"half width": 16, "as released": 32}


@dataclass(frozen=True)
class _Curves:
    """Zero-DCE of a width with random weights, which cost what trained ones do."""

    net: CurveNet

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float().div_(255)
        return self.net(pixels)[1].mul_(255).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).numpy()


def enhancer_costs(run: Run, clip: np.ndarray, repeats: int = 10) -> pd.DataFrame:
    """A row for the network of ``run`` alone, after gamma, and after Zero-DCE of each of :data:`WIDTHS`: millions of
    multiply-accumulates a clip (``MMAC``), CPU milliseconds (one thread, median of interleaved ``repeats``; this
    machine's), and how many times those of the network alone each is. ``clip`` is ``uint8 (T, H, W, 3)``, enhanced at
    that size as a recording is; decoding, which all share, is left out."""
    window, net = run.recipe.window, run.net()
    own = macs(net, (1, 3, window.frames, window.crop, window.crop))
    nets = {f"Zero-DCE, {words}, then classify": CurveNet(width).eval() for words, width in WIDTHS.items()}
    views = {"the student alone": Raw(), "gamma, then classify": Enhanced(Gamma(1.8))}
    views |= {name: Enhanced(_Curves(curves)) for name, curves in nets.items()}
    seen = window.frames, *clip.shape[1:3]
    work = {name: own + (macs(nets[name], (1, 3, *seen)) if name in nets else 0) for name in views}
    taken = cpu_times({name: pathway(net, view, window, clip) for name, view in views.items()}, repeats)
    ms = {name: 1000 * float(np.median(times)) for name, times in taken.items()}
    first = next(iter(views))
    rows = [(name, work[name] / 1e6, work[name] / work[first], ms[name], ms[name] / ms[first]) for name in views]
    return pd.DataFrame(rows, columns=["way", "MMAC", "times the student's", "CPU ms", "times its time"])
