"""Compressed-domain inputs of CoViAR's networks (arXiv 1712.00636): docs/methods.md, 4.3 and 4.4.

A batch has one frame of each segment of a clip. CoViAR draws crop and flip separately for each modality, so that a
teacher on motion and a student on residuals see different places. Here all modalities share one draw (docs/methods.md,
3.1).
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from kdlab.clips.records import Catalogue, CatalogueError, ClipRecord
from kdlab.clips.views import View, flip_motion
from kdlab.clips.windows import ClipBatches, Draw, Window, open_all
from kdlab.system.values import one_of
from kdlab.video.compressed import modalities, scan
from kdlab.video.container import Frames, Indices

MODALITIES = ("iframe", "motion", "residual")
#: A control: the residual without motion compensation, which is the difference to the I-frame.
DIFFERENCE = "difference"
_MOST = 21  # pixels; motion is saturated from here on
_MOTION = np.clip(np.trunc(np.arange(-_MOST, _MOST + 1) * 127.5 / 20) + 128, 0, 255).astype(
    np.uint8
)


def quantise_motion(motion: np.ndarray) -> np.ndarray:
    """Quantise motion in pixels (int) to uint8 of the same shape: 128 is rest, 0 and 255 are 20 pixels and more."""
    return _MOTION[np.clip(motion, -_MOST, _MOST) + _MOST]


def quantise_residual(residual: np.ndarray) -> np.ndarray:
    """Quantise a residual (int, in [-255, 255]) to uint8 of the same shape: residual + 128, clipped to [0, 255]."""
    return np.clip(residual + 128, 0, 255).astype(np.uint8)


def tsn_frames(count: int, segments: int = 3, phases: np.ndarray | None = None) -> np.ndarray:
    """One frame of each of ``segments`` equal parts of a clip of ``count`` frames: int64 (segments,).

    Frame 0 has no motion and is chosen only in a clip of one frame. ``phases (segments,)`` in [0, 1) choose the frame
    within each part; without them it is the centre frame, for evaluation.
    """
    parts = np.arange(segments + 1)
    length = (count - 2) / segments
    if phases is None:
        chosen = np.round(length * (parts[:-1] + 0.5))
    else:
        edges = np.round(length * parts)
        chosen = edges[:-1] + np.floor(phases * np.maximum(np.diff(edges), 1))
    return np.clip(chosen.astype(np.int64) + 1, 0, count - 1)


@dataclass(frozen=True)
class Compressed(View):
    """A view of one of :data:`MODALITIES` or :data:`DIFFERENCE`, quantised, at the codec's size.

    The modality ``iframe`` has one row per GOP, the others have one row per frame. :meth:`rows` maps frames to rows.
    """

    modality: str

    def __post_init__(self):
        one_of((*MODALITIES, DIFFERENCE), modality=self.modality)

    @property
    def name(self) -> str:
        return f"compressed-{self.modality}"

    def mirrored(self, pixels):
        """Mirror cut pixels; motion also changes the sign of x."""
        return flip_motion(pixels) if self.modality == "motion" else super().mirrored(pixels)

    def rows(self, path: Path, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows of ``frames``: the I-frame of their GOP, or motion or residual of the frame itself. An I-frame has
        none, so it gets motion and residual of the previous frame, if there is one."""
        stream, frames = scan(path), np.asarray(frames)
        if self.modality == "iframe":
            return stream.group(frames)
        return np.maximum(frames - np.isin(frames, stream.keys), 0)

    def each_frame(self, path: Path, indices: Indices = None) -> Frames:
        """Yield all rows of a file, or those at ascending ``indices``: uint8 (H, W, 2) for motion, else (H, W, 3), RGB.

        Raises what ``kdlab.video.compressed.modalities`` raises.
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
    """A window of one frame from each of ``frames`` segments; ``crop`` pixels of the short side ``side`` are seen.

    A crop keeps the aspect ratio of the picture: 52 of 56 pixels go with 65 of 70. ``scales`` are the sizes of a
    training box, as fractions of the crop.
    """

    frames: int = 3
    side: int = 56
    crop: int = 52
    scales: tuple[float, ...] = (1.0,)

    least = 2  # one frame has no motion

    def centre(self, length: int) -> Draw:
        """The evaluation draw: the centre of each segment and of the picture, not flipped."""
        return Draw(tsn_frames(length, self.frames))

    def random(self, length: int, generator: torch.Generator) -> Draw:
        """A training draw: a random frame of each segment, random place, box and flip."""
        top, left, flip, which, *phases = torch.rand(4 + self.frames, generator=generator).tolist()
        return Draw(
            tsn_frames(length, self.frames, np.array(phases)),
            top,
            left,
            flip < 0.5,
            self.box(which),
        )

    def cut(self, draw: Draw, pixels: np.ndarray) -> np.ndarray:
        """Cut quantised pixels ``(T, h, w, C)`` to ``(T, crop, w', C)``, where w' / crop = w / h."""
        height, width = self.crop, round(self.crop * pixels.shape[2] / pixels.shape[1])
        scale = draw.box[0] if draw.box else 1.0
        return _sized(
            draw.placed(pixels, round(scale * height), round(scale * width)), height, width
        )

    def batches(self, catalogue: Catalogue, split: str, views: dict[str, View]) -> "SegmentBatches":
        """Batches of ``split`` under ``views``, which are :class:`Compressed`."""
        return SegmentBatches(catalogue.split(split), views, self)


@dataclass(frozen=True)
class PaperSegments(Segments):
    """CoViAR's window (docs/methods.md, 3.6): three segments, pictures with a short side of 256 pixels, crops of 224².

    The sides of a training box are two equal or neighbouring ``scales``, as fractions of the short side, as in the
    released code. The box is resized to a square. For evaluation the whole picture is squeezed to a square of its short
    side, and then cropped at the centre.
    """

    side: int = 256
    crop: int = 224
    scales: tuple[float, ...] = (1.0, 0.875, 0.75)

    def box(self, which: float = 0.0) -> tuple[float, float]:
        boxes = [
            (a, b)
            for i, a in enumerate(self.scales)
            for j, b in enumerate(self.scales)
            if abs(i - j) < 2
        ]
        return boxes[int(which * len(boxes))]

    def cut(self, draw: Draw, pixels: np.ndarray) -> np.ndarray:
        """Cut quantised pixels ``(T, h, w, C)`` to ``(T, crop, crop, C)``."""
        short = min(pixels.shape[1:3])
        if not draw.box:
            return draw.placed(_sized(pixels, short, short), self.crop, self.crop)
        return _sized(
            draw.placed(pixels, *(int(part * short) for part in draw.box)), self.crop, self.crop
        )


def _sized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    if pixels.shape[1:3] == (height, width):
        return pixels
    return np.stack([cv2.resize(frame, (width, height)) for frame in pixels])


class SegmentBatches(ClipBatches):
    """Batches of :class:`Compressed` views through a :class:`Segments` window: ``(B, C, T, h, w)`` in [0, 1] per view.

    ``records`` name files that :func:`kdlab.video.compressed.scan` accepts: MPEG-4 part 2, or H.264, without B-frames.
    """

    def pixels(self, record: ClipRecord, view: View, frames: np.ndarray) -> np.ndarray:
        """As in ``ClipBatches``: the pixels of the rows of ``frames``."""
        rows = view.rows(record.path, self.stretch(record)[0] + frames)
        return self.cache.frames(
            record.path, rows, self.window.side, view.yield_frames, self.tags[view]
        )

    def _count(self, record: ClipRecord) -> int:
        return len(scan(record.path).kinds)


def all_mpeg4(data):
    """Return ``data`` if all its clips fit training in the compressed domain. Decodes nothing.

    Raises Unsuited for a file that :func:`kdlab.video.compressed.scan` refuses, CatalogueError for files of several
    sizes and for splits that cannot be used, and DamagedClip or ValueError for broken or short files.
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
        command = f"kdlab data transcode {shlex.quote(str(catalogue.root))} --out FOLDER"
        raise CatalogueError(
            f"motion is counted in pixels, and {first} has pictures of {one[0]}x{one[1]}, {second} of "
            f"{other[0]}x{other[1]}. Make all over, `{command}`, and give that FOLDER."
        )
    return data
