"""A view of both lights at once, for networks that see the dark clip and the enhanced one (docs/methods.md, 1.3)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdlab.clips.decode import Streamed
from kdlab.clips.views import Enhanced, Raw, View


@dataclass(frozen=True)
class BothLights(Streamed):
    """The view ``of`` in channels 0 to 2 and, brightened by ``by``, in channels 3 to 5."""

    by: Callable[[np.ndarray], np.ndarray]
    of: View = Raw()

    @property
    def name(self) -> str:
        return f"both-{Enhanced(self.by, self.of).name}"

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Frames of ``path`` (all, or those at ascending ``indices``), ``uint8 (H, W, 6)``."""
        return (np.concatenate(pair, -1) for pair in Enhanced(self.by, self.of).pairs(path, indices))
