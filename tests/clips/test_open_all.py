"""Clips are opened on all cores with the outcome of one process, and every bad one is named."""

import os
import time
from dataclasses import dataclass, replace

import pytest

from kdlab.clips import windows
from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import open_clips
from kdlab.clips.decode import DamagedClip
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw
from kdlab.clips.windows import ClipBatches, Window, open_all, unusable
from kdlab.system import pool

SPLITS = ("train", "val", "test")
VIEWS = {"student": Raw(), "teacher": Enhanced(Gamma())}


@dataclass(frozen=True)
class Shared(Raw):
    """A view that notes which processes read, and of which ``owner`` reads its second clip when another has begun."""

    owner: int = 0
    name = "shared"

    def read(self, path, indices=None):
        place = path.parents[2] / "readers"
        place.mkdir(exist_ok=True)
        for _ in range(1000):
            if self.owner != os.getpid() or list(place.iterdir()) != [place / str(self.owner)]:
                break
            time.sleep(0.02)
        (place / str(os.getpid())).touch()
        return Raw().read(path, indices)


def shared():
    return {"shared": Shared(os.getpid()), **VIEWS}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    for home in (windows, pool):  # also where the test itself has one core
        monkeypatch.setattr(home, "available_cores", lambda: 2)
    monkeypatch.setattr(windows, "_PATIENCE", 0)


@pytest.fixture
def folder(make_video, tmp_path):
    for number in range(12):
        make_video(f"set/{SPLITS[number % 3]}/{'ab'[number // 3 % 2]}/{number:02}.mp4", frames=10, size=(32, 24))
    return tmp_path / "set"


def parts(folder, views=VIEWS):
    catalogue = open_clips(folder)
    return [ClipBatches(catalogue.split(name), views, Window(8, 16, 16), FrameCache()) for name in SPLITS]


def forbidden(*_):
    raise AssertionError("decoded again")


def test_workers_leave_the_frames_where_this_process_finds_them(folder, monkeypatch):
    mine = parts(folder, shared())
    open_all(mine)
    assert len(list((folder / "readers").iterdir())) > 1
    alone = [next(iter(ClipBatches(its.records, VIEWS, its.window, FrameCache(folder / "other")).evaluation())).views
             for its in mine]
    for name in ("read", "each_frame"):
        monkeypatch.setattr(Shared, name, forbidden, raising=False)
        monkeypatch.setattr(Raw, name, forbidden, raising=False)
        monkeypatch.setattr(Enhanced, name, forbidden, raising=False)
    for its, before in zip(mine, alone, strict=True):
        views = next(iter(its.evaluation())).views
        assert all((views[name] == before[name]).all() for name in VIEWS)


def test_bad_clips_are_named_in_order_as_by_one_process(folder, make_video, monkeypatch):
    (folder / "test/b/05.mp4").write_bytes((folder / "test/b/05.mp4").read_bytes()[:-400])
    make_video("set/train/b/03.mp4", frames=2, size=(32, 24))
    (folder / "train/a/06.mp4").write_bytes(b"")
    mine = parts(folder, shared())
    (folder / "test/a/02.mp4").unlink()
    found = unusable(mine)
    assert [type(error) for error in found] == [DamagedClip, ValueError, FileNotFoundError, DamagedClip]
    monkeypatch.setattr(windows, "_PATIENCE", 99)
    assert [str(error) for error in found] == [str(error) for error in unusable(mine)]
    with pytest.raises(ValueError, match=r"4 clips cannot be used(.|\n)*06\.mp4(.|\n)*03\.mp4(.|\n)*02\.mp4"):
        open_all(mine)
    with pytest.raises(ValueError, match=r"03\.mp4 has 2 frame"):
        open_all([replace(mine[0], records=mine[0].records[2:])])
