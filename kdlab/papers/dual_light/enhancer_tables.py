"""What the committed study of enhancers says, as notebook 01 shows it."""

import pandas as pd
from pandas.io.formats.style import Styler

from kdlab.measure.enhancement import UNITS
from kdlab.measure.paired import Effect
from kdlab.papers.dual_light.enhancers import summary
from kdlab.show.tables import table
from kdlab.study import Scores


def gains(scores: Scores) -> dict[str, Effect]:
    """Each enhancer's teacher minus the one on clips as they are, in points of accuracy."""
    return {name: scores.effect(name, "identity") for name in scores.predicted if name != "identity"}


def undoubted(found: dict[str, Effect]) -> list[str]:
    """Those whose 95 % interval excludes zero."""
    return [name for name, effect in found.items() if effect.low > 0 or effect.high < 0]


def teachers(rows: pd.DataFrame, scores: Scores) -> Styler:
    """A line for each enhancer: its scores against the twin, the accuracy of the teacher trained on it, and the
    difference from the teacher on clips as they are. ``rows`` are those of ``figures/enhancers.csv``."""
    wide, found = summary(rows), gains(scores)
    named = wide.rename(columns=lambda c: f"{c} ({UNITS[c]})" if c in UNITS else "teacher's accuracy (%)")
    named["− identity (95 %)"] = [str(found.get(name, "")) for name in wide.index]
    return table(named.rename_axis("enhancer").reset_index(), "The committed study of enhancers on night", 2)


def rank_correlations(rows: pd.DataFrame, measured: tuple[str, ...] = ("psnr", "ssim", "flicker")) -> dict[str, float]:
    """Spearman's, over enhancers, of each score with the teacher's accuracy: score → −1 to 1."""
    from scipy.stats import spearmanr  # half a second of imports

    wide = summary(rows)
    return {name: float(spearmanr(wide[name], wide.accuracy).statistic) for name in measured}
