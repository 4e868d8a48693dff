"""Optical flow as a view: computed by OpenCV and cached, or read from pictures beside the clips (docs/methods.md, 2).

Two channels, x and y, in the coding of ``coviar``: 128 is rest. A mirrored clip moves the other way, so x turns its
sign with the flip (``mirrored``).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from kdlab.clips.coviar import flip_motion
from kdlab.clips.decode import DamagedClip, Streamed
from kdlab.clips.views import Around, Raw, TooShort, View, streamed
from kdlab.system.files import memoised
from kdlab.system.values import positive


@dataclass(frozen=True)
class Flow(Around):
    """Dense flow (DIS) of the view ``of``, from the frame before to each frame; the first has the second's.

    Cut at ± ``bound`` pixels a frame, in pixels of the frames as decoded.
    """

    bound: float = 20.0
    of: View = Raw()

    mirrored = staticmethod(flip_motion)

    def __post_init__(self):
        positive(bound=self.bound)

    @property
    def name(self) -> str:
        return f"flow{self.bound:g}-{self.of.name}"

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """All rows of ``path``, or those at ascending ``indices``: uint8 (H, W, 2), ``128 + 127 v / bound``.

        Raises :class:`kdlab.clips.views.TooShort` for a clip of one frame.
        """
        if indices is None:
            wanted, frames = None, enumerate(streamed(self.of)(path))
        else:
            wanted = set(np.asarray(indices).tolist())
            needed = sorted({t for row in wanted for t in (max(row - 1, 0), max(row, 1))})
            frames = zip(needed, streamed(self.of)(path, needed), strict=True)
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        number, before = -1, None
        for number, frame in frames:
            grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            rows = [row for row in ((0, 1) if number == 1 else (number,)) if wanted is None or row in wanted]
            if number and rows:
                flow = dis.calc(before, grey, None)
                row = np.rint(128 + 127 * np.clip(flow / self.bound, -1, 1)).astype(np.uint8)
                yield from [row] * len(rows)
            before = grey
        if number == 0:
            raise TooShort(f"{path} has one frame, so no flow; remove the clip from the index")


@dataclass(frozen=True)
class FlowFiles(Streamed):
    """Flow made by others: grey pictures ``x`` and ``y`` in ``folder``/<file name without suffix>, sorted by name.

    The names are those of the common extractors, rest is 127 or 128. The first picture leads to the second frame, so
    it stands for the first frame too. The frame cache does not notice when pictures change: delete it then. A recipe's
    identity has the pictures' names and sizes, not where they lie.
    """

    folder: str = field(metadata={"identity": False})
    x: str = "flow_x_*.jpg"
    y: str = "flow_y_*.jpg"

    mirrored = staticmethod(flip_motion)

    @property
    def name(self) -> str:
        return f"flow-files-{Path(self.folder).name}-{self.x}-{self.y}"

    def contents(self) -> str:
        """16 hex digits over names and sizes of all pictures: millions, which cannot be read each time. Raises
        ``FileNotFoundError`` where there is no folder."""
        return memoised((self, "sizes"), self._sizes)

    def _sizes(self) -> str:
        if not Path(self.folder).is_dir():
            raise FileNotFoundError(f"{self.folder}: no such folder of flow pictures. Put them there.")
        found = sorted((str(place.relative_to(self.folder)), place.stat().st_size) for pattern in (self.x, self.y)
                       for place in Path(self.folder).glob(f"*/{pattern}"))
        return hashlib.sha256(repr(found).encode()).hexdigest()[:16]

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Rows as :class:`Flow`'s. Raises ``FileNotFoundError`` or :class:`DamagedClip`, naming the place."""
        place = Path(self.folder) / Path(path).stem
        both = [sorted(place.glob(pattern)) for pattern in (self.x, self.y)]
        if not both[0] or len(both[0]) != len(both[1]):
            raise FileNotFoundError(f"{place} has {len(both[0])} pictures {self.x} and {len(both[1])} {self.y}: put "
                                    f"the flow of {path} there, a pair of pictures for each two frames")
        rows = list(range(len(both[0]) + 1)) if indices is None else np.asarray(indices).tolist()
        if max(rows, default=0) > len(both[0]):
            raise FileNotFoundError(f"{place} has {len(both[0])} pictures {self.x}, too few for frame {max(rows)} of "
                                    f"{path}: extract the flow of the whole video, a pair for each two frames")
        for row in rows:
            yield np.stack([_grey(files[max(row - 1, 0)]) for files in both], -1)


def _grey(file: Path) -> np.ndarray:
    picture = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.is_file() else None
    if picture is None:
        raise DamagedClip(file, "damaged: no picture; extract that clip's flow again")
    return picture
