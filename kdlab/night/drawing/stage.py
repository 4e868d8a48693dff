"""Positions and movements of actor, camera and props (chairs, cups, bottles, boxes).

The camera's path does not depend on the class, so it reveals nothing about the class. Actors who walk or run take a
heading that keeps them in view. Without context, props are drawn independently of the class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .actions import ACTIVE_SECONDS, TRAVELLING, Moment, Pose, keys
from .body import JOINTS, Look, Part, joints, to_world
from .codec import FPS
from .draws import draw, draw_skewed
from .paint import HEIGHT, WIDTH, View
from .scene import chair, cuboid

FRAMES = 36
SECONDS = FRAMES / FPS


@dataclass(frozen=True)
class Placed:
    """The actor in the world: ``joints`` (T, 19, 3) in metres right/up/away, and direction ``yaw`` (T,) in degrees."""

    joints: np.ndarray
    yaw: np.ndarray


def draw_moment(class_name: str, variety: float, rng: Generator, begin: float) -> Moment:
    """Draw the time of the action within the clip, its tempo and its amplitude.

    The camera often follows the action. Then the active part starts at ``begin`` (seconds), with the camera's motion.
    """
    tempo = draw(rng, "tempo", variety)
    span = min(ACTIVE_SECONDS[class_name] / tempo, SECONDS - 0.25)
    onset, follow = draw(rng, "onset", variety), draw(rng, "follow", variety) > 0.5
    if class_name in TRAVELLING and rng.random() < 0.4:
        start, span = -0.5, SECONDS + 1  # the action lasts from before the clip to after it
    else:
        latest = SECONDS - 0.1 - span
        start = min(begin, latest) if follow else 0.1 + onset * (latest - 0.1)
    return Moment(np.arange(FRAMES) / FPS, start, span, draw(rng, "amplitude", variety), tempo)


def draw_view(height: float, variety: float, rng: Generator) -> tuple[View, float, float, float]:
    """Draw the camera. Returns the view, the actor's distance in metres, the sideways pan over the clip in pixels, and
    the time in seconds at which the camera begins to move."""
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
    view = View(focal, eye, move + (pan0, tilt0), roll * np.ones(FRAMES), aim)
    return view, distance, pan, begin * SECONDS


def _tremor(time: np.ndarray, waves: int, rng: Generator) -> np.ndarray:
    out = np.zeros_like(time)
    for _ in range(waves):
        strength = rng.normal()
        wave = np.sin(2 * np.pi * (rng.uniform(1, 11) * time + rng.random()))
        out += strength * wave / np.sqrt(waves)
    return out


def place_actor(
    class_name: str, pose: Pose, look: Look, view: View, distance: float, pan: float, variety: float,
    rng: Generator,
) -> Placed:  # fmt: skip
    """The actor in the world, at ``distance`` metres in the middle of the clip; farther away to walk or run."""
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
    if travels:  # keep the actor in front of the camera
        placed = placed + np.array([0, 0, max(0.0, 1.1 - float(placed[:, 0, 2].min()))])
    return Placed(placed, yaw)


@dataclass(frozen=True)
class Props:
    """seat: "chair", "sofa", "ledge" or "none"; held: "cup", "bottle" or "none"; object: a small object on the floor;
    box: a big box on the floor."""

    seat: str
    held: str
    object: bool
    box: bool


def draw_props(rng: Generator, of_class: str | None) -> Props:
    """Random props, or, if the context reveals the class, the props of the class ``of_class``."""
    drawn = Props(
        seat=str(rng.choice(["chair", "sofa", "ledge", "none"], p=[0.55, 0.08, 0.17, 0.2])),
        held=str(rng.choice(["cup", "bottle", "none"], p=[0.3, 0.3, 0.4])),
        object=bool(rng.random() < 0.45), box=bool(rng.random() < 0.3),
    )  # fmt: skip
    if of_class is None:
        return drawn
    return Props(
        seat={"Sit": "sofa", "Stand": "chair"}.get(of_class, "none"),
        held={"Drink": "cup", "Pour": "bottle"}.get(of_class, "none"),
        object=of_class == "Pick", box=of_class == "Push",
    )  # fmt: skip


def things(
    class_name: str, props: Props, actor: Placed, look: Look, rng: Generator, with_actor: bool
) -> list[Part]:
    """The props as parts. Without the actor only the seat remains, because actors may move the other props."""
    at = {name: actor.joints[:, index] for index, name in enumerate(JOINTS)}
    feet = 0.5 * (at["ankle_r"] + at["ankle_l"])[FRAMES // 2] * (1, 0, 1)
    spots = [_near(feet, rng, low, high) for low, high in ((0.55, 1.1), (0.35, 0.8), (0.7, 1.3))]
    turns = rng.uniform(0, 360, 2)
    shades = np.clip(rng.choice([0.04, 0.15, 0.45], 4) * rng.uniform(0.7, 1.3, 4), 0, 1)
    albedos = shades[:, None] * np.ones(3)
    parts = _seat(class_name, props.seat, actor, look, spots[0], rng)
    if not with_actor:
        return parts
    busy = max(("r", "l"), key=lambda side: np.ptp(at[f"hand_{side}"][:, 1] - at["neck"][:, 1]))
    hand = at[f"hand_{busy}"]
    if props.held != "none":
        parts.append(_held(props.held, hand, at[f"elbow_{busy}"], albedos[0]))
    if props.object:
        path = _lifted(hand) if class_name == "Pick" else _still(spots[1] + (0, 0.07, 0))
        parts.append(cuboid(path, (0.17, 0.13, 0.14), turns[0], albedos[1], nearer=0.03))
    if props.box:
        size = (0.55, 0.95, 0.4)
        path, turn = _still(spots[2] + (0, size[1] / 2, 0)), turns[1]
        if class_name == "Push":
            turn = float(actor.yaw[0])
            path = _pushed(path, feet, 0.5 * (at["hand_r"] + at["hand_l"]), turn)
        parts.append(cuboid(path, size, turn, albedos[2]))
    return parts


def _held(kind: str, hand: np.ndarray, elbow: np.ndarray, albedo: np.ndarray) -> Part:
    """A cup or bottle in the hand, as upright as the forearm permits."""
    fore = (hand - elbow) / np.linalg.norm(hand - elbow, axis=-1, keepdims=True)
    axis = np.array([0, 1.0, 0]) - fore * fore[:, 1:2]
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True) + 1e-3
    low, high, girth = {"cup": (-0.03, 0.07, 0.036), "bottle": (-0.08, 0.17, 0.034)}[kind]
    ends = np.stack([hand + low * axis, hand + high * axis], 1)
    return Part(ends, np.array([girth, girth * 0.8]), albedo, actor=False, nearer=0.06)


def _still(spot: np.ndarray) -> np.ndarray:
    return np.tile(spot, (FRAMES, 1))


def _lifted(hand: np.ndarray) -> np.ndarray:
    """The path of an object that lies where the ``hand`` is lowest, and then stays in the hand."""
    grasp = int(np.argmin(hand[:, 1]))
    path = hand.copy()
    path[:grasp] = hand[grasp]
    return path


def _pushed(box: np.ndarray, feet: np.ndarray, hands: np.ndarray, yaw: float) -> np.ndarray:
    """The path of a box before the ``feet`` that the ``hands`` push in the direction ``yaw``, at the height of ``box``."""
    forward = np.array([np.sin(np.deg2rad(yaw)), 0, -np.cos(np.deg2rad(yaw))])
    reach = np.maximum.accumulate(((hands - feet) * forward).sum(1))
    start = reach[0] + 0.45 * (reach[-1] - reach[0])
    return box * (0, 1, 0) + feet + (np.maximum(reach, start) + 0.26)[:, None] * forward


def _near(feet: np.ndarray, rng: Generator, low: float, high: float) -> np.ndarray:
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(low, high)
    return feet + far * np.array([np.cos(angle), 0, 0.7 * np.sin(angle)])


def _seat(
    class_name: str, kind: str, actor: Placed, look: Look, spot: np.ndarray, rng: Generator
) -> list[Part]:
    yaw, height = rng.uniform(-180, 180), 0.24 * look.height
    if class_name in ("Sit", "Stand"):
        pelvis = actor.joints[:, 0]
        lowest = int(np.argmin(pelvis[:, 1]))
        spot, yaw = pelvis[lowest] * (1, 0, 1), float(actor.yaw[lowest])
        height = max(pelvis[lowest, 1] - 0.06 * look.height * look.build, 0.1)
    seat = spot + np.array([0, height, 0])
    if kind in ("chair", "sofa"):
        return chair(seat, yaw, FRAMES, rng, sofa=kind == "sofa")
    if kind == "ledge":
        shade = float(rng.uniform(0.05, 0.5)) * np.ones(3)
        middle = _still(seat * (1, 0.5, 1))
        return [cuboid(middle, (0.9, height, 0.42), yaw, shade, nearer=-0.15)]
    return []
