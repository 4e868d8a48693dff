"""What the committed rows say of `night` and of its way to real dark clips, as notebook 01b shows it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kdlab.measure.realism import MARKS
from kdlab.studies import night_audit


def along(audit: pd.DataFrame) -> dict[str, dict[float, np.ndarray]]:
    """Accuracies (%) of every seed by training clips per class and by variety, from rows of
    ``figures/night_audit.csv``: title → value → ``(S,)``. `full` stands for the usual values. Raises ``KeyError``
    naming a condition that is not among the rows."""
    seeds = {c: a.to_numpy(float) for c, a in audit[audit.metric == "accuracy"].groupby("condition").value}
    dials = {"training clips per class (equal steps)": ("clips", night_audit.CLIPS),
             "variety": ("variety", night_audit.VARIETIES)}

    def name(word: str, value: float) -> str:
        return "full" if value == night_audit.USUAL[word] else f"full:{word}{value:g}"

    return {title: {value: seeds[name(word, value)] for value in values} for title, (word, values) in dials.items()}


def marks(audit: pd.DataFrame) -> pd.DataFrame:
    """A line for each mark of real dark video: where real clips lie, and the median at each variety that was measured,
    with the share of clips inside."""
    found = audit[audit.condition.str.startswith("marks:")].pivot_table("value", "metric", "condition")
    lines = []
    for mark, (low, high) in MARKS.items():
        real = f"{low:g} to {high:g}" if high < np.inf else f"{low:g} or more"
        lines.append([mark, real, *(f"{found[c][mark]:.2f}, {found[c][f'{mark}_inside']:.0f} % of clips inside"
                                    for c in found)])
    titles = [c.removeprefix("marks:").replace("variety", "variety ") for c in found]
    return pd.DataFrame(lines, columns=["mark", "real dark clips", *titles])


def carried(transfer: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Of rows of ``figures/transfer.csv``, fold → percentages: ``night`` (mean recall of networks that saw `night`
    alone) with ``low`` and ``high``, ``frozen`` (the same of one frame repeated), ``nothing`` and ``tuned`` (trained on
    the other fold from nothing, and after `night`), ``chance``, and ``constant``, the best constant answer's accuracy.
    """
    found = {}
    for fold, rows in transfer.groupby("fold"):
        of = rows.pivot_table("value", "condition", "metric")
        recall, night = of.mean_recall, of.loc["zero_shot"]
        classes = sum(metric.startswith("recall:") for metric in of.columns)
        found[fold] = {"night": night.mean_recall, "low": night.mean_recall_low, "high": night.mean_recall_high,
                       "frozen": recall["zero_shot:frozen"], "nothing": recall["from_nothing"],
                       "tuned": recall["finetuned"], "chance": 100 / classes,
                       "constant": of.accuracy["majority"]}
    return found


def recalls(transfer: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Recall of each class in percent, mean over seeds: a line for each fold and each condition in ``titles``."""
    rows = transfer[transfer.metric.str.startswith("recall:") & transfer.condition.isin(list(titles))]
    rows = rows.assign(metric=rows.metric.str.removeprefix("recall:"), condition=rows.condition.map(titles))
    return rows.pivot_table("value", ["fold", "condition"], "metric").reset_index()
