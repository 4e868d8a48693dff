"""What files hold is read once, and never answered from before a change."""

import json
import os
import time

import pytest

from kdlab.system import contents
from tests.train.test_recipe import undecodable
from tests.train.test_runs import make_recipe


def test_clips_that_lie_still_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    root, read = undecodable(tmp_path / "mine"), []
    was = contents._key
    monkeypatch.setattr(contents, "_key", lambda file: read.append(file) or was(file))
    monkeypatch.setattr(contents, "_TICK", 0)
    name = make_recipe(root).name
    assert len(read) == 4 and make_recipe(root).name == name and len(read) == 4
    (root / "left" / "0.mp4").write_text("left/x")
    assert make_recipe(root).name != name and len(read) == 5
    for note in (tmp_path / "cache" / "contents").iterdir():
        entries = json.loads(note.read_text())
        for entry in entries["files"].values():
            entry[1] = "0" * 32
        note.write_text(json.dumps(entries))
    assert make_recipe(root).name != name and len(read) == 9, "a damaged note was believed"
    for damage in (b"", b"\0" * 400, b"[" * 100_000, b"[]", b'{"files": 3, "check": 4}'):
        for note in (tmp_path / "cache" / "contents").iterdir():
            note.write_bytes(damage)
        assert make_recipe(root).name != name
    with contents.one_look():
        name = make_recipe(root).name
        (root / "left" / "0.mp4").write_text("left/y")
        assert make_recipe(root).name == name, "one operation sees one state"
    assert make_recipe(root).name != name


def test_a_fresh_file_is_read_anew_until_a_tick_has_passed(tmp_path, monkeypatch):
    """Another write of the same size within the tick of the clock leaves all times as they were."""
    file = tmp_path / "x"
    file.write_text("a")
    found = contents.stamp(file)
    monkeypatch.setattr(contents, "_stamp", lambda status: found)
    keys = set()
    for letter in "ab":
        file.write_text(letter)
        keys |= {contents.content_keys([file])[file]}
    assert len(keys) == 2
    assert not contents.settled(found, found[-1] + 10**9) and contents.settled(found, found[-1] + 3 * 10**9)


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.mp4: no such file. Restore it"):
        contents.content_keys([tmp_path / "gone.mp4"])
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="no such file"):
        contents.content_keys([tmp_path / "file" / "x.mp4"])
    with pytest.raises(ValueError, match="is no regular file"):
        contents.content_keys([tmp_path])
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        began = time.monotonic()
        with pytest.raises(ValueError, match="is no regular file"):
            contents.content_keys([tmp_path / "pipe"])
        assert time.monotonic() - began < 60, "it must not wait for a writer"


def test_a_cache_that_cannot_be_written_costs_time_and_no_more(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "contents").write_text("a file")
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "_TICK", 0)
    assert make_recipe(undecodable(tmp_path / "mine")).name == make_recipe(undecodable(tmp_path / "b" / "mine")).name


def test_large_files_are_read_by_threads_to_the_same_keys(tmp_path, monkeypatch):
    files = [tmp_path / f"{n}" for n in range(5)]
    for n, file in enumerate(files):
        file.write_bytes(bytes([n]) * 10_000)
    keys = contents.content_keys(files)
    monkeypatch.setattr(contents, "_FEW_BYTES", 0)
    monkeypatch.setattr(contents, "_MANY_BYTES", 0)
    assert contents.content_keys(files) == keys and len(set(keys.values())) == 5
