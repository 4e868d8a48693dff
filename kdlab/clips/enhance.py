"""Classical brightening of dark frames: gamma, histogram equalisation, CLAHE.

An *enhancer* is any callable from ``uint8`` RGB frames ``(T, H, W, 3)`` to frames of the same shape and type, with a
``name``. It works on 8-bit values **before** resizing, as the reference pipeline of DL-KDD does (docs/methods.md, 1).

An enhancer that chooses its parameters per frame flickers: a static region changes its brightness when another region
moves. A ``steady`` enhancer chooses its parameters once, from all frames, so it receives the whole clip. An enhancer
with ``steady = False`` receives a few frames at a time, because a clip may exceed the memory. Without the attribute, an
enhancer receives the whole clip.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from kdlab.system.values import integer, positive


@dataclass(frozen=True)
class Gamma:
    """``v' = floor(255 (v/255)^(1/gamma))``: a table of 256 entries (docs/methods.md, 1; DL-KDD's first enhancer).

    For dark clips (values below 79 at gamma 1.8) the table is injective: at full resolution, enhanced and raw clip hold
    the same information. After shrinking and rounding to 8 bits, the enhanced clip keeps finer steps (notebook 01).
    """

    gamma: float = 1.8

    steady = False

    def __post_init__(self):
        positive("above 1 brightens, 1 is the identity", gamma=self.gamma)

    @property
    def name(self) -> str:
        return f"gamma{self.gamma:g}"

    def table(self) -> np.ndarray:
        """The look-up table, ``uint8 (256,)``."""
        # without the epsilon, a rounding error floors 255·1.0 to 254
        return np.floor(255 * (np.arange(256) / 255) ** (1 / self.gamma) + 1e-9).astype(np.uint8)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return cv2.LUT(frames, self.table())


def _on_luma(frames: np.ndarray, equalise, steady: bool) -> np.ndarray:
    """Apply ``equalise``, which turns a grey picture into another, to the luma of each frame; chroma stays unchanged.

    If ``steady``, it is applied once, to one tall picture, in which each row of a frame is followed by the same row of
    the next frame.
    """
    ycc = np.stack(
        [cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in frames], 1
    )  # (H, T, W, 3)
    pictures = [ycc.reshape(-1, *ycc.shape[2:])] if steady else ycc.swapaxes(0, 1)
    for picture in pictures:
        picture[..., 0] = equalise(picture[..., 0])
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_YCrCb2RGB) for frame in ycc.swapaxes(0, 1)])


@dataclass(frozen=True)
class HistogramEqualisation:
    """Equalise the histogram of luma, with one table per frame, or, if ``steady``, one table for all frames.

    The steady table comes from the pooled histogram: equal pixels of different frames stay equal.
    """

    steady: bool = False

    @property
    def name(self) -> str:
        return "he-steady" if self.steady else "he"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return _on_luma(frames, cv2.equalizeHist, self.steady)


@dataclass(frozen=True)
class Clahe:
    """Contrast-limited adaptive histogram equalisation of the luma, on a grid of ``tiles`` × ``tiles``.

    If ``steady``, the table of a tile comes from its pixels in all frames. It is CLAHE of one tall picture, whose rows
    are so arranged that a tile covers its region at all times. (A
    gain map from the mean frame would be as short, but it leaves a ghost where an actor stood.) From frame to frame the
    blend of neighbouring tiles moves by 1/T of a row: some values change by one level, and none changes more.
    """

    clip_limit: float = 2.0
    tiles: int = 4
    steady: bool = False

    def __post_init__(self):
        positive(clip_limit=self.clip_limit)
        integer(1, tiles=self.tiles)

    @property
    def name(self) -> str:
        return f"clahe{self.clip_limit:g}x{self.tiles}{'-steady' if self.steady else ''}"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return _on_luma(
            frames, cv2.createCLAHE(self.clip_limit, (self.tiles, self.tiles)).apply, self.steady
        )
