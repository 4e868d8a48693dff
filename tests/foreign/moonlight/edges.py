"""Only the outlines of things, as a view."""

from dataclasses import dataclass

import numpy as np

from kdlab.clips.decode import Streamed, each_frame

from .sharpen import outlined


@dataclass(frozen=True)
class Edges(Streamed):
    gain: float = 4.0

    @property
    def name(self) -> str:
        return f"edges-{self.gain:g}"

    def each_frame(self, path, indices=None):
        for frame in each_frame(path, indices):
            yield np.repeat(outlined(frame, self.gain), 3, axis=2)
