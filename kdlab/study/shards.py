"""Shards of a study: all that it finds of one seed, kept until the last is there.

A study of the committed size takes hours. Shard k is a folder, ``figures/shards/<study>/<k>/``, of what its parts find
of their k-th seed, in the files in which the study keeps its evidence, and, written last, ``shard.json``: what was
trained for it, by which sources, and on which clips it was tested. It can be committed, so that any machine goes on
after it. Of all shards together the evidence of the whole study is made; then they are deleted, and what they say of
themselves stays in ``figures/shards/<study>.json``, so that nothing is trained again for evidence that is there.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.study.committed import name_of
from kdlab.study.evidence import Evidence
from kdlab.study.parts import Part
from kdlab.study.scores import Scores
from kdlab.system.contents import hashes, one_look
from kdlab.system.files import write_json
from kdlab.system.sources import source_hash
from kdlab.train.many import in_order
from kdlab.train.recipe import Recipe

#: Of a folder that is a finished shard.
NOTE = "shard.json"
#: Arrays without a seed that say what was tested: they must be equal in all shards.
_TESTED = "ids", "units"


@dataclass(frozen=True)
class Shards:
    """The shards of the ``study`` whose ``parts`` have all of their seeds; ``registered`` (claim → digest) are the
    entries under which they may confirm something."""

    study: str
    parts: tuple[Part, ...]
    registered: Mapping[str, str]

    @property
    def count(self) -> int:
        """How many there are in all: as many as the part with most seeds has."""
        return max(1, *(part.seeds for part in self.parts))

    @property
    def folder(self) -> Path:
        return paths.figures_dir() / "shards" / self.study

    def place(self, k: int) -> Path:
        """The folder of shard ``k``."""
        return self.folder / f"{k:02}"

    def cut(self, k: int) -> list[Part]:
        """The parts with their ``k``-th seeds only; those without recipes belong to the first shard."""
        found = []
        for part in self.parts:
            recipes = {c: column[k : k + 1] for c, column in part.recipes.items() if k < len(column)}
            if recipes or not (part.recipes or k):
                found.append(replace(part, recipes=recipes))
        return found

    def recipes(self, k: int) -> list[Recipe]:
        """Those of shard ``k``, without the ones that they need."""
        return list(dict.fromkeys(r for part in self.cut(k) for column in part.recipes.values() for r in column))

    def note(self, k: int) -> dict:
        """What shard ``k`` says of itself if it is made today."""
        with one_look():
            parts = [{"data": part.data, "fold": part.fold, "on": part.on.fingerprint() if part.on is not None else "",
                      "recipes": {c: name_of(column[0]) for c, column in part.recipes.items()}} for part in self.cut(k)]
            sources = {name_of(recipe): source_hash(recipe) for recipe in in_order(self.recipes(k))}
        return {"study": self.study, "shard": k, "registered": dict(self.registered), "parts": parts,
                "sources": sources}

    # --- which are there ---------------------------------------------------------------------------------------

    def lacking(self, k: int) -> str:
        """Why shard ``k`` has to be made, in words; empty where it is there and of today. Raises ``ValueError`` naming
        a file of it that is damaged."""
        if k in self._merged:
            return ""
        file = self.place(k) / NOTE
        if not file.is_file():
            return "it is not finished" if self.place(k).is_dir() else "it is not there"
        note = _read(file)
        if not (why := _difference(note, self.note(k))):
            _whole(self.place(k), note["files"])
        return why

    def finished(self) -> list[int]:
        """Those that are there and of today, also in the evidence that was made of all."""
        return [k for k in range(self.count) if not self.lacking(k)]

    def merged(self) -> bool:
        """Whether the evidence of the whole study is there and of today. Raises ``ValueError`` naming a file of it that
        is another than the shards gave."""
        return len(self._merged) >= self.count

    @cached_property
    def _merged(self) -> list[int]:
        """The shards that were merged, where all of them are of today."""
        if not self._manifest.is_file():
            return []
        kept = _read(self._manifest)
        if len(kept["shards"]) < self.count or any(
                _difference(was, self.note(k)) for k, was in enumerate(kept["shards"][: self.count])):
            return []
        _whole(paths.figures_dir(), kept["files"], f"or delete {self._manifest} to run the study again")
        return list(range(self.count))

    @property
    def _manifest(self) -> Path:
        return self.folder.with_suffix(".json")

    def forget(self) -> None:
        """The evidence is about to be written otherwise than from shards."""
        self._manifest.unlink(missing_ok=True)

    # --- making them -------------------------------------------------------------------------------------------

    def begin(self, k: int) -> Evidence:
        """Where shard ``k`` keeps its evidence; what was kept of an older one is deleted."""
        place = self.place(k)
        (place / NOTE).unlink(missing_ok=True)  # first: without it nothing counts
        (place / "predictions").mkdir(parents=True, exist_ok=True)
        for file in [*place.glob(f"{self.study}.csv"), *place.glob(f"predictions/{self.study}-*.npz")]:
            file.unlink()
        return Evidence(self.study, place, committed=True)

    def end(self, k: int, evidence: Evidence) -> None:
        """Everything of shard ``k`` is kept: it is there from now on."""
        place = self.place(k)
        files = sorted([*place.glob(f"{self.study}.csv"), *place.glob(f"predictions/{self.study}-*.npz")])
        note = self.note(k) | {"once": evidence.once, "files": hashes(place, files)}
        write_json(place / NOTE, note)

    def together(self, some: Iterable[int], workers: int) -> list[list[int]]:
        """``some`` shards in groups that are trained at once, so that each of the ``workers`` has four trainings or
        more in a group, and few of them wait at its end."""
        groups: list[list[int]] = []
        size = workers * 4
        for k in some:
            count = len(in_order(self.recipes(k)))
            if size >= workers * 4:
                groups, size = [*groups, []], 0
            groups[-1].append(k)
            size += count
        return groups

    # --- merging them ------------------------------------------------------------------------------------------

    def merge(self, evidence: Evidence, opened: Callable[[Path], Scores]) -> None:
        """Write the ``evidence`` of the whole study from its shards; ``opened`` reads predictions. Raises
        ``ValueError`` naming two files of different test clips, and a damaged one."""
        places = [self.place(k) for k in range(self.count)]
        notes = [_read(place / NOTE) for place in places]
        for place, note in zip(places, notes, strict=True):
            _whole(place, note["files"])
        names = dict.fromkeys(name for note in notes for name in note["files"] if name.endswith(".npz"))
        made = []
        for name in names:
            files = [place / name for place, note in zip(places, notes, strict=True) if name in note["files"]]
            target = evidence.file(Path(name).stem)
            if "note" in (first := _arrays(files[0])):
                _joined(files, [opened(file) for file in files]).save(target)
            else:
                evidence.save(target.stem, _stacked(files, first, notes[0]["once"].get(target.stem, ())))
            made.append(target)
        tables = [pd.read_csv(place / f"{self.study}.csv", keep_default_na=False, dtype=str) for place in places]
        made.append(evidence.save_rows(_rows(tables)))
        kept = [{k: v for k, v in note.items() if k not in ("files", "once")} for note in notes]
        write_json(self._manifest, {"shards": kept, "files": hashes(evidence.folder, made)})
        self.__dict__.pop("_merged", None)

    def clear(self) -> None:
        """Delete the shards, of which the evidence of the whole study is there; git has those that were committed."""
        for place in sorted(self.folder.glob("[0-9]*")):
            if (place / NOTE).is_file():
                for name in (*_read(place / NOTE)["files"], NOTE):  # as long as there is a note, this can go on
                    (place / name).unlink(missing_ok=True)
        for folder in sorted(self.folder.glob("**/"), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()


def _difference(was: Mapping, now: Mapping) -> str:
    """Why a shard that says ``was`` of itself is not that of ``now``, in words; empty where it is. Of recipes whose
    clips are not on this machine only condition, data and seed are compared."""
    known, stems = now["sources"], {name: name.rpartition("-")[0] for name in was["sources"]}
    renamed = {name: stem if stem in known else name for name, stem in stems.items()}
    sources = {renamed[name]: value for name, value in was["sources"].items()}
    if missing := [name for name in known if name not in sources]:
        return f"today it is made of {missing[0]}, which it does not have"
    if stale := [name for name in known if known[name] != sources[name]]:
        return f"{stale[0]} was trained by other sources"
    parts = [part | {"recipes": {c: renamed.get(name, name) for c, name in part["recipes"].items()}}
             for part in was["parts"]]
    for one, other in zip(parts, now["parts"], strict=False):
        if (one["data"], one["fold"]) == (other["data"], other["fold"]) and one["on"] != other["on"]:
            return f"{one['data']} was tested on other clips"
    if parts != now["parts"]:
        return "its study had other conditions or data sets"
    return "" if was["registered"] == now["registered"] else "its claims had another registration"


def _rows(tables: Sequence[pd.DataFrame]) -> list[dict]:
    """The rows of all shards; those without a seed once, of the first shard that has them."""
    found, seen = [], set()
    for table in tables:
        rows = table.to_dict("records")
        keys = [(row["data"], row["fold"], row["condition"], row["metric"]) for row in rows]
        found += [row for row, key in zip(rows, keys, strict=True) if row["seed"] or key not in seen]
        seen |= {key for row, key in zip(rows, keys, strict=True) if not row["seed"]}
    return found


def _joined(files: Sequence[Path], each: Sequence[Scores]) -> Scores:
    """What all shards say, row after row. Raises ``ValueError`` naming two whose test clips differ."""
    first, *others = each
    for file, other in zip(files[1:], others, strict=True):
        if first.classes != other.classes or not all(
                np.array_equal(getattr(first, field), getattr(other, field)) for field in ("ids", "units", "labels")):
            raise _other_clips(files[0], file)
    return first.and_seeds(others)


def _stacked(files: Sequence[Path], first: dict[str, np.ndarray], once: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of all shards, one after the other along their first axis; those of the names ``once`` of the first."""
    each = [first, *(_arrays(file) for file in files[1:])]
    for name in set(_TESTED) & set(once):
        for file, other in zip(files, each, strict=True):
            if not np.array_equal(first[name], other[name]):
                raise _other_clips(files[0], file)
    return {name: first[name] if name in once else np.concatenate([arrays[name] for arrays in each])
            for name in first}


def _other_clips(one: Path, other: Path) -> ValueError:
    return ValueError(f"{one} and {other} were tested on different clips: delete the folder of the older shard, and "
                      "run its study again")


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def awaited(*studies: str) -> str:
    """Which of the named ``studies`` have no committed table yet, and the command that makes each, in a sentence for
    readers (Markdown); empty where all of them are there."""
    said = []
    for name in (name for name in studies if not (paths.figures_dir() / f"{name}.csv").is_file()):
        begun = len(list((paths.figures_dir() / "shards" / name).glob(f"*/{NOTE}")))
        there = f" ({begun} seed{'s' * (begun > 1)} of it {'are' if begun > 1 else 'is'} there)" if begun else ""
        said.append(f"`figures/{name}.csv`, which `kdlab study {name}` makes{there}")
    return f"Awaited: {'; then '.join(said)}." if said else ""


def _whole(root: Path, files: Mapping[str, str], otherwise: str = "") -> None:
    """Raises ``ValueError`` naming one of the ``files`` under ``root`` that is not as it was written."""
    for name, wanted in files.items():
        file = root / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != wanted:
            what = "is damaged" if file.is_file() else "is missing"
            raise ValueError(f"{file} {what}: restore it (git checkout), "
                             f"{otherwise or f'or delete {root} to make this shard again'}")


def _read(file: Path) -> dict:
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
        if not note.keys() >= ({"shards", "files"} if file.name != NOTE else {"sources", "parts", "files", "once"}):
            raise ValueError("it lacks what such a file says")
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): restore it (git checkout), or delete it") from error
    return note
