"""Pictures of notebook 06: the data that a codec stores, and the steps of a decoder. See docs/methods.md, section 4."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from kdlab.clips.compressed import Modalities, Stream, modalities, read, scan
from kdlab.measure.darkness import luma
from kdlab.show.plots import PAGE, image, key
from kdlab.show.widgets import explore
from kdlab.system.files import begins_with, may_write, save_arrays, write_atomically
from kdlab.system.values import integer

_RIGHT = np.array([0.4, -0.107, -0.5])  # from grey to orange at equal luma; the opposite direction leads to blue
#: The panels of :func:`equation`: reference, motion, moved reference, residual, frame.
PANELS = 5
_EXPORT = "kdlab data modalities"  # marks the pictures of :func:`export`
#: The steps of decoding a P-frame, in words.
STEPS = ("a whole picture is there to copy from", "where each block comes from", "the blocks are copied",
         "what is still missing", "the frame: what was copied plus what was missing")


def timeline(streams: dict[str, Stream]) -> Figure:
    """Bytes of each frame over time, I-frames dark and P-frames light: name → the :class:`Stream` from ``scan``."""
    fig, axes = plt.subplots(len(streams), 1, figsize=(8, 1.7 * len(streams)), squeeze=False, sharex=True)
    for ax, (name, stream) in zip(axes[:, 0], streams.items(), strict=True):
        for kind, colour in (("I", "C0"), ("P", "#f4c27a")):
            numbers = np.flatnonzero(np.array(list(stream.kinds)) == kind)
            how = dict(color=colour, edgecolor="black", linewidth=0.4, label=f"{kind}-frames")
            ax.bar(stream.times[numbers], stream.sizes[numbers], 0.85 / stream.info.fps, **how)
        counts = f"{stream.kinds.count('I')} I-frames, {stream.kinds.count('P')} P-frames"
        ax.set(ylabel="bytes", title=f"{name}: {counts}", xlim=(-0.6 / stream.info.fps, None))
    axes[-1, 0].set_xlabel("time (s)")
    key(fig)
    return fig


def flow_colours(motion: np.ndarray, most: float) -> np.ndarray:
    """Motion (H, W, 2) as float RGB (H, W, 3): grey at rest, right orange, left blue, up light, down dark, with full
    colour at ``most`` pixels. Unlike the usual rainbow, it needs no distinction of red and green."""
    within = motion / np.maximum(np.linalg.norm(motion, axis=-1, keepdims=True), most)
    return np.clip(0.5 + within[..., :1] * _RIGHT - 0.45 * within[..., 1:], 0, 1)


def _wheel(ax: plt.Axes, most: float) -> None:
    """Draw the legend of :func:`flow_colours` on the right of a picture."""
    inset = ax.inset_axes((1.03, 0.0, 0.2, 0.25))
    xy = np.stack(np.meshgrid(*2 * [np.linspace(-1.15, 1.15, 65)]), -1)
    image(inset, np.where(np.linalg.norm(xy, axis=-1, keepdims=True) <= 1, flow_colours(xy, 1), 1))
    inset.set_xlabel(f"edge: {most:g} px", fontsize="small", labelpad=1)


def fields(rows: dict[str, tuple[np.ndarray, Modalities]], most: float = 8, longer: float = 2) -> Figure:
    """Motion as arrows on a picture uint8 (H, W, 3), and in colours: name → (picture, frame), where the frame's motion
    is that since the frame before. Arrows begin where a block came from, and are ``longer`` times as long."""
    fig, axes = plt.subplots(len(rows), 2, figsize=(7.4, 3 * len(rows)), squeeze=False)
    for (left, right), (name, (picture, frame)) in zip(axes, rows.items(), strict=True):
        grey = luma(picture).astype(np.uint8)
        image(left, grey, f"{name}: vectors, {longer:g} times as long", cmap="gray", vmin=0, vmax=255)
        b = frame.blocks
        d = -np.stack([b["motion_x"], b["motion_y"]], 1) / np.maximum(b["motion_scale"], 1)[:, None]  # stored reversed
        places = b["dst_x"] - longer * d[:, 0], b["dst_y"] - longer * d[:, 1]
        how = dict(angles="xy", scale_units="xy", scale=1, width=0.008, edgecolor="black", linewidth=0.6)
        left.quiver(*places, *longer * d.T, color="#ffb000", **how)
        moved = 100 * (frame.motion != 0).any(-1).mean()
        image(right, flow_colours(frame.motion, most), f"whole pixels, {moved:.0f} % moved")
        _wheel(right, most)
    return fig


def equation(frame: Modalities, accumulated: bool = True, most: float = 20, gain: float = 2, shown: int = 5) -> Figure:
    """A frame as its moved reference plus the residual, which is shown ``gain`` times as strong around mid grey. The
    reference is the I-frame (``accumulated``) or the frame before. The first ``shown`` of the five panels are visible.
    """
    integer(1, f"1 to {PANELS}", shown=shown)
    since = frame.key if accumulated else max(frame.number - 1, frame.key)
    panels = {
        f"frame {since}": frame.reference,
        f"motion: {100 * (frame.motion != 0).any(-1).mean():.0f} % moved": flow_colours(frame.motion, most),
        f"frame {since}, moved": (frame.picture - frame.residual).astype(np.uint8),
        f"+ residual, times {gain:g}": np.clip(128 + gain * frame.residual, 0, 255).astype(np.uint8),
        f"= frame {frame.number} ({frame.kind})": frame.picture,
    }
    fig, axes = plt.subplots(1, PANELS, figsize=(PAGE, 2))
    for place, (ax, (title, picture)) in enumerate(zip(axes, panels.items(), strict=True)):
        if place < shown:
            image(ax, picture, title)
        else:  # a hidden panel keeps the place of its picture
            image(ax, np.full_like(frame.picture, 225), "?")
    if shown > 1:
        _wheel(axes[1], most)
    if shown == PANELS:
        plain = np.subtract(frame.picture, frame.reference, dtype=float)
        fig.suptitle(f"mean square: residual {np.square(frame.residual, dtype=float).mean():.1f}, plain difference "
                     f"{np.square(plain).mean():.1f} squared grey levels")
    return fig


def overview(found: dict[str, np.ndarray], columns: int = 5, most: float = 20, gain: float = 2) -> Figure:
    """Frame, motion, accumulated motion and residual at up to ``columns`` positions of the first GOP of a clip, of
    which ``kdlab.clips.compressed.read`` has returned the arrays. The residual is accumulated, ``gain`` times as strong
    and around mid grey."""
    frames = np.flatnonzero(found["group"] == 0)
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, columns).round().astype(int))]
    fig, axes = plt.subplots(4, len(frames), figsize=(PAGE, 6), squeeze=False, layout="constrained")
    y, x = np.indices(found["iframes"].shape[1:3])
    for position, (t, column) in enumerate(zip(frames, axes.T, strict=True)):
        back, residual = found["accumulated_motion"][t], found["accumulated_residual"][t]
        picture = found["iframes"][0][y - back[..., 1], x - back[..., 0]] + residual
        image(column[0], picture.astype(np.uint8), f"frame {found['number'][t]} ({found['kind'][t]})")
        shown = {"motion": flow_colours(found["motion"][t], most), "accumulated": flow_colours(back, most),
                 f"residual, times {gain:g}": np.clip(128 + gain * residual, 0, 255).astype(np.uint8)}
        for ax, (title, picture) in zip(column[1:], shown.items(), strict=True):
            image(ax, picture, "" if position else title)
    _wheel(axes[1, -1], most)
    return fig


def export(path: Path, folder: Path) -> None:
    """Write the arrays that ``kdlab.clips.compressed.read`` returns to ``folder/NAME.npz``, and their :func:`overview`
    to ``folder/NAME.png``, where NAME is the file's name with its suffix. Each file appears as a whole or not at all.
    Raises what ``read`` raises, and NotOurs for a file there that this function did not write."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays, picture = (folder / f"{path.name}.{kind}" for kind in ("npz", "png"))
    for place, mark in ((arrays, "accumulated_motion.npy"), (picture, _EXPORT)):
        may_write(place, lambda file, mark=mark: begins_with(file, mark), "export")
    save_arrays(arrays, found := read(path))
    fig = overview(found)
    write_atomically(picture, lambda draft: fig.savefig(draft, format="png", metadata={"Software": _EXPORT}))
    plt.close(fig)


def gop_step(path: Path | str, step: int, accumulated: bool = True) -> Figure:
    """The decoding of an MPEG-4 part 2 file at ``step``, counted from 1, with five steps per P-frame (:data:`STEPS`).
    Later panels are hidden. Motion and residual are those since the I-frame of the GOP (``accumulated``) or since the
    frame before. Raises the errors of ``kdlab.clips.compressed.modalities``."""
    numbers = [number for number, kind in enumerate(scan(path).kinds) if kind == "P"]
    integer(1, f"five to each of {len(numbers)} P-frames", step=step)
    place, panel = divmod(min(step, PANELS * len(numbers)) - 1, PANELS)
    fig = equation(*modalities(path, [numbers[place]], accumulated), accumulated, shown=panel + 1)
    energies = fig.get_suptitle()
    where = f"frame {numbers[place]}, step {panel + 1} of {PANELS}: {STEPS[panel]}"
    fig.suptitle(f"{where}\n{energies}" if energies else where)
    return fig


def gop_widget(path: Path | str):
    """A slider for the steps of :func:`gop_step`. Once it has the focus, arrow keys go one step on or back. Returns
    ``None`` and prints a line when headless."""
    steps = 1, 1, PANELS * scan(path).kinds.count("P"), 1, "step (click, then arrow keys)"
    which = "from the I-frame (else from the frame before)"
    return explore(lambda step, accumulated: gop_step(path, step, accumulated), step=steps, accumulated=which)
