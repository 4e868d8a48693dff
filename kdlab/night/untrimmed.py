"""Untrimmed `night`: one actor, one place, 20 to 60 seconds, several actions with idle time between them.

Actor, place, camera and light are drawn as for trimmed clips. These parts are new:

* Half a second before the start of an action, the idle pose begins to blend into it; the reverse follows its end.
* An actor who sits down stays seated for a while, and the next action is to stand up. Both actions are labelled if they
  are among the classes; otherwise they happen without a label. The chair is there from the start.
* An actor who walks or runs sets out in the current direction, and turns so as to stay within a few metres of the
  start. The camera follows with a delay, and only in part.
* The first 8 seconds set the exposure.
* Passers-by and other distractors come at any time.

A folder holds ``dark``, ``dark_mpeg4``, ``bright`` and ``truth``, as for trimmed clips, but with one sub-folder per
split. ``index.csv`` has one row per labelled segment (path,label,split,group,start,end; seconds). ``videos.csv`` has
one row per video (path,split,group,seconds).
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from kdlab.clips.records import Catalogue, ClipRecord
from kdlab.system.paths import data_dir
from kdlab.system.values import finite, integer

from . import folder
from .actions import ACTIONS, ACTIVE_SECONDS, TRAVELLING, Moment, Pose, keys, pose_of
from .body import Look, draw_look, joints, limbs, to_world
from .clip import Clip
from .codec import FPS
from .draws import SPLITS, draw, generators
from .light import Camera, brighten, draw_camera, expose, sample
from .make import Night, Twins
from .paint import WIDTH, View, paint
from .scene import chair, distractors, draw_place
from .stage import draw_view

JOIN = 0.5  # seconds of blending between idling and an action
BLOCK = 120  # frames rendered together, so that memory stays small
LEAD = 4  # frames before a block that warm up its denoiser


@dataclass(frozen=True)
class Untrimmed:
    """A set of untrimmed videos: ``videos`` in train, val and test; ``seconds`` their shortest and longest duration.

    ``classes``, ``variety`` and ``seed`` are those of :class:`kdlab.night.Night`. Three videos share an actor and a
    place (a group). A video depends on all values but ``videos``. Raises ``ValueError`` for impossible values.
    """

    classes: tuple[str, ...] = ACTIONS
    videos: tuple[int, int, int] = (24, 6, 12)
    seconds: tuple[float, float] = (20.0, 60.0)
    variety: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        integer(0, videos=list(self.videos))
        finite(seconds=list(self.seconds))
        if len(self.videos) != 3 or not any(self.videos):
            raise ValueError(f"videos={self.videos!r}: give three counts (train, val, test), e.g. (24, 6, 12)")
        if len(self.seconds) != 2 or not 12 <= self.seconds[0] <= self.seconds[1]:
            raise ValueError(f"seconds={self.seconds!r}: give the shortest and the longest duration, from 12 on")
        Night(self.classes, variety=self.variety, seed=self.seed)  # checks the values that clips have too

    @property
    def name(self) -> str:
        """The folder's name, e.g. ``night-untrimmed-v0.25-s0-1f3a``; the digits stand for classes and seconds."""
        rest = hashlib.sha256(json.dumps([self.classes, self.seconds]).encode()).hexdigest()[:4]
        return f"night-untrimmed-v{self.variety:g}-s{self.seed}-{rest}"

    def fingerprint(self) -> str:
        """Hash of the values and of the generator's sources, 16 hex digits."""
        return hashlib.sha256(json.dumps([asdict(self), _generator()]).encode()).hexdigest()[:16]

    def catalogue(self) -> Catalogue:
        """The labelled segments of the dark H.264 videos in the data folder; makes missing videos."""
        return make_untrimmed(self)


@dataclass(frozen=True)
class UntrimmedStream(Twins):
    """The labelled segments of the ``bright`` (or ``dark``, ``dark_mpeg4``) videos of untrimmed ``night``."""

    night: Untrimmed
    stream: str = "bright"

    @property
    def name(self) -> str:
        return "night_untrimmed" + ("" if self.stream == "bright" else f"_{self.stream}")

    def catalogue(self) -> Catalogue:
        """One record per segment; makes missing videos."""
        return make_untrimmed(self.night, stream=self.stream)


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


@dataclass(frozen=True)
class _Job:
    spec: Untrimmed
    split: str
    index: int

    @property
    def group(self) -> str:
        return f"{self.split}-g{self.index // 3:04d}"

    def name(self, stream: str) -> str:
        return f"{stream}/{self.split}/{self.split}-{self.index:04d}{folder.STREAMS.get(stream, '.npz')}"

    def stage(self) -> tuple[Look, View, float, Performance]:
        """The actor's look, the camera at the start, its distance in metres, and the performance."""
        (look_rng,) = generators(self.spec.seed, 5, SPLITS.index(self.split), self.index // 3, count=1)
        lens, act = generators(self.spec.seed, 6, SPLITS.index(self.split), self.index, count=2)
        look = draw_look(look_rng, self.spec.variety)
        view, distance, *_ = draw_view(look.height, self.spec.variety, lens)
        return look, view, distance, perform(self.spec, distance, act)


@cache  # each call of catalogue() needs it
def _labelled(job: _Job) -> tuple[Segment, ...]:
    return tuple(segment for segment in job.stage()[3].segments if segment.label in job.spec.classes)


def perform(spec: Untrimmed, distance: float, rng: np.random.Generator) -> Performance:
    """Draw a performance that starts ``distance`` metres before the camera.

    The order of actions comes from a shuffled deck of the classes, which is shuffled again when it is empty. Sit and
    Stand form one card.
    """
    time = np.arange(round(rng.uniform(*spec.seconds) * FPS)) / FPS
    sway = draw(rng, "sway", spec.variety)
    never = Moment(time, time[-1] + 60, 1, 1, 1)  # an action that never begins: the actor stands
    pose = pose_of("Turn", never, sway, rng)
    yaw, forward, gait = draw(rng, "view", spec.variety) + pose["yaw"], np.zeros_like(time), np.zeros_like(time)
    cards = [("Sit", "Stand")] * bool({"Sit", "Stand"} & set(spec.classes))
    cards += [(name,) for name in spec.classes if name not in ("Sit", "Stand")]
    deck, segments, now = [], [], rng.uniform(1, 3)
    while True:
        deck = deck or [cards[k] for k in rng.permutation(len(cards))]
        names = deck.pop()
        tempo = draw(rng, "tempo", spec.variety)
        spans = [ACTIVE_SECONDS[n] / tempo * (rng.uniform(1, 2) if n in TRAVELLING else 1) for n in names]
        pauses = rng.uniform(2 * JOIN + 0.2, 4, len(names))
        if now + sum(spans) + sum(pauses[:-1]) + JOIN > time[-1]:
            break
        for name, span, pause in zip(names, spans, pauses, strict=True):
            own = pose_of(name, Moment(time, now, span, draw(rng, "amplitude", spec.variety), tempo), sway, rng)
            until = now + span + (pause if name == "Sit" else 0)  # seated until Stand takes over
            weight = keys(time, (now - JOIN, 0), (now, 1), (until, 1), (until + JOIN, 0))
            pose = {k: v + weight * (own[k] - v) for k, v in pose.items()}
            first, last = np.searchsorted(time, (now - JOIN, now + span + JOIN))
            inside = np.arange(len(time)).clip(first, min(last, len(time) - 1))
            way = own["forward"][inside] - own["forward"][inside[0]]
            turn = own["yaw"][inside] - own["yaw"][inside[0]]
            if name in TRAVELLING:
                gait = np.maximum(gait, weight)
                ease = keys(time, (now - 0.3, 0), (now + 1.2, 1))
                turn = turn + ease * _bend(yaw, ease, forward + way, distance)
            yaw, forward = yaw + turn, forward + way
            segments.append(Segment(name, round(float(now), 3), round(float(now + span), 3)))
            now += span + pause
    at = _path(yaw, forward, distance)
    at[:, 2] = at[:, 2].clip(1.1)  # keep the actor in front of the camera
    del pose["yaw"]
    return Performance(tuple(segments), pose | {"forward": 0 * time}, yaw, at, gait)


def _path(yaw: np.ndarray, forward: np.ndarray, distance: float) -> np.ndarray:
    """Positions (T, 3) in metres of an actor who moves ``forward`` (T,) metres in the directions ``yaw`` (T,), degrees.
    """
    step, facing = np.diff(forward, prepend=forward[0]), np.deg2rad(yaw)
    return np.stack([np.cumsum(step * np.sin(facing)), 0 * step, distance - np.cumsum(step * np.cos(facing))], -1)


def _bend(yaw: np.ndarray, ease: np.ndarray, forward: np.ndarray, distance: float) -> float:
    """The change of direction, in degrees, whose path keeps away from the camera and near the start; small if possible.
    """
    aside, near, far = max(distance, 3.5), max(0.7 * distance, 1.7), max(3 * distance, 8)

    def cost(bend: float) -> float:
        x, _, z = _path(yaw + ease * bend, forward, distance).T
        outside = max((np.abs(x) - aside).max(), (near - z).max(), (z - far).max(), 0.0)
        return 10 * outside + max(float(np.hypot(x[-1], z[-1] - distance)) - 1.5, 0.0) + abs(bend) / 60

    return float(min(range(-180, 180, 15), key=cost))


def render_video(spec: Untrimmed, split: str, index: int) -> Video:
    """Render video ``index`` of a split. Raises ``ValueError`` for an unknown split or an impossible index."""
    if split not in SPLITS or int(index) != index or index < 0:
        raise ValueError(f"no video {split!r}, {index!r}: splits are {', '.join(SPLITS)}, and indices count from 0")
    job, where, variety = _Job(spec, split, index), SPLITS.index(split), spec.variety
    look, view, distance, acted = job.stage()
    (place_rng,) = generators(spec.seed, 7, where, index // 3, count=1)
    hand, seat, mover, lit, noise = generators(spec.seed, 8, where, index, count=5)
    place = draw_place(place_rng, variety)
    own = joints(acted.pose, look.height, planted=True)
    own += acted.gait[:, None, None] * (joints(acted.pose, look.height, planted=False) - own)
    body = to_world(own, acted.yaw, acted.at[:, None])
    view = _follow(view, body[:, :3].mean(1), variety, hand)

    time = np.arange(len(body)) / FPS
    parts = limbs(body, look)
    for begin in np.arange(0, time[-1], 8):
        parts += distractors(time - begin, distance * 1.6, 0.0, variety, mover)
    for segment in acted.segments:
        if segment.label == "Sit":
            then = int(segment.end * FPS)
            spot = body[then, 0] - (0, 0.06 * look.height * look.build, 0)
            parts += chair(spot, float(acted.yaw[then]), len(time), seat)

    fill, bright, dark, masks = float(np.exp(0.35 * lit.normal())), [], [], []
    for start in range(0, len(time), BLOCK):
        lead = min(start, LEAD)
        cut = slice(start - lead, start + BLOCK)
        seen = replace(view, offset=view.offset[cut], roll=view.roll[cut])
        frames = seen.backdrop(place.radiance)
        shown = paint(frames, [replace(p, points=p.points[cut]) for p in parts], seen, place, fill)
        if not start:  # the first block sets the exposure of all blocks
            camera = replace(draw_camera(lit, frames), steps=())
            metered, top = _metered(frames, camera)
        now = _metered(frames, camera)[0] / metered
        dark.append(expose(frames, camera, noise, exposure=now)[lead:])
        bright.append(brighten(frames, top)[lead:])
        masks.append(shown[lead:])
    pixels = view.screen(view.plane(body)[0]).astype(np.float32)
    bright, dark, masks = (np.concatenate(blocks) for blocks in (bright, dark, masks))
    return Video(bright, dark, masks, pixels, camera, job.group, acted.segments)


def _metered(radiance: np.ndarray, camera: Camera) -> tuple[float, float]:
    """The median light from which ``expose`` sets the exposure of ``radiance``, and the gain of ``expose_well``.

    Both functions meter their input, but every block of a video needs the exposure of the first block.
    """
    grey = sample(radiance)
    middle, high = np.percentile(grey, (50, 98))
    return float(middle + camera.glare * grey.mean()), float(min(0.098 / middle, 0.9 / high))


def _follow(view: View, target: np.ndarray, variety: float, rng: np.random.Generator) -> View:
    """Extend ``view`` to T frames in which it follows ``target`` (T, 3), in metres, with drift and tremor."""
    from scipy.ndimage import gaussian_filter1d  # here, because only rendering needs it

    on_plane = view.plane(target[:, None])[0][:, 0]
    late = gaussian_filter1d(on_plane, 0.6 * FPS, axis=0, mode="nearest")

    def wander(seconds: float) -> np.ndarray:
        moved = gaussian_filter1d(rng.normal(size=on_plane.shape), seconds * FPS, axis=0)
        return moved / moved.std()

    offset = view.offset.mean(0) + rng.uniform(0.6, 1) * (late - on_plane[0])
    offset += draw(rng, "shake", variety) * wander(0.08) + 0.3 * WIDTH * draw(rng, "pan", variety) * wander(2.5)
    return replace(view, offset=offset, roll=np.full(len(target), view.roll.mean()))


def make_untrimmed(spec: Untrimmed, root: Path | None = None, *, workers: int | None = None,
                   progress: bool = True, stream: str = "dark") -> Catalogue:
    """Make the missing videos in ``root`` (default ``data_dir()/spec.name``); return the labelled segments of a stream.

    There is one record per segment; ``stream`` is "dark", "dark_mpeg4" or "bright". As in
    :func:`kdlab.night.make_night`, the work is parallel with the same bits, and resumable; a folder holds one data set.
    """
    root = Path(root) if root is not None else data_dir() / spec.name
    values = json.loads(json.dumps(asdict(spec) | {"context": None}))  # unlike in trimmed clips' folders
    del values["videos"]
    write_tables = partial(_write_tables, spec)
    folder.complete(root, _jobs(spec), values, _generator(), _make_one, write_tables, workers, progress)
    records = []
    for job in _jobs(spec):
        path, name = root / job.name(stream), job.name(stream).rpartition(".")[0]
        records += [ClipRecord(f"{name}@{start:g}-{end:g}", path, spec.classes.index(label), job.split, job.group,
                               start, end) for label, start, end in _labelled(job)]  # fmt: skip
    return Catalogue(spec.name if stream == "dark" else f"{spec.name}-{stream}", root, spec.classes, tuple(records))


def _generator() -> str:
    """Hash of the sources that determine actions and pixels, 16 hex digits."""
    return folder.sources("__init__.py", "darkened.py", "folder.py", "make.py")


def _jobs(spec: Untrimmed) -> list[_Job]:
    return [_Job(spec, split, k) for split, count in zip(SPLITS, spec.videos, strict=True) for k in range(count)]


def _make_one(job: _Job, root: Path) -> None:
    cv2.setNumThreads(1)
    video = render_video(job.spec, job.split, job.index)
    labels, starts, ends = map(np.array, zip(*video.segments, strict=True))
    folder.write_video(job, root, video, segment_labels=labels, segment_starts=starts, segment_ends=ends)


def _write_tables(spec: Untrimmed, root: Path) -> None:
    """Write ``index.csv`` and ``videos.csv`` with every complete video, including those of larger specifications."""
    segments, videos = [], []
    made = [_Job(spec, path.parent.name, int(path.stem.rsplit("-", 1)[1]))
            for path in sorted((root / folder.TRUTH).glob("*/*.npz"))]
    lacking = set(folder.missing(made, root))
    for job in (job for job in made if job not in lacking):
        name = job.name("dark")
        videos.append([name, job.split, job.group, round(len(job.stage()[3].yaw) / FPS, 3)])
        segments += [[name, label, job.split, job.group, start, end] for label, start, end in _labelled(job)]
    folder.write_table(root / "index.csv", segments, ("path", "label", "split", "group", "start", "end"))
    folder.write_table(root / "videos.csv", videos, ("path", "split", "group", "seconds"))
