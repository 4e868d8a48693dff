"""Compressed-domain inputs as CoViAR (arXiv 1712.00636) feeds them to its networks: docs/methods.md, 4.3 and 4.4."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kdlab.clips.compressed import modalities, scan
from kdlab.clips.decode import Streamed
from kdlab.clips.views import mirrored

MODALITIES = ("iframe", "motion", "residual")
#: A control: what a residual is without motion, the plain difference to the I-frame.
DIFFERENCE = "difference"
_MOST = 21  # pixels, from which on motion is saturated
_MOTION = np.clip(np.trunc(np.arange(-_MOST, _MOST + 1) * 127.5 / 20) + 128, 0, 255).astype(np.uint8)


def quantise_motion(motion: np.ndarray) -> np.ndarray:
    """Motion in pixels (int) as uint8 of the same shape: 128 is rest, 0 and 255 are 20 pixels and more."""
    return _MOTION[np.clip(motion, -_MOST, _MOST) + _MOST]


def quantise_residual(residual: np.ndarray) -> np.ndarray:
    """A residual (int, in [-255, 255]) as uint8 of the same shape: 128 is none, and beyond half the range it is cut."""
    return np.clip(residual + 128, 0, 255).astype(np.uint8)


def flip_motion(quantised: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """Quantised motion, uint8 (..., W, 2), of the mirrored picture: mirrored itself, and x pointing the other way."""
    flipped = mirrored(quantised)
    x = flipped[..., 0]
    x[:] = 0 - x.clip(1)  # modulo 256; 0 would become 256 and is 255
    return flipped


def tsn_frames(count: int, segments: int = 3, phases: np.ndarray | None = None) -> np.ndarray:
    """One frame of each of ``segments`` equal parts of a clip of ``count`` frames: int64 (segments,); never frame 0,
    which has no motion.

    ``phases (segments,)`` in [0, 1) choose the frame within each part; without them it is the centre one, for testing.
    """
    parts = np.arange(segments + 1)
    length = (count - 2) / segments
    if phases is None:
        chosen = np.round(length * (parts[:-1] + 0.5))
    else:
        edges = np.round(length * parts)
        chosen = edges[:-1] + np.floor(np.asarray(phases) * np.maximum(np.diff(edges), 1))
    return np.clip(chosen.astype(np.int64) + 1, 0, count - 1)


@dataclass(frozen=True)
class Compressed(Streamed):
    """A view for ``kdlab.clips.cache.FrameCache``: one of :data:`MODALITIES` or :data:`DIFFERENCE`, quantised, at the
    codec's size.

    It has one row for each frame of the clip, or of ``iframe`` one for each group: :meth:`rows` tells which.
    """

    modality: str

    def __post_init__(self):
        known = (*MODALITIES, DIFFERENCE)
        if self.modality not in known:
            raise ValueError(f"no modality {self.modality!r}; there are {', '.join(known)}")

    @property
    def name(self) -> str:
        return f"compressed-{self.modality}"

    def mirrored(self, pixels):
        """Cut pixels of the mirrored picture, in which motion points the other way."""
        return flip_motion(pixels) if self.modality == "motion" else mirrored(pixels)

    def rows(self, path: Path, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows that stand for ``frames``: the I-frame of their group, or motion or residual of the frame itself; of
        an I-frame those of the frame before, where there is one, since its own are 0."""
        stream, frames = scan(path), np.asarray(frames)
        if self.modality == "iframe":
            return stream.group(frames)
        return np.maximum(frames - np.isin(frames, stream.keys), 0)

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """All rows of a file, or those at ascending ``indices``: uint8 (H, W, 2) for motion, else (H, W, 3), RGB.

        Raises what ``kdlab.clips.compressed.modalities`` does.
        """
        if self.modality == "iframe":
            keys = scan(path).keys
            indices = keys if indices is None else keys[np.asarray(indices, np.intp)]
        return map(self._quantised, modalities(path, indices))

    def _quantised(self, frame) -> np.ndarray:
        if self.modality == "motion":
            return quantise_motion(frame.motion)
        if self.modality == DIFFERENCE:
            return quantise_residual(np.subtract(frame.picture, frame.reference, dtype=np.int16))
        return frame.picture if self.modality == "iframe" else quantise_residual(frame.residual)
