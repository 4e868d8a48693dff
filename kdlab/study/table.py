"""The tidy rows of a study, and what is read from them: convergence, and where new runs should lie."""

import numpy as np
import pandas as pd
from scipy import stats

from kdlab import paths
from kdlab.measure.accuracy import expected_calibration_error
from kdlab.measure.transfer import mean_recall
from kdlab.runs import Run
from kdlab.study.scores import Scores

__all__ = ["convergence", "doubled", "lies", "load_rows", "recall_rows", "rows", "three_seed_range"]


def rows(study: str, data: str, scores: Scores, runs: dict[str, list[Run]], fold: str = "") -> list[dict]:
    """Tidy rows: test and validation accuracy and CPU seconds of every run, ECE of the first seed."""
    out = []
    for condition in scores.predicted:
        for s, seed in enumerate(scores.seeds):
            name = scores.recipes[condition][s]
            row = dict(study=study, data=data, condition=condition, seed=seed, fold=fold, recipe=name)
            numbers = [("accuracy", scores.accuracy(condition)[s], "%")]
            if s == 0:  # of the logits as they are committed, so that the row can be computed again from them
                kept = scores.logits[condition].astype(np.float16).astype(float)
                numbers.append(("ece", expected_calibration_error(kept, scores.labels), "%"))
            if condition in runs:
                run = runs[condition][s]
                numbers += [("val_accuracy", run.predictions("val").accuracy, "%"),
                            ("cpu_seconds", run.provenance["cpu_seconds"], "s")]
            out += [row | {"metric": m, "value": round(float(v), 4), "unit": u} for m, v, u in numbers]
    return out


def recall_rows(scores: Scores, about: dict, say=print) -> list[dict]:
    """Tidy rows that begin as ``about``: mean recall over classes of every condition, with its interval's ends."""
    table = []
    for condition in scores.predicted:
        mean, low, high = mean_recall(scores.correct(condition), scores.labels)
        say(f"{about['data']} {about['fold']}, {condition}: mean recall {mean:.1f} % ({low:.1f} to {high:.1f})")
        ends = ("mean_recall", mean), ("mean_recall_low", low), ("mean_recall_high", high)
        table += [about | dict(condition=condition, metric=m, value=round(v, 4), unit="%") for m, v in ends]
    return table


def load_rows(study: str) -> pd.DataFrame:
    """The committed rows of a study. Raises ``FileNotFoundError`` naming the command that makes them."""
    path = paths.figures_dir() / f"{study}.csv"
    if not path.is_file():
        root = paths.project_root()
        place = path.relative_to(root) if path.is_relative_to(root) else path
        raise FileNotFoundError(f"{place} is missing: run `kdlab study {study}` to make it")
    return pd.read_csv(path, keep_default_na=False)


def convergence(table: pd.DataFrame, data: str) -> tuple[float, float, str]:
    """Gain in *validation* accuracy from doubling the steps (points), its 95 % half-width over seeds, and the word.

    Surely under two points, the comparison of methods is fair at this budget ("converged"); surely above, the study is
    "under-trained"; "undecided" where the interval holds two.
    """
    some = table[(table.data == data) & (table.metric == "val_accuracy")]
    wide = some.pivot_table(index="seed", columns="condition", values="value")  # the mean over folds, if there are any
    gains = (wide.ce_2x - wide.ce_raw).to_numpy(float)
    if len(gains) < 2:
        raise ValueError("the convergence check needs at least two seeds")
    return doubled(gains)


def doubled(gains: np.ndarray) -> tuple[float, float, str]:
    """Of the points ``(S,)`` that twice the steps gained: mean, 95 % half-width (one seed: infinite), and the word."""
    gain = float(gains.mean())
    half = float(stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)) if len(gains) > 1 else np.inf
    word = "converged" if gain + half < 2 else "under-trained" if gain - half > 2 else "undecided"
    return gain, half, word


def three_seed_range(values: np.ndarray, seeds: int = 3) -> tuple[float, float]:
    """Where the mean of ``seeds`` new runs should fall with 95 % probability, given committed ``values`` (percent)."""
    n = len(values)
    if n < 3:
        raise ValueError(f"a prediction interval needs at least three committed runs, got {n}")
    half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) * np.sqrt(1 / seeds + 1 / n)
    return float(values.mean() - half), float(values.mean() + half)


def lies(mine: float, committed: pd.Series, seeds: int) -> str:
    """``58.2 lies in 54.1…63.0``, or OUTSIDE: the mean of ``seeds`` new runs in the range that ``committed`` cover."""
    low, high = three_seed_range(committed.to_numpy(float), seeds)
    return f"{mine:.1f} {'lies in' if low <= mine <= high else 'lies OUTSIDE'} {low:.1f}…{high:.1f}"
