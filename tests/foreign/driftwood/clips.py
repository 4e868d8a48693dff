"""A data set: a bright square that drifts left, right or up over a noisy sea."""

import os
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.protocols import Data

WAYS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0)}


def film(path: Path, take: int, way: tuple[int, int], side: int) -> None:
    random = np.random.default_rng([take, way[0] + 1, way[1] + 1])
    start = random.integers(side // 4, side // 2, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=16, width=side, height=side)
        for t in range(16):
            sea = random.integers(0, 60, (side, side, 3), dtype=np.uint8)
            sea[
                np.ix_(
                    *(
                        (a + step * t + np.arange(8)) % side
                        for a, step in zip(start, way, strict=True)
                    )
                )
            ] = 220
            file.mux(stream.encode(av.VideoFrame.from_ndarray(sea, format="rgb24")))
        file.mux(stream.encode())


@dataclass(frozen=True)
class Adrift(Data):
    """One second each; take n of a way is ``n/way/clip.mp4``. The last takes are the test."""

    ways: tuple[str, ...] = ("left", "right", "up")
    takes: int = 12
    side: int = 36
    name = "adrift"

    def catalogue(self) -> Catalogue:
        root, records = Path(os.environ.get("KDLAB_DATA", "data")) / f"adrift-{self.side}", []
        for take in range(self.takes):
            split = (
                "train"
                if take < 0.6 * self.takes
                else "val"
                if take < 0.75 * self.takes
                else "test"
            )
            for label, way in enumerate(self.ways):
                path = root / f"{take:02}" / way / "clip.mp4"
                if not path.exists():
                    film(path, take, WAYS[way], self.side)
                records.append(ClipRecord(f"{take:02}-{way}", path, label, split, f"take{take:02}"))
        return Catalogue(self.name, root, self.ways, tuple(records))
