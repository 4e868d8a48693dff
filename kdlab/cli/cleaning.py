"""What ``kdlab clean`` may delete: what kdlab made, told by its form, wherever the variables lead.

Nothing is deleted by where it lies alone. Links are neither followed nor deleted. A folder goes when nothing is left in
it; what is left is named.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kdlab import paths
from kdlab.notebooks.report import is_report
from kdlab.notebooks.run import is_executed
from kdlab.notebooks.sweep import is_swept
from kdlab.system.ours import is_draft
from kdlab.system.processes import is_held
from kdlab.teaching import progress, site

#: How many trainings stand behind a verdict must not be forgotten with them: ``kdlab.train.status.TRIED``.
TRIED = "tried.csv"
#: What somebody keeps in the runs folder and nobody can make again.
_KEPT = (TRIED, progress.NAME)
#: What can be cleaned, and where it lies.
PLACES = {"cache": paths.cache_dir, "runs": paths.runs_dir, "data": paths.data_dir}

#: ``dlkdd-night-s3-7f3a2c``: a training's folder, and with ``.lock`` the lock beside it.
_RUN = re.compile(r".+-s\d+-[0-9a-f]{6,}")
_IN_RUN = re.compile(r"(weights|checkpoint(-\d+-process(es)?-[0-9a-f]{8})?|end|ce-[\d.e-]+)\.safetensors|"
                     r"(history|predictions)\.(csv|npz)|"
                     r"(run|begun|enhancer|passing|flatness-[\d.e-]+)\.json(\.lock)?|"
                     r"\.tmp\w{6}")  # the last is what safetensors writes to
#: Sub-folders of the cache and what kdlab calls the files in them.
_CACHED = {"frames": re.compile(r"[0-9a-f]{32}\.(npy|shape)|\.[0-9a-f]{32}\.(npy\.\d+-)?[0-9a-f]+\.tmp"),
           "damaged": re.compile(r"[0-9a-f]{16,64}\.json"), "contents": re.compile(r"[0-9a-f]{32}\.json")}


@dataclass(frozen=True)
class Found:
    """In ``place``: the ``ours``, files and empty folders in the order in which they can go, and what is ``left``."""

    place: Path
    ours: tuple[Path, ...]
    left: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        return sum(path.lstat().st_size for path in self.ours if not path.is_dir())


def look(name: str) -> Found:
    """What ``kdlab clean --name`` would delete; ``name`` is one of :data:`PLACES`. Nothing is touched."""
    place = PLACES[name]()
    own = list({"cache": _in_cache, "runs": _in_runs, "data": _in_data}[name](place))
    gone, above, left = set(own), {up for path in own for up in path.parents}, []
    for folder, folders, files in os.walk(place):  # a stranger's folder is named, and not searched
        here = Path(folder)
        left += [here / entry for entry in files if here / entry not in gone and entry not in _KEPT]
        left += [here / entry for entry in folders if here / entry not in above]
        folders[:] = [entry for entry in folders if here / entry in above]
    return Found(place, tuple(own), tuple(sorted(left)))


def delete(found: Found) -> None:
    """Delete what is ours, and the folders that are empty then; the place itself stays."""
    for path in found.ours:
        path.unlink(missing_ok=True)
    for folder in sorted({up for path in found.ours for up in path.parents if found.place in up.parents}, reverse=True):
        if not os.listdir(folder):
            folder.rmdir()


def _in_cache(place: Path) -> Iterator[Path]:
    for name, form in _CACHED.items():
        yield from _files(place / name, form.fullmatch)


def _in_data(place: Path) -> Iterator[Path]:
    from kdlab import croissant
    from kdlab.night.folder import STREAMS, TRUTH, about, is_own
    from kdlab.night.spec import NightError

    for folder in _folders(place):
        try:
            if not about(folder):
                continue
        except NightError:
            continue
        for stream in (TRUTH, *STREAMS):
            for subfolder in _folders(folder / stream):
                yield from _files(subfolder, is_own)
        yield from _files(folder, croissant.FILES.__contains__, croissant.is_own)
        yield from sorted(_files(folder, lambda name: is_own(name) or name == ".lock"),
                          key=lambda file: file.name == "night.json")  # the mark goes last


def _in_runs(place: Path) -> Iterator[Path]:
    for parent in (place, place / "passing", place / "stale"):
        for folder in _folders(parent):
            if _RUN.fullmatch(folder.name) and not is_held(folder.with_name(f"{folder.name}.lock")) and _is_run(folder):
                # without its note a run counts as unfinished, and begun.json is the last by which it is known
                yield from sorted(_files(folder, _IN_RUN.fullmatch),
                                  key=lambda file: ("run.json" != file.name, file.name == "begun.json"))
        yield from _files(parent, lambda name: name.endswith(".lock"), lambda file: not file.stat().st_size and (
            _RUN.fullmatch(file.stem) and not is_held(file) or file.stem in _KEPT))
    for folder in _folders(place / "tensorboard"):
        if _RUN.fullmatch(folder.name):
            yield from _files(folder, lambda name: name.startswith("events.out.tfevents."))
    yield from _files(place / "notebooks", lambda name: name.endswith((".ipynb", ".json")), is_executed)
    yield from _files(place / "notebooks", lambda name: name.endswith(".csv"), is_swept)
    yield from _files(place / "notebooks", lambda name: name.endswith(".ipynb.lock"),
                      lambda file: not file.stat().st_size and not is_held(file))
    yield from _files(place, "report.html".__eq__, is_report)
    if _real(place / "site"):
        yield from sorted(site.files(place / "site"), key=lambda file: file.name == "index.html")  # the mark goes last
    for folder in _folders(place / "studies"):
        from kdlab.study.evidence import is_table  # which imports torch, and that takes seconds

        tables = list(_files(folder, lambda name: name.endswith(".csv"), is_table))
        if tables:
            yield from _files(folder / "predictions", lambda name: name.endswith(".npz"))
        yield from tables


def _is_run(folder: Path) -> bool:
    """Whether a recipe of kdlab's is noted in ``folder``: of a training that ended, or began."""
    for name in ("run.json", "begun.json", "passing.json", "enhancer.json"):
        try:
            note = json.loads((folder / name).read_text("utf-8"))
            made = note.get("recipe") or note["identity"]["recipe"] if name != "enhancer.json" else note["enhancer"]
            if made["type"].startswith("kdlab."):
                return True
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return False


def _folders(place: Path) -> list[Path]:
    return list(filter(_real, sorted(place.iterdir()))) if _real(place) else []


def _files(folder: Path, named: Callable[[str], object], own: Callable[[Path], object] = bool) -> Iterator[Path]:
    """The plain files in ``folder`` whose names are ``named`` so and for which ``own`` holds; and drafts of them."""
    for path in sorted(folder.iterdir()) if _real(folder) else ():
        draft = is_draft(path.name)
        if path.is_file() and not path.is_symlink() and (named(draft) if draft else named(path.name) and own(path)):
            yield path


def _real(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink()
