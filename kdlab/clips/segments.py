"""Batches of the compressed domain: one frame of each segment of a clip, every modality under the same draw.

CoViAR draws crop and flip for each modality anew; then a teacher that sees motion and a student that sees residuals
look at different places. Here they share all of it (docs/methods.md, 3.1 and 4.4).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from kdlab.clips.catalogue import Catalogue, CatalogueError, ClipRecord
from kdlab.clips.compressed import Unsuited, scan
from kdlab.clips.container import DamagedClip
from kdlab.clips.coviar import tsn_frames
from kdlab.clips.views import ClipBatches, Draw, TooShort, View, Window, called, streamed, tag


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
        """As in ``Window``, under views that are ``coviar.Compressed``."""
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
    """Batches under views that are ``coviar.Compressed``, through a window that is :class:`Segments`: every view
    ``(B, C, T, h, w)`` in [0, 1].

    ``records`` name MPEG-4 part 2 files; what :func:`kdlab.clips.compressed.scan` refuses is refused here too.
    """

    def length(self, record: ClipRecord) -> int:
        """Frames of a clip. Raises :class:`TooShort` for one without a P-frame."""
        count = self.stretch(record)[1]
        if count < 2:
            raise TooShort(f"{called(record)} has {'one' if count == 1 else 'no'} frame, so no motion; remove the clip "
                           "from the index")
        return count

    def pixels(self, record: ClipRecord, view: View, frames: np.ndarray) -> np.ndarray:
        """As in ``ClipBatches``: the rows that stand for ``frames``."""
        rows = view.rows(record.path, self.stretch(record)[0] + frames)
        return self.cache.frames(record.path, rows, self.window.side, streamed(view), tag(view))

    def _count(self, record: ClipRecord) -> int:
        return len(scan(record.path).kinds)


def all_mpeg4(data):
    """``data``, of whose clips nothing speaks against training in the compressed domain. Decodes nothing.

    Raises CatalogueError where files are not MPEG-4 part 2 of I- and P-frames alone, or not all of one size, and for
    splits that cannot be used; DamagedClip, :class:`TooShort` or UnusableClips for the files themselves.
    """
    catalogue, unsuited, sizes = data.catalogue(), [], {}
    catalogue.require()
    paths = dict.fromkeys(record.path for record in catalogue.records)
    for path in paths:
        try:
            info = scan(path).info
            sizes.setdefault((info.width, info.height), path)
        except Unsuited as error:
            unsuited.append(error)
        except DamagedClip:
            pass  # named below, with all others
    mend = f"Make all over, `kdlab data transcode {catalogue.root} --out FOLDER`, and give that FOLDER."
    if unsuited:
        raise CatalogueError(f"{len(unsuited)} of {len(paths)} files are not MPEG-4 part 2 in which each frame is made "
                             f"from the one before, such as {unsuited[0].path}: {unsuited[0].reason}. {mend}")
    if len(sizes) > 1:
        (one, first), (other, second), *_ = sizes.items()
        raise CatalogueError(f"motion is counted in pixels, and {first} has pictures of {one[0]}x{one[1]}, {second} of "
                             f"{other[0]}x{other[1]}. {mend}")
    SegmentBatches(catalogue.records, {}, Segments()).check()
    return data
