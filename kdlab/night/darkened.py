"""A bright clip as it would look at night: lamp light and `night`'s low-light camera, applied as a view.

Any bright data set becomes a dark one with a known bright twin: real motion, real scenes, our light.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kdlab.clips.cache import file_key, resize_one
from kdlab.clips.decode import Streamed, gathered
from kdlab.clips.views import Raw, View, streamed
from kdlab.night.light import draw_camera, exposed, linear_from_srgb, luma
from kdlab.system.values import integer, positive

SIDE = 128  # pixels of the short side at which the camera's noise and blur were measured on real dark clips
CONTRAST = 7.5  # of the light in dark places, 99th percentile over median: the median over places

_LINEAR = linear_from_srgb(np.arange(256) / 255).astype(np.float32)


@dataclass(frozen=True)
class Darkened(Streamed):
    """The view ``of`` a bright clip under a lamp at night, seen by a phone camera (``kdlab.night.light``).

    ``exposure`` multiplies the light that reaches the sensor: 1 is the usual dark clip, 0.5 one stop darker. Lamp,
    camera and noise are drawn for each clip from ``seed`` and the file's content, so they do not depend on its name,
    on the order of clips or on ``exposure``. Frames keep their size, but those whose short side is above 128 pixels
    are exposed at 128 and enlarged again: a night camera resolves no more, whatever the number of its pixels. No video
    encoder follows. The whole clip has to be darkened for any frame of it (the denoiser looks back in time): about
    2 ms and 60 kB of memory a frame of 160 × 128, whatever its size was (half as much again where it is 16:9).
    """

    exposure: float = 1.0
    of: View = Raw()
    seed: int = 0

    def __post_init__(self):
        positive("1 is the usual dark clip", exposure=self.exposure)
        integer(0, seed=self.seed)
        if hasattr(self.of, "finish"):
            raise ValueError(f"{type(self.of).__name__} mixes what is darkened; put it around Darkened, not inside")

    @property
    def name(self) -> str:
        return f"dark{self.exposure:g}-s{self.seed}" + ("" if self.of.name == "raw" else f"-{self.of.name}")

    def each_frame(self, path: Path, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Frames of ``path`` (all, or those at ascending ``indices``) in the dark, ``uint8 (H, W, 3)`` RGB."""
        size = None

        def small(path: Path) -> Iterator[np.ndarray]:
            nonlocal size
            for frame in streamed(self.of)(path):
                size = frame.shape[:2]
                yield resize_one(frame, min(SIDE, *size))

        rng = np.random.default_rng([self.seed, int(file_key(path), 16)])
        frames = gathered(small, path)
        radiance = _Lit(frames, lamplight(_LINEAR.take(_few(frames)), rng))
        dark = exposed(radiance, draw_camera(rng, radiance), rng, self.exposure)
        wanted = range(len(frames)) if indices is None else set(np.asarray(indices, dtype=np.intp).tolist())
        for number, frame in enumerate(dark):
            if number in wanted:
                yield frame if frame.shape[:2] == size else cv2.resize(frame, size[::-1])


@dataclass(frozen=True)
class _Lit:
    """The radiance of ``frames``, uint8 (T, H, W, 3), in a lamp's ``light`` (H, W, 3), made where it is looked at."""

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
    """Light ``(H, W, 3)`` of one warm or cold lamp beside the camera, to multiply ``radiance (T, H, W, 3)`` with.

    It falls off with the square of the distance from where it shines, and is so strong against the rest of the light
    that the brightest percent is as many times brighter than the median as in real dark places.
    """
    height, width = radiance.shape[1:3]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    at = rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.75) * height
    reach = rng.uniform(0.1, 0.3) * height
    fall = 1 / (1 + ((x - at[0]) ** 2 + (y - at[1]) ** 2) / reach**2)
    colour = (1 + 0.22 * rng.normal() * np.array([1.0, 0.1, -1.0], np.float32)).clip(0.4)
    contrast = np.clip(CONTRAST * np.exp(0.25 * rng.normal()), 4, 30)
    grey = luma(_few(radiance))
    low, high = 0.0, 60.0
    for _ in range(10):
        power = 0.5 * (low + high)
        middle, bright = np.percentile(grey * (1 + power * fall), (50, 99))
        low, high = (power, high) if bright < contrast * middle else (low, power)
    return 1 + power * fall[..., None] * colour
