"""The eleven ARID actions as trajectories of joint angles.

A *pose* is a dictionary of arrays of length T, one per channel, angles in degrees:

- torso: ``bend`` (forward), ``lean`` (to the left), ``twist``; head: ``nod`` (down), ``look`` (to the left)
- arms, right and left (``_r``, ``_l``), against gravity: ``arm`` and ``fore`` (0 hangs down, 90 forward, 180 up),
  ``out`` and ``fore_out`` (90 is sideways, away from the body)
- legs: ``thigh`` (forward), ``knee`` (flexion), ``spread`` (sideways)
- place: ``yaw`` (added to the facing direction), ``forward`` and ``lift`` (metres)

Each action writes only the channels that it moves; :func:`pose_of` adds them to a standing, slightly fidgeting body.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

ACTIVE_SECONDS = {  # median durations in real dark clips; five classes without a measurement have values in between
    "Drink": 1.8, "Jump": 1.3, "Pick": 1.6, "Pour": 1.8, "Push": 1.4, "Run": 1.7,
    "Sit": 1.8, "Stand": 1.4, "Turn": 1.2, "Walk": 1.8, "Wave": 1.7,
}  # fmt: skip
ACTIONS = tuple(ACTIVE_SECONDS)
TRAVELLING = ("Run", "Walk")

Pose = dict[str, np.ndarray]


@dataclass(frozen=True)
class Moment:
    """Timing and strength of an action. ``time``: (T,) seconds; ``start`` and ``span``: of the active part, seconds."""

    time: np.ndarray
    start: float
    span: float
    amplitude: float
    tempo: float

    @property
    def progress(self) -> np.ndarray:
        """Progress of the active part (T,), from 0 before it to 1 after it."""
        return np.clip((self.time - self.start) / self.span, 0, 1)

    def along(self, *points: tuple[float, float]) -> np.ndarray:
        """Interpolation over the progress (T,), as by :func:`keys`."""
        return keys(self.progress, *points)


def keys(progress: np.ndarray, *points: tuple[float, float]) -> np.ndarray:
    """Smooth interpolation through ``(progress, value)`` points, with zero velocity at each point."""
    at, value = np.array(points, dtype=float).T
    left = np.clip(np.searchsorted(at, progress, side="right") - 1, 0, len(at) - 2)
    share = np.clip((progress - at[left]) / (at[left + 1] - at[left]), 0, 1)
    share = share * share * (3 - 2 * share)
    return value[left] + share * (value[left + 1] - value[left])


def pose_of(action: str, moment: Moment, sway: float, rng: Generator) -> Pose:
    """All channels of ``action`` over time. ``sway`` scales the fidgeting; the side (left or right) is random."""
    pose = _standing(moment.time, sway, rng)
    mirrored = rng.random() < 0.5
    for name, values in _MOVES[action](moment, rng).items():
        pose[name] = pose[name] + values
    return _mirror(pose) if mirrored else pose


def _standing(time: np.ndarray, sway: float, rng: Generator) -> Pose:
    rest = dict.fromkeys(
        ["bend", "lean", "twist", "nod", "look", "yaw", "forward", "lift", "thigh_r", "thigh_l"],
        0.0,
    )
    rest |= dict.fromkeys(["knee_r", "knee_l", "spread_r", "spread_l"], 4.0)
    hang, hold = rng.uniform(-4, 10), rng.uniform(6, 30)
    for side in ("r", "l"):
        rest |= _side(side, arm=hang, fore=hang + hold, out=9.0, fore_out=4.0)
    rest |= {"bend": rng.uniform(0, 6), "nod": rng.uniform(-5, 12)}
    pose = {}
    for name, value in rest.items():
        wobble = np.zeros_like(time)
        for _ in range(2):
            wobble += rng.normal() * np.sin(
                2 * np.pi * (rng.uniform(0.15, 0.8) * time + rng.random())
            )
        scale = {"forward": 0.008, "lift": 0.0, "yaw": 2.0}.get(name, 1.6)
        if name.startswith(("thigh", "knee")):
            scale = 0.3  # planted legs do not fidget as arms do
        pose[name] = value + sway * scale * wobble
    return pose


def _mirror(pose: Pose) -> Pose:
    other = {"_r": "_l", "_l": "_r"}
    swapped = {
        name[:-2] + other[name[-2:]] if name[-2:] in other else name: v for name, v in pose.items()
    }
    return swapped | {name: -swapped[name] for name in ("lean", "twist", "look", "yaw")}


def _both(**channels: np.ndarray) -> Pose:
    """The channels of both sides."""
    return _side("r", **channels) | _side("l", **channels)


def _side(side: str, **channels: np.ndarray) -> Pose:
    return {f"{name}_{side}": values for name, values in channels.items()}


def _drink(m: Moment, rng: Generator) -> Pose:
    up, hold, a = rng.uniform(0.25, 0.35), rng.uniform(0.65, 0.78), m.amplitude
    raised = m.along((0, 0), (up, 1), (hold, 1), (1, 0))
    sip = m.along((up * 0.8, 0), (up + 0.15, 1), (hold - 0.05, 1), (hold + 0.1, 0))
    return {
        "arm_r": raised * (38 + 8 * a) + sip * 14, "out_r": raised * rng.uniform(5, 25),
        "fore_r": raised * 125 + sip * 12, "fore_out_r": raised * -32,
        "nod": -sip * 22 * a, "bend": -sip * 5,
    }  # fmt: skip


def _jump(m: Moment, rng: Generator) -> Pose:
    hops = 1 if rng.random() < 0.75 else 2
    height, travel = rng.uniform(0.16, 0.42) * m.amplitude, rng.uniform(0, 0.5)
    deep, swing = rng.uniform(45, 85) * m.amplitude, rng.uniform(60, 165)
    tuck = rng.uniform(0, 35)
    air = 2 * np.sqrt(2 * height / 9.81)  # flight of a free fall
    u = m.progress * hops % 1.0
    u[m.progress >= 1] = 1.0
    length = m.span / hops
    off = 0.5 - 0.5 * air / length + 0.06
    land = min(off + air / length, 0.9)
    off = max(off, 0.15)
    crouch = keys(
        u, (0, 0), (off * 0.65, 1), (off, 0), (land, 0.1), (0.5 * (1 + land), 0.8), (1, 0)
    )
    flight = np.clip((u - off) / (land - off), 0, 1)
    arms = keys(u, (0, 0), (off * 0.6, -45), (off + 0.05, swing), (land, swing * 0.6), (1, 0))
    pose = {"lift": 4 * height * flight * (1 - flight), "bend": crouch * 32}
    pose["forward"] = travel * m.along((0, 0), (0.35, 0.05), (0.75, 0.95), (1, 1))
    legs = np.sin(np.pi * flight) * tuck
    pose |= _both(thigh=crouch * deep * 0.5 + legs, knee=crouch * deep + 1.6 * legs)
    return pose | _both(arm=arms, fore=arms * 1.15, out=crouch * 4)


def _pick(m: Moment, rng: Generator) -> Pose:
    low, leave = rng.uniform(0.35, 0.45), rng.uniform(0.5, 0.6)
    down = m.along((0, 0), (low, 1), (leave, 1), (0.95, 0))
    squat, bend = rng.uniform(0.1, 1.0), rng.uniform(60, 95) * m.amplitude
    hold = m.along((leave, 0), (1, 1)) * rng.uniform(20, 70)
    reach = rng.uniform(5, 30)
    pose = {"bend": down * bend * (1 - 0.35 * squat), "nod": down * 15}
    pose |= _both(thigh=down * (15 + 75 * squat), knee=down * (12 + 105 * squat))
    both = rng.random() < 0.35
    pose |= {"arm_r": down * reach, "fore_r": down * reach * 0.5 + hold, "fore_out_r": -hold * 0.2}
    pose |= {
        "arm_l": down * (reach if both else -12),
        "fore_l": down * (reach * 0.5 if both else 20) + both * hold,
    }
    return pose


def _pour(m: Moment, rng: Generator) -> Pose:
    up, end = rng.uniform(0.25, 0.33), rng.uniform(0.7, 0.8)
    raised = m.along((0, 0), (up, 1), (end + 0.05, 1), (1, 0))
    tip = m.along((up, 0), (up + 0.18, 1), (end - 0.1, 1), (end + 0.05, 0)) * m.amplitude
    high = rng.uniform(0, 25)
    return {
        "arm_r": raised * (25 + high), "out_r": raised * 14 + tip * 42, "fore_r": raised * (72 + high),
        "fore_out_r": raised * -22 + tip * -12, "arm_l": raised * 22, "fore_l": raised * 58,
        "fore_out_l": raised * -30, "nod": raised * 20, "bend": raised * rng.uniform(2, 14),
        "lean": -tip * 4, "twist": tip * 6,
    }  # fmt: skip


def _push(m: Moment, rng: Generator) -> Pose:
    load, shove = rng.uniform(0.22, 0.3), rng.uniform(0.5, 0.62)
    ready = m.along((0, 0), (load, 1), (shove, 0.9), (shove + 0.15, 0.9), (1, 0))
    out = m.along((load, 0), (shove, 1), (shove + 0.15, 1), (0.97, 0)) * m.amplitude
    step = m.along((load, 0), (shove, 1), (1, 0.9))
    level = rng.uniform(-12, 12)
    pose = {
        "bend": out * rng.uniform(14, 30) - (ready - out).clip(0) * 6,
        "forward": step * rng.uniform(0.1, 0.4),
    }
    pose |= {"thigh_r": step * 26, "knee_r": step * 24, "thigh_l": -step * 18, "knee_l": step * 6}
    pose |= _both(arm=-ready * 22 + out * (96 + level), out=ready * 18 - out * 14)
    return pose | _both(fore=ready * 78 + out * (-4 + level), fore_out=-ready * 4)


def gait(m: Moment, rate: float, stride: float) -> tuple[np.ndarray, np.ndarray]:
    """Phase of the left leg (radians) and the length of the stride (0 to ``stride``), which eases in and out."""
    ramp = 0.25
    full = np.clip((m.time - m.start) / ramp + 0.5, 0, 1) * np.clip(
        (m.start + m.span - m.time) / ramp + 0.5, 0, 1
    )
    return 2 * np.pi * rate * m.tempo * (m.time - m.start), full * stride


def _walk(m: Moment, rng: Generator) -> Pose:
    phase, full = gait(m, rng.uniform(0.82, 1.05), m.amplitude)
    phase = phase + rng.uniform(0, 2 * np.pi)
    pose = {"bend": full * 3}
    swing = rng.uniform(12, 26)
    for side, p in (("l", phase), ("r", phase + np.pi)):
        wave = np.sin(p)
        pose |= _side(side, thigh=full * (3 + 23 * wave), knee=full * (5 + 46 * np.cos(p).clip(0)))
        pose |= _side(side, arm=-full * swing * wave, fore=full * (10 - 1.2 * swing * wave))
    return pose | {"twist": full * 5 * np.sin(phase), "forward": _travel(m, full, 1.3)}


def _run(m: Moment, rng: Generator) -> Pose:
    phase, full = gait(m, rng.uniform(1.2, 1.5), m.amplitude)
    phase = phase + rng.uniform(0, 2 * np.pi)
    effort = rng.uniform(0.4, 1.1)  # from a slow jog to a sprint
    pose = {
        "bend": full * (5 + 9 * effort),
        "lift": full * 0.07 * effort * np.abs(np.sin(phase + 0.6)),
    }
    for side, p in (("l", phase), ("r", phase + np.pi)):
        pose |= {f"thigh_{side}": full * (10 + 36 * effort * np.sin(p))}
        pose |= _side(side, knee=full * (22 + 78 * effort * np.cos(p - 0.35).clip(0)), out=full * 8)
        pose |= _side(side, arm=-full * (8 + 38 * effort * np.sin(p)), fore_out=-full * 12)
        pose |= {f"fore_{side}": full * (62 - 42 * effort * np.sin(p))}
    return pose | {
        "twist": full * 9 * np.sin(phase),
        "forward": _travel(m, full, 1.4 + 1.8 * effort),
    }


def _travel(m: Moment, full: np.ndarray, speed: float) -> np.ndarray:
    way = np.concatenate([[0], np.cumsum(full[1:] * np.diff(m.time))]) * speed * m.tempo
    return (
        way - way[np.searchsorted(m.time, m.start + m.span / 2).clip(0, len(way) - 1)]
    )  # 0 in mid-action


def _seat(sat: np.ndarray, bend: np.ndarray, rng: Generator) -> Pose:
    depth, lap = rng.uniform(82, 98), rng.uniform(35, 60)
    sides = _both(
        thigh=sat * depth, knee=sat * depth, arm=sat * 18 + bend * 0.25, fore=sat * lap + bend * 0.1
    )
    return sides | {"bend": bend, "nod": bend * 0.15}


def _sit(m: Moment, rng: Generator) -> Pose:
    sat = m.along((rng.uniform(0.22, 0.32), 0), (rng.uniform(0.68, 0.8), 1))
    bend = m.along((0, 0), (rng.uniform(0.4, 0.5), 1), (rng.uniform(0.62, 0.7), 0.95), (1, 0.05))
    return _seat(sat, bend * rng.uniform(45, 85) * m.amplitude, rng)


def _stand(m: Moment, rng: Generator) -> Pose:
    sat = m.along((rng.uniform(0.3, 0.4), 1), (rng.uniform(0.78, 0.9), 0))
    bend = m.along((0, 0.08), (rng.uniform(0.33, 0.45), 1), (rng.uniform(0.5, 0.6), 0.9), (1, 0))
    return _seat(sat, bend * rng.uniform(40, 75) * m.amplitude, rng)


def _turn(m: Moment, rng: Generator) -> Pose:
    angle = 90 * rng.uniform(0.85, 1.2) if rng.random() < 0.75 else rng.uniform(150, 185)
    yaw = m.along((0, 0), (1, 1)) * angle
    ahead = m.along((0, 0), (0.8, 1), (1, 1)) * angle - yaw
    steps = np.sin(np.pi * np.clip(m.progress, 0, 1)) * np.sin(
        2 * np.pi * m.progress * rng.choice([1.0, 1.5, 2.0])
    )
    pose = {"yaw": yaw, "look": ahead, "twist": ahead * 0.3}
    for side, s in (("l", steps), ("r", -steps)):
        pose |= _side(side, thigh=20 * s.clip(0), knee=36 * s.clip(0), arm=9 * s)
    return pose


def _wave(m: Moment, rng: Generator) -> Pose:
    up, end = rng.uniform(0.2, 0.28), rng.uniform(0.78, 0.86)
    raised = m.along((0, 0), (up, 1), (end, 1), (1, 0))
    beat = np.sin(2 * np.pi * rng.uniform(1.4, 2.4) * m.tempo * (m.time - m.start))
    lifted, side = rng.uniform(50, 150), rng.uniform(5, 45)
    swing = rng.uniform(20, 38) * m.amplitude
    return {
        "arm_r": raised * lifted, "out_r": raised * (side + 0.2 * swing * beat),
        "fore_r": raised * 150, "fore_out_r": raised * (5 + swing * beat), "lean": -raised * 3,
    }  # fmt: skip


_MOVES: dict[str, Callable[[Moment, Generator], Pose]] = dict(zip(ACTIONS, (
    _drink, _jump, _pick, _pour, _push, _run, _sit, _stand, _turn, _walk, _wave,
), strict=True))  # fmt: skip
