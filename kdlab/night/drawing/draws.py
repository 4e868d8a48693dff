"""Randomness in `night`: ranges that ``variety`` widens, generators, and groups of clips with one actor and place."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from .actions import ACTIONS

SPLITS = ("train", "val", "test")

# name: (range at variety 0, range at variety 1); both ends are interpolated linearly.
RANGES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    # framing
    "size": ((0.70, 0.85), (0.40, 1.50)),  # standing height / frame height
    "far": (
        (1.0, 1.0),
        (1.0, 2.8),
    ),  # factor on the distance of actors who walk or run, since they cross much ground
    "place": (
        (-0.30, 0.30),
        (-0.60, 0.60),
    ),  # actor's offset from the middle / half the frame width
    "headroom": (
        (0.06, 0.12),
        (0.00, 0.25),
    ),  # space above the standing actor's head / frame height
    "view": ((-40, 40), (-180, 180)),  # facing direction, degrees; 0 faces the camera
    "field": ((45, 45), (32, 62)),  # vertical field of view, degrees
    "eye": ((1.35, 1.35), (1.05, 1.65)),  # height of the camera, metres
    # camera motion
    "pan": (
        (0, 0),
        (0, 0.36),
    ),  # sideways drift over the clip / frame width (squared draw: half stay below a quarter)
    "tilt": ((0, 0), (0, 0.30)),  # vertical drift over the clip / frame height
    "shake": ((0, 0), (0.05, 0.3)),  # tremor of the hand, pixels
    "roll": ((0, 0), (0, 3)),  # degrees
    # body and tempo
    "height": ((1.70, 1.70), (1.50, 1.92)),  # metres
    "build": ((1.0, 1.0), (0.82, 1.30)),  # girth
    "tempo": ((1.0, 1.0), (0.80, 1.25)),  # speed of all movement
    "amplitude": ((1.0, 1.0), (0.80, 1.20)),  # reach of all movement
    "sway": ((1.4, 1.4), (0.6, 2.2)),  # fidgeting while at rest
    "onset": ((0.5, 0.5), (0.05, 0.95)),  # position of the active part within the free time
    "follow": ((0, 0), (0, 1)),  # above 0.5, action and camera motion begin together
    # surroundings
    "clutter": ((0, 3), (3, 12)),  # objects on the walls and the floor
    "distractors": ((0, 0), (0, 2.6)),  # small moving objects
    "occluder": ((0, 0), (0, 1)),  # above 0.9, a post stands before the actor
}


def draw(rng: Generator, name: str, variety: float) -> float:
    """One uniform draw of the factor ``name`` from its range at ``variety`` (0..1)."""
    low, high = _range(name, variety)
    return float(low + (high - low) * rng.random())


def draw_skewed(rng: Generator, name: str, variety: float) -> float:
    """Like :func:`draw`, but from the square of a uniform number, with a random sign: mostly small (hand-held drift)."""
    sign = 1.0 if rng.random() < 0.5 else -1.0
    low, high = _range(name, variety)
    return float(sign * (low + (high - low) * rng.random() ** 2))


def _range(name: str, variety: float) -> tuple[float, float]:
    (low0, high0), (low1, high1) = RANGES[name]
    return low0 + variety * (low1 - low0), high0 + variety * (high1 - high0)


def bisected(low: float, high: float, rounds: int, below: Callable[[float], bool]) -> float:
    """The number between ``low`` and ``high`` up to which ``below`` holds, after so many halvings."""
    for _ in range(rounds):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if below(middle) else (low, middle)
    return 0.5 * (low + high)


def group_of(seed: int, split: str, class_name: str, index: int) -> tuple[int, str]:
    """Number and id of the clip's group, whose clips share actor and place.

    The eleven clips with the same index form three groups of four, four and three clips. Each group has different
    classes, lies in one split, and does not depend on ``per_class`` or ``classes``.
    """
    order = np.random.default_rng([seed, 1, SPLITS.index(split), index]).permutation(len(ACTIONS))
    number = 3 * index + int(order[ACTIONS.index(class_name)]) // 4
    return number, f"{split}-g{number:04d}"


def generators(seed: int, *words: int, count: int) -> list[Generator]:
    """``count`` independent random generators, determined by ``seed`` and ``words``."""
    children = np.random.SeedSequence([seed, *words]).spawn(count)
    return [np.random.default_rng(child) for child in children]
