"""Check whether a data set is fit for training, by decoding every frame of every clip once."""

import hashlib
import json
import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from av.video.reformatter import VideoReformatter

from kdlab.clips.catalogue import Catalogue, ClipRecord, from_folder
from kdlab.clips.container import DamagedClip, StreamReader, VideoInfo, open_stream, timeline
from kdlab.clips.datasets import open_data
from kdlab.clips.decode import DECODERS, readings
from kdlab.clips.files import CatalogueError, some, why_no_file
from kdlab.clips.splits import NO_GROUPS, shared_groups
from kdlab.system import paths
from kdlab.system.files import NotOurs, write_atomically
from kdlab.system.pool import each, track

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 8  # lines of a finding
_SQUARE = 0.01  # tolerance of the pixel aspect ratio, which some tools round
_TAKE = re.compile(r"(.*\d)[_-][a-z]*\d+", re.IGNORECASE)  # a file name's group and its number within the group
_JUDGEMENT = 4  # raise it when the rules of damage change: a sound file becomes damaged, or the reverse


@dataclass(frozen=True)
class Facts:
    """The facts of one file. ``reason`` is empty for a sound file, else as in DamagedClip, or missing or unreadable.

    ``announced`` is false if no header gives the length of the file; then a truncation cannot be detected. ``decoded``
    is the number of decoded frames. ``pictures`` (hex digits) is a hash of all pixels of all frames, independent of
    name, container and times. ``seconds`` is the duration of the video.
    """

    path: Path
    reason: str = ""
    info: VideoInfo | None = None
    decoded: int = 0
    pictures: str = ""
    announced: bool = True
    seconds: float = 0.0


def inspect(path: Path) -> Facts:
    """Decode a file frame by frame and return its facts. Faults of the file are returned, not raised."""
    if reason := why_no_file(path):
        return Facts(path, reason)
    digest, converter = hashlib.blake2b(digest_size=16), VideoReformatter()
    try:
        with open_stream(path) as stream:
            reader = StreamReader(stream)
            for frame in reader.frames():
                digest.update(f"{frame.width}x{frame.height}".encode())
                pixels = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                digest.update(np.ascontiguousarray(pixels))  # rows of odd widths are padded
        seconds = timeline(path).seconds
        return Facts(path, "", reader.info, reader.decoded, digest.hexdigest(), reader.announced, seconds)
    except DamagedClip as error:
        return Facts(path, error.reason)
    except OSError as error:
        return Facts(path, f"unreadable: {error.strerror or error}")


@dataclass(frozen=True)
class Finding:
    """A finding about the data, ``where`` it applies, and whether it is ``fatal`` to training."""

    fatal: bool
    what: str
    where: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """The facts of each file of a catalogue, and the findings that follow from them."""

    catalogue: Catalogue
    facts: dict[Path, Facts]
    findings: tuple[Finding, ...]

    @property
    def fit(self) -> bool:
        """True if no finding is fatal."""
        return not any(finding.fatal for finding in self.findings)

    def table(self) -> "pd.DataFrame":
        """One row per clip: the record, the container's header (``frames``: as announced), and the decoded facts."""
        import pandas as pd

        return pd.json_normalize([vars(record) | {"label": self.catalogue.classes[record.label]}
                                  | asdict(self.facts[record.path]) for record in self.catalogue.records])

    def render(self) -> str:
        """The report as text: facts, findings, verdict."""
        def most(words: Iterable[str]) -> str:
            return some([f"{word} ({number})" for word, number in Counter(words).most_common()], 4)

        catalogue, read = self.catalogue, [facts for facts in self.facts.values() if facts.info]
        lines = [f"{catalogue.root}: {len(catalogue.records)} clips in {len(self.facts)} files, "
                 f"{sum(f.decoded for f in read):,} frames, {sum(f.seconds for f in read) / 60:.1f} min",
                 "  format  " + most(f"{f.info.codec} in {f.info.container}" for f in read),
                 "  size    " + most(f"{f.info.width}x{f.info.height}" for f in read),
                 "  rate    " + most(f"{f.decoded / (f.seconds or 1):.4g} fps" for f in read)]
        lines += [f"  {line}" for line in catalogue.counts().to_string().splitlines()]
        for finding in sorted(self.findings, key=lambda finding: finding.fatal):
            kind = "fatal" if finding.fatal else "to know"
            lines.append(f"{kind}: {finding.what}" + (f" ({len(finding.where)}):" if finding.where else ""))
            lines += [f"    {place}" for place in finding.where[:_SHOWN]]
            lines += [f"    and {len(finding.where) - _SHOWN} more"] * (len(finding.where) > _SHOWN)
        return "\n".join([*lines, "fit to train on" if self.fit else "NOT fit to train on"])


def check(source: Path | str | Catalogue, test_fold: str | None = None, workers: int | None = None,
          min_frames: int = 8) -> Report:
    """Decode every clip of a catalogue, or of a path that ``open_data`` reads, and report findings.

    Fatal findings: files that cannot be decoded completely, clips of fewer than ``min_frames`` frames, groups or equal
    pictures in test and another split, equal pictures under several labels, and everything that ``Catalogue.require``
    refuses. Raises FileNotFoundError for a missing path, and CatalogueError if the path is no data set.
    """
    catalogue = source if isinstance(source, Catalogue) else open_data(source, test_fold)
    facts = _each_file(inspect, catalogue, workers)
    findings = (*_of_files(catalogue, facts, min_frames), *_of_pictures(catalogue, facts), *_of_splits(catalogue))
    return Report(catalogue, facts, findings)


def by_decoder(catalogue: Catalogue, workers: int | None = None) -> str:
    """A table of the decoders: frames, files that they read otherwise than PyAV does, seconds; then these files."""
    found, differing = _each_file(readings, catalogue, workers), []
    lines = ["decoder       frames  files that differ  seconds"]
    for name in DECODERS:
        its = {os.path.relpath(file, catalogue.root): row[name] for file, row in found.items() if name in row}
        where = [f"    {file}: {one.differs}" for file, one in its.items() if one.differs]
        differing += [f"  {name} differs:", *where] * bool(where)
        count, seconds = sum(one.count for one in its.values()), sum(one.seconds for one in its.values())
        lines.append(f"{name:12}{count:8,}{len(where):19}{seconds:9.1f}" if its else
                     f"{name:12} not installed: docs/setup.md, Decoders")
    return "\n".join(lines + differing)


def without_damaged(catalogue: Catalogue) -> Catalogue:
    """The catalogue without the clips of damaged files. A note names each of them with its reason.

    The first call decodes every file. The cache folder keeps the result until a file changes. Raises FileNotFoundError
    for a missing clip.
    """
    known = paths.cache_dir() / "damaged" / f"{catalogue.fingerprint()}-{_JUDGEMENT}.json"
    try:
        damaged = dict(json.loads(known.read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        facts = _each_file(inspect, catalogue)
        damaged = {r.id: facts[r.path].reason for r in catalogue.records if facts[r.path].reason}
        write_atomically(known, lambda path: path.write_text(json.dumps(damaged, indent=1), "utf-8"))
    if not damaged:
        return catalogue
    note = f"Left out as damaged ({len(damaged)}): {', '.join(f'{id_} ({why})' for id_, why in damaged.items())}."
    return replace(catalogue, records=tuple(r for r in catalogue.records if r.id not in damaged),
                   notes=(*catalogue.notes, note))


def _each_file(work: Callable, catalogue: Catalogue, workers: int | None = None) -> dict:
    """The result of ``work`` for each file; more than 16 files are read by several processes."""
    files = list(dict.fromkeys(record.path for record in catalogue.records))
    found = each(work, files, workers=workers if len(files) > 16 else 1, chunk=4)
    return dict(zip(files, track(found, "opening clips", len(files)), strict=True))


def _of_files(catalogue: Catalogue, facts: dict[Path, Facts], min_frames: int) -> list[Finding]:
    found: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for path, entry in facts.items():
        name = os.path.relpath(path, catalogue.root)
        if entry.reason:
            kind, _, detail = entry.reason.partition(": ")
            found[True, kind].append(f"{name}: {detail}")
        elif not entry.announced:
            found[False, "length unknown: cannot tell whether it is whole"].append(f"{name}: {entry.decoded} frames")
        if entry.info and abs(entry.info.pixel - 1) > _SQUARE:
            what = "pixels that are not square, but are read as square: scale the clips if shapes matter"
            found[False, what].append(f"{name}: {entry.info.pixel:.3g} times as wide as high")
    for record in catalogue.records:
        if not facts[record.path].reason:
            length = facts[record.path].decoded
            if (record.start, record.end) != (None, None):
                length = max(0, timeline(record.path).stretch(record.start, record.end, length)[1])
            if length < min_frames:
                what = f"too short, of fewer than {min_frames} frames (--min-frames)"
                found[True, what].append(f"{record.id}: {length} frames")
    return [Finding(*what, where) for what, where in found.items()]


def _of_pictures(catalogue: Catalogue, facts: dict[Path, Facts]) -> Iterator[Finding]:
    """Files with equal pictures. Fatal if equal segments have several labels, or if test shares them with another
    split."""
    same: dict[str, list[ClipRecord]] = defaultdict(list)
    for record in catalogue.records:
        same[facts[record.path].pictures].append(record)
    same.pop("", None)
    found = defaultdict(list)
    for records in same.values():
        if len({record.path for record in records}) > 1:
            several = len({(r.start, r.end, r.label) for r in records}) > len({(r.start, r.end) for r in records})
            crossing = len({record.split == "test" for record in records}) > 1
            how = ", under several labels" * several + ", in test and in another split" * crossing
            found[how].append(some((f"{r.id} ({r.split}, {catalogue.classes[r.label]})" for r in records), 4))
    for how, where in found.items():
        yield Finding(bool(how), f"duplicate: the same pictures{how}", where)


def _of_splits(catalogue: Catalogue) -> Iterator[Finding]:
    if shared := shared_groups(catalogue.records):
        yield Finding(True, "group that straddles test and another split: testing rewards recognising it", shared)
    try:
        catalogue.require()
    except CatalogueError as error:
        yield Finding(True, str(error))
    except FileNotFoundError:
        pass  # _of_files has named each missing file
    yield from (Finding(False, note) for note in notes_of(catalogue))


# --- groups of file names ------------------------------------------------------------------------------------------

def notes_of(catalogue: Catalogue) -> list[str]:
    """The catalogue's notes; for a folder of clips also whether groups that file names tell are in test and in another
    split, with the mend."""
    notes, root = list(catalogue.notes), catalogue.root
    try:
        if os.path.lexists(root / "index.csv") or catalogue != from_folder(root):
            return notes
    except (CatalogueError, FileNotFoundError):  # the lists of a public data set
        return notes
    if not (shared := shared_groups(replace(record, group=_group(record)) for record in catalogue.records)):
        return notes
    return [*(note for note in notes if note != NO_GROUPS),
            f"File names tell groups that have clips in test and in another split: {some(shared)}. To split by whole "
            f"groups: kdlab data list {shlex.quote(str(root))} --split-by-group"]


def write_groups(root: Path) -> Path:
    """Write ``index.csv`` into a folder with one subfolder per class, with the group that each file name tells.

    From then on the table counts, and whole groups are in one split: ``v_Jump_g01_c02`` is of g01, ``anna_01_02`` of
    anna_01, and a name without two numbers is its own group. Raises NotOurs if there is an ``index.csv``, and what
    ``kdlab.clips.catalogue.from_folder`` raises.
    """
    import pandas as pd

    catalogue, place = from_folder(root), root / "index.csv"
    if os.path.lexists(place):
        raise NotOurs(f"{place} is there already: name the groups in its `group` column, or move it away")
    table = pd.DataFrame({"path": [record.path.relative_to(catalogue.root).as_posix() for record in catalogue.records],
                          "label": [catalogue.classes[record.label] for record in catalogue.records],
                          "group": [_group(record) for record in catalogue.records]})
    write_atomically(place, lambda draft: table.to_csv(draft, index=False, lineterminator="\n"))
    return place


def _group(record: ClipRecord) -> str:
    found = record.group == record.id and _TAKE.fullmatch(record.path.stem)
    return found[1] if found else record.group
