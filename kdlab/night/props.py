"""Chairs, cups, bottles and boxes. Without context they are dealt to all classes alike."""

from dataclasses import dataclass

import numpy as np

from .body import JOINTS, Look, Part
from .scene import chair, cuboid
from .stage import FRAMES, Placed


@dataclass(frozen=True)
class Props:
    """seat: "chair", "sofa", "ledge" or "none"; held: "cup", "bottle" or "none"; a small object on the floor; a big
    box that stands about."""

    seat: str
    held: str
    object: bool
    box: bool


def draw_props(rng: np.random.Generator, told_class: str | None) -> Props:
    """Props by chance, or, for a clip whose context tells its class, those that belong to it."""
    drawn = Props(
        seat=str(rng.choice(["chair", "sofa", "ledge", "none"], p=[0.55, 0.08, 0.17, 0.2])),
        held=str(rng.choice(["cup", "bottle", "none"], p=[0.3, 0.3, 0.4])),
        object=bool(rng.random() < 0.45), box=bool(rng.random() < 0.3),
    )  # fmt: skip
    if told_class is None:
        return drawn
    return Props(
        seat={"Sit": "sofa", "Stand": "chair"}.get(told_class, "none"),
        held={"Drink": "cup", "Pour": "bottle"}.get(told_class, "none"),
        object=told_class == "Pick", box=told_class == "Push",
    )  # fmt: skip


def things(
    class_name: str, props: Props, actor: Placed, look: Look, rng: np.random.Generator, with_actor: bool
) -> list[Part]:
    """The props as parts. Without the actor only the seat is left: an actor may move all the others."""
    at = {name: actor.joints[:, index] for index, name in enumerate(JOINTS)}
    feet = 0.5 * (at["ankle_r"] + at["ankle_l"])[FRAMES // 2] * (1, 0, 1)
    spots = [_beside(feet, rng, low, high) for low, high in ((0.55, 1.1), (0.35, 0.8), (0.7, 1.3))]
    turns, shades = rng.uniform(0, 360, 2), np.clip(rng.choice([0.04, 0.15, 0.45], 4) * rng.uniform(0.7, 1.3, 4), 0, 1)
    seats = _seat(class_name, props.seat, actor, look, spots[0], rng)
    if not with_actor:
        return seats
    parts = list(seats)
    busy = max(("r", "l"), key=lambda side: np.ptp(at[f"hand_{side}"][:, 1] - at["neck"][:, 1]))
    hand, elbow = at[f"hand_{busy}"], at[f"elbow_{busy}"]
    if props.held != "none":
        fore = (hand - elbow) / np.linalg.norm(hand - elbow, axis=-1, keepdims=True)
        axis = np.array([0, 1.0, 0]) - fore * fore[:, 1:2]
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True) + 1e-3
        low, high, girth = {"cup": (-0.03, 0.07, 0.036), "bottle": (-0.08, 0.17, 0.034)}[props.held]
        ends = np.stack([hand + low * axis, hand + high * axis], 1)
        parts.append(Part(ends, np.array([girth, girth * 0.8]), shades[0] * np.ones(3), actor=False, nearer=0.06))
    if props.object:
        spot = np.tile(spots[1] + (0, 0.07, 0), (FRAMES, 1))
        if class_name == "Pick":
            grasp = int(np.argmin(hand[:, 1]))
            spot[:] = hand[grasp]
            spot[grasp:] = hand[grasp:]
            spot[:grasp, 1] = spot[grasp, 1]
        parts.append(cuboid(spot, (0.17, 0.13, 0.14), turns[0], shades[1] * np.ones(3), nearer=0.03))
    if props.box:
        size = (0.55, 0.95, 0.4)
        spot, turn = np.tile(spots[2] + (0, size[1] / 2, 0), (FRAMES, 1)), turns[1]
        if class_name == "Push":
            turn = float(actor.yaw[0])
            forward = np.array([np.sin(np.deg2rad(turn)), 0, -np.cos(np.deg2rad(turn))])
            hands = 0.5 * (at["hand_r"] + at["hand_l"])
            reach = np.maximum.accumulate(((hands - feet) * forward).sum(1))
            start = reach[0] + 0.45 * (reach[-1] - reach[0])
            spot = spot * (0, 1, 0) + feet + (np.maximum(reach, start) + 0.26)[:, None] * forward
        parts.append(cuboid(spot, size, turn, shades[2] * np.ones(3)))
    return parts


def _beside(feet: np.ndarray, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(low, high)
    return feet + far * np.array([np.cos(angle), 0, 0.7 * np.sin(angle)])


def _seat(
    class_name: str, kind: str, actor: Placed, look: Look, spot: np.ndarray, rng: np.random.Generator
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
        return [cuboid(np.tile(seat * (1, 0.5, 1), (FRAMES, 1)), (0.9, height, 0.42), yaw, shade, nearer=-0.15)]
    return []
