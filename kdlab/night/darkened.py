"""A view that darkens bright clips: lamp light and `night`'s low-light camera.

It turns any bright data set into a dark one with a known bright twin: real motion, real scenes, synthetic light.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kdlab.clips.cache import file_key, resize_one
from kdlab.clips.views import Raw, View
from kdlab.night.drawing import bisected, draw_camera, exposed, linear_from_srgb, luma
from kdlab.system.values import integer, positive
from kdlab.video.decode import gathered

SIDE = 128  # short side in pixels, at which noise and blur of the camera were measured on real dark clips
#: The ratio of the light's 99th percentile to its median in dark places: the median over places.
CONTRAST = 7.5

_LINEAR = linear_from_srgb(np.arange(256) / 255).astype(np.float32)


@dataclass(frozen=True)
class Darkened(View):
    """The view ``of`` a bright clip, under a lamp at night, recorded by a phone camera (``kdlab.night.drawing.light``).

    ``exposure`` multiplies the light at the sensor: 1 is the usual dark clip, 0.5 is one stop darker. Lamp, camera and
    noise are drawn per clip from ``seed`` and the file's content. They do not depend on the file's name, the order of
    clips or ``exposure``. Frames keep their size. If the short side exceeds 128 pixels, they are exposed at 128 and
    enlarged again, because a night camera resolves no more. No video encoder follows. Any frame needs the whole clip to
    be darkened, because the denoiser uses previous frames. This takes about 2 ms and 60 kB of memory per frame of
    160 × 128, whatever its original size (half as much again at 16:9).
    """

    exposure: float = 1.0
    of: View = Raw()
    seed: int = 0

    def __post_init__(self):
        positive("1 is the usual dark clip", exposure=self.exposure)
        integer(0, seed=self.seed)
        if type(self.of).finish is not View.finish:
            raise ValueError(
                f"{type(self.of).__name__} mixes what is darkened; put it around Darkened, not inside"
            )

    @property
    def name(self) -> str:
        of = "" if self.of.name == "raw" else f"-{self.of.name}"
        return f"dark{self.exposure:g}-s{self.seed}{of}"

    def each_frame(
        self, path: Path, indices: Sequence[int] | np.ndarray | None = None
    ) -> Iterator[np.ndarray]:
        """Yield darkened frames of ``path`` (all, or those at ascending ``indices``), ``uint8 (H, W, 3)`` RGB."""
        size = None

        def small(path: Path) -> Iterator[np.ndarray]:
            nonlocal size
            for frame in self.of.yield_frames(path):
                size = frame.shape[:2]
                yield resize_one(frame, min(SIDE, *size))

        rng = np.random.default_rng([self.seed, int(file_key(path), 16)])
        frames = gathered(small, path)
        radiance = _Lit(frames, lamplight(_LINEAR.take(_few(frames)), rng))
        dark = exposed(radiance, draw_camera(rng, radiance), rng, self.exposure)
        wanted = range(len(frames))
        if indices is not None:
            wanted = set(np.asarray(indices, dtype=np.intp).tolist())
        for number, frame in enumerate(dark):
            if number in wanted:
                yield frame if frame.shape[:2] == size else cv2.resize(frame, size[::-1])


@dataclass(frozen=True)
class _Lit:
    """The radiance of ``frames``, uint8 (T, H, W, 3), under ``light`` (H, W, 3), computed on access."""

    frames: np.ndarray
    light: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._lit, self.frames)

    def __getitem__(self, place: tuple[slice, slice, slice]) -> np.ndarray:
        return self._lit(self.frames[place[0]])[:, *place[1:]]

    def _lit(self, frames: np.ndarray) -> np.ndarray:
        return (_LINEAR.take(frames) * self.light).astype(np.float32, copy=False)


def _few(frames: np.ndarray) -> np.ndarray:
    return frames[:: max(len(frames) // 4, 1)]


def lamplight(radiance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The light ``(H, W, 3)`` of one warm or cold lamp beside the camera, a factor for ``radiance (T, H, W, 3)``.

    It falls off with the square of the distance from its centre. Its power is set so that the ratio of the 99th
    percentile of brightness to the median is as in real dark places.
    """
    height, width = radiance.shape[1:3]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    at = rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.75) * height
    reach = rng.uniform(0.1, 0.3) * height
    fall = 1 / (1 + ((x - at[0]) ** 2 + (y - at[1]) ** 2) / reach**2)
    colour = (1 + 0.22 * rng.normal() * np.array([1.0, 0.1, -1.0], np.float32)).clip(0.4)
    contrast = np.clip(CONTRAST * np.exp(0.25 * rng.normal()), 4, 30)
    grey = luma(_few(radiance))

    def too_even(power: float) -> bool:
        middle, bright = np.percentile(grey * (1 + power * fall), (50, 99))
        return bright < contrast * middle

    return 1 + bisected(0.0, 60.0, 9, too_even) * fall[..., None] * colour
