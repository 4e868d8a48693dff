"""Is this folder fit to train on? Every clip is decoded once, from its first frame to its last; only facts are kept."""

import hashlib
import json
import mimetypes
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from av.video.frame import PictureType

from kdlab import paths
from kdlab.clips.catalogue import VIDEO_SUFFIXES, Catalogue, ClipRecord
from kdlab.clips.container import DamagedClip, VideoInfo, Walk, opened
from kdlab.clips.datasets import open_data
from kdlab.clips.splits import shared_groups, some
from kdlab.clips.tables import CatalogueError
from kdlab.clips.timeline import timeline
from kdlab.files import write_atomically
from kdlab.processes import available_cores, pool
from kdlab.progress import track

if TYPE_CHECKING:
    import pandas as pd

_SUFFIXES = {"mp4": {".mp4", ".m4v", ".mov"}, "mkv": {".mkv", ".webm"}, "avi": {".avi"}}
_GOP_SIZE = 12  # distance of key frames in the MPEG-4 part 2 files that compressed-video networks are trained on
_IMBALANCE = 3
_SHOWN = 8  # lines of a finding
_JUDGEMENT = 2  # raise it when a file that was sound is called damaged, or the other way round


@dataclass(frozen=True)
class Facts:
    """What one file is. ``reason`` is empty for a sound one, else as in DamagedClip, or of kind missing or unreadable.

    ``announced`` is false where no header says how long the file is, so that it may have been cut without a trace.
    ``decoded`` frames came out; ``gop`` is the longest distance of key frames; ``compressed`` says whether a reader of
    MPEG-4 part 2 with GOP 12 and no B-frames can use the file; ``pictures`` (hex digits) is equal for sound files that
    show the same pictures, whatever their names and containers.
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


def inspect(path: Path) -> Facts:
    """Decode a file and drop its frames one by one. What is wrong with it is told, not raised."""
    digest, keys, types, walk, reason = hashlib.blake2b(digest_size=16), [], set(), None, ""
    try:
        with opened(path) as stream:
            walk = Walk(stream)
            for number, frame in enumerate(walk.frames()):
                types.add(frame.pict_type)
                keys += [number] * frame.key_frame
                luma = frame.planes[0]
                rows = np.frombuffer(luma, np.uint8).reshape(luma.height, luma.line_size)
                digest.update(rows[::8, :frame.width].tobytes())  # of all frames, that tells clips apart as well as all
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
    return Facts(path, reason, walk.info, walk.seen, max(gops, default=0), PictureType.B in types, simple and regular,
                 "" if reason else digest.hexdigest(), walk.announced)


@dataclass(frozen=True)
class Finding:
    """Something to know, or ``fatal`` to a training, and ``where`` it was found."""

    fatal: bool
    what: str
    where: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """Facts of each file, and what follows from them for a catalogue (without classes for a folder of loose files)."""

    catalogue: Catalogue
    facts: dict[Path, Facts]
    findings: tuple[Finding, ...]

    @property
    def fit(self) -> bool:
        """Whether nothing fatal was found."""
        return not any(finding.fatal for finding in self.findings)

    def table(self) -> "pd.DataFrame":
        """One row a clip: what the catalogue says, what the container says (``frames``: announced), and the facts."""
        import pandas as pd

        names = self.catalogue.classes or [""]
        return pd.DataFrame([
            vars(record) | {"label": names[record.label]} | vars(its.info or VideoInfo(*[None] * 6)) | vars(its)
            for record in self.catalogue.records for its in [self.facts[record.path]]]).drop(columns="info")

    def render(self) -> str:
        """One screen of text: facts, findings, verdict."""
        catalogue, read = self.catalogue, [facts for facts in self.facts.values() if facts.info]
        minutes = sum(f.decoded / f.info.fps for f in read if f.info.fps) / 60
        lines = [f"{catalogue.root}: {len(catalogue.records)} clips in {len(self.facts)} files, "
                 f"{sum(f.decoded for f in read):,} frames, {minutes:.1f} min"]
        facts = {
            "format": _most(f"{f.info.codec} in {f.info.container}" for f in read),
            "size": _most(f"{f.info.width}x{f.info.height}" for f in read),
            "rate": _most(f"{f.info.fps:.4g} fps" for f in read),
            "longest GOP": _most(f"{f.gop} frames" for f in read),
            "B-frames": f"in {sum(f.b_frames for f in read)} files",
            "compressed": f"{sum(f.compressed for f in read)} files are fit for compressed-video networks (MPEG-4 part "
                          f"2, a key frame every {_GOP_SIZE}, no B-frames)"}
        for split, clips in catalogue.counts().items() if catalogue.classes else ():
            groups = len({record.group for record in catalogue.split(split)})
            facts[split] = (f"{clips.sum()} clips of {groups} groups; per class {clips.min()} ({clips.idxmin()}) "
                            f"to {clips.max()} ({clips.idxmax()})")
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
          min_frames: int = 8, progress: Callable = track) -> Report:
    """Open every clip of a catalogue, of what ``open_data`` reads, or of a folder of loose files.

    Fatal are files that cannot be decoded whole, clips of fewer than ``min_frames`` frames, groups or pictures that
    test shares with another split, and whatever ``Catalogue.require`` refuses. Raises FileNotFoundError where there is
    nothing, and CatalogueError for a table that cannot be read, or a folder without a video.
    """
    findings = []
    try:
        catalogue = source if isinstance(source, Catalogue) else open_data(source, test_fold)
    except CatalogueError as error:
        root = Path(source).expanduser()
        loose = [ClipRecord(os.path.relpath(path, root), path, 0, "", "") for path in _videos(root)]
        if not loose:
            raise
        catalogue = Catalogue(root.name, root, (), tuple(loose))
        findings.append(Finding(True, f"only the files were checked, for want of a catalogue: {error}"))
    facts = _facts(catalogue, workers, progress)
    findings += _of_files(catalogue, facts, min_frames)
    findings += _of_pictures(catalogue, facts)
    findings += _of_splits(catalogue) if catalogue.classes else ()
    return Report(catalogue, facts, tuple(findings))


def without_damaged(catalogue: Catalogue) -> Catalogue:
    """The catalogue without the clips of damaged files, each of which a note names with its reason.

    Every file is decoded for that once; the answer is kept in the cache folder for as long as the files stay the same.
    Raises FileNotFoundError when a clip is missing.
    """
    known = paths.cache_dir() / "damaged" / f"{catalogue.fingerprint()}-{_JUDGEMENT}.json"
    try:
        damaged = json.loads(known.read_text("utf-8"))
    except (OSError, ValueError):
        facts = _facts(catalogue, None, track)
        damaged = {r.id: facts[r.path].reason for r in catalogue.records if facts[r.path].reason}
        write_atomically(known, lambda path: path.write_text(json.dumps(damaged, indent=1), "utf-8"))
    if not damaged:
        return catalogue
    note = f"Left out as damaged ({len(damaged)}): {', '.join(f'{id_} ({why})' for id_, why in damaged.items())}."
    return replace(catalogue, records=tuple(r for r in catalogue.records if r.id not in damaged),
                   notes=(*catalogue.notes, note))


# --- findings ------------------------------------------------------------------------------------------------------

def _of_files(catalogue: Catalogue, facts: dict[Path, Facts], min_frames: int) -> Iterator[Finding]:
    bad, short, misnamed, endless = defaultdict(list), [], [], []
    for path, its in facts.items():
        name = os.path.relpath(path, catalogue.root)
        if its.reason:
            kind, _, detail = its.reason.partition(": ")
            bad[kind].append(f"{name}: {detail}")
        elif path.suffix.lower() not in _SUFFIXES.get(its.info.container, {path.suffix.lower()}):
            misnamed.append(f"{name}: {its.info.container}")
        if not its.reason and not its.announced:
            endless.append(f"{name}: {its.decoded} frames found")
    for record in catalogue.records:
        its = facts[record.path]
        if not its.reason:
            length = its.decoded
            if (record.start, record.end) != (None, None):
                length = max(0, timeline(record.path).stretch(record.start, record.end, its.decoded)[1])
            short += [f"{record.id}: {length} frames"] if length < min_frames else []
    yield from (Finding(True, kind, where) for kind, where in bad.items())
    if short:
        yield Finding(True, f"too short, of fewer than {min_frames} frames (--min-frames)", short)
    if misnamed:
        yield Finding(False, "readable, but misnamed: the container is another", misnamed)
    if endless:
        yield Finding(False, "length unknown: cannot tell whether it is whole", endless)
    others = [os.path.relpath(path, catalogue.root) for path in _videos(catalogue.root) if path not in facts]
    if others:
        yield Finding(False, "video that lies there and is no part of the catalogue", others)


def _of_pictures(catalogue: Catalogue, facts: dict[Path, Facts]) -> Iterator[Finding]:
    same: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in catalogue.records:
        same[facts[record.path].pictures].append(record)
    same.pop("", None)
    found: dict[bool, list[str]] = {True: [], False: []}
    for records in same.values():
        if len({record.path for record in records}) > 1:
            across = len({record.split == "test" for record in records}) > 1
            labels = ", under several labels" if len({record.label for record in records}) > 1 else ""
            found[across].append(some((f"{r.id} ({r.split or 'no split'})" for r in records), 4) + labels)
    for across, where in found.items():
        if where:
            sides = ", in test and in another split" if across else ""
            yield Finding(across, f"duplicate: the same pictures{sides}", where)


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

def _facts(catalogue: Catalogue, workers: int | None, progress: Callable) -> dict[Path, Facts]:
    files = list(dict.fromkeys(record.path for record in catalogue.records))
    return {its.path: its for its in progress(_inspected(files, workers), "opening clips", len(files))}


def _inspected(files: list[Path], workers: int | None) -> Iterator[Facts]:
    """The facts of each file, in order; by several processes where there is enough to do."""
    workers = min(workers or available_cores(), len(files) // 8)
    if workers <= 1:
        yield from map(inspect, files)
        return
    with pool(workers, preload=[__name__]) as processes:
        yield from processes.map(inspect, files, chunksize=min(16, -(-len(files) // (8 * workers))))


def _videos(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("[!.]*") if path.is_file() and (
        path.suffix.lower() in VIDEO_SUFFIXES or (mimetypes.guess_type(path.name)[0] or "").startswith("video/")))


def _most(words: Iterable[str]) -> str:
    return some([f"{word} ({number})" for word, number in Counter(words).most_common()], 4)
