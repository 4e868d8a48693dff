"""Files are written whole or not at all."""

import os
import stat
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from kdlab.system.files import StorageFull, in_draft, is_draft, sweep, write_atomically, write_json


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFull, match="file.*KDLAB_RUNS"):
        write_atomically(tmp_path / "file" / "x", lambda p: p.write_text("y"))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    place = tmp_path / "kept.txt"
    place.write_text("old")

    def write(path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageFull, match="No space left"):
        write_atomically(place, write)
    assert place.read_text() == "old" and list(tmp_path.iterdir()) == [place]


def test_a_folder_in_a_files_place_is_named_and_kept(tmp_path):
    (tmp_path / "x" / "of somebody").mkdir(parents=True)
    with pytest.raises(StorageFull, match="x: a folder stands in its place. Move it away"):
        write_atomically(tmp_path / "x", lambda p: p.write_text("y"))
    assert (tmp_path / "x" / "of somebody").is_dir() and list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_all_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """Else a power cut can leave the new name on an empty file."""
    done = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(os.fstat(handle).st_size) or sync(handle))
    monkeypatch.setattr(os, "replace", lambda *names: done.append("renamed") or rename(*names))
    write_atomically(tmp_path / "x", lambda p: p.write_text("seven b"))
    assert done[:2] == [7, "renamed"] and len(done) == (2 if os.name == "nt" else 3)


def test_the_umask_decides_the_mode_whatever_the_writer_does(tmp_path):
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "x", lambda p: save_file({"a": np.zeros(1)}, p))
    finally:
        os.umask(before)
    assert os.name == "nt" or stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


def test_a_name_as_long_as_file_systems_take_is_written_and_its_draft_known(tmp_path):
    drafts = []
    for name in ("x" * 251 + ".csv", "é" * 127, "é" * 120 + ".csv", "short.csv"):
        write_atomically(tmp_path / name, lambda p: drafts.append(p.name) or p.write_text("y"))
        assert (tmp_path / name).read_text() == "y"
        assert is_draft(drafts[-1]) == in_draft(name) and name.startswith(in_draft(name))
    assert in_draft("short.csv") == "short.csv"


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def write(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", write)
    assert not list(tmp_path.iterdir())


def test_json_is_for_people_and_for_git(tmp_path):
    write_json(tmp_path / "its.json", {"says": "± 2", "of": (1, 2)})
    assert (tmp_path / "its.json").read_bytes() == '{\n "says": "± 2",\n "of": [\n  1,\n  2\n ]\n}\n'.encode()


def test_only_abandoned_drafts_are_swept(tmp_path):
    ages = {".a.json.1.tmp": 7200, f".a.json.{os.getpid()}-00112233.tmp": 1800, ".b.4194999-00112233.tmp": 3700,
            ".c.4194999-00112233.tmp": 10, ".tmpA1b2C3": 7200, ".tmpA1b2C4": 90, ".d.tmp": 7200, "e.1.tmp": 7200}
    for name, age in ages.items():
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / ".f.1.tmp").mkdir()
    sweep(tmp_path)
    gone = set(ages) - {file.name for file in tmp_path.iterdir()}
    assert gone == {".a.json.1.tmp", ".b.4194999-00112233.tmp", ".tmpA1b2C3"} and (tmp_path / ".f.1.tmp").is_dir()
    sweep(tmp_path / "nowhere")
