"""Rendering of one untrimmed video: an actor's performance, and bright and dark frames in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from .actions import ACTIVE_SECONDS, TRAVELLING, Moment, Pose, keys, pose_of
from .body import Look, draw_look, joints, limbs, to_world
from .clip import Clip
from .codec import FPS
from .draws import SPLITS, draw, generators
from .light import Camera, brighten, draw_camera, expose, sample
from .paint import WIDTH, View, paint
from .scene import chair, distractors, draw_place
from .stage import draw_view

JOIN = 0.5  # seconds of blending between idling and an action
BLOCK = 120  # frames rendered together, so that memory stays small
LEAD = 4  # frames before a block that warm up its denoiser
GROUP = 3  # videos with one actor and one place


class Segment(NamedTuple):
    """An action from ``start`` to ``end`` (seconds); ``label`` is one of :data:`ACTIONS`."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Performance:
    """The actor's performance in a whole video of T frames.

    ``segments`` in order, including unlabelled ones; ``pose`` without displacement; ``yaw`` (T,) in degrees; ``at``
    (T, 3) in metres right, up, away; ``gait`` (T,), 1 while walking or running, 0 at rest.
    """

    segments: tuple[Segment, ...]
    pose: Pose
    yaw: np.ndarray
    at: np.ndarray
    gait: np.ndarray


@dataclass(frozen=True)
class Video(Clip):
    """A clip of T frames, with the ``segments`` of its actions."""

    segments: tuple[Segment, ...] = ()


def group_of_video(split: str, index: int) -> str:
    """Id of the group of a video."""
    return f"{split}-g{index // GROUP:04d}"


def staged(spec, split: str, index: int) -> tuple[Look, View, float, Performance]:
    """The actor's look, the camera at the start, its distance in metres, and the performance, of a video of the
    :class:`kdlab.night.untrimmed.Untrimmed` ``spec``."""
    where = SPLITS.index(split)
    (look_rng,) = generators(spec.seed, 5, where, index // GROUP, count=1)
    lens, act = generators(spec.seed, 6, where, index, count=2)
    look = draw_look(look_rng, spec.variety)
    view, distance, *_ = draw_view(look.height, spec.variety, lens)
    return look, view, distance, perform(spec, distance, act)


def perform(spec, distance: float, rng: Generator) -> Performance:
    """Draw a performance that starts ``distance`` metres before the camera.

    The order of actions comes from a shuffled deck of the classes, which is shuffled again when it is empty. Sit and
    Stand form one card.
    """
    time = np.arange(round(rng.uniform(*spec.seconds) * FPS)) / FPS
    sway = draw(rng, "sway", spec.variety)
    never = Moment(time, time[-1] + 60, 1, 1, 1)  # an action that never begins: the actor stands
    pose = pose_of("Turn", never, sway, rng)
    yaw = draw(rng, "view", spec.variety) + pose["yaw"]
    forward, gait = np.zeros_like(time), np.zeros_like(time)
    segments = []
    for name, start, span, pause, tempo in _programme(spec, time[-1], rng):
        moment = Moment(time, start, span, draw(rng, "amplitude", spec.variety), tempo)
        own, end = pose_of(name, moment, sway, rng), start + span
        until = end + (pause if name == "Sit" else 0)  # seated until Stand takes over
        weight = keys(time, (start - JOIN, 0), (start, 1), (until, 1), (until + JOIN, 0))
        pose = {k: v + weight * (own[k] - v) for k, v in pose.items()}
        first, last = np.searchsorted(time, (start - JOIN, end + JOIN))
        inside = np.arange(len(time)).clip(first, min(last, len(time) - 1))
        way, turn = (own[k][inside] - own[k][inside[0]] for k in ("forward", "yaw"))
        if name in TRAVELLING:
            gait = np.maximum(gait, weight)
            ease = keys(time, (start - 0.3, 0), (start + 1.2, 1))
            turn = turn + ease * _bend(yaw, ease, forward + way, distance)
        yaw, forward = yaw + turn, forward + way
        segments.append(Segment(name, round(float(start), 3), round(float(end), 3)))
    at = _path(yaw, forward, distance)
    at[:, 2] = at[:, 2].clip(1.1)  # keep the actor in front of the camera
    del pose["yaw"]
    return Performance(tuple(segments), pose | {"forward": 0 * time}, yaw, at, gait)


def _programme(
    spec, end: float, rng: Generator
) -> Iterator[tuple[str, float, float, float, float]]:
    """Each action's name, start, span, pause after it, and tempo, until ``end``; all times in seconds."""
    seated = ("Sit", "Stand")
    cards = [(name,) for name in spec.classes if name not in seated]
    if len(cards) < len(spec.classes):
        cards.insert(0, seated)
    deck, now = [], rng.uniform(1, 3)
    while True:
        deck = deck or [cards[k] for k in rng.permutation(len(cards))]
        names = deck.pop()
        tempo = draw(rng, "tempo", spec.variety)
        spans = [
            ACTIVE_SECONDS[n] / tempo * (rng.uniform(1, 2) if n in TRAVELLING else 1) for n in names
        ]
        pauses = rng.uniform(2 * JOIN + 0.2, 4, len(names))
        if now + sum(spans) + sum(pauses[:-1]) + JOIN > end:
            return
        for name, span, pause in zip(names, spans, pauses, strict=True):
            yield name, now, span, pause, tempo
            now += span + pause


def _path(yaw: np.ndarray, forward: np.ndarray, distance: float) -> np.ndarray:
    """Positions (T, 3) in metres of an actor who moves ``forward`` (T,) metres in the directions ``yaw`` (T,), degrees."""
    step, facing = np.diff(forward, prepend=forward[0]), np.deg2rad(yaw)
    aside, away = np.cumsum(step * np.sin(facing)), np.cumsum(step * np.cos(facing))
    return np.stack([aside, 0 * step, distance - away], -1)


def _bend(yaw: np.ndarray, ease: np.ndarray, forward: np.ndarray, distance: float) -> float:
    """The change of direction, in degrees, whose path keeps away from the camera and near the start; small if possible."""
    aside, near, far = max(distance, 3.5), max(0.7 * distance, 1.7), max(3 * distance, 8)

    def cost(bend: float) -> float:
        x, _, z = _path(yaw + ease * bend, forward, distance).T
        outside = max((np.abs(x) - aside).max(), (near - z).max(), (z - far).max(), 0.0)
        astray = max(float(np.hypot(x[-1], z[-1] - distance)) - 1.5, 0.0)
        return 10 * outside + astray + abs(bend) / 60

    return float(min(range(-180, 180, 15), key=cost))


def render_video(spec, split: str, index: int) -> Video:
    """Render video ``index`` of a split. Raises ``ValueError`` for an unknown split or an impossible index."""
    if split not in SPLITS or int(index) != index or index < 0:
        raise ValueError(
            f"no video {split!r}, {index!r}: splits are {', '.join(SPLITS)}, and indices count from 0"
        )
    where, variety = SPLITS.index(split), spec.variety
    look, view, distance, acted = staged(spec, split, index)
    (place_rng,) = generators(spec.seed, 7, where, index // GROUP, count=1)
    hand, seat, mover, lit, noise = generators(spec.seed, 8, where, index, count=5)
    place = draw_place(place_rng, variety)
    body = _moved(acted, look.height)
    view = _follow(view, body[:, :3].mean(1), variety, hand)

    parts = limbs(body, look)
    time = np.arange(len(body)) / FPS
    for begin in np.arange(0, time[-1], 8):
        parts += distractors(time - begin, distance * 1.6, variety, mover)
    for segment in acted.segments:
        if segment.label == "Sit":
            then = int(segment.end * FPS)
            spot = body[then, 0] - (0, 0.06 * look.height * look.build, 0)
            parts += chair(spot, float(acted.yaw[then]), len(time), seat)

    fill, blocks = float(np.exp(0.35 * lit.normal())), []
    for start in range(0, len(time), BLOCK):
        lead = min(start, LEAD)
        cut = slice(start - lead, start + BLOCK)
        seen = replace(view, offset=view.offset[cut], roll=view.roll[cut])
        frames = seen.backdrop(place.radiance)
        masks = paint(frames, [replace(p, points=p.points[cut]) for p in parts], seen, place, fill)
        if not start:  # the first block sets the exposure of all blocks
            camera = replace(draw_camera(lit, frames), steps=())
            metered, top = _metered(frames, camera)
        now = _metered(frames, camera)[0] / metered
        dark = expose(frames, camera, noise, exposure=now)
        blocks.append([shown[lead:] for shown in (brighten(frames, top), dark, masks)])
    streams = (np.concatenate(stream) for stream in zip(*blocks, strict=True))
    pixels = view.screen(view.plane(body)[0]).astype(np.float32)
    return Video(*streams, pixels, camera, group_of_video(split, index), acted.segments)


def _moved(acted: Performance, height: float) -> np.ndarray:
    """The joints (T, 19, 3) of the performance in the world, in metres. The feet are planted except while walking."""
    own = joints(acted.pose, height, planted=True)
    own += acted.gait[:, None, None] * (joints(acted.pose, height, planted=False) - own)
    return to_world(own, acted.yaw, acted.at[:, None])


def _metered(radiance: np.ndarray, camera: Camera) -> tuple[float, float]:
    """The median light from which ``expose`` sets the exposure of ``radiance``, and the gain of ``expose_well``.

    Both functions meter their input, but every block of a video needs the exposure of the first block.
    """
    grey = sample(radiance)
    middle, high = np.percentile(grey, (50, 98))
    return float(middle + camera.glare * grey.mean()), float(min(0.098 / middle, 0.9 / high))


def _follow(view: View, target: np.ndarray, variety: float, rng: Generator) -> View:
    """Extend ``view`` to T frames in which it follows ``target`` (T, 3), in metres, with drift and tremor."""
    from scipy.ndimage import gaussian_filter1d  # here, because only rendering needs it

    on_plane = view.plane(target[:, None])[0][:, 0]
    late = gaussian_filter1d(on_plane, 0.6 * FPS, axis=0, mode="nearest")

    def wander(seconds: float) -> np.ndarray:
        moved = gaussian_filter1d(rng.normal(size=on_plane.shape), seconds * FPS, axis=0)
        return moved / moved.std()

    offset = view.offset.mean(0) + rng.uniform(0.6, 1) * (late - on_plane[0])
    tremor = draw(rng, "shake", variety) * wander(0.08)
    offset += tremor + 0.3 * WIDTH * draw(rng, "pan", variety) * wander(2.5)
    return replace(view, offset=offset, roll=np.full(len(target), view.roll.mean()))
