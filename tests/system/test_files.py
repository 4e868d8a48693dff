"""Files are written whole or not at all."""

import os
import time

import pytest

from kdlab.system.files import StorageFull, in_draft, is_draft, sweep, write_atomically


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
    with pytest.raises(KeyboardInterrupt):
        write_atomically(place, lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    assert place.read_text() == "old" and list(tmp_path.iterdir()) == [place]


def test_all_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """Else a power cut can leave the new name on an empty file."""
    done = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(os.fstat(handle).st_size) or sync(handle))
    monkeypatch.setattr(os, "replace", lambda *names: done.append("renamed") or rename(*names))
    write_atomically(tmp_path / "x", lambda p: p.write_text("seven b"))
    assert done[:2] == [7, "renamed"] and len(done) == (2 if os.name == "nt" else 3)


def test_a_name_as_long_as_file_systems_take_is_written_and_its_draft_known(tmp_path):
    drafts = []
    for name in ("x" * 251 + ".csv", "é" * 127, "é" * 120 + ".csv", "short.csv"):
        write_atomically(tmp_path / name, lambda p: drafts.append(p.name) or p.write_text("y"))
        assert (tmp_path / name).read_text() == "y"
        assert is_draft(drafts[-1]) == in_draft(name) and name.startswith(in_draft(name))
    assert in_draft("short.csv") == "short.csv"


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
