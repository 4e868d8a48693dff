"""How dark a clip is. All clips are ``uint8 (T, H, W, 3)`` RGB, all levels 0–255."""

import cv2
import numpy as np

#: The range of real ARID clips (tenth to ninetieth percentile; ``change`` rounded) in the measures of :func:`darkness`.
ARID = {"median": (9.0, 18.0), "p99": (25.0, 105.0), "change": (0.4, 0.8)}


def luma(frames: np.ndarray) -> np.ndarray:
    """Brightness of each pixel: ``float32 (..., H, W)`` in 0–255 from RGB ``(..., H, W, 3)``."""
    return frames @ np.array([0.299, 0.587, 0.114], np.float32)


def darkness(frames: np.ndarray) -> dict[str, float]:
    """Three measures of a clip: ``median`` and ``p99`` (99th percentile) of luma, and ``change``.

    ``change`` is the mean absolute difference of consecutive frames after averaging down to 85×64 pixels. It measures
    motion plus the noise that remains after codec and averaging. It needs two frames or more, and is ``nan`` for one.
    """
    grey = luma(frames)
    small = np.stack([cv2.resize(frame, (85, 64), interpolation=cv2.INTER_AREA) for frame in grey])
    change = np.abs(np.diff(small, axis=0)).mean() if len(small) > 1 else np.nan
    return {
        "median": float(np.median(grey)),
        "p99": float(np.percentile(grey, 99)),
        "change": float(change),
    }


def colours(frames: np.ndarray) -> int:
    """The number of different RGB triples in the clip."""
    r, g, b = np.moveaxis(frames.astype(np.uint32), -1, 0)
    return len(np.unique(r << 16 | g << 8 | b))
