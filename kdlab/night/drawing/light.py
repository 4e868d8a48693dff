"""From radiance to dark 8-bit frames: lamp light, photons, read noise, 12 bits, denoising, tone curve.

The same function darkens rendered radiance and, through :func:`linear_from_srgb`, any bright video. Radiance
(T, H, W, 3) is an array, or an object that computes slices of one on access.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator

from .draws import bisected

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
ADC_LEVELS = 4096
ADC_PEDESTAL = 64  # raw value of black, so that read noise is not clipped
# the range of grey levels into which the tone curve brings the 99th percentile, if possible
HIGHLIGHTS = 27, 62
NOISE = 0.72  # mean noise of a static clip after denoising, in grey levels
# the change between frames at 85×64, in grey levels: by NOISE alone, and of a typical clip
STILL, CHANGE = 0.40, 0.58


@dataclass(frozen=True)
class Camera:
    """A phone camera at night.

    electrons: photo-electrons at the clip's median radiance and ``exposure`` 1; read_noise: electrons;
    level: 8-bit grey level (0..255) that the median reaches; black: level of no light; tone: exponent on the
    sRGB curve; chroma: share of colour that the denoiser leaves; smooth: sigma of its spatial filter in pixels;
    memory: share of the previous frame in its temporal filter; glare: share of the mean light that the lens scatters
    over the whole frame; steps: (frame, gain) of the auto-exposure.
    """

    electrons: float = 150.0
    read_noise: float = 3.0
    level: float = 12.0
    black: float = 3.5
    tone: float = 0.9
    chroma: float = 0.5
    smooth: float = 0.8
    memory: float = 0.4
    glare: float = 0.06
    steps: tuple[tuple[int, float], ...] = ()


def draw_camera(rng: Generator, radiance: np.ndarray) -> Camera:
    """Draw a camera that turns ``radiance`` (T, H, W, 3) into a realistic dark clip: median level 12 (9..18)."""
    frames = len(radiance)
    steps, gain = [], 1.0
    for frame in sorted(rng.integers(2, max(3, frames), rng.integers(0, 3))):
        gain *= float(np.exp(0.03 * rng.standard_t(3)).clip(0.8, 1.25))
        steps.append((int(frame), gain))
    camera = Camera(
        read_noise=rng.uniform(0.8, 2.5),
        level=float(np.clip(12.3 * np.exp(0.24 * rng.normal()), 7.5, 28)),
        black=rng.uniform(3, 4),
        tone=rng.uniform(0.5, 1.25),
        chroma=rng.uniform(0.15, 0.6),
        smooth=rng.uniform(0.8, 1.1),
        memory=rng.uniform(0.25, 0.4),
        glare=rng.uniform(0.03, 0.12),
        steps=tuple(steps),
    )
    camera = _spare_highlights(camera, radiance)
    # Movement and noise together change a real dark clip by CHANGE per frame; noise makes up the rest of movement.
    noise = NOISE * float(np.clip((CHANGE - _movement(camera, radiance)) / STILL, 0.35, 1.05))
    noise *= float(np.exp(0.12 * rng.normal()))
    return replace(camera, electrons=_electrons_for(noise, camera, radiance))


def _spare_highlights(camera: Camera, radiance: np.ndarray) -> Camera:
    """The camera, with a flatter or steeper tone curve if its 99th percentile is outside ``HIGHLIGHTS``."""
    grey = sample(radiance)
    middle, bright = np.percentile(grey + camera.glare * grey.mean(), (50, 99))

    def miss(tone: float) -> float:
        light = min(_linear_at(replace(camera, tone=tone)) * bright / max(middle, 1e-6), 1.0)
        shown = float(srgb_from_linear(np.array(light))) ** tone
        level = camera.black + (255 - camera.black) * shown
        return max(HIGHLIGHTS[0] - level, level - HIGHLIGHTS[1], 0.0)

    tones = np.linspace(camera.tone, (0.5, 1.25), 8).T.ravel().tolist()
    return replace(camera, tone=min(tones, key=miss))


def _electrons_for(noise: float, camera: Camera, radiance: np.ndarray) -> float:
    """The photo-electrons at the median for which the mean noise after denoising is ``noise`` grey levels."""
    grey = sample(radiance)
    grey = np.sort((grey + camera.glare * grey.mean()).ravel())[::16].astype(float)
    grey /= max(np.median(grey), 1e-6)
    light = _linear_at(camera) * grey
    step = 0.02 * light + 1e-9
    shown, more = (srgb_from_linear(x) ** camera.tone for x in (light, light + step))
    # Grey levels per unit of light, where 1 is the median.
    slope = (more - shown) / step * ((255 - camera.black) * _linear_at(camera))
    left = np.sqrt((1 - camera.memory) / (1 + camera.memory)) * _left_by_blur(camera)

    def too_noisy(log_electrons: float) -> bool:
        electrons = np.exp(log_electrons)
        spread = np.sqrt(grey * electrons + camera.read_noise**2)
        return left * np.mean(slope * spread) / electrons > noise

    return float(np.exp(bisected(0.0, 12.0, 15, too_noisy)))


def _movement(camera: Camera, radiance: np.ndarray) -> float:
    """Mean change between frames due to movement alone, in grey levels at 85×64."""
    small = np.stack(
        [cv2.resize(luma(frame), (85, 64), interpolation=cv2.INTER_AREA) for frame in radiance]
    )
    small *= np.float32(_linear_at(camera) / max(float(np.median(small)), 1e-6))
    shown = _tone_curve(camera.tone, camera.black).take(_levels(small, 65535)).astype(np.float32)
    return float(np.abs(np.diff(shown, axis=0)).mean()) if len(shown) > 1 else 0.0


def sample(radiance: np.ndarray) -> np.ndarray:
    """Grey radiance of a few frames on a coarse grid: enough for its percentiles."""
    return luma(radiance[:: max(len(radiance) // 4, 1), ::4, ::4])


def luma(light: np.ndarray) -> np.ndarray:
    """Luma ``(...)`` of ``(..., 3)``; not by a matrix product, whose rounding depends on the processor."""
    red, green, blue = LUMA
    grey = red * light[..., 0]
    grey += green * light[..., 1]
    grey += blue * light[..., 2]
    return grey


def _linear_at(camera: Camera) -> float:
    """Linear light (1 is white) that the tone curve maps to ``camera.level``."""
    shown = max((camera.level - camera.black) / (255 - camera.black), 0) ** (1 / camera.tone)
    return float(linear_from_srgb(np.array(shown)))


def srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """The sRGB curve; both sides in [0, 1]."""
    power = 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, power)


def linear_from_srgb(encoded: np.ndarray) -> np.ndarray:
    """The inverse of :func:`srgb_from_linear`."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


_SRGB = srgb_from_linear(np.linspace(0, 1, 65536))
_BRIGHT = np.round(255 * _SRGB).astype(np.uint8)


def expose_well(radiance: np.ndarray) -> np.ndarray:
    """The noise-free bright twin, uint8, of radiance (T, H, W, 3): the median becomes a mid grey (level 88)."""
    grey = sample(radiance)
    middle, high = float(np.median(grey)), float(np.percentile(grey, 98))
    return brighten(radiance, min(0.098 / max(middle, 1e-6), 0.9 / max(high, 1e-6)))


def brighten(radiance: np.ndarray, gain: float) -> np.ndarray:
    """The sRGB frames, uint8, of radiance (T, H, W, 3) times ``gain``, where 1 is white."""
    frames = np.empty(radiance.shape, np.uint8)
    for frame, light in zip(frames, radiance, strict=True):
        _BRIGHT.take(_levels(light, 65535 * gain), out=frame, mode="clip")
    return frames


def _levels(light: np.ndarray, scale: float) -> np.ndarray:
    """``light`` times ``scale``, as indices of a curve with 65,536 entries."""
    scaled = light * scale
    return np.clip(scaled, 0, 65535, out=scaled).astype(np.uint16)


def expose(
    radiance: np.ndarray, camera: Camera, rng: Generator, exposure: float = 1.0
) -> np.ndarray:
    """Dark frames, uint8 (T, H, W, 3), that the camera records of linear ``radiance`` (T, H, W, 3) float32.

    ``exposure`` multiplies the light at the sensor; gain and tone curve do not change. 0.5 is one stop darker, with
    fewer photons and hence more relative noise.
    """
    return np.stack(list(exposed(radiance, camera, rng, exposure)))


def exposed(
    radiance: np.ndarray, camera: Camera, rng: Generator, exposure: float = 1.0
) -> Iterator[np.ndarray]:
    """As :func:`expose`, frame by frame, ``uint8 (H, W, 3)``: the denoiser uses the previous frame only."""
    grey = sample(radiance)
    veil = np.float32(camera.glare * grey.mean())
    grey = grey + veil
    middle = max(float(np.median(grey)), 1e-6)
    light = np.float32(camera.electrons * exposure / middle)
    brightest = max(float(np.percentile(grey, 99.5)) / middle, 8.0)
    adc = (ADC_LEVELS - 1 - ADC_PEDESTAL) / (1.2 * camera.electrons * brightest)
    shown = np.float32(65535 * _linear_at(camera) / camera.electrons)
    curve = _tone_curve(camera.tone, camera.black)
    previous = None
    for index, frame in enumerate(radiance):
        gain = next((gain for start, gain in reversed(camera.steps) if start <= index), 1.0)
        photons = frame + veil
        photons *= light
        photons *= np.float32(gain)
        raw = _digitised(photons, camera.read_noise, adc, rng)
        previous = _denoised(raw, previous, camera)
        yield curve.take(_levels(previous, shown))


def _digitised(photons: np.ndarray, read_noise: float, adc: float, rng: Generator) -> np.ndarray:
    """The electrons that 12 bits tell of ``photons``, with noise; in place, since new arrays take half of the time."""
    noise = photons + np.float32(read_noise**2)
    np.sqrt(noise, out=noise)
    noise *= rng.standard_normal(photons.shape, dtype=np.float32)
    photons += noise
    photons *= np.float32(adc)
    photons += ADC_PEDESTAL
    np.rint(photons, out=photons)
    np.clip(photons, 0, ADC_LEVELS - 1, out=photons)
    photons -= ADC_PEDESTAL
    photons *= np.float32(1 / adc)
    return photons


def _left_by_blur(camera: Camera) -> float:
    """The fraction of white noise (standard deviation) that remains after the Gaussian blur."""
    return 1 / (2 * np.sqrt(np.pi) * camera.smooth)


def _denoised(raw: np.ndarray, previous: np.ndarray | None, camera: Camera) -> np.ndarray:
    """Denoise the electrons of a frame: less colour, a small blur, and a blend with ``previous`` in static regions."""
    grey = _three(luma(raw))
    raw -= grey
    raw *= np.float32(camera.chroma)
    raw += grey
    frame = cv2.GaussianBlur(raw, (0, 0), camera.smooth)
    if previous is None:
        return frame
    step = frame - previous
    change = cv2.GaussianBlur(np.abs(luma(step)), (0, 0), 1.5)
    floor, left = np.float32(camera.read_noise**2 + 0.1), np.float32(_left_by_blur(camera))
    noise = np.sqrt(np.maximum(luma(previous), 0) + floor) * left
    keep = np.float32(camera.memory) * np.exp(-((change / (3 * noise)) ** 2))
    step *= _three(keep)
    frame -= step
    return frame


def _three(grey: np.ndarray) -> np.ndarray:
    """``(H, W)`` as three equal channels; broadcasting ``[..., None]`` takes NumPy ten times as long."""
    return cv2.merge((grey, grey, grey))


@lru_cache(maxsize=1)
def _tone_curve(tone: float, black: float) -> np.ndarray:
    return np.round(black + (255 - black) * _SRGB**tone).astype(np.uint8)


def darken(
    bright: np.ndarray, exposure: float, rng: Generator, camera: Camera | None = None
) -> np.ndarray:
    """A dark twin of bright sRGB frames (T, H, W, 3) uint8; ``exposure`` is relative to the usual dark clip (1)."""
    radiance = linear_from_srgb(np.arange(256) / 255).astype(np.float32).take(bright)
    camera = camera or replace(draw_camera(rng, radiance), steps=())
    return expose(radiance, camera, rng, exposure)
