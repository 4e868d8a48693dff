"""An articulated body: from joint angles to joint positions, and from joints to rounded limbs."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .actions import Pose
from .draws import draw

_SIDE = ("shoulder", "elbow", "hand", "hip", "knee", "ankle", "toe")
JOINTS = (
    "pelvis",
    "neck",
    "head",
    "face",
    "chest",
    *(f"{j}_r" for j in _SIDE),
    *(f"{j}_l" for j in _SIDE),
)
LENGTH = {  # as fractions of the body height
    "thigh": 0.245, "shin": 0.245, "sole": 0.04, "foot": 0.10, "torso": 0.29, "upper": 0.17, "fore": 0.185,
    "shoulder": 0.105, "hip": 0.055, "head": 0.068,
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """One person's look: height in metres, relative girth, and linear albedo (RGB, 0..1) of skin, hair and clothes."""

    height: float
    build: float
    skin: np.ndarray
    hair: np.ndarray
    shirt: np.ndarray
    trousers: np.ndarray
    shoes: np.ndarray
    emblem: np.ndarray | None
    shorts: bool
    sleeves: bool


@dataclass(frozen=True)
class Part:
    """A convex shape: the hull of spheres at ``points`` (T, n, 3) with ``radius`` (n,), in metres."""

    points: np.ndarray
    radius: np.ndarray
    albedo: np.ndarray
    actor: bool = True
    nearer: float = 0.0  # metres subtracted from its depth when parts are sorted by depth


def draw_look(rng: Generator, variety: float) -> Look:
    """Draw a person. ``variety`` sets the range of the body; clothes always vary, since they do not reveal the action."""

    def cloth() -> np.ndarray:
        grey = rng.choice([0.03, 0.06, 0.12, 0.3, 0.55], p=[0.2, 0.2, 0.2, 0.2, 0.2])
        grey *= rng.uniform(0.8, 1.25)
        return np.clip(grey * (1 + 0.18 * rng.normal(size=3)), 0.015, 0.8)

    skin = rng.uniform(0.16, 0.5) * np.array([1.0, 0.72, 0.58])
    emblem = cloth() if rng.random() < 0.4 else None
    return Look(
        height=draw(rng, "height", variety), build=draw(rng, "build", variety), skin=skin,
        hair=rng.uniform(0.01, 0.09) * np.ones(3), shirt=cloth(), trousers=cloth() * 0.8, shoes=cloth(),
        emblem=emblem, shorts=rng.random() < 0.35, sleeves=rng.random() < 0.45,
    )  # fmt: skip


def joints(pose: Pose, height: float, planted: bool) -> np.ndarray:
    """Joint positions (T, 19, 3) in metres, in the person's axes: left, up, forward; the origin is on the ground.

    The more extended leg sets the height of the pelvis; ``lift`` is added. With ``planted`` feet the body moves back
    when the thighs rise, as in sitting down. Otherwise only ``forward`` moves it, as in walking.
    """
    p = {name: np.deg2rad(v) if name not in ("forward", "lift") else v for name, v in pose.items()}
    size = {name: value * height for name, value in LENGTH.items()}
    shins = {side: p[f"thigh_{side}"] - p[f"knee_{side}"] for side in ("r", "l")}
    up = vector(
        np.sin(p["lean"]),
        np.cos(p["lean"]) * np.cos(p["bend"]),
        np.cos(p["lean"]) * np.sin(p["bend"]),
    )
    left = vector(np.cos(p["twist"]), -np.sin(p["lean"]), -np.sin(p["twist"]))
    pelvis = _pelvis(p, shins, size, planted)
    neck = pelvis + size["torso"] * up
    chest = pelvis + 0.72 * size["torso"] * up + 0.05 * height * np.cross(left, up)
    at = {"pelvis": pelvis, "neck": neck, "chest": chest}
    at["head"], at["face"] = _head(p, neck, height)
    for side, sign in (("r", -1.0), ("l", 1.0)):
        own = {name[:-2]: values for name, values in p.items() if name.endswith(f"_{side}")}
        shoulder = neck + sign * size["shoulder"] * left - 0.015 * height * up
        hip = pelvis + np.array([sign * size["hip"], 0, 0])
        places = _arm(own, shoulder, sign * left, size) | _leg(own, shins[side], hip, sign, size)
        at |= {f"{name}_{side}": place for name, place in places.items()}
    return np.stack([at[name] for name in JOINTS], axis=1)


def _pelvis(p: Pose, shins: Pose, size: dict[str, float], planted: bool) -> np.ndarray:
    down, ahead = {}, {}
    for side, shin in shins.items():
        thigh = p[f"thigh_{side}"]
        down[side] = size["thigh"] * np.cos(thigh) + size["shin"] * np.cos(shin)
        ahead[side] = size["thigh"] * np.sin(thigh) + size["shin"] * np.sin(shin)
    z = p["forward"] - (0.5 * (ahead["r"] + ahead["l"]) if planted else 0.0)
    return vector(0, np.maximum(down["r"], down["l"]) + size["sole"] + p["lift"], z)


def _head(p: Pose, neck: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the head, and the middle of the face."""
    radius = LENGTH["head"] * height
    tip, turn = p["bend"] * 0.75 + p["nod"], p["look"] + p["twist"]
    crown = vector(np.sin(p["lean"]), np.cos(tip), np.sin(tip))
    gaze = vector(np.sin(turn) * np.cos(tip), -np.sin(tip), np.cos(tip) * np.cos(turn))
    head = neck + 0.115 * height * crown
    return head, head + 0.45 * radius * gaze - 0.12 * radius * crown


def _arm(p: Pose, shoulder: np.ndarray, outwards: np.ndarray, size: dict[str, float]) -> Pose:
    """Shoulder, elbow and hand of one side, from the side's own channels."""

    def along(pitch: np.ndarray, sideways: np.ndarray) -> np.ndarray:
        down, forward = -np.cos(sideways) * np.cos(pitch), np.cos(sideways) * np.sin(pitch)
        return vector(0, down, forward) + np.sin(sideways)[:, None] * outwards

    elbow = shoulder + size["upper"] * along(p["arm"], p["out"])
    hand = elbow + size["fore"] * along(p["fore"], p["fore_out"])
    return {"shoulder": shoulder, "elbow": elbow, "hand": hand}


def _leg(p: Pose, shin: np.ndarray, hip: np.ndarray, sign: float, size: dict[str, float]) -> Pose:
    """Hip, knee, ankle and toe of one side, from the side's own channels."""
    aside, thigh, point = np.sin(sign * p["spread"]), p["thigh"], 0.5 * shin
    knee = hip + size["thigh"] * vector(aside, -np.cos(thigh), np.sin(thigh))
    ankle = knee + size["shin"] * vector(aside, -np.cos(shin), np.sin(shin))
    toe = ankle + size["foot"] * vector(0, np.sin(point) * 0.6 - 0.2, np.cos(point))
    return {"hip": hip, "knee": knee, "ankle": ankle, "toe": toe}


def vector(x: np.ndarray | float, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def to_world(points: np.ndarray, yaw: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Rotate (T, n, 3) from left/up/forward to right/up/away from the camera, and add ``origin`` in metres.

    ``yaw`` (T,) is in degrees; 0 faces the camera.
    """
    angle = np.deg2rad(yaw)[:, None]
    left, up, forward = points[..., 0], points[..., 1], points[..., 2]
    x = left * np.cos(angle) + forward * np.sin(angle)
    z = left * np.sin(angle) - forward * np.cos(angle)
    return np.stack([x, up, z], -1) + origin


def limbs(where: np.ndarray, look: Look) -> list[Part]:
    """The body parts of a person, from joints ``where`` (T, 19, 3) in world coordinates, metres."""
    girth, head_radius = look.height * look.build, LENGTH["head"] * look.height
    at = {name: where[:, [index]] for index, name in enumerate(JOINTS)}

    def part(names: str, radii: tuple[float, ...], albedo: np.ndarray, nearer: float = 0.0) -> Part:
        points = np.concatenate([at[name] for name in names.split()], 1)
        return Part(points, np.array(radii) * girth, albedo, nearer=nearer)

    shin, calf = (look.skin, 0.036) if look.shorts else (look.trousers, 0.041)
    fore = look.shirt if look.sleeves else look.skin
    parts = [
        part("shoulder_r shoulder_l hip_r hip_l", (0.042, 0.042, 0.06, 0.06), look.shirt),
        part("hip_r hip_l", (0.064, 0.064), look.trousers),
    ]
    for s in ("r", "l"):
        parts += [
            part(f"hip_{s} knee_{s}", (0.058, 0.042), look.trousers),
            part(f"knee_{s} ankle_{s}", (calf, 0.026), shin),
            part(f"ankle_{s} toe_{s}", (0.027, 0.02), look.shoes),
            part(f"shoulder_{s} elbow_{s}", (0.036, 0.029), look.shirt, nearer=0.03),
            part(f"elbow_{s} hand_{s}", (0.027, 0.021), fore, nearer=0.04),
            part(f"hand_{s}", (0.027,), look.skin, nearer=0.05),
        ]
    throat = np.concatenate([at["neck"], 0.55 * at["neck"] + 0.45 * at["head"]], 1)
    parts += [
        Part(throat, np.array([0.03, 0.03]) * girth, look.skin),
        Part(at["head"], np.array([head_radius]), look.hair),
        Part(at["face"], np.array([0.8 * head_radius]), look.skin),
    ]
    if look.emblem is not None:
        parts.append(part("chest", (0.032,), look.emblem))
    return parts
