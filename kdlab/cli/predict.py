"""Prediction of one clip by one trained network: class probabilities and Grad-CAM, the answer after each exit, or the
actions that a detector finds, as a table of segments and a picture of them over time."""

import difflib
import os
import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from kdlab.clips.untrimmed import Windows
from kdlab.measure.attention import grad_cam
from kdlab.measure.detection import KEPT, decode
from kdlab.nets.layers import one_thread
from kdlab.nets.video import stages
from kdlab.show.attention_plots import heat_picture
from kdlab.show.notebook import write_picture
from kdlab.show.plots import image, rows
from kdlab.system import paths
from kdlab.system.files import begins_with, may_write, write_csv
from kdlab.train.one_clip import batches_of, input_of, logits_of
from kdlab.train.runs import Run
from kdlab.video.container import timeline
from kdlab.video.decode import read_frames

MARK = "kdlab predict, with matplotlib"
_EXITS = "exit,label,probability,macs,stops\n"
_SEGMENT = "label", "start", "end", "score"
_STILLS = 8  # frames in the picture of a film


class Prediction(NamedTuple):
    """The prediction for a clip: ``probabilities (K,)`` of ``classes``.

    ``picture`` is the file with Grad-CAM of the most probable class at ``layer``, or None; then ``why`` gives the
    reason.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray
    picture: Path | None
    layer: str
    why: str


def open_run(name: str | Path) -> Run:
    """A finished training, by its folder or its name in ``runs/`` or ``pretrained/``, or by its condition alone where
    that is one training (``real_dark``).

    Raises ``ValueError`` with similar names if there is none, and :class:`kdlab.train.runs.DamagedRun`.
    """
    places = [paths.runs_dir(), paths.pretrained_dir()]
    found = [Path(os.path.expanduser(name)), *(place / name for place in places)]
    if str(name).isidentifier():
        # published runs first: tests leave small ones of the same conditions in runs/
        for place in reversed(places):
            alike = [note.parent for note in place.glob(f"{name}-*/run.json")]
            if len(alike) == 1:
                found += alike
    for folder in found:
        note = folder / "run.json"
        if note.is_file():
            # classes of published runs stand in kdlab and in its studies
            if folder.resolve().parent == places[1]:
                sys.path += [str(paths.project_root() / "studies")]
                with suppress(ModuleNotFoundError):  # an installed package has no studies
                    for module in re.findall(r'"type": "(\w+):', note.read_text("utf-8")):
                        import_module(module)
            return Run(folder)
    known = sorted({note.parent.name for place in places for note in place.glob("*/run.json")})
    near = difflib.get_close_matches(Path(name).name.lower(), known, 3, 0.3) or known[:3]
    hint = f"there are {', '.join(near)}" if known else "train one: kdlab run 02"
    what = "is no run's folder, nor a run's name"
    if Path(name).is_dir():
        what = "is not finished (it has no run.json)"
    raise ValueError(f"{name} {what} in {places[0]} or {places[1]}; {hint}")


def predict(clip: Path | str, run: Run, picture: Path | str | None = None) -> Prediction:
    """Predict the class of the file ``clip`` with the network of ``run``, with the test window, and draw Grad-CAM.

    The drawing goes to ``picture`` (default: ``<clip>.gradcam.png`` in the current folder), and replaces only an
    earlier Grad-CAM picture. Before anything is written, it raises ``ValueError`` for a run that does not classify
    clips and for a clip that is too short, DamagedClip or FileNotFoundError for the clip, and
    :class:`kdlab.system.files.NotOurs` for the picture's path.
    """
    clip = Path(clip)
    picture = _output_file(picture, f"{clip.stem}.gradcam.png", MARK, "Grad-CAM picture")
    recipe, classes = run.recipe, tuple(run.provenance["classes"])
    kind = "" if recipe.on_clips else "exits: use predict_exits"
    if isinstance(recipe.window, Windows):
        kind = "a detector: use detect"
    if kind:
        raise ValueError(f"{run.folder.name} has {kind}, or give a run that classifies clips")
    with one_thread():
        x, net = input_of(recipe, clip), run.net()
        probabilities = logits_of(net, x, run).softmax(0).numpy()
        best, layer = int(probabilities.argmax()), ""
        try:
            layer = f"net.{stages(recipe.net)[-1]}"
            heat = grad_cam(net, x, best, layer).maps[0]
        except ValueError as error:  # a network without named stages or spatial extent
            return Prediction(classes, probabilities, None, layer, str(error))
    _draw(
        picture,
        x,
        heat,
        f"{classes[best]}, {probabilities[best]:.0%}: {clip.name}, {run.folder.name}",
    )
    return Prediction(classes, probabilities, picture, layer, "")


def predict_exits(
    clip: Path | str, run: Run, theta: float | None = None, table: Path | str | None = None
) -> tuple[pd.DataFrame, float, Path]:
    """What the internal classifiers of ``run`` predict for the file ``clip``, exit after exit: the table of
    ``kdlab.papers.progressive.anytime.exit_table``, WISE's threshold, and the CSV ``table`` that was written (default:
    ``<clip>.exits.csv`` in the current folder).

    Raises the errors of :func:`predict`, and Unsuited for a clip without motion vectors that kdlab reads.
    """
    clip = Path(clip)
    table = _output_file(table, f"{clip.stem}.exits.csv", _EXITS, "table of exits", len(_EXITS))
    answers, theta = exits_of(run, clip, theta)
    write_csv(table, answers, float_format="%.3f")
    return answers, theta, table


def exits_of(run: Run, clip: Path, theta: float | None = None) -> tuple[pd.DataFrame, float]:
    """The table and the threshold of :func:`predict_exits`, which writes nothing."""
    with one_thread():
        views = {name: input_of(recipe, clip) for name, recipe in run.recipe.needs().items()}
        return import_module("kdlab.papers.progressive.anytime").exit_table(run, views, theta)


def _output_file(
    given: Path | str | None, default: str, mark: str, kind: str, within: int = 4096
) -> Path:
    """The file to write, ``given`` or ``default``. kdlab's own have ``mark`` in their first bytes; raises NotOurs where
    another one would be replaced."""
    may_write(file := Path(given or default), lambda there: begins_with(there, mark, within), kind)
    return file


def _draw(picture: Path, x: torch.Tensor, heat: np.ndarray, title: str) -> None:
    frames = x[0].permute(1, 2, 3, 0).numpy()
    if frames.shape[-1] != 3 or frames.min() < 0 or frames.max() > 1:  # no RGB: show grey levels
        grey = frames.mean(-1, keepdims=True)
        frames = np.repeat((grey - grey.min()) / max(np.ptp(grey), 1e-6), 3, -1)
    frames = (255 * frames).astype(np.uint8)
    write_picture(picture, MARK, lambda: heat_picture(frames, heat, title))


def detect(
    film: Path | str, run: Run, picture: Path | str | None = None
) -> tuple[pd.DataFrame, Path, Path]:
    """The segments that the detector of ``run`` finds in the file ``film``: columns label (the class), start and end in
    seconds, and score; the surest first, at most :data:`~kdlab.measure.detection.KEPT`.

    They are written as the CSV ``<film>.segments.csv`` in the current folder, and drawn as a ``picture`` (default:
    ``<film>.segments.png`` there). Both paths come back, too. Windows overlap; soft-NMS is that of the run's tests.
    A film may have any length: its frames lie in a temporary folder, a few windows at a time in memory.

    Raises DamagedClip and FileNotFoundError for the film, NotOurs where a file of another kind would be replaced:
    before the network is asked.
    """
    film = Path(film)
    header = ",".join(_SEGMENT) + "\n"
    table = _output_file(
        None, f"{film.stem}.segments.csv", header, "table of segments", len(header)
    )
    picture = _output_file(picture, f"{film.stem}.segments.png", MARK, "picture of segments")
    if picture.absolute() == table.absolute():
        raise ValueError(f"{picture} is the table of segments: name another picture")
    classes, net, rate = run.provenance["classes"], run.net(), run.recipe.window.rate
    with (
        one_thread(),
        torch.no_grad(),
        batches_of(film, run.recipe, timeline(film).seconds) as seen,
    ):
        outputs = [net(batch.views["student"]).float().numpy() for batch in seen.evaluation(8)]
    segments = decode(np.concatenate(outputs), seen.records, rate).head(KEPT)
    segments = segments.assign(label=[classes[label] for label in segments["label"]])[[*_SEGMENT]]
    write_csv(table, segments, float_format="%.3f")
    write_picture(picture, MARK, lambda: over_time(segments, film))
    return segments, table, picture


def over_time(segments: pd.DataFrame, film: Path) -> plt.Figure:
    """Frames of ``film`` above, and below a row for each class of ``segments``: bars from start to end in seconds, the
    surer the darker."""
    line = timeline(film)
    labels = segments["label"].unique()
    height = 0.34 * max(1, len(labels))
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(10, 1.9 + height), height_ratios=[1.3, 0.3 + height]
    )
    middles = (np.arange(_STILLS) + 0.5) / _STILLS
    frames = read_frames(film, (middles * line.count).astype(int)).frames
    gain = max(1.0, 110 / max(1.0, np.median(frames)))
    bright = (frames * gain).clip(0, 255).astype(np.uint8)
    title = f"{film.name}, shown {gain:.0f} times as bright" if gain > 1.5 else film.name
    image(above, np.hstack(bright), title, aspect="auto")
    for row, label in enumerate(labels):
        bars = segments[segments["label"] == label].iloc[::-1]
        colours = [(f"C{row}", alpha) for alpha in bars["score"].clip(0.08, 1)]
        start, end = bars["start"], bars["end"]
        below.barh([row] * len(bars), end - start, 0.7, start, linewidth=0, color=colours)
    named = labels if len(labels) else ["nothing found"]
    rows(below, named, xlabel="seconds; a darker bar has a higher score", xlim=(0, line.seconds))
    below.grid(axis="y", visible=False)
    return figure
