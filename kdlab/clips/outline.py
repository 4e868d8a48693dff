"""What a listing of clips depends on: asked at little cost, so that a changed folder or table is read again."""

import os
from pathlib import Path

from kdlab.clips.datasets import DATA_SETS
from kdlab.clips.tables import find_near
from kdlab.clips.tree import VIDEO_SUFFIXES
from kdlab.contents import stamp

_LISTS = {".csv", ".txt", ".json"}


def outline(path: Path) -> tuple[frozenset[str], dict[str, tuple[int, ...]]]:
    """Of what ``open_data`` would read at ``path``: the names of videos and folders, and name → stamp of its lists.

    Of a table only its stamp: rows name the clips. Nothing of what is not there; opening it says so.
    """
    for table in (path / "index.csv", path):
        if table.is_file():
            return frozenset(), {str(table): stamp(table)}
    names, lists, entered = set(), {}, set()
    for folder, folders, files in os.walk(path, followlinks=True):
        if (real := os.path.realpath(folder)) in entered:  # a link that leads round; opening the clips says so
            folders.clear()
            continue
        entered.add(real)
        if folder == str(path):
            folders[:] = [name for name in folders if not name.startswith(".")]
        names.update(os.path.join(folder, name) for name in folders)
        for name in files:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in VIDEO_SUFFIXES:
                names.add(os.path.join(folder, name))
            elif suffix in _LISTS:
                lists |= _stamped(os.path.join(folder, name))
    for marker in (data.marker for data in DATA_SETS):  # lists may also lie beside the folder
        found = find_near(path, marker)
        if found is not None and not found.is_relative_to(path):
            for name in sorted(found.parent.iterdir()):
                lists |= _stamped(str(name)) if name.suffix.lower() in _LISTS else {}
    return frozenset(names), lists


def _stamped(file: str) -> dict[str, tuple[int, ...]]:
    try:
        return {file: stamp(file)}
    except OSError:  # gone meanwhile, or a link that leads nowhere
        return {}
