"""How far are exits from knowing how sure they may be?

The study of PKD keeps what its exits answer, not how surely. Here that is read of the very same networks, on the same
clips, after the claims were read: beside whose errors exits inherit (:mod:`kdlab.papers.progressive.inherited`).
"""

from functools import partial

import numpy as np
import pandas as pd

from kdlab.measure.accuracy import expected_calibration_error
from kdlab.night.streams import NightStream
from kdlab.papers.progressive import inherited
from kdlab.papers.progressive.asking import said
from kdlab.papers.progressive.nets import TRAINED
from kdlab.papers.progressive.recipes import STUDY, TITLES
from kdlab.papers.progressive.study import CROSSED, halved, unread
from kdlab.study import Outcome, Part, Scores, Study
from kdlab.train.sizes import ExitSize

#: The exits that are told apart: on networks that have not seen the clips which exits learn from.
CONDITIONS = tuple(name for name in inherited.CONDITIONS if name.endswith("_unseen"))


def errors(rows: pd.DataFrame) -> pd.Series:
    """Condition → its calibration error in percent: the mean over nine exits and all seeds."""
    found = rows[rows.metric == "ece"]
    return found.assign(value=found.value.astype(float)).groupby("condition", sort=False).value.mean()


def told(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Calibration error and accuracy in percent, means over the nine trained of the twelve exits, of logits
    ``(N, 12, K)``."""
    some = logits[:, TRAINED].astype(float)
    error = np.mean([expected_calibration_error(some[:, k], labels) for k in range(len(TRAINED))])
    return float(error), 100 * float((some.argmax(-1) == labels[:, None]).mean())


def _rows(on: NightStream, outcome: Outcome) -> list[dict]:
    labels = np.array([record.label for record in on.catalogue().split("test")])
    rows = []
    for runs in zip(*outcome.runs.values(), strict=True):  # seed after seed: features are extracted once
        for condition, run in zip(outcome.runs, runs, strict=True):
            values = zip(("ece", "accuracy"), told(said(run, on), labels), "%%", strict=True)
            rows += outcome.numbers(*values, condition=condition, seed=run.recipe.seed, recipe=run.folder.name)
    return rows


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    table = errors(rows).rename(lambda name: TITLES[name.removesuffix("_unseen")])
    return [f"calibration error in percent, mean of nine exits\n{table.round(1).to_string()}"]


def _parts(size: ExitSize, seeds: int) -> list[Part]:
    made = halved(size, seeds)
    return [Part(CROSSED.data, {name: made[name] for name in CONDITIONS}, file="", rows=partial(_rows, unread(size)))]


study = Study("exit_calibration", _parts, size=STUDY, seeds=10, lines=_lines, titles=TITLES, committed=True)
