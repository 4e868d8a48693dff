"""Classical brightening of dark frames: gamma, histogram equalisation, CLAHE.

An *enhancer* is any callable from ``uint8`` RGB frames ``(T, H, W, 3)`` to frames of the same shape and type, with a
``name``. It works on 8-bit values **before** resizing, as the reference pipeline of DL-KDD does (docs/methods.md, 1).
"""

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Clahe", "Gamma", "HistogramEqualisation"]


@dataclass(frozen=True)
class Gamma:
    """``v' = floor(255 (v/255)^(1/gamma))``: a table of 256 entries (docs/methods.md, 1; DL-KDD's first enhancer).

    For dark clips (values below 79 at gamma 1.8) the table has no collision: at full resolution the enhanced clip holds
    exactly the information of the raw one. After shrinking and rounding to 8 bits it keeps finer steps (notebook 01).
    """

    gamma: float = 1.8

    def __post_init__(self):
        if not self.gamma > 0:
            raise ValueError(f"gamma must be positive, got {self.gamma}; above 1 brightens, 1 is the identity")

    @property
    def name(self) -> str:
        return f"gamma{self.gamma:g}"

    def table(self) -> np.ndarray:
        """The look-up table, ``uint8 (256,)``."""
        # The epsilon keeps 255·1.0 from being floored to 254 by a rounding error.
        return np.floor(255 * (np.arange(256) / 255) ** (1 / self.gamma) + 1e-9).astype(np.uint8)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return self.table()[frames]


def _on_luma(frames: np.ndarray, equalise) -> np.ndarray:
    """Apply a single-channel operation to the luma of each frame, leaving the colour differences alone."""
    out = np.empty_like(frames)
    for t, frame in enumerate(frames):
        ycc = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)
        ycc[..., 0] = equalise(np.ascontiguousarray(ycc[..., 0]))
        out[t] = cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)
    return out


@dataclass(frozen=True)
class HistogramEqualisation:
    """Equalise the luma histogram of each frame on its own (it flickers: every frame has its own table)."""

    name = "he"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return _on_luma(frames, cv2.equalizeHist)


@dataclass(frozen=True)
class Clahe:
    """Contrast-limited adaptive histogram equalisation of the luma, on a grid of ``tiles`` × ``tiles`` per frame."""

    clip_limit: float = 2.0
    tiles: int = 4

    def __post_init__(self):
        if self.clip_limit <= 0 or self.tiles < 1:
            raise ValueError(f"CLAHE needs clip_limit > 0 and tiles >= 1, got {self.clip_limit} and {self.tiles}")

    @property
    def name(self) -> str:
        return f"clahe{self.clip_limit:g}x{self.tiles}"

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return _on_luma(frames, cv2.createCLAHE(self.clip_limit, (self.tiles, self.tiles)).apply)
