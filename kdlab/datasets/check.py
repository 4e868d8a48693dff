"""Check whether a data set is fit for training, by decoding every frame of every clip once."""

import hashlib
import json
import math
import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, product, zip_longest
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import numpy as np
from av.video.reformatter import VideoReformatter

from kdlab.clips.records import Catalogue, CatalogueError, ClipRecord
from kdlab.datasets.catalogue import from_folder
from kdlab.datasets.released import open_data
from kdlab.datasets.splits import NO_GROUPS, shared_groups
from kdlab.system import paths
from kdlab.system.files import NotOurs, read_json, why_no_file, write_content, write_csv
from kdlab.system.pool import each, track
from kdlab.system.values import some
from kdlab.video.container import DamagedClip, StreamReader, VideoInfo, open_stream, timeline
from kdlab.video.decode import each_frame
from kdlab.video.decoders import OTHERS, frames_by, library

_SHOWN = 8  # lines of a finding
_COLOURS = 1  # mean difference of two decoders' colour conversions, of 255 levels; it is 0.2 where they differ
_ROUNDED = 0.5  # seconds that the end of a segment may lie after its film: tables round times
_SQUARE = 0.01  # tolerance of the pixel aspect ratio, which some tools round
#: Names of files that tell a group.
_RECORDINGS = (
    r"(.+)_\d{6}_\d{6}",  # Kinetics: a film, and from when to when
    r"g(?:opr|[hlpx]\d\d)(\d{4})",  # GoPro: a chapter of a recording
    r"s\d{3}c\d{3}(p\d{3})r\d{3}a\d{3}.*",  # NTU RGB+D: a setup, camera, person, repetition and action
    r"(person\d+)_.*_d\d+.*",  # KTH: a person, action and place
    r"(.*\d)[ ._-]+\(?(?:[a-z]*[ ._-]?\d+|[a-z])\)?",  # others: anna_01_02, anna 01 take 02, anna01 (2), anna01_b
)
#: Raise it when the rules of damage change: a sound file becomes damaged, or the reverse.
_JUDGEMENT = 4


class Facts(NamedTuple):
    """The facts of one file. ``reason`` is empty for a sound file, else as in DamagedClip, or missing or unreadable.

    ``announced`` is false if no header gives the length of the file; then a truncation cannot be detected. ``decoded``
    is the number of decoded frames. ``pictures`` (hex digits) is a hash of all pixels of all frames, independent of
    name, container and times. ``seconds`` is the duration of the video.
    """

    reason: str = ""
    info: VideoInfo | None = None
    decoded: int = 0
    pictures: str = ""
    announced: bool = True
    seconds: float = 0.0


def inspect(path: Path) -> Facts:
    """Decode a file frame by frame and return its facts. Faults of the file are returned, not raised."""
    if reason := why_no_file(path):
        return Facts(reason)
    digest, converter = hashlib.blake2b(digest_size=16), VideoReformatter()
    try:
        with open_stream(path) as stream:
            reader = StreamReader(stream)
            for frame in reader.frames():
                digest.update(f"{frame.width}x{frame.height}".encode())
                pixels = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                digest.update(np.ascontiguousarray(pixels))  # rows of odd widths are padded
        seconds = timeline(path).seconds
        return Facts("", reader.info, reader.decoded, digest.hexdigest(), reader.announced, seconds)
    except DamagedClip as error:
        return Facts(error.reason)
    except OSError as error:
        return Facts(f"unreadable: {error.strerror or error}")


#: Of a finding: whether it is fatal, what it is, and where it applies.
Findings = Iterator[tuple[bool, str, list[str]]]


class Finding(NamedTuple):
    """A finding about the data, ``where`` it applies, and whether it is ``fatal`` to training."""

    fatal: bool
    what: str
    where: Sequence[str]


class Report(NamedTuple):
    """The facts of each file of a catalogue, and the findings that follow from them."""

    catalogue: Catalogue
    facts: dict[Path, Facts]
    findings: tuple[Finding, ...]

    @property
    def fit(self) -> bool:
        """True if no finding is fatal."""
        return not any(finding.fatal for finding in self.findings)

    def render(self) -> str:
        """The report as text: facts, findings, verdict."""

        def most(words: Iterable[str]) -> str:
            return some([f"{word} ({number})" for word, number in Counter(words).most_common()], 4)

        catalogue, read = self.catalogue, [facts for facts in self.facts.values() if facts.info]
        lines = [
            f"{catalogue.root}: {len(catalogue.records)} clips in {len(self.facts)} files, "
            f"{sum(f.decoded for f in read):,} frames, {sum(f.seconds for f in read) / 60:.1f} min",
            "  format  " + most(f"{f.info.codec} in {f.info.container}" for f in read),
            "  size    " + most(f"{f.info.width}x{f.info.height}" for f in read),
            "  rate    " + most(f"{f.decoded / (f.seconds or 1):.4g} fps" for f in read),
            indent(catalogue.counts().to_string(), "  "),
        ]
        for finding in sorted(self.findings, key=lambda finding: finding.fatal):
            count = len(finding.where)
            line = f"{'fatal' if finding.fatal else 'to know'}: {finding.what}"
            lines.append(f"{line} ({count}):" if count else line)
            lines += [f"    {place}" for place in finding.where[:_SHOWN]]
            if count > _SHOWN:
                lines.append(f"    and {count - _SHOWN} more")
        return "\n".join([*lines, "fit to train on" if self.fit else "NOT fit to train on"])


def check(
    source: Path | str | Catalogue,
    test_fold: str | None = None,
    workers: int | None = None,
    min_frames: int = 8,
) -> Report:
    """Decode every clip of a catalogue, or of a path that ``open_data`` reads, and report findings.

    Fatal findings: files that cannot be decoded completely, clips of fewer than ``min_frames`` frames, groups or equal
    pictures in test and another split, equal pictures under several labels, and everything that ``Catalogue.require``
    refuses. Raises FileNotFoundError for a missing path, and CatalogueError if the path is no data set.
    """
    catalogue = source if isinstance(source, Catalogue) else open_data(source, test_fold)
    files, places = (record.path for record in catalogue.records), defaultdict(list)
    facts = _each_file(inspect, files, workers)
    for fatal, what, where in chain(
        _of_files(catalogue, facts),
        _of_clips(catalogue, facts, min_frames),
        _of_pictures(catalogue, facts),
        _of_splits(catalogue),
    ):
        places[fatal, what] += where
    findings = tuple(Finding(*kind, where) for kind, where in places.items())
    return Report(catalogue, facts, findings)


def by_decoder(report: Report, workers: int | None = None) -> str:
    """A second opinion as text: for each other decoder, the sound files that it reads otherwise than PyAV does."""
    lines, sound = [], [path for path, facts in report.facts.items() if not facts.reason]
    for name in OTHERS:
        try:
            library(name)
        except ValueError as error:
            lines.append(str(error))
            continue
        apart = []
        for path, how in _each_file(partial(_difference, name), sound, workers).items():
            if how:
                apart.append(f"    {os.path.relpath(path, report.catalogue.root)}: {how}")
        lines += [
            f"{name} reads {len(sound) - len(apart)} of {len(sound)} sound files as PyAV does",
            *apart,
        ]
    return "\n".join(lines)


def _difference(name: str, path: Path) -> str:
    """How the decoder ``name`` first differs from PyAV in a sound file, or an empty text."""
    both = zip_longest(frames_by(name, path), each_frame(path), fillvalue=np.empty(0, np.uint8))
    try:
        for number, (theirs, ours) in enumerate(both):
            alike = theirs.shape == ours.shape
            if not alike or np.abs(np.subtract(theirs, ours, dtype=np.int16)).mean() > _COLOURS:
                return f"frame {number} is another or missing"
    except ValueError as error:
        return str(error)
    return ""


def without_damaged(catalogue: Catalogue) -> Catalogue:
    """The catalogue without the clips of damaged files. A note names each of them with its reason.

    The first call decodes every file. The cache folder keeps the result until a file changes. Raises FileNotFoundError
    for a missing clip.
    """
    known = paths.cache_dir() / "damaged" / f"{catalogue.fingerprint()}-{_JUDGEMENT}.json"
    try:
        damaged = dict(read_json(known))
    except (OSError, ValueError, TypeError, RecursionError):
        facts = _each_file(inspect, (record.path for record in catalogue.records))
        damaged = {r.id: facts[r.path].reason for r in catalogue.records if facts[r.path].reason}
        write_content(known, json.dumps(damaged, indent=1))
    if not damaged:
        return catalogue
    sound = tuple(record for record in catalogue.records if record.id not in damaged)
    named = ", ".join(f"{id_} ({why})" for id_, why in damaged.items())
    note = f"Left out as damaged ({len(damaged)}): {named}."
    return replace(catalogue, records=sound, notes=(*catalogue.notes, note))


def _each_file(work: Callable, files: Iterable[Path], workers: int | None = None) -> dict:
    """The result of ``work`` for each file; more than 16 files are read by several processes."""
    files = list(dict.fromkeys(files))
    results = each(work, files, workers=workers if len(files) > 16 else 1, chunk=4)
    return dict(zip(files, track(results, "opening clips", len(files)), strict=True))


# --- findings ------------------------------------------------------------------------------------------------------


def _of_files(catalogue: Catalogue, facts: dict[Path, Facts]) -> Findings:
    for path, entry in facts.items():
        name = os.path.relpath(path, catalogue.root)
        if entry.reason:
            kind, _, detail = entry.reason.partition(": ")
            yield True, kind, [f"{name}: {detail}"]
        elif not entry.announced:
            what = "length unknown: cannot tell whether it is whole"
            yield False, what, [f"{name}: {entry.decoded} frames"]
        if entry.info and abs(entry.info.pixel - 1) > _SQUARE:
            what = "pixels that are not square, but are read as square: scale the clips if shapes matter"
            yield False, what, [f"{name}: {entry.info.pixel:.3g} times as wide as high"]


def _of_clips(catalogue: Catalogue, facts: dict[Path, Facts], min_frames: int) -> Findings:
    for record in catalogue.records:
        entry, length = facts[record.path], facts[record.path].decoded
        if entry.reason:
            continue
        if (record.start, record.end) != (None, None):
            length = max(0, timeline(record.path).stretch(record.start, record.end, length)[1])
        if length < min_frames:
            what = f"too short, of fewer than {min_frames} frames (--min-frames)"
            yield True, what, [f"{record.id}: {length} frames"]
        if (record.end or 0) > entry.seconds + _ROUNDED:
            what = "segment that ends after its film: are its times seconds, or numbers of frames?"
            name = os.path.relpath(record.path, catalogue.root)
            yield False, what, [f"{name}: to {record.end:g} s, of a film of {entry.seconds:g} s"]


def _of_pictures(catalogue: Catalogue, facts: dict[Path, Facts]) -> Findings:
    """Clips with equal pictures: of several files, or parts of one file in test and in another split.

    Fatal if equal segments have several labels, if test shares a file's pictures with another file in another split, or
    if parts of one file overlap across the splits.
    """
    alike = defaultdict(list)
    for record in catalogue.records:
        alike[facts[record.path].pictures].append(record)
    alike.pop("", None)
    for records in alike.values():
        tested = [record for record in records if record.split == "test"]
        others = [record for record in records if record.split != "test"]
        crossing = bool(tested and others)
        times = {(record.start, record.end) for record in records}
        several = len({(record.start, record.end, record.label) for record in records}) > len(times)
        what, fatal = "duplicate: the same pictures", several or crossing
        if len({record.path for record in records}) == 1:
            if not crossing:
                continue
            fatal = any(
                max(one.start or 0, other.start or 0)
                < min(one.end or math.inf, other.end or math.inf)
                for one, other in product(tested, others)
            )
            what = "overlapping parts of one film" if fatal else "parts of one film"
        if several:
            what += ", under several labels"
        if crossing:
            what += ", in test and in another split"
        clips = [f"{r.id} ({r.split}, {catalogue.classes[r.label]})" for r in records]
        yield fatal, what, [some(clips, 4)]


def _of_splits(catalogue: Catalogue) -> Findings:
    if shared := shared_groups(catalogue.records):
        what = "group that straddles test and another split: testing rewards recognising it"
        yield True, what, shared
    try:
        catalogue.require()
    except CatalogueError as error:
        yield True, str(error), []
    except FileNotFoundError:
        pass  # _of_files has named each missing file
    for note in notes_of(catalogue):
        yield False, note, []


# --- groups of file names ------------------------------------------------------------------------------------------


def notes_of(catalogue: Catalogue) -> list[str]:
    """The catalogue's notes, and two more: whether its classes look like one class, and whether groups that file names
    tell are in test and in another split, with the mend."""
    notes, of_list = list(catalogue.notes), any(record.where for record in catalogue.records)
    if len({re.sub(r"(?<=\D)\d+", "", name) for name in catalogue.classes}) == 1:
        notes.append(
            f"The classes look like one: {some(catalogue.classes)}. Name the folder that holds a subfolder "
            "for each class."
        )
    shared = shared_groups(replace(record, group=_group(record)) for record in catalogue.records)
    if not shared or (of_list and shared == shared_groups(catalogue.records)):
        return notes
    mend = f"kdlab data list {shlex.quote(str(catalogue.root))} --split-by-group"
    if of_list:
        mend = "name them in a `group` column"
    if NO_GROUPS in notes:
        notes.remove(NO_GROUPS)
    notes.append(
        "File names tell groups that have clips in test and in "
        f"another split: {some(shared)}. To split by whole groups: {mend}"
    )
    return notes


def write_groups(root: Path) -> Path:
    """Write ``index.csv`` into a folder with one subfolder per class, with the group that each file name tells.

    From then on the table counts, and whole groups are in one split. A name that tells no group is its own. Raises
    NotOurs if there is an ``index.csv``, and what ``kdlab.datasets.catalogue.from_folder`` raises.
    """
    import pandas as pd

    catalogue, place = from_folder(root), root / "index.csv"
    if os.path.lexists(place):
        raise NotOurs(
            f"{place} is there already: name the groups in its `group` column, or move it away"
        )
    rows = []
    for record in catalogue.records:
        path = record.path.relative_to(root).as_posix()
        rows.append((path, catalogue.classes[record.label], _group(record)))
    write_csv(place, pd.DataFrame(rows, columns=["path", "label", "group"]))
    return place


def _group(record: ClipRecord) -> str:
    """The group of a clip; if it has none but itself, the recording, person or day that the name of its file tells."""
    if record.group in (record.id, record.id.rpartition("@")[0]):
        for name in _RECORDINGS:
            if told := re.fullmatch(name, record.path.stem, re.IGNORECASE):
                return told[1]
    return record.group
