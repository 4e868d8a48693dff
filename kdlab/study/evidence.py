"""Where a study keeps what it found: its table ``<study>.csv`` and, in ``predictions/``, what its runs said.

Notebooks, figures and verdicts read the committed evidence in ``kdlab.paths.figures_dir()``. Only the size of a study
that is committed writes there, with all of its seeds; what any other size finds goes to a folder in ``runs/``.
"""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.system.files import save_arrays, sweep, write_atomically
from kdlab.system.ours import may_write
from kdlab.train.runs import Run, publish

COLUMNS = ["study", "data", "condition", "seed", "fold", "metric", "value", "unit", "recipe"]
#: Some array of every file of predictions has one of these names.
_ARRAYS = ("note", "ids", "units", "cost/macs")


def read_rows(table: Path) -> pd.DataFrame:
    """The rows of a study's table, with the names of data sets and folds as text: 007 is not 7."""
    return pd.read_csv(table, keep_default_na=False, dtype={"data": str, "condition": str, "fold": str})


@dataclass(frozen=True)
class Evidence:
    """What one size of ``study`` found, in ``folder``, which is the ``committed`` one or another. ``once``: file of
    arrays → those that are the same for all seeds."""

    study: str
    folder: Path
    committed: bool
    once: dict[str, list[str]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, study: str, size, seeds: Mapping[str, int], *, whole: bool, say=print) -> "Evidence":
        """Where a study of this ``size`` keeps its evidence; told to ``say`` where that is not the committed place.

        ``whole``: the size is the committed one, and so is all else that decides how much is trained. ``seeds`` are
        those of each data set: fewer than in the committed table replace nothing there. Raises
        :class:`kdlab.system.ours.NotOurs` or ``OSError``, before anything is trained, where it cannot be written.
        """
        figures = paths.figures_dir()
        committed = whole and replaces(study, seeds)
        folder = figures if committed else paths.runs_dir() / "studies" / f"{study}-{size.name}"
        if not committed:
            say(f"{study}: what it finds at this size goes to {folder}; figures/ and pretrained/ stay as they are")
        (folder / "predictions").mkdir(parents=True, exist_ok=True)
        for place in (folder, folder / "predictions"):
            sweep(place, lambda name: name.startswith(study))
        may_write(folder / f"{study}.csv", is_table, "table of a study")
        return cls(study, folder, committed)

    def file(self, name: str) -> Path:
        """The file of predictions ``name``, free to be written. Raises ``NotOurs`` where it is not."""
        return may_write(self.folder / "predictions" / f"{name}.npz", _is_predictions, "file of predictions")

    def save(self, name: str, arrays: dict[str, np.ndarray], once: Iterable[str] = ()) -> None:
        """Keep ``arrays`` as predictions ``name``. The first axis of each is that of seeds, but for those named
        ``once``, which are the same for all."""
        self.once[name] = list(once)
        save_arrays(self.file(name), arrays)

    def save_rows(self, rows: Sequence[dict]) -> Path:
        """Write ``<study>.csv``, whole, in an order that does not depend on that of ``rows`` of several seeds; its
        path."""
        path = may_write(self.folder / f"{self.study}.csv", is_table, "table of a study")
        write_atomically(path, lambda p: pd.DataFrame(_in_order(rows), columns=COLUMNS).to_csv(p, index=False))
        return path

    def kept(self, only: Sequence[str]) -> list[dict]:
        """The rows of other data sets than those in ``only``, which stay; none where it names none."""
        table = self.folder / f"{self.study}.csv"
        if not only or not table.is_file():
            return []
        rows = read_rows(table)
        return rows[~rows.data.isin(only)].to_dict("records")

    def publish(self, runs: Iterable[Run]) -> None:
        """Make ``runs`` the committed weights, where this is the evidence that the clone commits."""
        if self.committed and paths.figures_are_committed():
            publish(runs)


def replaces(study: str, seeds: Mapping[str, int]) -> bool:
    """Whether so many ``seeds`` of each data set are not fewer than those in the committed table."""
    had = _seeds(paths.figures_dir() / f"{study}.csv")
    return all(number >= had.get(data, 0) for data, number in seeds.items())


def _in_order(rows: Sequence[Mapping]) -> list[dict]:
    """Data sets, in them conditions, in them seeds, in them metrics, each as they first come there, so that rows which
    are in order stay so; values as numbers."""
    groups: dict[tuple, dict] = {}
    for row in rows:
        metrics = groups.setdefault((row["data"], row["fold"]), {}).setdefault(row["condition"], {})
        metrics.setdefault(row["metric"], []).append(row)
    found = []
    for metrics in (metrics for conditions in groups.values() for metrics in conditions.values()):
        some = [(int(row["seed"]) if str(row["seed"]) else -1, row) for column in metrics.values() for row in column]
        found += [row for _, row in sorted(some, key=lambda pair: pair[0])]  # which keeps the order of a seed's metrics
    return [{**row, "value": float(row["value"]) if row["value"] != "" else ""} for row in found]


def is_table(file: Path) -> bool:
    """Whether ``file`` is the table of a study: nobody else's has these columns."""
    with open(file, "rb") as opened:
        return opened.readline(1000).decode(errors="replace").strip() == ",".join(COLUMNS)


def _is_predictions(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as arrays:
        return any(f"{name}.npy" in arrays.namelist() for name in _ARRAYS)


def _seeds(table: Path) -> dict[str, int]:
    """How many seeds the conditions of each data set of a study's ``table`` have, at most, of one metric (a teacher may
    stand under its student's seed in one and under its own in another); none where there is no such table."""
    if not table.is_file() or not is_table(table):
        return {}
    rows = read_rows(table)
    rows = rows[rows.seed.astype(str) != ""]
    return rows.groupby(["data", "condition", "metric"]).seed.nunique().groupby("data").max().to_dict()
