import numpy as np


def outlined(frame, gain):
    """uint8 (H, W, 3) → (H, W, 1): how much a pixel differs from its left neighbour."""
    grey = frame.mean(2)
    change = np.abs(np.diff(grey, axis=1, prepend=grey[:, :1]))
    return np.clip(gain * change, 0, 255).astype(np.uint8)[..., None]
