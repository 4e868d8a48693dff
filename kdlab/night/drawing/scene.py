"""Places: a textured backdrop larger than the frame, lamps, furniture and small moving objects."""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.random import Generator

from .body import Part, to_world, vector
from .draws import bisected, draw

KINDS = ("wall", "corridor", "street", "room")
CONTRAST = 7.5  # ratio of the radiance's 99th percentile to its median: the median over places
CANVAS = (288, 480)  # height, width in pixels at the frame's scale; the camera moves over it


@dataclass(frozen=True)
class Lamps:
    """Lamps: positions ``at`` (n, 2), ``power`` (n, 3), ``reach`` (n,), and ``ambient`` light (3,).

    Positions and reach are in canvas pixels; the origin is the centre of the canvas.
    """

    at: np.ndarray
    power: np.ndarray
    reach: np.ndarray
    ambient: np.ndarray

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Irradiance (..., 3) at canvas positions; each lamp falls off with the square of the distance."""
        light = np.empty((3, *np.shape(x)), np.float32)
        for colour, ambient in zip(light, self.ambient, strict=True):
            colour[...] = ambient
        for at, power, reach in zip(self.at, self.power, self.reach, strict=True):
            fall = (1 / (1 + ((x - at[0]) ** 2 + (y - at[1]) ** 2) / reach**2)).astype(np.float32)
            for colour, strength in zip(light, power.astype(np.float32), strict=True):
                colour += fall * strength
        return np.stack(light, -1)


@dataclass(frozen=True)
class Place:
    """A backdrop: linear radiance (H, W, 3) float32 on the canvas, and the lamps that also light the actor."""

    radiance: np.ndarray
    lamps: Lamps


def draw_place(rng: Generator, variety: float, kind: str | None = None) -> Place:
    """Draw a place of the ``kind``, one of :data:`KINDS` (random if ``None``)."""
    drawn = KINDS[rng.integers(len(KINDS))]
    albedo = _BACKDROPS[kind or drawn](rng)
    for _ in range(round(draw(rng, "clutter", variety))):
        _thing(albedo, rng)
    linear = _LINEAR.take(albedo)
    grain = _noise((36, 60), cv2.INTER_CUBIC, rng)
    fine = _noise((144, 240), cv2.INTER_LINEAR, rng)
    texture = np.clip(1 + rng.uniform(0.03, 0.14) * grain + rng.uniform(0.01, 0.06) * fine, 0.3, 2)
    y, x = np.mgrid[: CANVAS[0], : CANVAS[1]].astype(np.float32)
    lamps = _draw_lamps(linear, rng)
    radiance = linear * cv2.merge(3 * [texture]) * lamps(x - CANVAS[1] / 2, y - CANVAS[0] / 2)
    _bright_spots(radiance, rng)
    return Place(cv2.GaussianBlur(radiance, (0, 0), 0.7), lamps)


def _noise(size: tuple[int, int], how: int, rng: Generator) -> np.ndarray:
    noise = rng.normal(size=size).astype(np.float32)
    return cv2.resize(noise, CANVAS[::-1], interpolation=how)


_LINEAR = ((np.arange(256) / 255.0) ** 2.2).astype(np.float32)


def _draw_lamps(albedo: np.ndarray, rng: Generator) -> Lamps:
    """Draw one to three lamps.

    The last lamp lights a small part of the view. Its power is set so that the ratio of the 99th percentile of
    brightness to the median is as in real night scenes.
    """
    n = int(rng.integers(1, 4))
    warm = 1 + 0.22 * rng.normal(size=(n, 1)) * np.array([1.0, 0.1, -1.0])
    at = np.stack([rng.uniform(-220, 220, n), rng.uniform(-140, 60, n)], 1)
    at[-1] = rng.uniform(-85, 85), rng.uniform(-55, 30)
    reach = np.append(rng.uniform(50, 160, n - 1), rng.uniform(10, 32))
    power = rng.uniform(0.5, 2.2, (n, 1)) * warm.clip(0.4)
    ambient = rng.uniform(0.15, 0.5) * np.ones(3)
    contrast = float(np.clip(CONTRAST * np.exp(0.25 * rng.normal()), 4, 30))

    y, x = np.mgrid[-80:80:4, -120:120:4].astype(np.float32)
    row, column = CANVAS[0] // 2, CANVAS[1] // 2
    seen = albedo[row - 80 : row + 80 : 4, column - 120 : column + 120 : 4]
    base = seen * Lamps(at[:-1], power[:-1], reach[:-1], ambient)(x, y)
    spot = seen * Lamps(at[-1:], power[-1:], reach[-1:], np.zeros(3))(x, y)

    def too_even(gain: float) -> bool:
        middle, bright = np.percentile((base + gain * spot).mean(-1), (50, 99))
        return bright < contrast * middle

    power[-1] *= bisected(0.0, 60.0, 9, too_even)
    return Lamps(at, power, reach, ambient)


def _shade(rng: Generator, low: int = 40, high: int = 210) -> tuple[int, ...]:
    grey, tint = rng.uniform(low, high), rng.normal(0, 9, 3)
    return tuple(int(v) for v in np.clip(grey + tint, 8, 250))


def _plain(colour: tuple[int, ...]) -> np.ndarray:
    return np.full((*CANVAS, 3), colour, np.uint8)


def _box(
    image: np.ndarray, left: float, top: float, right: float, bottom: float, colour: tuple[int, ...]
) -> None:
    _fill(image, [(left, top), (right, top), (right, bottom), (left, bottom)], colour)


def _darker(colour: tuple[int, ...], factor: float) -> tuple[int, ...]:
    return tuple(int(c * factor) for c in colour)


def _fill(image: np.ndarray, corners: list[tuple[float, float]], colour: tuple[int, ...]) -> None:
    cv2.fillPoly(image, [np.round(corners).astype(np.int32)], colour, cv2.LINE_AA)


def _floor(image: np.ndarray, top: float, rng: Generator) -> None:
    height, width = CANVAS
    colour = _shade(rng, 40, 150)
    _box(image, 0, top, width, height, colour)
    if rng.random() < 0.5:  # tiles that converge to a vanishing point
        centre = width / 2 + rng.uniform(-60, 60)
        line = tuple(int(c * rng.uniform(0.6, 0.9)) for c in colour)
        for x in np.arange(-8, 9) * rng.uniform(60, 120):
            ends = (int(centre + x * 0.4), int(top)), (int(centre + 3 * x), height)
            cv2.line(image, *ends, line, 1, cv2.LINE_AA)


def _wall(rng: Generator) -> np.ndarray:
    height, width = CANVAS
    image = _plain(_shade(rng, 70, 190))
    step, pattern = int(rng.integers(7, 26)), rng.integers(4)
    dark = rng.uniform(0.55, 0.9)
    if pattern == 0:  # curtain
        wave = 1 - (1 - dark) * (0.5 + 0.5 * np.sin(np.arange(width) * 2 * np.pi / step)) ** 2
        image[:] = (image * wave[None, :, None]).astype(np.uint8)
    elif pattern == 1:  # bricks
        line = _darker(image[0, 0], dark)
        for row, y in enumerate(range(0, height, step)):
            cv2.line(image, (0, y), (width, y), line, 1)
            for x in range(step * (row % 2), width, 2 * step):
                cv2.line(image, (x, y), (x, y + step), line, 1)
    elif pattern == 2:  # panels
        for x in range(0, width, 3 * step):
            cv2.line(image, (x, 0), (x, height), _darker(image[0, 0], dark), 2)
    _floor(image, height / 2 + rng.uniform(25, 60), rng)
    return image


def _corridor(rng: Generator) -> np.ndarray:
    height, width = CANVAS
    image = _plain(_shade(rng, 15, 90))  # sky or ceiling
    x, y = width / 2 + rng.uniform(-70, 70), height / 2 + rng.uniform(-8, 4)
    for side in (-1, 1):
        low, high, reach = rng.uniform(30, 150), rng.uniform(-160, 25), width * 0.7
        far = x + side * reach
        _fill(image, [(x, y), (far, y + 2.2 * low), (far, y + high)], _shade(rng, 60, 220))
    ground = [(x, y), (x - width * 0.6, height), (x + width * 0.6, height)]
    _fill(image, ground, _shade(rng, 35, 120))
    if rng.random() < 0.6:  # a lit band of windows along one side
        side = rng.choice([-1, 1])
        for k in np.geomspace(12, 220, int(rng.integers(4, 10))):
            top, size = y - 0.35 * k, max(k * 0.12, 1)
            _box(image, x + side * k, top, x + side * (k + size), top + size, _shade(rng, 120, 240))
    return image


def _street(rng: Generator) -> np.ndarray:
    height, width = CANVAS
    image = _plain(_shade(rng, 15, 60))
    x = 0.0
    while x < width:  # houses and hedges against the sky
        step, top = rng.uniform(30, 130), rng.uniform(30, 150)
        _box(image, x, top, x + step, height, _shade(rng, 30, 150))
        for _ in range(int(rng.integers(0, 5))):
            u, v = int(x + rng.uniform(2, step)), int(top + rng.uniform(5, 70))
            cv2.rectangle(image, (u, v), (u + 6, v + 9), _shade(rng, 20, 240), -1)
        x += step
    _floor(image, height / 2 + rng.uniform(8, 40), rng)
    return image


def _room(rng: Generator) -> np.ndarray:
    height, width = CANVAS
    image = _plain(_shade(rng, 90, 210))
    corner = width / 2 + rng.uniform(-160, 160)
    _box(image, corner, 0, width, height, _shade(rng, 70, 200))
    _floor(image, height / 2 + rng.uniform(30, 65), rng)
    for _ in range(3):  # cupboards, doors and shelves
        w, h, base = rng.uniform(25, 70), rng.uniform(30, 110), height / 2 + rng.uniform(20, 70)
        left = rng.uniform(0, width - w)
        colour = _shade(rng)
        _box(image, left, base - h, left + w, base, colour)
        edge = _darker(colour, 0.7)
        for level in np.arange(base - h, base, rng.uniform(12, 40)):
            cv2.line(image, (int(left), int(level)), (int(left + w), int(level)), edge, 1)
    return image


_BACKDROPS = {"wall": _wall, "corridor": _corridor, "street": _street, "room": _room}


def _thing(image: np.ndarray, rng: Generator) -> None:
    """Draw a poster, box, pole or plant at a random place of the canvas."""
    height, width = CANVAS
    x, y, size = rng.uniform(0, width), rng.uniform(40, height - 30), rng.uniform(5, 26)
    colour, form = _shade(rng, 10, 240), rng.integers(4)
    if form == 0:
        box = cv2.boxPoints(((x, y), (size, size * rng.uniform(0.6, 2.2)), rng.uniform(-8, 8)))
        _fill(image, box, colour)
    elif form == 1:
        top = 0 if rng.random() < 0.5 else int(y)
        cv2.line(image, (int(x), top), (int(x), height), colour, int(rng.integers(2, 7)))
    elif form == 2:
        for _ in range(14):
            dx, dy = rng.normal(0, size * 0.5, 2)
            at = int(x + dx), int(y + dy)
            cv2.ellipse(image, at, (5, 2), rng.uniform(0, 180), 0, 360, colour, -1)
    else:
        axes = int(size), int(size * 0.7)
        cv2.ellipse(image, (int(x), int(y)), axes, 0, 0, 360, colour, -1, cv2.LINE_AA)


def _bright_spots(radiance: np.ndarray, rng: Generator) -> None:
    """Draw far lamps and windows, up to a few times as bright as a lit white wall."""
    height, width = CANVAS
    for _ in range(int(rng.integers(2, 12))):
        at = (int(rng.uniform(0, width)), int(rng.uniform(30, height / 2)))
        power = rng.uniform(0.5, 3.0) * (1 + 0.1 * rng.normal(size=3))
        cv2.circle(radiance, at, int(rng.integers(1, 5)), tuple(float(v) for v in power), -1)


def cuboid(
    centre: np.ndarray, size: tuple[float, float, float], yaw: float, albedo: np.ndarray, **kwargs
) -> Part:
    """A box as a part. ``centre`` (T, 3) and ``size`` (width, height, depth) in metres, ``yaw`` in degrees."""
    corners = np.array([list(product((-1, 1), repeat=3))]) * 0.5 * np.array(size)
    points = to_world(corners, np.array([yaw]), centre[:, None])
    return Part(points, np.full(8, 0.004), albedo, actor=False, **kwargs)


def chair(
    seat: np.ndarray, yaw: float, frames: int, rng: Generator, sofa: bool = False
) -> list[Part]:
    """A chair. ``seat`` (3,) is the centre of its seat in metres, and ``yaw`` its direction in degrees."""
    albedo = np.clip(rng.choice([0.03, 0.1, 0.3]) * rng.uniform(0.7, 1.3, 3), 0.01, 0.7)
    width = 1.5 if sofa else rng.uniform(0.40, 0.5)
    forward = np.array([np.sin(np.deg2rad(yaw)), 0, -np.cos(np.deg2rad(yaw))])
    left = np.array([np.cos(np.deg2rad(yaw)), 0, np.sin(np.deg2rad(yaw))])

    def box(centre: np.ndarray, size: tuple[float, float, float], nearer: float = 0.0) -> Part:
        return cuboid(np.tile(centre, (frames, 1)), size, yaw, albedo, nearer=nearer)

    thick = 0.4 if sofa else 0.06
    parts = [box(seat - np.array([0, thick / 2, 0]), (width, thick, 0.44), nearer=-0.12)]
    if sofa or rng.random() < 0.8:
        back = seat - 0.24 * forward + np.array([0, 0.24, 0])
        parts.append(box(back, (width, rng.uniform(0.3, 0.5), 0.05), nearer=-0.02))
    if not sofa:
        for a, b in product((-0.45, 0.45), (-0.18, 0.18)):
            leg = seat + a * width * left + b * forward
            leg[1] = seat[1] / 2
            parts.append(box(leg, (0.035, seat[1], 0.035), nearer=-0.15))
    return parts


def distractors(time: np.ndarray, depth: float, variety: float, rng: Generator) -> list[Part]:
    """Small moving objects about ``depth`` metres away: passers-by, branches, flying objects."""
    parts = []
    for _ in range(int(draw(rng, "distractors", variety) + rng.random() * (variety > 0))):
        albedo = rng.uniform(0.03, 0.6) * np.ones(3)
        x0, size = rng.uniform(-0.6, 0.6) * depth, rng.uniform(0.1, 0.3)
        away = depth * rng.uniform(0.9, 1.3)
        speed, kind = rng.uniform(-1.2, 1.2), rng.integers(3)
        phase = 2 * np.pi * (rng.uniform(0.4, 1.6) * time + rng.random())
        if kind == 0:  # a passer-by
            x, low, high = x0 + speed * time, 0.2, rng.uniform(1.1, 1.6)
        elif kind == 1:  # a branch
            x, low, high = x0 + 0.12 * np.sin(phase), 1.4 + 0.05 * np.cos(phase), 2.3
        else:
            x, low, high = x0 + speed * time, 1 + 0.3 * np.sin(phase), 1.05 + 0.3 * np.sin(phase)
        ends = np.stack([vector(x, y, away) for y in (low, high)], 1)
        radius = np.array([size, size * 0.7]) * 0.6
        parts.append(Part(ends, radius, albedo, actor=False))
    return parts
