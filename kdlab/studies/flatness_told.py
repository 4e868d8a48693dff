"""What the committed rows of flatness say, in tables and sentences of notebook 08, computed when somebody asks."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.papers.progressive.nets import CLAIMED
from kdlab.studies.flatness_rows import MEASURES, confirming_rows, taught, unread_gap
from kdlab.study import FIRST, load_rows


def newest(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each condition on each set its confirming rows, where it has any; of the others those read before: finished
    networks and internal classifiers have no confirming seeds."""
    found = [new if len(new := confirming_rows(some)) else some
             for _, some in rows.groupby(["data", "condition"], sort=False)]
    return pd.concat(found) if found else rows


def read_from(rows: pd.DataFrame, names: Mapping[str, str]) -> str:
    """``night_context (places tell): 3 seeds, read before; …``: of which seeds the rows of each set are."""
    said = []
    for data, title in names.items():
        seeds = pd.to_numeric(rows[(rows.data == data) & rows.condition.str.startswith("matched:")].seed).dropna()
        what = "nothing yet" if seeds.empty else f"{seeds.nunique()} seeds, " \
            f"{'confirming' if seeds.min() >= FIRST else 'read before'}"
        said.append(f"{data} ({title}): {what}")
    return "; ".join(said)


def values(readings: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """``flatness_rows.hierarchy`` of several sets in words: geometric means with 95 % intervals over seeds."""
    shown = pd.concat([some.assign(set=name) for name, some in readings.items() if len(some)] or
                      [pd.DataFrame(columns=["mark", "measure", *CLAIMED, "word", "set"])])
    shown = shown[["set", "mark", "measure", *CLAIMED, "word"]].replace({"measure": MEASURES})
    for modality in CLAIMED:
        shown[modality] = [f"{v[0]:.3g} ({v[1]:.2g} to {v[2]:.2g})" if isinstance(v, tuple) else ""
                           for v in shown[modality]]
    return shown.rename(columns={"mark": "loss (nats)", "word": "I < R < M?"})


def taught_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Each exit under PKD over the same by labels, as ``flatness_rows.taught``, in words; empty without such rows."""
    ratios = taught(rows)
    if ratios.empty:
        return ratios
    words = ratios.map(lambda v: f"{v[0]:.2g} ({v[1]:.1g} to {v[2]:.2g})")
    return words.rename(columns={"train_loss": "training loss", **MEASURES}).reset_index(names="exit")


def order_told(readings: Mapping[str, pd.DataFrame]) -> list[str]:
    """A sentence for each set and loss: how many measures are as claimed, and which network is flattest by most."""
    lines = []
    for name, table in readings.items():
        for mark, at in table.groupby("mark", sort=False):
            counts = at.word.str.split(":").str[0].value_counts()
            said = ", ".join(f"{count} {word}" for word, count in counts.items())
            means = at[list(CLAIMED)].map(lambda v: v[0] if isinstance(v, tuple) else np.nan)
            means = means[means.notna().sum(axis=1) >= 2].astype(float)
            flattest = means.idxmin(axis=1).value_counts()
            which = f"; the flattest by {flattest.iloc[0]} of {len(means)}: {flattest.index[0]}" if len(means) else ""
            lines.append(f"{name}, at {mark:g} nats: of {len(at)} measures {said}{which}")
    return lines


def of_gaps(rows: pd.DataFrame, names: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """In words of which networks → those of the ``rows`` of :func:`newest` from which P2 is read: those stopped at
    equal losses, on each set, and all with the finished ones; the registered ones of both sets where they are there."""
    found = {f"stopped, {title}": some for data, title in names.items()
             if len(some := confirming_rows(rows[rows.data == data]))}
    found["all, with finished networks"] = rows
    if (paths.figures_dir() / "flatness_gap.csv").is_file():
        found["registered: other seeds, clips that nobody had read"] = unread_gap(load_rows("flatness_gap"))
    return found


def gap_told(found: pd.DataFrame) -> str:
    """What ``flatness_rows.correlations`` say of P2's premise, in two sentences: over all networks, and among alike."""
    measures = found[found.predictor.isin(MEASURES)]
    loss = found[found.predictor == "train_loss"].iloc[0]
    above = [MEASURES[row.predictor] for row in measures.itertuples() if row.low > loss.high]
    better = f"by {', '.join(above)}" if above else "by none of the four measures"
    low, high, half = measures.within.min(), measures.within.max(), loss.within_half
    sure = int((measures.within.abs() > half).sum())
    return (f"Over {loss.networks:.0f} networks of {loss.trainings:.0f} trainings the gap is told better than by the "
            f"training loss {better}. Among networks that differ by their seed alone the correlations lie between "
            f"{low:+.2f} and {high:+.2f} (± {half:.2f}): {sure or 'none'} of {len(measures)} surely off zero.")
