"""Files are written whole or not at all, never over what is not kdlab's, and known by their content."""

import os
import time

import pytest

from kdlab.system import files, paths
from kdlab.system.files import (
    NotOurs,
    StorageFull,
    content_keys,
    delete_old_drafts,
    may_fill,
    may_write,
    write_atomically,
)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFull, match="file.*KDLAB_RUNS"):
        write_atomically(tmp_path / "file" / "x", lambda p: p.write_text("y"))


@pytest.mark.parametrize(
    "error, told",
    [
        (OSError(28, "No space left on device"), StorageFull),
        (KeyboardInterrupt("No space left"), KeyboardInterrupt),
    ],
)
def test_a_failed_write_leaves_the_old_file(tmp_path, error, told):
    place = tmp_path / "kept.txt"
    place.write_text("old")

    def write(path):
        path.write_text("half")
        raise error

    with pytest.raises(told, match="No space left"):
        write_atomically(place, write)
    assert place.read_text() == "old" and list(tmp_path.iterdir()) == [place]


def test_all_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """Else a power cut can leave the new name on an empty file."""
    done = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: done.append(os.fstat(handle).st_size) or sync(handle)
    )
    monkeypatch.setattr(os, "replace", lambda *names: done.append("renamed") or rename(*names))
    write_atomically(tmp_path / "x", lambda p: p.write_text("seven b"))
    assert done[:2] == [7, "renamed"] and len(done) == (2 if os.name == "nt" else 3)


def test_only_abandoned_drafts_are_swept(tmp_path):
    old, late = ".kdlab-4194999-00112233.tmp", ".kdlab-4194999-44556677.tmp"
    for name, age in {
        old: 3700,
        late: 10,
        ".mine.4194999-00112233.tmp": 7200,
        "kdlab-1-00112233.tmp": 7200,
    }.items():
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    names = {file.name for file in tmp_path.iterdir()}
    delete_old_drafts(tmp_path)
    assert names - {file.name for file in tmp_path.iterdir()} == {old}
    delete_old_drafts(tmp_path / "nowhere")


def test_a_file_is_written_where_none_is_or_an_own_one(tmp_path):
    file = tmp_path / "page.html"
    may_write(file, lambda _: False, "report")
    file.write_text("mine")
    may_write(file, lambda its: its.read_text() == "mine", "report")
    with pytest.raises(NotOurs, match="page.html is there already and is no report of kdlab's"):
        may_write(file, lambda _: False, "report")
    os.symlink(file, tmp_path / "link")
    for name in ("link", "", "."):
        with pytest.raises(NotOurs):
            may_write(tmp_path / name, lambda _: True, "report")
    for folder in (tmp_path / "nope", file):
        with pytest.raises(NotADirectoryError, match="there is no folder .* that can be written"):
            may_write(folder / "page.html", lambda _: True, "report")


def test_a_folder_is_filled_where_it_is_free_or_an_own_one(tmp_path):
    may_fill(tmp_path / "new", lambda _: False, "data set")
    (tmp_path / ".lock").touch()
    (tmp_path / ".DS_Store").touch()
    may_fill(tmp_path, lambda _: False, "data set")
    for name in "abcd":
        (tmp_path / name).touch()
    with pytest.raises(
        NotOurs,
        match="holds a, b, c and 1 more and is no data set of kdlab's: give an empty folder",
    ):
        may_fill(tmp_path, lambda _: False, "data set")
    may_fill(tmp_path, lambda _: True, "data set")
    with pytest.raises(NotOurs, match="is no folder"):
        may_fill(tmp_path / "a", lambda _: True, "data set")


def test_clips_that_lie_still_are_read_once(own_places, monkeypatch):
    clips, read, was = [own_places / name for name in "abc"], [], files._key
    for file in clips:
        file.write_text(file.name)
    monkeypatch.setattr(files, "_key", lambda file: read.append(file) or was(file))
    keys = content_keys(clips)
    assert content_keys(clips) == keys and read == clips
    clips[1].write_text("x")
    assert content_keys(clips)[clips[1]] != keys[clips[1]] and len(read) == 4
    for damage in ("", "[" * 100, "[]", "3"):
        (paths.cache_dir() / "contents.json").write_text(damage)
        assert content_keys(clips)[clips[0]] == keys[clips[0]]


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.mp4: no such file. Restore it"):
        content_keys([tmp_path / "gone.mp4"])
    with pytest.raises(ValueError, match="is no regular file"):
        content_keys([tmp_path])
