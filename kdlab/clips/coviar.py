"""Compressed-domain inputs as CoViAR (arXiv 1712.00636) feeds them to its networks: docs/methods.md, 4.3 and 4.4.

A batch has one frame of each segment of a clip. CoViAR draws crop and flip for each modality anew; then a teacher that
sees motion and a student that sees residuals look at different places. Here all modalities share one draw
(docs/methods.md, 3.1).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.clips.compressed import modalities, scan
from kdlab.clips.decode import Streamed
from kdlab.clips.files import CatalogueError
from kdlab.clips.views import View, flip_motion, mirrored, streamed, tag
from kdlab.clips.windows import ClipBatches, Draw, Window, open_all

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


@dataclass(frozen=True)
class Segments(Window):
    """``frames`` segments of a clip, one frame of each; ``side`` is the short side, of which ``crop`` pixels are seen.

    A crop keeps the shape of the picture: 52 of 56 pixels leave 65 of 70 beside them. ``scales`` are the sizes of a
    training box, in parts of it.
    """

    frames: int = 3
    side: int = 56
    crop: int = 52
    scales: tuple[float, ...] = (1.0,)

    least = 2  # one frame has no motion

    @property
    def boxes(self) -> list[tuple[float, float]]:
        """The training boxes (height, width) to choose from."""
        return [(scale, scale) for scale in self.scales]

    def centre(self, length: int) -> Draw:
        """The evaluation draw: the centre of each segment and of the picture, not flipped."""
        return Draw(tsn_frames(length, self.frames))

    def random(self, length: int, generator: torch.Generator) -> Draw:
        """A training draw: a random frame of each segment, random place, box and flip."""
        top, left, flip, which, *phases = torch.rand(4 + self.frames, generator=generator).tolist()
        return Draw(tsn_frames(length, self.frames, phases=np.array(phases)), top, left, flip < 0.5,
                    self.boxes[int(which * len(self.boxes))])

    def cut(self, draw: Draw, pixels: np.ndarray) -> np.ndarray:
        """``(T, h, w, C)`` quantised pixels to ``(T, crop, w', C)``, w' / crop being the shape of the picture."""
        height, width = self.crop, round(self.crop * pixels.shape[2] / pixels.shape[1])
        scale = draw.box[0] if draw.box else 1.0
        return _sized(draw.placed(pixels, round(scale * height), round(scale * width)), height, width)

    def batches(self, catalogue: Catalogue, split: str, views: dict[str, View]) -> "SegmentBatches":
        """As in ``Window``, under views that are :class:`Compressed`."""
        return SegmentBatches(catalogue.split(split), views, self)


@dataclass(frozen=True)
class PaperSegments(Segments):
    """CoViAR's window (docs/methods.md, 3.6): three segments of pictures with a short side of 256 pixels, seen at 224².

    A training box has two of ``scales``, in parts of the short side, as its sides, equal or neighbours, as in the
    released code, and is resized to a square. For evaluation the whole picture is squeezed to a square as high as its
    short side, and then cut.
    """

    side: int = 256
    crop: int = 224
    scales: tuple[float, ...] = (1.0, 0.875, 0.75)

    @property
    def boxes(self) -> list[tuple[float, float]]:
        return [(a, b) for i, a in enumerate(self.scales) for j, b in enumerate(self.scales) if abs(i - j) < 2]

    def cut(self, draw: Draw, pixels: np.ndarray) -> np.ndarray:
        """``(T, h, w, C)`` quantised pixels to ``(T, crop, crop, C)``."""
        short = min(pixels.shape[1:3])
        if not draw.box:
            return draw.placed(_sized(pixels, short, short), self.crop, self.crop)
        return _sized(draw.placed(pixels, *(int(part * short) for part in draw.box)), self.crop, self.crop)


def _sized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    if pixels.shape[1:3] == (height, width):
        return pixels
    return np.stack([cv2.resize(frame, (width, height)) for frame in pixels])


class SegmentBatches(ClipBatches):
    """Batches under views that are :class:`Compressed`, through a window that is :class:`Segments`: every view
    ``(B, C, T, h, w)`` in [0, 1].

    ``records`` name MPEG-4 part 2 files; what :func:`kdlab.clips.compressed.scan` refuses is refused here too.
    """

    def pixels(self, record: ClipRecord, view: View, frames: np.ndarray) -> np.ndarray:
        """As in ``ClipBatches``: the rows that stand for ``frames``."""
        rows = view.rows(record.path, self.stretch(record)[0] + frames)
        return self.cache.frames(record.path, rows, self.window.side, streamed(view), tag(view))

    def _count(self, record: ClipRecord) -> int:
        return len(scan(record.path).kinds)


def all_mpeg4(data):
    """``data``, of whose clips nothing speaks against training in the compressed domain. Decodes nothing.

    Raises Unsuited where a file is not MPEG-4 part 2 of I- and P-frames alone, CatalogueError where files are not all
    of one size, and for splits that cannot be used; DamagedClip or ValueError for the files themselves.
    """
    catalogue = data.catalogue()
    catalogue.require()
    open_all([SegmentBatches(catalogue.records, {}, Segments())])
    sizes = {}
    for record in catalogue.records:
        info = scan(record.path).info
        sizes.setdefault((info.width, info.height), record.path)
    if len(sizes) > 1:
        (one, first), (other, second), *_ = sizes.items()
        raise CatalogueError(f"motion is counted in pixels, and {first} has pictures of {one[0]}x{one[1]}, {second} of "
                             f"{other[0]}x{other[1]}. Make all over, `kdlab data transcode {catalogue.root} --out "
                             "FOLDER`, and give that FOLDER.")
    return data
