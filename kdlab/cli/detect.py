"""The actions that a trained detector finds in one film: a table of segments, and a picture of them over time."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from kdlab.cli.predict import MARK, batches_of, existing, output_file, write_picture, write_table
from kdlab.measure.detection import KEPT, decode
from kdlab.nets.layers import one_thread
from kdlab.show.plots import PALETTE
from kdlab.train.runs import Run
from kdlab.video.container import timeline
from kdlab.video.decode import read_frames

_COLUMNS = ("label", "start", "end", "score")
_MOMENTS = 8  # frames in the picture


def detect(
    film: Path | str, run: Run, table: Path | str | None = None, picture: Path | str | None = None
) -> tuple[pd.DataFrame, Path, Path]:
    """The segments that the detector of ``run`` finds in the file ``film``: columns label (the class), start and end in
    seconds, and score; the surest first, at most :data:`~kdlab.measure.detection.KEPT`.

    They are written as a CSV ``table`` and drawn as a ``picture``, whose paths come back, too; by default
    ``<film>.segments.csv`` and ``.png`` in the current folder. Windows overlap; soft-NMS is that of the run's tests.
    A film may have any length: its frames lie in a temporary folder, a few windows at a time in memory.

    Raises DamagedClip and FileNotFoundError for the film, NotOurs where a file of another kind would be replaced:
    before the network is asked.
    """
    film = existing(film)
    header = ",".join(_COLUMNS) + "\n"
    table = output_file(
        table, f"{film.stem}.segments.csv", header, "table of segments", len(header)
    )
    picture = output_file(
        picture, f"{film.stem}.segments.png", MARK["Software"], "picture of segments"
    )
    found = _segments(film, run)
    write_table(found, table)
    write_picture(picture, lambda: over_time(found, film))
    return found, table, picture


def _segments(film: Path, run: Run) -> pd.DataFrame:
    classes, net, rate = run.provenance["classes"], run.net(), run.recipe.window.rate
    with (
        one_thread(),
        torch.no_grad(),
        batches_of(film, run.recipe, timeline(film).seconds) as seen,
    ):
        outputs = [net(batch.views["student"]).float().numpy() for batch in seen.evaluation(8)]
    found = decode(np.concatenate(outputs), seen.records, rate).head(KEPT)
    return found.assign(label=[classes[label] for label in found["label"]])[[*_COLUMNS]]


def over_time(found: pd.DataFrame, film: Path) -> plt.Figure:
    """Frames of ``film`` above, and below a row for each class that was ``found``: bars from start to end in seconds,
    the surer the darker."""
    line = timeline(film)
    labels = list(dict.fromkeys(found["label"])) or ["nothing found"]
    figure, (above, below) = plt.subplots(
        2,
        1,
        figsize=(10, 1.9 + 0.34 * len(labels)),
        layout="constrained",
        height_ratios=[1.3, 0.3 + 0.34 * len(labels)],
    )
    middles = (np.arange(_MOMENTS) + 0.5) / _MOMENTS
    frames = read_frames(film, (middles * line.count).astype(int)).frames
    gain = max(
        1.0, 110 / max(1.0, float(np.median(frames)))
    )  # a film in the dark is shown brighter
    above.imshow(
        np.hstack([(frame * gain).clip(0, 255).astype(np.uint8) for frame in frames]), aspect="auto"
    )
    above.set(
        xticks=[],
        yticks=[],
        title=film.name + (f", shown {gain:.0f} times as bright" if gain > 1.5 else ""),
    )
    for row, label in enumerate(labels):
        rows = found[found["label"] == label].iloc[::-1]
        below.barh(
            [row] * len(rows),
            rows["end"] - rows["start"],
            0.7,
            rows["start"],
            linewidth=0,
            color=[
                (
                    *plt.matplotlib.colors.to_rgb(PALETTE[row % len(PALETTE)]),
                    float(np.clip(score, 0.08, 1)),
                )
                for score in rows["score"]
            ],
        )
    below.set(
        yticks=range(len(labels)),
        yticklabels=labels,
        xlim=(0, line.seconds),
        ylim=(len(labels) - 0.5, -0.5),
        xlabel="seconds; a darker bar has a higher score",
    )
    below.grid(axis="y", visible=False)
    return figure
