"""How dark real clips are, and how many colours a clip has. Clips are ``uint8 (T, H, W, 3)`` RGB, all levels 0–255."""

import numpy as np

#: The range of real ARID clips, tenth to ninetieth percentile: of the ``median`` and the 99th percentile of luma, and of
#: the mean absolute ``change`` from frame to frame, after averaging down to 85×64 pixels (rounded). The change is motion,
#: and the noise that remains after codec and averaging.
ARID = {"median": (9.0, 18.0), "p99": (25.0, 105.0), "change": (0.4, 0.8)}


def colours(frames: np.ndarray) -> int:
    """The number of different RGB triples in the clip."""
    r, g, b = np.moveaxis(frames.astype(np.uint32), -1, 0)
    return len(np.unique(r << 16 | g << 8 | b))
