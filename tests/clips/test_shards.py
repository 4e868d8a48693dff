"""Work in shards: no file twice, whoever did it, and a manifest that was cut off or is somebody else's."""

import importlib.util
import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock

from kdlab.cli.data import data
from kdlab.clips import shards
from kdlab.clips.shards import Busy, in_shards
from kdlab.clips.transcode import CoviarFormat, transcode
from kdlab.system.engines import Slurm
from kdlab.system.files import StorageFull
from kdlab.system.ours import NotOurs

needs_submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs the extra kdlab[slurm]")


class Here:
    """The engine whose work is done in this process."""

    def started(self, workers):
        return nullcontext(lambda call, needs: ([(item, call(item)())] for item in needs))


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[Path]:
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    made = [tmp_path / f"{k}.txt" for k in range(7)]
    for file in made:
        file.write_text(file.stem)
    return made


def count(log: str, file: str) -> dict:
    with open(log, "a") as lines:
        lines.write(f"{Path(file).stem}\n")
    text = Path(file).read_text()
    return {"text": text} if text != "bad" else {"reason": "bad"}


def done(tmp_path, files, asked="", **how):
    how = {"engine": Here(), "size": 2} | how
    rows = list(in_shards(partial(count, str(tmp_path / "log")), files, tmp_path / "m", asked, **how))
    return {Path(file).stem: (row.get("text"), kept) for file, row, kept in rows}


def test_what_the_manifest_has_is_not_done_again(files, tmp_path):
    files[3].write_text("bad")
    first = done(tmp_path, files)
    assert first == {file.stem: (None if file.stem == "3" else file.stem, False) for file in files}
    files[5].write_text("other")
    manifest = tmp_path / "m"
    manifest.write_bytes(manifest.read_bytes()[:-9])  # a process was killed while it wrote the last line, of 6
    again = done(tmp_path, files)
    assert {name for name, (_, kept) in again.items() if not kept} == {"3", "5", "6"} and again["5"][0] == "other"
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3", "4", "5", "6", "3", "5", "6"]
    assert {name for name, (_, kept) in done(tmp_path, files).items() if not kept} == {"3"}
    assert not any(kept for _, kept in done(tmp_path, files, "asked otherwise").values())


def test_what_is_finished_stands_in_the_manifest_when_a_later_shard_fails(files, tmp_path):
    files[4].unlink()
    with pytest.raises(FileNotFoundError):
        done(tmp_path, files)
    files[4].write_text("4")
    rows = in_shards(partial(count, str(tmp_path / "log")), files, tmp_path / "m", engine=Here(), size=2)
    next(rows), next(rows)
    rows.close()
    assert sum(kept for _, kept in done(tmp_path, files).values()) == 2


def test_a_manifest_cut_off_at_any_byte_or_with_lines_of_others_gives_what_is_right(files, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    whole = {file.stem: file.stem for file in files}
    done(tmp_path, files)
    content = (tmp_path / "m").read_bytes()
    lines = content.splitlines(keepends=True)
    for end in (*range(len(lines[0]) + 2), *range(len(content) - len(lines[-1]) - 2, len(content))):
        (tmp_path / "m").write_bytes(content[:end])
        kept = {name for name, (text, old) in done(tmp_path, files).items() if old}
        assert len(kept) == len([line for line in lines if line.strip() in content[:end]]), end
    lies = lines[3].replace(b'"text": "3"', b'"text": "4"')
    for foreign in (b"[" * 100_000, b'{"file": []}', b'{"file": "x", "what": 1, "row": 2}', b"null", b"\xff\0", lies,
                    lines[3][:40] + lines[2], lines[2], b"7" * 5000):
        (tmp_path / "m").write_bytes(lines[0] + foreign + b"\n" + b"".join(lines[:3]))
        found = done(tmp_path, files)
        assert {name: text for name, (text, _) in found.items()} == whole, foreign[:80]
        assert {name for name, (_, old) in found.items() if old} == {"0", "1", "2"}, foreign[:80]


def test_two_writers_whom_no_lock_parts_leave_no_line_that_is_wrong(files, tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda handle, how: None)
    how = [partial(count, str(tmp_path / "log")), files, tmp_path / "m"]
    one, other = in_shards(*how, engine=Here(), size=2), in_shards(*how, engine=Here(), size=3)
    for rows in (one, other, one, other, other, other, one):
        next(rows)
    assert len([*one, *other]) == 7
    assert done(tmp_path, files) == {file.stem: (file.stem, True) for file in files}


def test_a_full_disk_is_told_with_the_manifest(files, tmp_path):
    (tmp_path / "m").symlink_to("/dev/full")
    with pytest.raises(NotOurs):
        done(tmp_path, files)
    with pytest.raises(StorageFull, match="cannot write /dev/full: .*No space left"):
        shards._add(Path("/dev/full"), [{"file": "a"}])


def test_a_manifest_in_use_or_of_somebody_elses_is_told(files, tmp_path):
    with FileLock(tmp_path / "m.lock"), pytest.raises(Busy, match="another call is at work on it"):
        done(tmp_path, files)
    (tmp_path / "m").write_text("my notes")
    with pytest.raises(NotOurs, match="no manifest of kdlab's"):
        done(tmp_path, files)


@needs_submitit
def test_jobs_make_each_clip_once_and_what_is_gone_again(make_video, tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    source = [make_video(f"in/{k}.mp4", frames=14) for k in range(3)][0].parent
    (source / "text.mp4").write_text("no video")
    how, out = dict(form=CoviarFormat(64, 48), engine=Slurm(cluster="local")), tmp_path / "out"
    first = transcode(source, out, **how)
    assert sorted((made.kept, bool(made.reason)) for made in first) == [(False, False)] * 3 + [(False, True)]
    (out / "1.avi").unlink()
    again = transcode(source, out, **how)
    assert {made.source.name: made.kept for made in again if not made.reason} == {
        "0.mp4": True, "1.mp4": False, "2.mp4": True}
    assert len({json.loads(line)["file"] for line in (out / "manifest.jsonl").read_text().splitlines()}) == 3


def test_the_command_keeps_what_it_found(make_video, tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CORES", "1")
    make_video("in/a.avi", frames=14, codec="mpeg4")
    call = ["modalities", str(tmp_path / "in")]
    assert "add --manifest FILE" in CliRunner().invoke(data, [*call, "--engine", "slurm"]).output
    call += ["--manifest", str(tmp_path / "found.jsonl")]
    first = CliRunner().invoke(data, call)
    assert first.exit_code == 0 and "14 frames in 2 GOPs (2 I, 12 P)" in first.output, first.output
    before = (tmp_path / "found.jsonl").read_bytes()
    assert CliRunner().invoke(data, call).output == first.output
    assert (tmp_path / "found.jsonl").read_bytes() == before, "nothing was surveyed again"
    (tmp_path / "in" / "b.avi").symlink_to(tmp_path / "nowhere.avi")
    (tmp_path / "in" / "c.avi").symlink_to("c.avi")
    odd = CliRunner().invoke(data, call)
    assert odd.exit_code == 1 and "b.avi: missing: a link to" in odd.output, odd.output
    assert "c.avi: missing: a link that leads back to itself" in odd.output and first.output in odd.output
