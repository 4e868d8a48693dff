"""The tidy rows of a study, and what is read from them: convergence, and where new runs should lie."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from kdlab import paths
from kdlab.measure.accuracy import half_width
from kdlab.study.evidence import read_rows
from kdlab.study.scores import Scores


def load_rows(study: str) -> pd.DataFrame:
    """The committed rows of a study. Raises ``FileNotFoundError`` naming the command that makes them."""
    path = paths.figures_dir() / f"{study}.csv"
    if not path.is_file():
        root = paths.project_root()
        place = path.relative_to(root) if path.is_relative_to(root) else path
        raise FileNotFoundError(f"{place} is missing: run `kdlab study {study}` to make it")
    return read_rows(path)


def load_scores(name: str) -> Scores:
    """The committed predictions ``name``: ``study-data``, such as ``dual_light_controls-night``. Raises
    ``FileNotFoundError``, and ``ValueError`` naming a file that cannot be read."""
    return Scores.load(_arrays(name))


def load_arrays(name: str) -> dict[str, np.ndarray]:
    """The committed arrays ``name`` that lie beside the predictions of studies."""
    with np.load(_arrays(name), allow_pickle=False) as file:
        return dict(file)


def _arrays(name: str) -> Path:
    return paths.figures_dir() / "predictions" / f"{name}.npz"


#: Words of :func:`convergence` with which a comparison of methods may be read.
CONVERGED = "converged", "undecided"


def convergence(table: pd.DataFrame, data: str, plain: str = "ce_raw", longer: str = "ce_2x",
                metric: str = "val_accuracy") -> tuple[float, float, str]:
    """Gain in *validation* accuracy (or another ``metric``) of ``longer``, with twice the steps, over ``plain``: in
    points, its 95 % half-width over seeds (of one seed infinite), and the word.

    Surely under two points, the comparison of methods is fair at this budget ("converged"); surely above, the study is
    "under-trained"; "undecided" where the interval holds two, and "not measured" where no seed has both.
    """
    rows = table[(table.data == data) & (table.metric == metric) & table.condition.isin([plain, longer])]
    wide = rows.assign(value=rows.value.astype(float)).pivot_table(index="seed", columns="condition", values="value")
    both = wide.reindex(columns=[plain, longer]).dropna()
    if both.empty:
        return np.nan, np.inf, "not measured"
    gains = (both[longer] - both[plain]).to_numpy(float)  # the mean over folds, if there are any
    gain = float(gains.mean())
    half = half_width(gains) if len(gains) > 1 else np.inf
    word = "converged" if gain + half < 2 else "under-trained" if gain - half > 2 else "undecided"
    return gain, half, word


def scatter(columns: Iterable[np.ndarray]) -> tuple[float, int]:
    """The standard deviation between seeds that conditions have in common (each about its own mean), and its degrees of
    freedom."""
    columns = [np.asarray(column, float) for column in columns]
    freedom = sum(len(column) - 1 for column in columns)
    return float(np.sqrt(sum(((column - column.mean()) ** 2).sum() for column in columns) / max(freedom, 1))), freedom


def three_seed_range(values: np.ndarray, seeds: int = 3,
                     spread: tuple[float, int] | None = None) -> tuple[float, float]:
    """Where the mean of ``seeds`` new runs should fall with 95 % probability, given committed ``values`` (percent) and
    their ``spread`` (of more conditions than these, :func:`scatter`; default: their own)."""
    n = len(values)
    if n < 3:
        raise ValueError(f"a prediction interval needs at least three committed runs, got {n}")
    deviation, freedom = spread or scatter([values])
    half = stdtrit(freedom, 0.975) * deviation * np.sqrt(1 / seeds + 1 / n)
    return float(values.mean() - half), float(values.mean() + half)


def lies(value: float, low: float, high: float) -> str:
    """``58.2 lies in 54.1…63.0``, or OUTSIDE."""
    return f"{value:.1f} {'lies in' if low <= value <= high else 'lies OUTSIDE'} {low:.1f}…{high:.1f}"
