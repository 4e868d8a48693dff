"""How near `night` comes to real dark clips: light, noise, movement, and what a real encoder makes of them."""

from pathlib import Path

import numpy as np
import pandas as pd

from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.compressed import modalities
from kdlab.clips.decode import read_frames
from kdlab.measure.darkness import ARID, darkness
from kdlab.night import truth

#: Where a clip should lie, in the words of :func:`marks`; for movement there is no upper end.
MARKS = ARID | {"vectors": (5.0, np.inf)}


def vectors_inside(path: Path, masks: np.ndarray) -> np.ndarray:
    """Motion vectors other than zero whose block's centre lies in ``masks (T, H, W)``, one count per P frame."""
    counts = []
    for frame, mask in zip(modalities(path, accumulated=False), masks, strict=True):
        if frame.kind == "P":
            moved = frame.blocks[(frame.blocks["motion_x"] != 0) | (frame.blocks["motion_y"] != 0)]
            y, x = (moved[f"dst_{axis}"].clip(0, size - 1) for axis, size in zip("yx", mask.shape, strict=True))
            counts.append(int(mask[y, x].sum()))
    return np.array(counts)


def marks(record: ClipRecord) -> dict[str, float]:
    """The marks of one `night` clip: those of :func:`kdlab.measure.darkness.darkness` for the dark clip as people have
    it, and ``vectors``, the median over P frames of :func:`vectors_inside` of its bright MPEG-4 twin."""
    twin = record.path.parents[2] / "bright" / record.path.parent.name / f"{record.path.stem}.avi"
    vectors = float(np.median(vectors_inside(twin, truth(record)["masks"])))
    return darkness(read_frames(record.path).frames) | {"vectors": vectors}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """For each mark its median over clips, its range, the percentage of clips inside, and whether both hold: the median
    inside the range, and (light and noise only) at least 70 % of the clips."""
    rows = []
    for name, (low, high) in MARKS.items():
        values = table[name]
        inside = 100 * float(values.between(low, high).mean())
        holds = low <= values.median() <= high and (inside >= 70 or name == "vectors")
        rows.append((name, float(values.median()), low, high, inside, holds))
    return pd.DataFrame(rows, columns=["mark", "median", "low", "high", "inside", "holds"]).set_index("mark")
