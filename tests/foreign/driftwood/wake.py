"""A view: what changed since the frame before, one channel, grey where nothing did."""

from dataclasses import dataclass

import numpy as np

from kdlab.protocols import View
from kdlab.video.decode import each_frame


@dataclass(frozen=True)
class Wake(View):
    name = "wake"

    def each_frame(self, path, indices=None):
        before = None
        for index, frame in enumerate(each_frame(path)):
            now = frame.mean(-1, keepdims=True)
            if indices is None or index in indices:
                yield np.clip(128 + now - (now if before is None else before), 0, 255).astype(
                    np.uint8
                )
            before = now
