"""How dark a clip is, and how good an enhancer is. All clips are ``uint8 (T, H, W, 3)`` RGB, all levels 0–255."""

import time
from collections.abc import Callable, Iterable

import cv2
import numpy as np
import pandas as pd

#: The range of real ARID clips (tenth to ninetieth percentile; ``change`` rounded) in the measures of :func:`darkness`.
ARID = {"median": (9.0, 18.0), "p99": (25.0, 105.0), "change": (0.4, 0.8)}
#: The measures of :func:`scores` and :func:`score`, and their units.
UNITS = {"luma": "levels", "entropy": "bits", "flicker": "levels", "psnr": "dB", "ssim": "1", "ms_per_frame": "ms"}


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
    return {"median": float(np.median(grey)), "p99": float(np.percentile(grey, 99)), "change": float(change)}


def colours(frames: np.ndarray) -> int:
    """The number of different RGB triples in the clip."""
    r, g, b = np.moveaxis(frames.astype(np.uint32), -1, 0)
    return len(np.unique(r << 16 | g << 8 | b))


def flicker(raw: np.ndarray, enhanced: np.ndarray) -> float:
    """Mean absolute change of luma, in grey levels, at pixels whose raw colour is the same in two consecutive frames.

    The raw clip does not change there, so any change comes from the enhancer; a fixed table has flicker 0. (The mean
    level of a frame would not show flicker: equalisation keeps the mean while each pixel changes.) ``nan`` where no
    pixel keeps its value.
    """
    same = (raw[1:] == raw[:-1]).all(-1)
    change = np.abs(np.diff(luma(enhanced), axis=0))
    return float(change[same].mean()) if same.any() else float("nan")


def scores(raw: np.ndarray, enhanced: np.ndarray, twin: np.ndarray | None = None) -> dict[str, float]:
    """Scores of one enhanced clip.

    ``luma``: median level; ``entropy``: bits of the luma histogram, at most 8; ``flicker``: :func:`flicker`. With a
    bright noise-free ``twin`` also ``psnr`` (dB, over the whole clip) and ``ssim`` (colour, mean over at most eight
    frames). An enhancer does not know the twin's brightness, so PSNR and SSIM also judge its exposure. Raises
    ``ValueError`` where the shapes differ.
    """
    from skimage.measure import shannon_entropy  # half a second of imports, and scipy.stats with them
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    for name, other in (("enhanced clip", enhanced), ("bright twin", twin)):
        if other is not None and other.shape != raw.shape:
            raise ValueError(f"the {name} has shape {other.shape}, the dark clip {raw.shape}; give the same frames")
    level = luma(enhanced)
    bits = float(shannon_entropy(level.round().astype(np.uint8)))
    found = {"luma": float(np.median(level)), "entropy": bits, "flicker": flicker(raw, enhanced)}
    if twin is not None:
        with np.errstate(divide="ignore"):  # a clip equal to its twin has infinite PSNR
            found["psnr"] = float(peak_signal_noise_ratio(twin, enhanced, data_range=255))
        frames = np.unique(np.linspace(0, len(raw) - 1, 8).round().astype(int))
        found["ssim"] = float(np.mean([structural_similarity(twin[t], enhanced[t], channel_axis=-1) for t in frames]))
    return found


def score(enhancers: dict[str, Callable], clips: Iterable[tuple[np.ndarray, np.ndarray | None]]) -> pd.DataFrame:
    """A table of :func:`scores` and ``ms_per_frame`` of each enhancer on each clip (dark clip, bright twin or
    ``None``).

    It has one row per clip and enhancer (column ``enhancer``), clip by clip, so timings are interleaved.
    ``ms_per_frame`` is the CPU time of all threads. Before the first clip is timed, every enhancer runs on it once, so
    neither a training at first use nor warming up is counted.
    """
    rows = []
    for raw, twin in clips:
        for name, enhancer in enhancers.items():
            if len(rows) < len(enhancers):
                enhancer(raw)
            start = time.process_time()
            enhanced = enhancer(raw)
            seconds = time.process_time() - start
            row = {"enhancer": name} | scores(raw, enhanced, twin)
            rows.append(row | {"ms_per_frame": 1000 * seconds / len(raw)})
    return pd.DataFrame(rows)
