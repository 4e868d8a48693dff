"""Classical brightening of dark frames: gamma, histogram equalisation, CLAHE.

An *enhancer* is any callable from ``uint8`` RGB frames ``(T, H, W, 3)`` to frames of the same shape and type, with a
``name``. It works on 8-bit values **before** resizing, as the reference pipeline of DL-KDD does (docs/methods.md, 1).

An enhancer that looks at each frame anew flickers: what has not moved changes its brightness because something else
has. ``steady`` ones choose their parameters once, from all frames they are given.

One that has ``fitted(clip)`` can brighten clips too long for the memory: ``clip()`` begins to read all frames
``(H, W, 3)`` anew, one by one, and the result is a function of a frame's number and the frame. It gives the bits that
the whole clip would.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from kdlab.system.values import positive, whole

Clip = Callable[[], Iterator[np.ndarray]]
Brighten = Callable[[int, np.ndarray], np.ndarray]


class _FrameByFrame:
    def fitted(self, clip: Clip) -> Brighten:
        """See above: each frame by itself."""
        return lambda number, frame: self(frame[None])[0]


@dataclass(frozen=True)
class Gamma(_FrameByFrame):
    """``v' = floor(255 (v/255)^(1/gamma))``: a table of 256 entries (docs/methods.md, 1; DL-KDD's first enhancer).

    For dark clips (values below 79 at gamma 1.8) the table has no collision: at full resolution the enhanced clip holds
    exactly the information of the raw one. After shrinking and rounding to 8 bits it keeps finer steps (notebook 01).
    """

    gamma: float = 1.8

    def __post_init__(self):
        positive("above 1 brightens, 1 is the identity", gamma=self.gamma)

    @property
    def name(self) -> str:
        return f"gamma{self.gamma:g}"

    def table(self) -> np.ndarray:
        """The look-up table, ``uint8 (256,)``."""
        # The epsilon keeps 255·1.0 from being floored to 254 by a rounding error.
        return np.floor(255 * (np.arange(256) / 255) ** (1 / self.gamma) + 1e-9).astype(np.uint8)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return cv2.LUT(frames, self.table())


def _on_luma(frames: np.ndarray, equalise) -> np.ndarray:
    """Apply a single-channel operation to the luma of each frame, leaving the colour differences alone."""
    out = np.empty_like(frames)
    for t, frame in enumerate(frames):
        ycc = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
        ycc[..., 0] = equalise(np.ascontiguousarray(ycc[..., 0]))
        out[t] = cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)
    return out


@dataclass(frozen=True)
class HistogramEqualisation(_FrameByFrame):
    """Equalise the histogram of luma: one table per frame, or, ``steady``, one for all frames (the pooled histogram).

    The steady one equalises the frames stacked into one tall picture: equal pixels stay equal, whenever they are seen.
    """

    steady: bool = False

    @property
    def name(self) -> str:
        return "he-steady" if self.steady else "he"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        seen = frames.reshape(1, -1, *frames.shape[2:]) if self.steady else frames
        return _on_luma(seen, cv2.equalizeHist).reshape(frames.shape)

    def fitted(self, clip: Clip) -> Brighten:
        """See above: each frame by itself, or with the table of all."""
        if not self.steady:
            return super().fitted(clip)
        counts = sum(np.bincount(cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)[..., 0].ravel(), minlength=256)
                     for frame in clip())
        table = _equalising(counts)
        return lambda number, frame: _on_luma(frame[None], lambda luma: cv2.LUT(luma, table))[0]


def _equalising(counts: np.ndarray) -> np.ndarray:
    """The table of ``cv2.equalizeHist`` for a picture with so many pixels of each value, in its precision."""
    lowest = np.flatnonzero(counts)[0]
    above = counts[lowest + 1:].cumsum()
    if not above.size or not above[-1]:
        return np.arange(256, dtype=np.uint8)
    scale = np.float32(255) / np.float32(above[-1])
    levels = np.rint(above.astype(np.float32) * scale).clip(0, 255)
    return np.concatenate([np.zeros(lowest + 1), levels]).astype(np.uint8)


@dataclass(frozen=True)
class Clahe(_FrameByFrame):
    """Contrast-limited adaptive histogram equalisation of the luma, on a grid of ``tiles`` × ``tiles``.

    ``steady``: the tables of a tile come from its pixels in all frames. It is CLAHE of one tall picture in which each
    row of the clip is followed by the same row of the next frame, so that a tile holds its place over all times. (A
    gain map from the mean frame would be as short, but leaves a ghost where an actor stood.) From one frame to the next
    the blend of neighbouring tiles moves by 1/T of a row: some values change by one level, none jumps.
    """

    clip_limit: float = 2.0
    tiles: int = 4
    steady: bool = False

    def __post_init__(self):
        positive(clip_limit=self.clip_limit)
        whole(1, tiles=self.tiles)

    @property
    def name(self) -> str:
        return f"clahe{self.clip_limit:g}x{self.tiles}{'-steady' if self.steady else ''}"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        if not self.steady:
            return _on_luma(frames, cv2.createCLAHE(self.clip_limit, (self.tiles, self.tiles)).apply)
        brighten = self.fitted(lambda: iter(frames))
        return np.stack([brighten(number, frame) for number, frame in enumerate(frames)])

    def fitted(self, clip: Clip) -> Brighten:
        """See above: each frame by itself, or with the tables of all."""
        if not self.steady:
            return super().fitted(clip)
        (height, width), count = next(clip()).shape[:2], sum(1 for _ in clip())
        tall = _tall_luma(clip(), height * count, width, count, self.tiles)
        cv2.createCLAHE(self.clip_limit, (self.tiles, self.tiles)).apply(tall, tall)
        return lambda number, frame: _on_luma(frame[None], lambda _: tall[number : height * count : count, :width])[0]


def _tall_luma(frames: Iterator[np.ndarray], rows: int, width: int, count: int, tiles: int) -> np.ndarray:
    """The luma of a clip as one tall picture in a temporary file, for it may be long: row y of frame t at y T + t.

    Where tiles do not fit, it is mirrored below and beside to as many pixels as OpenCV would mirror, in memory.
    """
    below, beside = (tiles - rows % tiles, tiles - width % tiles) if rows % tiles or width % tiles else (0, 0)
    shape = rows + below, width + beside
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and would end the process later
            os.posix_fallocate(file.fileno(), 0, shape[0] * shape[1])
        tall = np.memmap(file, np.uint8, "w+", shape=shape)
    for number, frame in enumerate(frames):
        luma = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)[..., 0]
        tall[number:rows:count] = cv2.copyMakeBorder(luma, 0, 0, 0, beside, cv2.BORDER_REFLECT_101)
    tall[rows:] = tall[rows - 2 : rows - 2 - below : -1]
    return tall
