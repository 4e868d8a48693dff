"""All that is random in `night`: the ranges that ``variety`` widens, the generators, and who shares actor and place."""

import numpy as np

from .actions import ACTIONS

SPLITS = ("train", "val", "test")

# name: (range at variety 0, range at variety 1). Between them both ends move in a straight line.
RANGES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    # framing
    "size": ((0.70, 0.85), (0.40, 1.50)),  # standing height / frame height
    "far": ((1.0, 1.0), (1.0, 2.8)),  # how much farther away those stand who walk or run (they cross much ground)
    "place": ((-0.30, 0.30), (-0.60, 0.60)),  # actor's distance from the middle / half the frame width
    "headroom": ((0.06, 0.12), (0.00, 0.25)),  # head of the standing actor below the upper edge / frame height
    "view": ((-40, 40), (-180, 180)),  # facing direction, degrees; 0 faces the camera
    "field": ((45, 45), (32, 62)),  # vertical field of view, degrees
    "eye": ((1.35, 1.35), (1.05, 1.65)),  # height of the camera, metres
    # camera motion
    "pan": ((0, 0), (0, 0.36)),  # sideways drift over the clip / frame width (squared draw: half stay below a quarter)
    "tilt": ((0, 0), (0, 0.30)),  # the same up and down / frame height
    "shake": ((0, 0), (0.05, 0.3)),  # tremor of the hand, pixels
    "roll": ((0, 0), (0, 3)),  # degrees
    # body and tempo
    "height": ((1.70, 1.70), (1.50, 1.92)),  # metres
    "build": ((1.0, 1.0), (0.82, 1.30)),  # girth
    "tempo": ((1.0, 1.0), (0.80, 1.25)),  # speed of all movement
    "amplitude": ((1.0, 1.0), (0.80, 1.20)),  # reach of all movement
    "sway": ((1.4, 1.4), (0.6, 2.2)),  # fidgeting while at rest
    "onset": ((0.5, 0.5), (0.05, 0.95)),  # where the active part lies in the time that is free
    "follow": ((0, 0), (0, 1)),  # above 0.5 the active part begins when the camera begins to move
    # surroundings
    "clutter": ((0, 3), (3, 12)),  # things on the walls and the floor
    "distractors": ((0, 0), (0, 2.6)),  # small moving things
    "occluder": ((0, 0), (0, 1)),  # above 0.9 something stands before the actor
}


def draw(rng: np.random.Generator, name: str, variety: float) -> float:
    """One uniform draw of the factor ``name`` from its range at ``variety`` (0..1)."""
    low, high = _range(name, variety)
    return float(low + (high - low) * rng.random())


def draw_skewed(rng: np.random.Generator, name: str, variety: float) -> float:
    """Like :func:`draw`, squared and with a random sign: mostly small, sometimes large (hand-held drift)."""
    sign = 1.0 if rng.random() < 0.5 else -1.0
    low, high = _range(name, variety)
    return float(sign * (low + (high - low) * rng.random() ** 2))


def _range(name: str, variety: float) -> tuple[float, float]:
    (low0, high0), (low1, high1) = RANGES[name]
    return low0 + variety * (low1 - low0), high0 + variety * (high1 - high0)


def group_of(seed: int, split: str, class_name: str, index: int) -> tuple[int, str]:
    """Number and id of the clip's actor-and-place group.

    The eleven clips with one index are dealt to three groups of four, four and three: every group holds different
    classes, lies in one split, and does not change with ``per_class`` or ``classes``.
    """
    order = np.random.default_rng([seed, 1, SPLITS.index(split), index]).permutation(len(ACTIONS))
    number = 3 * index + int(order[ACTIONS.index(class_name)]) // 4
    return number, f"{split}-g{number:04d}"


def generators(seed: int, *words: int, count: int) -> list[np.random.Generator]:
    """``count`` independent generators for the purpose that ``words`` name."""
    children = np.random.SeedSequence([seed, *words]).spawn(count)
    return [np.random.default_rng(child) for child in children]
