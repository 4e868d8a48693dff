"""Is this folder fit to train on? Every clip is decoded once, from its first frame to its last; only facts are kept."""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.frame import PictureType

from kdlab import paths
from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.clips.container import DamagedClip, VideoInfo, Walk, opened
from kdlab.clips.datasets import open_data
from kdlab.clips.open_all import kept
from kdlab.clips.splits import shared_groups, some
from kdlab.clips.timeline import timeline
from kdlab.clips.tree import SUFFIXES, CatalogueError, is_aside, is_video, named, why_no_file
from kdlab.clips.views import ClipBatches
from kdlab.system.files import write_atomically
from kdlab.system.pool import each
from kdlab.system.progress import track

if TYPE_CHECKING:
    import pandas as pd

_GOP_SIZE = 12  # distance of key frames in the MPEG-4 part 2 files that compressed-video networks are trained on
_IMBALANCE = 3
_SQUARE = 0.01  # of a pixel: some tools round
_SHOWN = 8  # lines of a finding
_JUDGEMENT = 3  # raise it when a file that was sound is called damaged, or the other way round


@dataclass(frozen=True)
class Facts:
    """What one file is. ``reason`` is empty for a sound one, else as in DamagedClip, or of kind missing or unreadable.

    ``announced`` is false where no header says how long the file is, so that it may have been cut without a trace.
    ``decoded`` frames came out; ``gop`` is the longest distance of key frames; ``compressed`` says whether a reader of
    MPEG-4 part 2 with GOP 12 and no B-frames can use the file; ``pictures`` (hex digits) is equal for sound files whose
    decoded frames are equal, every pixel of every frame, whatever their names, containers and times. ``seconds`` is how
    long the film is; ``variable`` says that its frames follow no constant rate.
    """

    path: Path
    reason: str = ""
    info: VideoInfo | None = None
    decoded: int = 0
    gop: int = 0
    b_frames: bool = False
    compressed: bool = False
    pictures: str = ""
    announced: bool = True
    seconds: float = 0.0
    variable: bool = False


def inspect(path: Path) -> Facts:
    """Decode a file and drop its frames one by one. What is wrong with it is told, not raised."""
    if reason := why_no_file(path):
        return Facts(path, reason)
    digest, keys, types, walk = hashlib.blake2b(digest_size=16), [], set(), None
    try:
        with opened(path) as stream:
            walk = Walk(stream)
            for number, frame in enumerate(walk.frames()):
                types.add(frame.pict_type)
                keys += [number] * frame.key_frame
                for part in _pixels(frame):
                    digest.update(part)
    except DamagedClip as error:
        reason = error.reason
    except FileNotFoundError:
        reason = "missing: there is no such file"
    except OSError as error:
        reason = f"unreadable: {error.strerror}"
    if walk is None:
        return Facts(path, reason)
    gops = np.diff([*keys, walk.seen]).tolist()
    simple = walk.info.codec == "mpeg4" and types <= {PictureType.I, PictureType.P} and not reason
    regular = keys[:1] == [0] and set(gops[:-1]) <= {_GOP_SIZE} and gops[-1] <= _GOP_SIZE
    line = None if reason else timeline(path)
    variable = line is not None and line.times is not None
    seconds = line.seconds if variable else walk.seen / walk.info.fps if walk.info.fps else 0.0
    return Facts(path, reason, walk.info, walk.seen, max(gops, default=0), PictureType.B in types, simple and regular,
                 "" if reason else digest.hexdigest(), walk.announced, seconds=seconds, variable=variable)


def _pixels(frame: av.VideoFrame) -> Iterator[bytes]:
    """A frame as it was decoded: its format and size, and the rows of each plane without what pads them."""
    if frame.format.has_palette:
        frame = frame.reformat(format="rgb24")
    form, planes = frame.format, frame.planes
    yield f"{form.name} {frame.width}x{frame.height}".encode()
    for number, plane in enumerate(planes):
        bits = (form.padded_bits_per_pixel * frame.width if len(planes) == 1 else
                sum(8 * -(-part.bits // 8) * part.width for part in form.components if part.plane == number))
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, abs(plane.line_size))
        yield rows[:: -1 if plane.line_size < 0 else 1, : -(-bits // 8)].tobytes()  # upwards in many an AVI file


@dataclass(frozen=True)
class Finding:
    """Something to know, or ``fatal`` to a training, and ``where`` it was found."""

    fatal: bool
    what: str
    where: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """Facts of each file, and what follows from them for a catalogue (without classes for a folder of loose files).

    ``kept`` says what the frame cache has of it now.
    """

    catalogue: Catalogue
    facts: dict[Path, Facts]
    findings: tuple[Finding, ...]
    kept: str = ""

    @property
    def fit(self) -> bool:
        """Whether nothing fatal was found."""
        return not any(finding.fatal for finding in self.findings)

    def table(self) -> "pd.DataFrame":
        """One row a clip: what the catalogue says, what the container says (``frames``: announced), and the facts."""
        import pandas as pd

        names = self.catalogue.classes or [""]
        return pd.DataFrame([
            vars(record) | {"label": names[record.label]} | vars(facts.info or VideoInfo(*[None] * 6)) | vars(facts)
            for record in self.catalogue.records for facts in [self.facts[record.path]]]).drop(columns="info")

    def render(self) -> str:
        """One screen of text: facts, findings, verdict."""
        def most(words: Iterable[str]) -> str:
            return some([f"{word} ({number})" for word, number in Counter(words).most_common()], 4)

        catalogue, read = self.catalogue, [facts for facts in self.facts.values() if facts.info]
        minutes = sum(f.seconds for f in read) / 60
        lines = [f"{catalogue.root}: {len(catalogue.records)} clips in {len(self.facts)} files, "
                 f"{sum(f.decoded for f in read):,} frames, {minutes:.1f} min"]
        facts = {
            "format": most(f"{f.info.codec} in {f.info.container}" for f in read),
            "size": most(f"{f.info.width}x{f.info.height}" for f in read),
            "rate": most(f"{f.decoded / (f.seconds or 1):.4g} fps" + ", variable" * f.variable for f in read),
            "longest GOP": most(f"{f.gop} frames" for f in read),
            "B-frames": f"in {sum(f.b_frames for f in read)} files",
            "compressed": f"{sum(f.compressed for f in read)} files are fit for compressed-video networks (MPEG-4 part "
                          f"2, a key frame every {_GOP_SIZE}, no B-frames)"}
        for split, clips in catalogue.counts().items() if catalogue.classes else ():
            groups = len({record.group for record in catalogue.split(split)})
            each = f"{clips.min()} ({clips.idxmin()}) to {clips.max()} ({clips.idxmax()})"
            each = f"{clips.min()}" if clips.min() == clips.max() else each
            facts[split] = f"{clips.sum()} clips of {groups} groups; {each} per class"
        facts |= {"cache": self.kept} if self.kept else {}
        lines += [f"  {name:<12} {text}" for name, text in facts.items()]
        for fatal, title in ((False, "to know"), (True, "fatal")):
            found = [finding for finding in self.findings if finding.fatal == fatal]
            lines += [title] if found else []
            for finding in found:
                places, more = finding.where[:_SHOWN], len(finding.where) - _SHOWN
                lines.append(f"  - {len(finding.where)} x {finding.what}:" if places else f"  - {finding.what}")
                lines += [f"      {place}" for place in (*places, *([f"and {more} more"] if more > 0 else []))]
        return "\n".join([*lines, "fit to train on" if self.fit else "NOT fit to train on"])


def check(source: Path | str | Catalogue, test_fold: str | None = None, workers: int | None = None,
          min_frames: int = 8, progress: Callable = track, keep: ClipBatches | None = None) -> Report:
    """Open every clip of a catalogue, of what ``open_data`` reads, or of a folder of loose files.

    ``keep`` (without records) says under which views and through which window they will be trained on: their frames are
    then left in its cache, so that no training decodes them again.

    Fatal are files that cannot be decoded whole, clips of fewer than ``min_frames`` frames, groups or pictures that
    test shares with another split, pictures under several labels, and whatever ``Catalogue.require`` refuses. Raises
    FileNotFoundError where there is nothing, CatalogueError for a table that cannot be read, or a folder without a
    video, and ValueError for a decoder that is unknown or not installed.
    """
    findings = []
    try:
        catalogue = source if isinstance(source, Catalogue) else open_data(source, test_fold)
    except CatalogueError as error:
        root = named(source)
        loose = [ClipRecord(os.path.relpath(path, root), path, 0, "", "") for path in _videos(root)]
        if not loose:
            raise
        catalogue = Catalogue(root.name, root, (), tuple(loose))
        findings.append(Finding(True, f"only the files were checked, for want of a catalogue: {error}"))
    facts, reason = _facts(catalogue, workers, progress, keep)
    findings += _of_files(catalogue, facts, min_frames)
    findings += _of_pictures(catalogue, facts)
    findings += _of_splits(catalogue) if catalogue.classes else ()
    return Report(catalogue, facts, tuple(findings), _kept(keep, facts, reason) if keep else "")


def without_damaged(catalogue: Catalogue) -> Catalogue:
    """The catalogue without the clips of damaged files, each of which a note names with its reason.

    Every file is decoded for that once; the answer is kept in the cache folder for as long as the files stay the same.
    Raises FileNotFoundError when a clip is missing.
    """
    known = paths.cache_dir() / "damaged" / f"{catalogue.fingerprint()}-{_JUDGEMENT}.json"
    try:
        damaged = dict(json.loads(known.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        facts, _ = _facts(catalogue, None, track)
        damaged = {r.id: facts[r.path].reason for r in catalogue.records if facts[r.path].reason}
        write_atomically(known, lambda path: path.write_text(json.dumps(damaged, indent=1), "utf-8"))
    if not damaged:
        return catalogue
    note = f"Left out as damaged ({len(damaged)}): {', '.join(f'{id_} ({why})' for id_, why in damaged.items())}."
    return replace(catalogue, records=tuple(r for r in catalogue.records if r.id not in damaged),
                   notes=(*catalogue.notes, note))


# --- findings ------------------------------------------------------------------------------------------------------

def _of_files(catalogue: Catalogue, facts: dict[Path, Facts], min_frames: int) -> list[Finding]:
    found: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for path, entry in facts.items():
        name, suffix = os.path.relpath(path, catalogue.root), path.suffix.lower()
        if entry.reason:
            kind, _, detail = entry.reason.partition(": ")
            found[True, kind].append(f"{name}: {detail}")
        elif suffix not in SUFFIXES.get(entry.info.container, {suffix}):
            found[False, "readable, but misnamed: the container is another"].append(f"{name}: {entry.info.container}")
        if not entry.reason and not entry.announced:
            what = "length unknown: cannot tell whether it is whole"
            found[False, what].append(f"{name}: {entry.decoded} frames found")
        if not entry.reason and abs(entry.info.pixel - 1) > _SQUARE:
            what = "pixels that are not square, read as if they were: scale the clips if shapes matter"
            found[False, what].append(f"{name}: {entry.info.pixel:.3g} times as wide as high")
    for record in catalogue.records:
        length, timed = facts[record.path].decoded, (record.start, record.end) != (None, None)
        if timed and not facts[record.path].reason:
            length = max(0, timeline(record.path).stretch(record.start, record.end, length)[1])
        if length < min_frames and not facts[record.path].reason:
            what = f"too short, of fewer than {min_frames} frames (--min-frames)"
            found[True, what].append(f"{record.id}: {length} frames")
    if others := [os.path.relpath(path, catalogue.root) for path in _videos(catalogue.root) if path not in facts]:
        found[False, "video that lies there and is no part of the catalogue"] = others
    return [Finding(*what, where) for what, where in found.items()]


def _of_pictures(catalogue: Catalogue, facts: dict[Path, Facts]) -> Iterator[Finding]:
    same: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in catalogue.records:
        same[facts[record.path].pictures].append(record)
    same.pop("", None)
    found, classes = defaultdict(list), catalogue.classes or [""]
    for records in same.values():
        if len({record.path for record in records}) > 1:
            times = {(record.start, record.end) for record in records}  # segments of a video may differ in label
            labels = ", under several labels" * any(len({r.label for r in records if (r.start, r.end) == segment}) > 1
                                                    for segment in times)
            sides = ", in test and in another split" * (len({record.split == "test" for record in records}) > 1)
            found[labels + sides].append(some((f"{r.id} ({r.split or 'no split'}{labels and f', {classes[r.label]}'})"
                                               for r in records), 4))
    for how, where in found.items():
        yield Finding(bool(how), f"duplicate: the same pictures{how}", where)


def _of_splits(catalogue: Catalogue) -> Iterator[Finding]:
    if shared := shared_groups([r.group for r in catalogue.records], [r.split for r in catalogue.records]):
        yield Finding(True, "group that straddles test and another split: testing rewards recognising it", shared)
    try:
        catalogue.require()
    except CatalogueError as error:
        yield Finding(True, str(error))
    except FileNotFoundError:
        pass  # each is named already
    train = catalogue.counts()["train"]
    if train.max() > _IMBALANCE * train.min():
        yield Finding(False, f"out of balance: train has {train.max()} clips of {train.idxmax()}, {train.min()} of "
                             f"{train.idxmin()}")
    yield from (Finding(False, note) for note in catalogue.notes)


# --- helpers -------------------------------------------------------------------------------------------------------

def _facts(catalogue: Catalogue, workers: int | None, progress: Callable,
           keep: ClipBatches | None = None) -> tuple[dict[Path, Facts], str]:
    """The facts of each file, and why frames could not be kept; by several processes where there is enough to do."""
    clips: dict[Path, list[ClipRecord]] = defaultdict(list)
    for record in catalogue.records:
        clips[record.path].append(record)
    found = each(partial(_inspect, keep=keep), clips.values(), workers=workers if len(clips) > 16 else 1, chunk=4)
    found = list(progress(found, "opening clips", len(clips)))
    return {entry.path: entry for entry, _ in found}, next((why for _, why in found if why), "")


def _inspect(clips: list[ClipRecord], keep: ClipBatches | None) -> tuple[Facts, str]:
    """The facts of the file of some clips, whose frames are kept where it is sound; and why they could not be."""
    facts = inspect(clips[0].path)
    error, why = kept(keep, clips) if keep and not facts.reason else (None, "")
    return replace(facts, reason=error.reason) if isinstance(error, DamagedClip) else facts, why


def _kept(keep: ClipBatches, facts: dict[Path, Facts], reason: str) -> str:
    sound, root = sum(not entry.reason for entry in facts.values()), keep.cache.root
    if reason or not root.is_dir():
        return f"frames are not kept, or not all: {reason or 'no file is sound'}"
    size = sum(file.stat().st_size for file in root.iterdir() if file.is_file()) / 1e6
    views = ", ".join(dict.fromkeys(view.name for view in keep.views.values()))
    return (f"the frames of {sound} files are kept at {keep.window.side} pixels ({views}) for trainings; {root} has "
            f"{size:,.1f} MB now (delete it at any time; --no-cache keeps nothing)")


def _videos(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if is_video(path) and path.is_file()
                  and not any(map(is_aside, path.relative_to(root).parts)))
