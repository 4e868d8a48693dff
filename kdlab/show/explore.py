"""An explorer: choose clips, see them, and ask networks about them. Your own runs and clips are as good as kdlab's.

Each move computes what it shows, and nothing else. Without a browser, :func:`explore` gives a still picture.
"""

import asyncio
import io
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import ipywidgets as w
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image as Picture
from scipy.spatial.distance import pdist
from scipy.special import softmax
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from kdlab.clips.enhance import Clahe, Gamma
from kdlab.clips.untrimmed import Windows
from kdlab.datasets.files import composed, files_below, user_path
from kdlab.measure.attention import grad_cam
from kdlab.nets.video import stages
from kdlab.show.attention_plots import mapped
from kdlab.show.codec_plots import MOST, around_grey, flow_colours
from kdlab.show.plots import evenly, filmstrip
from kdlab.system.pool import headless
from kdlab.train.one_clip import input_of, logits_of
from kdlab.train.runs import Run
from kdlab.video.compressed import read
from kdlab.video.container import stamp
from kdlab.video.decode import read_frames

#: Most frames of a moving picture, and its height in pixels.
FRAMES, HEIGHT = 16, 150
#: For so many seconds at a time each network is asked for the features of more clips.
PATIENCE = 0.05
EVERY, RIGHT, WRONG, APART = "all", "right", "wrong", "they differ most"
CELL = "a cell of the matrix"


class Clip(NamedTuple):
    """A file, and the number of its class; None where it is unknown."""

    path: Path
    label: int | None


@dataclass
class Asked:
    """A network of a ``run``, and the logits and features that it gave so far, by path and state of the file: a changed
    file is asked again."""

    run: Run
    given: dict[tuple, dict[str, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))

    @cached_property
    def net(self) -> nn.Module:
        return self.run.net()

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.run.provenance["classes"])

    def known(self, clip: Path) -> dict[str, np.ndarray]:
        """What it gave for ``clip`` so far."""
        return self.given[clip, clip.exists() and stamp(clip)]

    def answer(self, clip: Path, what: str = "logits") -> np.ndarray:
        """The logits ``(K,)`` for ``clip``; or its features ``(D,)``: what the last linear layer, or 3-D convolution,
        with a row of weights per class reads, pooled or per frame. Features are the logits where there is no such
        layer. Raises ``ValueError`` and ``OSError`` for a file that it cannot read."""
        known = self.known(clip)
        if what not in known:
            seen, read = input_of(self.run.recipe, clip), []

            def keep(layer, inputs):
                if (
                    inputs
                    and isinstance(layer, nn.Linear | nn.Conv3d)
                    and len(layer.weight) == len(self.classes)
                ):
                    read.append(inputs[0].flatten().float().numpy())

            with register_module_forward_pre_hook(keep):
                logits = logits_of(self.net, seen, self.run).numpy()
            known |= {"logits": logits, "features": read[-1] if read else logits}
        return known[what]

    def label(self, clip: Path) -> int:
        """The class that it gives ``clip``; −1 for a file that it cannot read: the explorer tells why once it is chosen."""
        try:
            return int(self.answer(clip).argmax())
        except (ValueError, OSError):
            return -1

    def looks(self, clip: Path) -> np.ndarray:
        """The input, ``uint8 (T, H, W, 3)``, under Grad-CAM of the class that it gives. Raises ``ValueError`` for a
        network without stages."""
        seen = input_of(self.run.recipe, clip)
        layer = f"net.{stages(self.run.recipe.net)[-1]}"
        heat = grad_cam(self.net, seen, self.label(clip), layer).maps[0]
        grey = Gamma(2.2)((255 * seen[0].mean(0).numpy()).astype(np.uint8))
        return mapped(grey[..., None], heat)


def clips_of(asked: Asked, folder: Path | str | None) -> list[Clip]:
    """The test clips of a network with what it said of them, or all videos below ``folder``. The
    nearest folder above a video that has the name of a class gives its class.

    Raises ``ValueError`` for a folder without videos, and for parts of films."""
    if folder is None:
        tested, records = asked.run.predictions(), asked.run.recipe.data.catalogue().split("test")
        whole = {record.path for record in records if record.start is record.end is None}
        if len(whole) < len(records):
            raise ValueError("these test clips are parts of films: name a folder of whole clips")
        known = dict(zip(tested.ids.tolist(), tested.logits, strict=True))
        for record in records:
            if record.id in known:
                asked.known(record.path)["logits"] = known[record.id]
        return [Clip(record.path, record.label) for record in records]
    files, _ = files_below(user_path(folder))
    if not files:
        raise ValueError(f"{folder} holds no video: name a folder of videos, such as .mp4 or .avi")
    clips, classes = [], asked.classes
    for file in files:
        known = [name for name in map(composed, file.parts) if name in classes]
        clips.append(Clip(file, classes.index(known[-1]) if known else None))
    return clips


def chosen(
    clips: list[Clip], label: int | None, which: str, networks: Sequence[Asked]
) -> list[Clip]:
    """Those of one class (of all, if None) that the first network gets right or wrong; or all, first those on which any
    two networks differ most."""
    some = [clip for clip in clips if label is None or clip.label == label]
    if which in (RIGHT, WRONG):
        return [
            clip
            for clip in some
            if clip.label is not None
            and (answer := networks[0].label(clip.path)) >= 0
            and (answer == clip.label) == (which == RIGHT)
        ]
    if which == APART:

        def apart(clip):
            given = [softmax(each.answer(clip.path)) for each in networks]
            return pdist(given, "cityblock").max()

        some.sort(key=apart, reverse=True)
    return some


def panels(clip: Path, enhancer: Callable | None) -> dict[str, np.ndarray]:
    """The moving pictures of ``clip`` by name, ``uint8 (T, H, W, 3)``: as it is, and enhanced."""
    frames = read_frames(clip).frames
    frames = frames[evenly(len(frames), FRAMES)]
    return {"the clip": frames} | ({"enhanced": enhancer(frames)} if enhancer else {})


def stored(clip: Path) -> dict[str, np.ndarray]:
    """What the codec stores of ``clip``, as moving pictures by name, ``uint8 (T, H, W, 3)``. Raises
    :class:`kdlab.video.container.UnusableFile` for a file of which kdlab cannot read that."""
    arrays = read(clip)
    return {
        "I-frames": arrays["iframes"],
        "motion": (255 * flow_colours(arrays["motion"], MOST)).astype(np.uint8),
        "residual, times 2": around_grey(arrays["residual"]),
    }


def moving(frames: np.ndarray) -> bytes:
    """``frames uint8 (T, H, W, 3)`` as a WebP animation that repeats, 120 ms a frame."""
    frames = frames[evenly(len(frames), FRAMES)]
    width = round(HEIGHT * frames.shape[2] / frames.shape[1])
    first, *others = [Picture.fromarray(frame).resize((width, HEIGHT)) for frame in frames]
    out = io.BytesIO()
    first.save(
        out,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=120,
        loop=0,
        quality=85,
        method=0,
    )
    return out.getvalue()


def bars(answers: Mapping[str, np.ndarray], classes: Sequence[str], label: int | None) -> str:
    """Probabilities ``(K,)`` of networks, side by side, as HTML; the true class is bold."""
    lines = []
    for k, name in enumerate(classes):
        cells = "".join(
            f'<td style="width:14em"><div style="background:#0173b2;width:{100 * p[k]:.0f}%">&nbsp;'
            f'</div></td><td style="text-align:right;padding:0 1em 0 .3em">{100 * p[k]:.0f} %</td>'
            for p in answers.values()
        )
        title = f"<b>{escape(name)}</b>" if k == label else escape(name)
        lines.append(f"<tr><td>{title}</td>{cells}</tr>")
    head = "".join(f'<th colspan="2">{escape(name)}</th>' for name in answers)
    rows = f"<tr><th></th>{head}</tr>{''.join(lines)}"
    return f'<table style="line-height:1.3;border-spacing:0 2px">{rows}</table>'


def nearest(clip: Path, network: Asked) -> str:
    """The three clips whose features are nearest to those of ``clip``, by name, and among how many.

    These are clips that the network has answered, those with the nearest logits first. A run stores no features: the
    network gives more of them for :data:`PATIENCE`. Where that is too short for all, the text says "so far"."""
    own, logits = network.answer(clip, "features"), network.answer(clip)
    end, so_far, distance = time.monotonic() + PATIENCE, "", {}
    said = {path: known["logits"] for (path, _), known in network.given.items() if known}
    for path in sorted(said.keys() - {clip}, key=lambda path: np.linalg.norm(said[path] - logits)):
        if "features" not in network.known(path) and time.monotonic() > end:
            so_far = " so far"
            continue
        with suppress(ValueError, OSError):  # a file that is gone
            distance[path] = np.linalg.norm(network.answer(path, "features") - own)
    near = ", ".join(f"{p.parent.name}/{p.stem}" for p in sorted(distance, key=distance.get)[:3])
    what = "logits" if own is logits else "features"
    return f"nearest of {len(distance)} clips{so_far} by {what}: {near}"


def explore(
    runs: Mapping[str, Run],
    clips: Path | str | None = None,
    enhancers: Mapping[str, Callable] = MappingProxyType({}),
    exits: Callable | None = None,
):
    """Explore clips with networks: ``runs`` maps names to runs, the student's first, then its teachers'. Right,
    wrong and the matrix are those of the first. ``clips`` is a folder of videos; by
    default the test clips of the first network. ``enhancers`` (name → enhancer) join gamma and CLAHE.
    ``exits(clip, theta)`` gives a table of internal classifiers and WISE's threshold
    (:func:`kdlab.cli.predict.exits_of`).

    Returns widgets; without a browser a figure: of the test clip on which networks differ most, or of the first
    clip of the folder. Raises ``ValueError`` for a run that does not classify clips, and for networks of other
    classes than the first.
    """
    networks = {name: Asked(run) for name, run in runs.items()}
    first = next(iter(networks.values()))
    for name, asked in networks.items():
        recipe = asked.run.recipe
        if not recipe.on_clips or isinstance(recipe.window, Windows):
            raise ValueError(
                f"{name} does not classify clips: leave it out, or give its internal classifiers as exits="
            )
        if asked.classes != first.classes:
            raise ValueError(
                f"{name} has the classes {', '.join(asked.classes)}, the first network "
                f"{', '.join(first.classes)}: explore networks of the same classes"
            )
        if clips is None and recipe.data == first.run.recipe.data:
            clips_of(asked, None)
    known = clips_of(first, clips)
    if headless():
        which = APART if clips is None and len(networks) > 1 else EVERY
        return still(chosen(known, None, which, list(networks.values()))[0], networks)
    return _Explorer(networks, exits, known, enhancers).box


def still(clip: Clip, networks: Mapping[str, Asked]) -> Figure:
    """The picture of one clip, with what the networks say of it."""
    said = []
    for name, asked in networks.items():
        if not said and clip.label is not None:
            said.append(f"truth: {asked.classes[clip.label]}")
        p = softmax(asked.answer(clip.path))
        said.append(f"{name}: {asked.classes[p.argmax()]}, {100 * p.max():.0f} %")
    print("Run this cell in JupyterLab for sliders; the stored picture stands still.")
    seen = panels(clip.path, None)
    if seen["the clip"].mean() < 64:  # of 255: a bright clip needs no enhancer
        seen = panels(clip.path, Gamma())
    figure = filmstrip(seen, title="; ".join(said))
    plt.close(figure)  # a notebook shows what comes back, and would show an open figure once more
    return figure


class _Explorer:
    """The widgets of :func:`explore`, and what a change of each redraws."""

    later = None  # the next :meth:`ask` for nearest clips

    def __init__(self, networks, exits: Callable | None, clips: list[Clip], enhancers):
        self.networks, self.exits, self.clips = networks, exits, clips
        self.cell = []  # the clips of the cell that was clicked in the matrix
        self.uploads = tempfile.TemporaryDirectory()
        self.first = next(iter(networks.values()))
        self.enhancers = {"gamma": None, "CLAHE": Clahe(), **enhancers}
        wide, free = {"width": "17em"}, {"description_width": "initial"}
        classes = ((name, k) for k, name in enumerate(self.first.classes))
        # without the index, a choice of the value None is blank in some processes and not in others
        self.label = w.Dropdown(options=[("every class", None), *classes], index=0, layout=wide)
        # a single network has no other
        self.which = w.Dropdown(
            options=[EVERY, RIGHT, WRONG, *[APART] * (len(networks) > 1), CELL], layout=wide
        )
        self.list = w.Select(rows=12, layout=wide)
        self.upload = w.FileUpload(accept="video/*,.avi", description="your clip", layout=wide)
        self.enhancer = w.Dropdown(
            options=["none", *self.enhancers], value="gamma", layout={"width": "8em"}
        )
        self.gamma = w.FloatSlider(1.8, min=1, max=4, step=0.1, continuous_update=False)
        self.codec, self.looks, self.near = (
            w.Checkbox(description=text, indent=False, layout={"width": "13em"})
            for text in ("what the codec stores", "where they look", "nearest clips")
        )
        self.temperature = w.FloatLogSlider(
            1, base=2, min=-1, max=5, description="temperature", style=free
        )
        self.theta = w.FloatSlider(
            0.9, min=0.3, max=1, step=0.05, description="WISE stops at", style=free
        )
        self.seen = w.HBox(layout={"flex_flow": "row wrap"})
        self.said, self.exit_table = w.HTML(), w.HTML()
        self.matrix = w.Accordion([w.Box()], titles=["confusion matrix: click a cell"])
        for redraw, *widgets in (
            (self.filter, self.label, self.which),
            (self.show, self.list, self.enhancer, self.gamma, self.codec, self.looks),
            (self.ask, self.list, self.temperature, self.near),
            (self.ask_exits, self.list, self.theta),
            (self.receive, self.upload),
        ):
            for widget in widgets:
                widget.observe(self.or_say(redraw), "value")
        self.matrix.observe(self.or_say(self.count), "selected_index")
        see = w.HBox([self.enhancer, self.gamma, self.codec, self.looks])
        ask = w.HBox([self.temperature, self.near] + [self.theta] * bool(self.exits))
        right = w.VBox([see, self.seen, ask, self.said, self.exit_table])
        left = w.VBox([self.label, self.which, self.list, self.upload], layout={"flex": "none"})
        self.box = w.VBox([w.HBox([left, right]), self.matrix])
        self.offer(clips)

    @property
    def clip(self) -> Clip | None:
        """The clip that is chosen."""
        return self.list.value

    def offer(self, clips: list[Clip]) -> None:
        """List ``clips``, and show the first."""
        self.list.options = [
            (c.path.stem + ("" if c.label is None else f" · {self.first.classes[c.label]}"), c)
            for c in clips
        ]
        self.list.index = 0 if clips else None

    def or_say(self, redraw: Callable) -> Callable:
        """``redraw``, or where a clip cannot be read the reason in the place of answers."""
        place = self.exit_table if redraw == self.ask_exits else self.said

        def observer(change) -> None:
            try:
                redraw(change)
            except (ValueError, OSError) as error:
                place.value = escape(str(error))

        return observer

    def pick(self, clips: list[Clip]) -> None:
        """List the clips of a cell; the filter says so, and turns back to all of them."""
        self.cell, self.label.index, self.which.value = clips, 0, CELL
        self.offer(clips)

    def filter(self, change) -> None:
        clips = self.cell if self.which.value == CELL else self.clips
        networks = list(self.networks.values())
        self.offer(chosen(clips, self.label.value, self.which.value, networks))

    def receive(self, change) -> None:
        for file in change.new:
            # a folder each: two files may have one name
            path = Path(tempfile.mkdtemp(dir=self.uploads.name), Path(file["name"]).name)
            path.write_bytes(file["content"])
            self.clips = [Clip(path, None), *self.clips]
        self.offer(self.clips)

    def count(self, change) -> None:
        """Fill the confusion matrix each time it is opened."""
        names = self.first.classes
        if change.new is None:
            return
        clips, cells = defaultdict(list), [*map(w.Label, ["true, then given", *names])]
        for clip in self.clips:
            clips[clip.label, self.first.label(clip.path)].append(clip)
        for i, true in enumerate(names):
            cells.append(w.Label(true))
            for j in range(len(names)):
                its = clips[i, j]
                cell = w.Button(
                    description=str(len(its) or ""),
                    disabled=not its,
                    layout={"width": "4.5em", "margin": "1px"},
                )
                if its:
                    cell.button_style = "success" if i == j else "warning"
                cell.on_click(lambda _, its=its: self.pick(its))
                cells.append(cell)
        self.matrix.children = [
            w.GridBox(cells, layout={"grid_template_columns": f"9em repeat({len(names)}, 4.7em)"})
        ]

    def show(self, change) -> None:
        """The moving pictures of the clip."""
        if self.clip is None:
            self.seen.children = []
            return
        path, name, seen = self.clip.path, self.enhancer.value, []
        enhancer = Gamma(self.gamma.value) if name == "gamma" else self.enhancers.get(name)
        asked = [lambda: panels(path, enhancer)]
        if self.codec.value:
            asked.append(lambda: stored(path))
        if self.looks.value:
            asked.append(lambda: {f"{n} looks": a.looks(path) for n, a in self.networks.items()})
        for each in asked:
            try:
                seen += [
                    w.VBox([w.Label(title), w.Image(value=moving(frames), format="webp")])
                    for title, frames in each().items()
                ]
            except (ValueError, OSError) as error:
                seen.append(w.HTML(escape(str(error))))
        self.seen.children = seen

    def ask(self, change) -> None:
        """What the networks say of the clip."""
        if self.clip is None:
            self.said.value = "no such clip"
            return
        path, t = self.clip.path, self.temperature.value
        answers = {n: softmax(a.answer(path) / t) for n, a in self.networks.items()}
        text = bars(answers, self.first.classes, self.clip.label)
        if self.near.value:
            for name, asked in self.networks.items():
                text += f"<br>{escape(f'{name}: {nearest(path, asked)}')}"
            # go on once the moves that wait are done, as long as that shows more
            if "clips so far" in text and text != self.said.value:
                if self.later:
                    self.later.cancel()
                with suppress(RuntimeError):  # a script has no event loop
                    loop, ask = asyncio.get_running_loop(), self.or_say(self.ask)
                    self.later = loop.call_later(PATIENCE, ask, None)
        self.said.value = text

    def ask_exits(self, change) -> None:
        """What the exits say of the clip."""
        self.exit_table.value = ""
        if self.exits and self.clip:
            table, _ = self.exits(self.clip.path, self.theta.value)
            said = {
                "macs": lambda n: f"{n / 1e6:.1f} M",
                "stops": lambda yes: "here" if yes else "",
            }
            self.exit_table.value = table.to_html(index=False, float_format="%.2f", formatters=said)
