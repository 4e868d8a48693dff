"""How dark a clip is: what ``kdlab.measure.darkness.ARID`` has the range of. Clips are ``uint8 (T, H, W, 3)`` RGB."""

import cv2
import numpy as np


def luma(frames: np.ndarray) -> np.ndarray:
    """Brightness of each pixel: ``float32 (..., H, W)`` in 0–255 from RGB ``(..., H, W, 3)``."""
    return frames @ np.array([0.299, 0.587, 0.114], np.float32)


def darkness(frames: np.ndarray) -> dict[str, float]:
    """The median and the 99th percentile of luma; and the mean change from frame to frame, at 85 × 64 pixels."""
    grey = luma(frames)
    small = [cv2.resize(frame, (85, 64), interpolation=cv2.INTER_AREA) for frame in grey]
    return {
        "median": np.median(grey),
        "p99": np.percentile(grey, 99),
        "change": np.abs(np.diff(small, axis=0)).mean(),
    }
