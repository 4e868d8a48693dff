"""Films of a moon that rises or sets (or stays), drawn on first use."""

from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from kdlab.clips.catalogue import Catalogue, ClipRecord


@dataclass(frozen=True)
class Moons:
    """``classes`` of moons in ``folder``, which is not part of what they are."""

    folder: str = field(metadata={"identity": False})
    classes: tuple[str, ...] = ("rises", "sets")

    @property
    def name(self) -> str:
        return "moons"

    def catalogue(self) -> Catalogue:
        root, records = Path(self.folder), []
        for split, count in {"train": 4, "val": 1, "test": 2}.items():
            for label, word in enumerate(self.classes):
                for n in range(count):
                    path = root / word / f"{split}{n}.mp4"
                    if not path.exists():
                        film(path, speed={"rises": -2, "sets": 2}.get(word, 0), left=4 * n)
                    records.append(ClipRecord(f"{word}/{split}{n}", path, label, split, f"{split}{n}"))
        return Catalogue(self.name, root, self.classes, tuple(records))

    def fingerprint(self) -> str:
        return self.catalogue().fingerprint()


def film(path: Path, speed: int, left: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for t in range(10):
            sky = np.full((32, 48, 3), 8, np.uint8)
            top = (12 + speed * t) % 24
            sky[top : top + 8, left + 6 : left + 14] = 90
            out.mux(stream.encode(av.VideoFrame.from_ndarray(sky, format="rgb24")))
        out.mux(stream.encode())
