"""The actions that a trained detector finds in one film: a table of segments, and a picture of them over time."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_rgba

from kdlab.cli.predict import MARK, existing, output_file, write_picture, write_table
from kdlab.measure.detection import KEPT, decode
from kdlab.nets.layers import one_thread
from kdlab.show.plots import PALETTE, image, rows
from kdlab.train.one_clip import batches_of
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
    segments = _segments(film, run)
    write_table(segments, table)
    write_picture(picture, lambda: over_time(segments, film))
    return segments, table, picture


def _segments(film: Path, run: Run) -> pd.DataFrame:
    classes, net, rate = run.provenance["classes"], run.net(), run.recipe.window.rate
    with (
        one_thread(),
        torch.no_grad(),
        batches_of(film, run.recipe, timeline(film).seconds) as seen,
    ):
        outputs = [net(batch.views["student"]).float().numpy() for batch in seen.evaluation(8)]
    segments = decode(np.concatenate(outputs), seen.records, rate).head(KEPT)
    return segments.assign(label=[classes[label] for label in segments["label"]])[[*_COLUMNS]]


def over_time(segments: pd.DataFrame, film: Path) -> plt.Figure:
    """Frames of ``film`` above, and below a row for each class of ``segments``: bars from start to end in seconds, the
    surer the darker."""
    line = timeline(film)
    labels = segments["label"].unique()
    height = 0.34 * max(1, len(labels))
    figure, (above, below) = plt.subplots(
        2,
        1,
        figsize=(10, 1.9 + height),
        layout="constrained",
        height_ratios=[1.3, 0.3 + height],
    )
    middles = (np.arange(_MOMENTS) + 0.5) / _MOMENTS
    frames = read_frames(film, (middles * line.count).astype(int)).frames
    gain = max(1.0, 110 / max(1.0, float(np.median(frames))))
    bright = (frames * gain).clip(0, 255).astype(np.uint8)
    title = f"{film.name}, shown {gain:.0f} times as bright" if gain > 1.5 else film.name
    image(above, np.hstack(bright), title, "medium", aspect="auto")
    for row, label in enumerate(labels):
        bars = segments[segments["label"] == label].iloc[::-1]
        colour = PALETTE[row % len(PALETTE)]
        colours = [to_rgba(colour, alpha) for alpha in bars["score"].clip(0.08, 1)]
        lengths = bars["end"] - bars["start"]
        below.barh([row] * len(bars), lengths, 0.7, bars["start"], linewidth=0, color=colours)
    named = labels if len(labels) else ["nothing found"]
    rows(below, named, xlabel="seconds; a darker bar has a higher score", xlim=(0, line.seconds))
    below.grid(axis="y", visible=False)
    return figure
