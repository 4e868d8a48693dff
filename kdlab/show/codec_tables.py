"""Numbers of notebook 06: the data that a codec stores of `night` clips, bright and dark.

``twins`` are pairs of records (bright clip, dark clip), both MPEG-4 part 2. Tables are pandas DataFrames with shares in
percent, unless a docstring says otherwise.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import entr

from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.compressed import modalities, scan
from kdlab.clips.coviar import quantise_motion, quantise_residual
from kdlab.clips.decode import read_frames
from kdlab.measure.paired import Effect, effect
from kdlab.night import Camera, Night, darken, make_night, truth
from kdlab.night.codec import write_mpeg4

Twins = Sequence[tuple[ClipRecord, ClipRecord]]

LIGHTS = ("bright", "dark")
#: Titles of the shares of :func:`on_actor`.
SHARES = {"moved": "pixels that carry a vector", "background": "… of the background", "actor": "… of the actor",
          "on_actor": "moved pixels that are the actor's"}
_VALUES = np.arange(-255, 256)  # all values of motion or residual
#: The range of the network's 8-bit input (pixels of motion, grey levels of the residual), and its quantisation.
_INPUTS = {"motion": (-20, 20, quantise_motion), "residual": (-128, 127, quantise_residual)}


def night_twins(night: Night, every: int = 4) -> tuple[list[tuple[ClipRecord, ClipRecord]], np.ndarray]:
    """The twins of each ``every``-th clip of ``night``, and their groups ``(N,)``. A group, one actor in one place, is
    one unit in intervals."""
    bright, dark = (make_night(night, stream=stream).records for stream in ("bright", "dark_mpeg4"))
    some = list(zip(bright, dark, strict=True))[::every]
    return some, np.array([pair[0].group for pair in some])


def bytes_by_type(files: Mapping[str, Iterable[Path]]) -> pd.DataFrame:
    """The number of frames and bytes by type: one row for each name and type of frame."""
    rows = []
    for name, paths in files.items():
        streams = [scan(path) for path in paths]
        sizes, kinds = (np.concatenate([list(getattr(s, what)) for s in streams]) for what in ("sizes", "kinds"))
        for kind in "IP":
            some, share = sizes[kinds == kind], 100 / sizes.sum()
            rows.append((name, kind, len(some), some.mean(), 100 * len(some) / len(sizes), share * some.sum()))
    return pd.DataFrame(rows, columns=["light", "type", "frames", "bytes each", "% of frames", "% of bytes"])


def eight_bits(files: Mapping[str, Iterable[Path]]) -> pd.DataFrame:
    """Statistics of the accumulated motion and residual in P-frames: the percentages of values that are zero and that 8
    bits cut off, and the entropy (bits) of the network's 8-bit input."""
    rows = []
    for name, paths in files.items():
        counts = {what: np.zeros(len(_VALUES)) for what in _INPUTS}
        for frame in (frame for path in paths for frame in modalities(path) if frame.kind == "P"):
            for what in counts:
                values = np.clip(getattr(frame, what), -255, 255).ravel() + 255
                counts[what] += np.bincount(values, minlength=len(_VALUES))
        for what, (low, high, quantise) in _INPUTS.items():
            share = counts[what] / counts[what].sum()
            zero, cut = (100 * share[where].sum() for where in (_VALUES == 0, (_VALUES < low) | (_VALUES > high)))
            rows.append((name, what, zero, cut, entr(np.bincount(quantise(_VALUES), share)).sum() / np.log(2)))
    return pd.DataFrame(rows, columns=["light", "input", "zero (%)", "cut off (%)", "entropy (bits)"])


# --- motion vectors against the actor's place --------------------------------------------------------------------


def previous_motion(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """The numbers ``(P,)`` of a file's P-frames, and their motion since the frame before, int16 (P, H, W, 2) in pixels.
    """
    found = [(frame.number, frame.motion) for frame in modalities(path, accumulated=False) if frame.kind == "P"]
    return np.array([number for number, _ in found]), np.stack([motion for _, motion in found])


def on_actor(motion: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """Shares in [0, 1] of moved pixels, for ``motion (P, H, W, 2)`` and the actor's ``masks (P, H, W)``.

    ``moved``: the share of moved pixels among all; ``actor``, ``background``: the same among the actor's pixels and
    among the others; ``on_actor``: the actor's share of the moved pixels (``nan`` where nothing moves).
    """
    moved = (motion[..., 0] | motion[..., 1]) != 0  # ``any(-1)`` takes a hundred times as long
    both = np.count_nonzero(moved & masks)
    every, actor, total = np.count_nonzero(moved), np.count_nonzero(masks), masks.size
    found = {"moved": (every, total), "actor": (both, actor), "background": (every - both, total - actor),
             "on_actor": (both, every)}
    return {name: part / whole if whole else np.nan for name, (part, whole) in found.items()}


def _file_shares(path: Path, masks: np.ndarray) -> dict[str, float]:
    numbers, motion = previous_motion(path)
    return on_actor(motion, masks[numbers]) | {"bytes": scan(path).sizes.mean()}


def vectors(twins: Twins) -> dict[str, pd.DataFrame]:
    """Light → table with a row per clip: its shares of :func:`on_actor` in [0, 1], and its ``bytes`` per frame."""
    masks = [truth(bright)["masks"] for bright, _ in twins]
    return {light: pd.DataFrame([_file_shares(pair[k].path, m) for pair, m in zip(twins, masks, strict=True)])
            for k, light in enumerate(LIGHTS)}


def shares_apart(one: pd.DataFrame, other: pd.DataFrame, groups: np.ndarray) -> dict[str, Effect]:
    """Title → effect: the paired differences of two tables of :func:`vectors`, ``one`` minus the ``other``, in points.
    A clip in which nothing moves has no ``on_actor``, and is left out of that difference."""
    found = {}
    for what, title in SHARES.items():
        a, b = one[what].to_numpy(), other[what].to_numpy()
        some = np.isfinite(a) & np.isfinite(b)
        found[title] = effect(a[some][None], b[some][None], groups[some])
    return found


def recorded_again(record: ClipRecord, folder: Path, noise: bool, rng: int = 0) -> dict[str, float]:
    """A row of :func:`vectors` for a bright clip that its own camera records again in the dark. ``noise`` keeps the
    camera's noise; without it, the camera has so many photons, and so little read noise, that none is left. The file is
    written into ``folder``."""
    of = truth(record)
    camera = Camera(**{f.name: float(of[f.name]) for f in fields_of(Camera) if f.name != "steps"})
    camera = camera if noise else replace(camera, electrons=1e7, read_noise=0)
    path = Path(folder) / f"{record.path.parent.name}-{record.path.stem}-{'noise' if noise else 'none'}.avi"
    write_mpeg4(path, darken(read_frames(record.path).frames, 1, np.random.default_rng(rng), camera))
    return _file_shares(path, of["masks"])


def means(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The means of each table of :func:`vectors`, one row per name."""
    rows = [(name, *(100 * table[what].mean() for what in ("moved", "background", "on_actor")), table.bytes.mean())
            for name, table in found.items()]
    return pd.DataFrame(rows, columns=["clip", "moved (%)", "of the background (%)", "on the actor (%)",
                                       "bytes a frame"])
