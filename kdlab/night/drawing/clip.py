"""Rendering of one clip from its index in the data set: actor, place and camera, then bright and dark frames."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator

from .actions import ACTIONS, pose_of
from .body import Part, draw_look, limbs
from .draws import SPLITS, draw, generators, group_of
from .light import Camera, draw_camera, expose, expose_well
from .paint import paint
from .scene import KINDS, Place, cuboid, distractors, draw_place
from .stage import FRAMES, draw_moment, draw_props, draw_view, place_actor, things

#: Factors of the pose of those who sit down where there is no seat.
_SQUAT = {"thigh_r": 1.25, "thigh_l": 1.25, "knee_r": 1.5, "knee_l": 1.5, "bend": 0.6}


@dataclass(frozen=True)
class Clip:
    """A clip in memory.

    ``bright``, ``dark``: (36, 128, 160, 3) uint8 RGB; ``masks``: (36, 128, 160) bool, the actor's pixels; ``joints``:
    (36, 19, 2) float32 pixels (x, y) in the order of ``JOINTS``, possibly outside the frame.
    """

    bright: np.ndarray
    dark: np.ndarray
    masks: np.ndarray
    joints: np.ndarray
    camera: Camera
    group: str


def render_clip(spec, split: str, class_name: str, index: int) -> Clip:
    """Render clip ``index`` of a class and split of the :class:`kdlab.night.Night` ``spec``.

    ``index`` may exceed ``per_class``. Raises ``ValueError`` for an unknown split or class, or an impossible index.
    """
    if split not in SPLITS or class_name not in ACTIONS or int(index) != index or index < 0:
        raise ValueError(
            f"no clip {split!r}, {class_name!r}, {index!r}: splits are {', '.join(SPLITS)}, "
            f"classes {', '.join(ACTIONS)}, and indices count from 0"
        )
    where, label, variety = SPLITS.index(split), ACTIONS.index(class_name), spec.variety
    number, group = group_of(spec.seed, split, class_name, index)
    (look_rng,) = generators(spec.seed, 2, where, number, count=1)
    # One generator per purpose: removing the actor, or adding a draw elsewhere, leaves the other draws unchanged.
    rngs = generators(spec.seed, 3, where, label, index, count=7)
    move, stand, lens, prop, mover, lit, noise = rngs

    in_context = bool(prop.random() < spec.context)
    look = draw_look(look_rng, variety)
    if in_context:  # the backdrop of the class, the same in all splits
        place = _place(variety, KINDS[label % len(KINDS)], 0, spec.seed, 4, label)
    else:
        place = _place(variety, None, 1, spec.seed, 2, where, number)
    props = draw_props(prop, class_name if in_context else None)
    view, distance, pan, begin = draw_view(look.height, variety, lens)
    moment = draw_moment(class_name, variety, move, begin)
    pose = pose_of(class_name, moment, draw(move, "sway", variety), move)
    if class_name in ("Sit", "Stand") and props.seat == "none":
        pose |= {name: pose[name] * factor for name, factor in _SQUAT.items()}
    placed = place_actor(class_name, pose, look, view, distance, pan, variety, stand)

    parts = distractors(moment.time, distance * 1.6, variety, mover)
    parts += things(class_name, props, placed, look, prop, spec.actor)
    parts += limbs(placed.joints, look) if spec.actor else []
    parts += _occluder(distance, variety, mover)
    frames = view.backdrop(place.radiance)
    masks = paint(frames, parts, view, place, fill=float(np.exp(0.35 * lit.normal())))
    camera = draw_camera(lit, frames)
    joints = view.screen(view.plane(placed.joints)[0]).astype(np.float32)
    return Clip(expose_well(frames), expose(frames, camera, noise), masks, joints, camera, group)


@lru_cache(maxsize=8)
def _place(variety: float, kind: str | None, child: int, *seeds: int) -> Place:
    """The place of a group of clips, which are often made one after the other."""
    return draw_place(generators(*seeds, count=child + 1)[child], variety, kind)


def _occluder(distance: float, variety: float, rng: Generator) -> list[Part]:
    """A post between camera and actor: rare, and only at high variety."""
    wanted = draw(rng, "occluder", variety)
    x, albedo = rng.uniform(-0.3, 0.3), rng.uniform(0.02, 0.4)
    if wanted < 0.9:
        return []
    depth = 0.6 * distance
    centre = np.tile([x * depth, 1.2, depth], (FRAMES, 1))
    return [cuboid(centre, (0.05 * depth, 3.5, 0.1), 0, albedo * np.ones(3))]
