"""Batches of the compressed domain: one frame of each segment of a clip, every modality under the same draw.

CoViAR draws crop and flip for each modality anew; then a teacher that sees motion and a student that sees residuals
look at different places. Here they share all of it (docs/methods.md, 3.1 and 4.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from kdlab.clips.catalogue import Catalogue, CatalogueError, ClipRecord
from kdlab.clips.compressed import Unsuited, scan
from kdlab.clips.container import DamagedClip
from kdlab.clips.coviar import tsn_frames
from kdlab.clips.timeline import timeline
from kdlab.clips.views import Batch, ClipBatches, Draw, TooShort, View, Window, mirror_of, streamed, tag
from kdlab.values import fraction, positive, whole

__all__ = ["SegmentBatches", "Segments", "SegmentsDraw", "all_mpeg4"]


@dataclass(frozen=True)
class SegmentsDraw(Draw):
    """A draw of P-frames, one of each segment, and of a box; all of them are the same for every modality.

    The box has ``scale`` times what ``crop`` leaves of each side, so it has the shape of the picture.
    """

    scale: float = 1.0

    def cut(self, pixels: np.ndarray, crop: int) -> np.ndarray:
        """Cut ``(T, h, w, C)`` quantised pixels to ``(T, crop, w', C)``, w' / crop being the shape of the picture."""
        h, w = pixels.shape[1:3]
        height, width = crop, round(crop * w / h)
        box_h, box_w = round(self.scale * height), round(self.scale * width)
        y, x = round(self.top * (h - box_h)), round(self.left * (w - box_w))
        cut = pixels[:, y : y + box_h, x : x + box_w]
        if (box_h, box_w) != (height, width):
            cut = np.stack([cv2.resize(frame, (width, height)) for frame in cut])
        return cut


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

    def __post_init__(self):
        super().__post_init__()
        whole(1, number_of_scales=len(self.scales))
        positive(scales=list(self.scales))
        fraction("a box does not exceed the picture", scales=list(self.scales))

    def draw(self, count: int, phases: np.ndarray | None = None, **place) -> SegmentsDraw:
        return SegmentsDraw(tsn_frames(count, self.frames, phases=phases), **place)

    def centre(self, length: int) -> SegmentsDraw:
        """The evaluation draw: the centre of each segment and of the picture, not flipped."""
        return self.draw(length)

    def random(self, length: int, generator: torch.Generator) -> SegmentsDraw:
        """A training draw: a random frame of each segment, random place, size and flip."""
        top, left, flip, scale, *phases = torch.rand(4 + self.frames, generator=generator).tolist()
        return self.draw(length, np.array(phases), top=top, left=left, flip=flip < 0.5,
                         scale=self.scales[int(scale * len(self.scales))])

    def batches(self, catalogue: Catalogue, split: str, views: dict[str, View]) -> "SegmentBatches":
        """As in ``Window``, under views that are ``coviar.Compressed``."""
        return SegmentBatches(catalogue.split(split), views, self)


class SegmentBatches(ClipBatches):
    """Batches under views that are ``coviar.Compressed``, through a window that is :class:`Segments`.

    ``records`` name MPEG-4 part 2 files; what :func:`kdlab.clips.compressed.scan` refuses is refused here too.
    """

    def length(self, record: ClipRecord) -> int:
        """Frames of a clip. Raises :class:`TooShort` for one without a P-frame."""
        count = self.stretch(record)[1]
        if count < 2:
            what = record.path if record.start is record.end is None else f"{record.id} of {record.path}"
            raise TooShort(f"{what} has {'one' if count == 1 else 'no'} frame, so no motion; remove the clip from the "
                           "index")
        return count

    def stretch(self, record: ClipRecord) -> tuple[int, int]:
        """As in ``ClipBatches``."""
        count = len(scan(record.path).kinds)
        if record.start is None and record.end is None:
            return 0, count
        return timeline(record.path).stretch(record.start, record.end, count)

    def collate(self, indices: Sequence[int], draws: Sequence[Draw]) -> Batch:
        """The batch of ``records[i]`` cut by ``draws``: every view ``(B, C, T, h, w)`` in [0, 1]."""
        chosen = [self.records[i] for i in indices]
        shown = [self.stretch(record)[0] + draw.frames for record, draw in zip(chosen, draws, strict=True)]
        tensors = {}
        for name, view in self.views.items():
            rows = [view.rows(record.path, frames) for record, frames in zip(chosen, shown, strict=True)]
            pixels = [self.cache.frames(record.path, its, self.window.side, streamed(view), tag(view))
                      for record, its in zip(chosen, rows, strict=True)]
            for record, its in zip(chosen, pixels, strict=True):
                if its.shape != pixels[0].shape:
                    raise ValueError(f"{record.path} has pictures of another shape than {chosen[0].path}; bring all "
                                     "clips to one size: kdlab data transcode FOLDER --out OTHER_FOLDER")
            cut = np.stack([draw.apply(its, self.window.crop, mirror_of(view))
                            for draw, its in zip(draws, pixels, strict=True)])
            tensors[name] = torch.from_numpy(cut).permute(0, 4, 1, 2, 3).float().div_(255)
        return Batch(tensors, torch.tensor([r.label for r in chosen]), tuple(r.id for r in chosen))

    def statistics(self, view: str, clips: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
        """As in ``ClipBatches``: mean and standard deviation per channel, each ``(C,)``."""
        step = max(1, len(self.records) // clips)
        some = SegmentBatches(self.records[::step], {view: self.views[view]}, self.window, self.cache)
        pixels = torch.cat([batch.views[view] for batch in some.evaluation()]).double()
        return pixels.mean((0, 2, 3, 4)).float(), pixels.std((0, 2, 3, 4), correction=0).clamp_min(1e-3).float()


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
