"""A view of both lights at once, for networks that see the dark clip and the enhanced one (docs/methods.md, 1.3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdlab.clips.views import Enhanced, Raw, View

__all__ = ["BothLights"]


@dataclass(frozen=True)
class BothLights:
    """The view ``of`` in channels 0 to 2 and, brightened by ``by``, in channels 3 to 5."""

    by: Callable[[np.ndarray], np.ndarray]
    of: View = Raw()

    @property
    def name(self) -> str:
        return f"both-{Enhanced(self.by, self.of).name}"

    def read(self, path: Path, indices: Sequence[int] | None = None) -> np.ndarray:
        """Frames of ``path`` (all, or those at ``indices``), ``uint8 (T, H, W, 6)``."""
        return np.concatenate([self.of.read(path, indices), Enhanced(self.by, self.of).read(path, indices)], -1)
