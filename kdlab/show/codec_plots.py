"""Notebook 06: what a codec keeps of a clip, in numbers and in pictures. Formulas: docs/methods.md, section 4."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import entr

from kdlab.clips.block_motion import positions
from kdlab.clips.compressed import Modalities, Stream, modalities, scan
from kdlab.clips.coviar import quantise_motion, quantise_residual
from kdlab.measure.darkness import luma
from kdlab.measure.paired import effect
from kdlab.show.plots import PAGE, drawn, image, key
from kdlab.system.values import whole

_RIGHT = np.array([0.4, -0.107, -0.5])  # from grey to orange, of equal luma; the other way to blue
_VALUES = np.arange(-255, 256)  # of a histogram of motion or residual
#: Of a frame as an equation: reference, motion, reference moved, residual, frame.
PANELS = 5
_CUT = {"motion": (-20, 20), "residual": (-128, 127)}  # pixels, grey levels: the network's input is clipped beyond


def frame_table(path: Path | str) -> pd.DataFrame:
    """A row for each frame of a file: ``number``, ``position`` in its group (0: the I-frame), ``kind``, ``bytes``.

    Mean squares, in squared grey levels: ``difference`` to the I-frame, ``residual`` (accumulated), ``own`` (that since
    the frame before). Shares, 0 to 1: ``moved`` and ``own_moved`` (pixels of motion not 0), ``cut_motion`` (pixels) and
    ``cut_residual`` (values): more than the network's 8 bits hold. Raises what ``modalities`` does.
    """
    rows, sizes = [], scan(path).sizes.tolist()
    for own in modalities(path, accumulated=False):  # back to the I-frame from step to step: half of reading twice
        here = positions(*own.picture.shape[:2])
        if own.kind == "I":
            key, paths = own.picture, here
        else:
            paths = cv2.remap(paths, here - own.motion, None, cv2.INTER_NEAREST)
        residual = np.subtract(own.picture, cv2.remap(key, paths, None, cv2.INTER_NEAREST), dtype=np.int16)
        frame = replace(own, reference=key, motion=here - paths, residual=residual)
        row = dict(number=own.number, position=own.number - own.key, kind=own.kind, bytes=sizes[own.number])
        row |= _energies(frame) | {"own": _energies(own)["residual"]}
        row |= {"moved": _share(_moved(frame.motion)), "own_moved": _share(_moved(own.motion))}
        row["cut_motion"] = _share(_moved(_outside(frame.motion, "motion")))
        row["cut_residual"] = _share(_outside(residual, "residual"))
        rows.append(row)
    return pd.DataFrame(rows)


def _energies(frame: Modalities) -> dict[str, float]:
    # a tenth of NumPy's time, in double precision
    return {"difference": cv2.norm(frame.picture, frame.reference, cv2.NORM_L2SQR) / frame.picture.size,
            "residual": cv2.norm(frame.residual, cv2.NORM_L2SQR) / frame.picture.size}


def _moved(motion: np.ndarray) -> np.ndarray:
    # x and y as one number: ``any(-1)`` takes a hundred times as long
    return np.ascontiguousarray(motion).view(f"i{2 * motion.itemsize}")[..., 0] != 0


def _share(true: np.ndarray) -> float:
    return np.count_nonzero(true) / true.size  # ``mean`` takes twenty times as long


def _outside(values: np.ndarray, what: str) -> np.ndarray:
    low, high = _CUT[what]
    return (values < low) | (values > high)


def band(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Mean of each column of ``values (N, P)`` and its 95 % interval: (3, P). Rows of one of ``units`` count as one."""
    found = [effect(v[None], np.zeros((1, len(v))), units) for v in np.asarray(values, float).T]
    return np.array([[e.mean, e.low, e.high] for e in found]).T / 100  # an effect is in points


def previous_motion(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers ``(P,)`` of a file's P-frames, and their motion since the frame before: int16 (P, H, W, 2), pixels."""
    found = [(frame.number, frame.motion) for frame in modalities(path, accumulated=False) if frame.kind == "P"]
    return np.array([number for number, _ in found]), np.stack([motion for _, motion in found])


def on_actor(motion: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """Where motion is, for ``motion (P, H, W, 2)`` and the actor's ``masks (P, H, W)``, as shares from 0 to 1.

    ``moved``: of all pixels; ``actor``, ``background``: of the actor's pixels and of the others; ``on_actor``: of the
    moved pixels, how many are the actor's (``nan`` where nothing moves).
    """
    moved = _moved(motion)
    both = np.count_nonzero(moved & masks)
    every, actor, total = np.count_nonzero(moved), np.count_nonzero(masks), masks.size
    found = {"moved": (every, total), "actor": (both, actor), "background": (every - both, total - actor),
             "on_actor": (both, every)}
    return {name: part / whole if whole else np.nan for name, (part, whole) in found.items()}


def between(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Two fields of the same frames, int (P, H, W, 2): ``epe``, the mean length of their difference (end-point error,
    pixels), and ``angle``, the median angle in degrees where both move (``nan`` where they never do)."""
    both, apart = _moved(one) & _moved(other), one - other
    ax, ay, bx, by = (field[..., k][both].astype(float) for field in (one, other) for k in (0, 1))
    angles = np.abs(np.arctan2(ax * by - ay * bx, ax * bx + ay * by))
    x, y = (apart[..., k][_moved(apart)].astype(float) for k in (0, 1))
    return {"epe": float(np.sqrt(x * x + y * y).sum() / both.size),
            "angle": float(np.degrees(np.median(angles))) if len(angles) else np.nan}


def joint_error(motion: np.ndarray, numbers: np.ndarray, joints: np.ndarray) -> dict[str, float]:
    """Motion vectors against the truth, at every joint inside the frame that moved a pixel or more.

    motion (P, H, W, 2) of the frames ``numbers (P,)``; joints (T, J, 2), x and y. ``error``: mean distance in pixels
    between the vector there and the joint's own step; ``still``: the same for vectors of 0; ``joints``: how many.
    """
    steps, at = joints[numbers] - joints[numbers - 1], np.round(joints[numbers]).astype(int)
    inside = ((at >= 0) & (at < (motion.shape[2], motion.shape[1]))).all(-1)
    n, j = np.nonzero(inside & (np.linalg.norm(steps, axis=-1) >= 1))
    true, found = steps[n, j], motion[n, at[n, j, 1], at[n, j, 0]]
    error, still = (float(np.linalg.norm(d, axis=1).mean()) if len(n) else np.nan for d in (found - true, true))
    return {"error": error, "still": still, "joints": len(n)}


def input_counts(paths: Iterable[Path | str]) -> dict[str, np.ndarray]:
    """How often each accumulated ``motion`` and ``residual`` from −255 to 255 occurs in P-frames: int64 (511,)."""
    total = {what: np.zeros(len(_VALUES), np.int64) for what in _CUT}
    for frame in (frame for path in paths for frame in modalities(path) if frame.kind == "P"):
        for what, values in (("motion", frame.motion), ("residual", frame.residual)):
            total[what] += np.bincount(np.clip(values, -255, 255).ravel() + 255, minlength=len(_VALUES))
    return total


def quantised(counts: np.ndarray, what: str) -> dict[str, float]:
    """Of ``input_counts`` of ``motion`` or ``residual``: percent of values that are ``zero`` and that are ``cut``, and
    the ``entropy`` of the network's 8-bit input, in bits."""
    share = counts / counts.sum()
    levels = (quantise_motion if what == "motion" else quantise_residual)(_VALUES)
    zero, cut = (100 * float(share[where].sum()) for where in (_VALUES == 0, _outside(_VALUES, what)))
    return {"zero": zero, "cut": cut, "entropy": float(entr(np.bincount(levels, share)).sum() / np.log(2))}


def timeline(streams: dict[str, Stream]) -> Figure:
    """Bytes of each frame over time, I-frames dark and P-frames light: name → what ``scan`` says of the file."""
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
    """Motion (H, W, 2) as float RGB (H, W, 3): grey at rest, right orange, left blue, up light, down dark; full at
    ``most`` pixels. Unlike the usual rainbow it does not ask to tell red from green."""
    within = motion / np.maximum(np.linalg.norm(motion, axis=-1, keepdims=True), most)
    return np.clip(0.5 + within[..., :1] * _RIGHT - 0.45 * within[..., 1:], 0, 1)


def _wheel(ax: plt.Axes, most: float) -> None:
    """The legend of ``flow_colours``, right of a picture."""
    inset = ax.inset_axes((1.03, 0.0, 0.2, 0.25))
    xy = np.stack(np.meshgrid(*2 * [np.linspace(-1.15, 1.15, 65)]), -1)
    image(inset, np.where(np.linalg.norm(xy, axis=-1, keepdims=True) <= 1, flow_colours(xy, 1), 1))
    inset.set_xlabel(f"edge: {most:g} px", fontsize="small", labelpad=1)


def fields(rows: dict[str, tuple[np.ndarray, Modalities]], most: float = 8, longer: float = 2) -> Figure:
    """Motion as arrows (``longer`` times as long, from where a block came) on a picture uint8 (H, W, 3), and in
    colours: name → the picture, and a frame whose motion is that since the frame before."""
    fig, axes = plt.subplots(len(rows), 2, figsize=(7.4, 3 * len(rows)), squeeze=False)
    for (left, right), (name, (picture, frame)) in zip(axes, rows.items(), strict=True):
        grey = luma(picture).astype(np.uint8)
        image(left, grey, f"{name}: vectors, {longer:g} times as long", cmap="gray", vmin=0, vmax=255)
        b = frame.blocks
        d = -np.stack([b["motion_x"], b["motion_y"]], 1) / np.maximum(b["motion_scale"], 1)[:, None]  # stored: to where
        places = b["dst_x"] - longer * d[:, 0], b["dst_y"] - longer * d[:, 1]
        how = dict(angles="xy", scale_units="xy", scale=1, width=0.008, edgecolor="black", linewidth=0.6)
        left.quiver(*places, *longer * d.T, color="#ffb000", **how)
        image(right, flow_colours(frame.motion, most), f"whole pixels, {100 * _moved(frame.motion).mean():.0f} % moved")
        _wheel(right, most)
    return fig


def equation(frame: Modalities, accumulated: bool = True, most: float = 20, gain: float = 2, shown: int = 5) -> Figure:
    """A frame as its reference, moved, plus the residual (``gain`` times as strong, around mid grey); ``accumulated``:
    whether the reference is the I-frame, or the frame before. Of the five panels the first ``shown`` are uncovered."""
    whole(1, f"1 to {PANELS}", shown=shown)
    energies, since = _energies(frame), frame.key if accumulated else max(frame.number - 1, frame.key)
    panels = {
        f"frame {since}": frame.reference,
        f"motion: {100 * _moved(frame.motion).mean():.0f} % moved": flow_colours(frame.motion, most),
        f"frame {since}, moved": (frame.picture - frame.residual).astype(np.uint8),
        f"+ residual, times {gain:g}": np.clip(128 + gain * frame.residual, 0, 255).astype(np.uint8),
        f"= frame {frame.number} ({frame.kind})": frame.picture,
    }
    fig, axes = plt.subplots(1, PANELS, figsize=(PAGE, 2))
    for place, (ax, (title, picture)) in enumerate(zip(axes, panels.items(), strict=True)):
        if place < shown:
            image(ax, picture, title)
        else:  # a covered panel has the place of the picture, and no more
            image(ax, np.full_like(frame.picture, 225), "?")
    if shown > 1:
        _wheel(axes[1], most)
    if shown == PANELS:
        squares = f"residual {energies['residual']:.1f}, plain difference {energies['difference']:.1f}"
        fig.suptitle(f"mean square: {squares} squared grey levels")
    return fig


def along_gop(panels: dict[str, dict[str, np.ndarray]], ylabel: str) -> Figure:
    """Lines with bands over the position in the group: panel → name → ``band``'s (3, P)."""
    fig, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3), squeeze=False)
    for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for k, (name, (mean, low, high)) in enumerate(lines.items()):
            ax.plot(mean, label=name, **drawn(k, linestyle="-"))
            ax.fill_between(range(len(mean)), low, high, alpha=0.25)
        ax.set(xlabel="position in the group (0: I-frame)", title=title, ylim=(0, None))
        ax.set_ylabel(ylabel if ax is axes[0, 0] else "")
    key(fig)
    return fig


def histograms(counts: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Values of motion and residual in P-frames, with what the network's 8 bits cut off shaded: name → counts."""
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3))
    for ax, what, reach, unit in zip(axes, _CUT, (40, 255), ("pixels", "grey levels"), strict=True):
        for k, (name, found) in enumerate(counts.items()):
            ax.plot(_VALUES, 100 * found[what] / found[what].sum(), label=name, **drawn(k, marker=""))
        for edges in ((-reach, _CUT[what][0] - 0.5), (_CUT[what][1] + 0.5, reach)):
            ax.axvspan(*edges, color="grey", alpha=0.3, linewidth=0)
        ax.set(yscale="log", xlim=(-reach, reach), ylabel="values (%)", xlabel=f"{unit}; shaded: cut", title=what)
    key(fig)
    return fig
