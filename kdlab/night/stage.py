"""Where the actor stands, where the camera stands, and how both move.

The camera's path is drawn without a look at the class, so that it tells nothing; people who walk or run choose a
heading that keeps them in front of it.
"""

from dataclasses import dataclass

import numpy as np

from .actions import ACTIVE_SECONDS, TRAVELLING, Moment, Pose, keys
from .body import Look, joints, to_world
from .codec import FPS
from .paint import HEIGHT, WIDTH, View
from .ranges import draw, draw_skewed

FRAMES = 36
SECONDS = FRAMES / FPS


@dataclass(frozen=True)
class Placed:
    """The actor in the world: ``joints`` (T, 19, 3) metres right/up/away, and the facing ``yaw`` (T,) in degrees."""

    joints: np.ndarray
    yaw: np.ndarray


def draw_moment(class_name: str, variety: float, rng: np.random.Generator, begin: float) -> Moment:
    """When the action happens inside the clip, and its tempo and reach. Who holds the camera often follows: then the
    active part starts at ``begin`` (seconds), when the camera does."""
    tempo = draw(rng, "tempo", variety)
    span = min(ACTIVE_SECONDS[class_name] / tempo, SECONDS - 0.25)
    onset, follow = draw(rng, "onset", variety), draw(rng, "follow", variety) > 0.5
    if class_name in TRAVELLING and rng.random() < 0.4:
        span = SECONDS + 1  # already under way, and still so at the end
        return Moment(np.arange(FRAMES) / FPS, -0.5, span, draw(rng, "amplitude", variety), tempo)
    latest = SECONDS - 0.1 - span
    start = min(begin, latest) if follow else 0.1 + onset * (latest - 0.1)
    return Moment(np.arange(FRAMES) / FPS, start, span, draw(rng, "amplitude", variety), tempo)


def draw_view(
    height: float, variety: float, rng: np.random.Generator
) -> tuple[View, float, float, float]:
    """The camera, the actor's distance in metres, the sideways pan over the clip in pixels, and when in seconds the
    camera begins to move."""
    focal = HEIGHT / 2 / np.tan(np.deg2rad(draw(rng, "field", variety)) / 2)
    size = draw(rng, "size", variety)
    distance = focal * height / (size * HEIGHT)
    eye = draw(rng, "eye", variety)
    top = draw(rng, "headroom", variety) + rng.random() * max(0.92 - size, 0)
    tilt0 = (eye - height) * focal / distance + HEIGHT * (0.5 - top)
    pan0 = -draw(rng, "place", variety) * WIDTH / 2

    time = np.arange(FRAMES) / SECONDS / FPS
    pan, tilt = draw_skewed(rng, "pan", variety) * WIDTH, draw_skewed(rng, "tilt", variety) * HEIGHT
    begin, end = np.sort(rng.uniform(0.05, 0.95, 2)) + (0, 0.15)
    path = 0.4 * (time - 0.5) + 0.6 * (keys(time, (begin, 0), (end, 1)) - 0.5)
    rise = keys(time, (begin, 0), (end, 1)) - 0.5
    nod = keys(time, (begin, 0), (0.5 * (begin + end), 1), (end, 0)) - 0.5
    move = np.stack([pan * path, tilt * (rise if rng.random() < 0.65 else nod)], -1)
    shake = draw(rng, "shake", variety)
    roll = np.deg2rad(draw(rng, "roll", variety)) * (rng.normal() + 0.3 * _tremor(time, 2, rng))
    move = move + shake * np.stack([_tremor(time, 4, rng), _tremor(time, 4, rng)], -1)
    aim = np.array([rng.uniform(-70, 70), rng.uniform(-6, 6)])
    return View(focal, eye, move + (pan0, tilt0), roll * np.ones(FRAMES), aim), distance, pan, begin * SECONDS


def _tremor(time: np.ndarray, waves: int, rng: np.random.Generator) -> np.ndarray:
    out = np.zeros_like(time)
    for _ in range(waves):
        out += rng.normal() * np.sin(2 * np.pi * (rng.uniform(1, 11) * time + rng.random())) / np.sqrt(waves)
    return out


def place_actor(
    class_name: str, pose: Pose, look: Look, view: View, distance: float, pan: float, variety: float,
    rng: np.random.Generator,
) -> Placed:  # fmt: skip
    """The actor's joints in the world, standing at ``distance`` in the middle of the clip."""
    travels = class_name in TRAVELLING
    own = joints(pose, look.height, planted=not travels)
    facing = draw(rng, "view", variety)
    distance *= draw(rng, "far", variety) if travels else 1.0
    crossing, away = rng.uniform(-0.6, 0.6) * WIDTH, rng.random() < 0.5
    if travels:
        way = pose["forward"].max() - pose["forward"].min()
        sine = np.clip((pan + crossing) * distance / (view.focal * max(way, 0.1)), -1, 1)
        facing = float(np.rad2deg(np.arcsin(sine)))
        if away:
            facing = 180 - facing
    yaw = facing + pose["yaw"]
    placed = to_world(own, yaw, np.array([0.0, 0.0, distance]))
    if travels:  # not through the camera
        placed = placed + np.array([0, 0, max(0.0, 1.1 - float(placed[:, 0, 2].min()))])
    return Placed(placed, yaw)
