"""Clips are opened on all cores with the outcome of one process, and every bad one is named."""

import multiprocessing
import os
import pickle
import time
import types
import warnings
from dataclasses import dataclass, replace

import pytest

from kdlab.clips import open_all as module
from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import open_clips
from kdlab.clips.check import check
from kdlab.clips.decode import DamagedClip
from kdlab.clips.enhance import Gamma
from kdlab.clips.open_all import kept, open_all, unusable
from kdlab.clips.views import ClipBatches, Enhanced, Raw, TooShort, UnusableClips, Window
from kdlab.train.preparing import open_ahead
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import current

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
        while self.owner == os.getpid() and list(place.iterdir()) == [place / str(self.owner)]:
            time.sleep(0.02)
        (place / str(os.getpid())).touch()
        return Raw().read(path, indices)


def shared():
    return {"shared": Shared(os.getpid()), **VIEWS}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "available_cores", lambda: 2)


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
    open_all(mine, patience=0)
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


def test_bad_clips_are_named_in_order_as_by_one_process(folder, make_video):
    (folder / "test/b/05.mp4").write_bytes((folder / "test/b/05.mp4").read_bytes()[:-400])
    make_video("set/train/b/03.mp4", frames=2, size=(32, 24))
    (folder / "train/a/06.mp4").write_bytes(b"")
    mine = parts(folder, shared())
    (folder / "test/a/02.mp4").unlink()
    found = unusable(mine, patience=0)
    assert [type(error) for error in found] == [DamagedClip, TooShort, FileNotFoundError, DamagedClip]
    assert [str(error) for error in found] == [str(error) for error in unusable(mine, patience=99)]
    with pytest.raises(UnusableClips, match=r"4 clips cannot be used(.|\n)*06\.mp4(.|\n)*03\.mp4(.|\n)*02\.mp4"):
        open_all(mine, patience=0)
    with pytest.raises(UnusableClips) as before:
        mine[0].check()
    assert [str(error) for error in before.value.errors] == [str(error) for error in found[:2]]
    with pytest.raises(TooShort, match=r"03\.mp4 has 2 frame"):
        open_all([replace(mine[0], records=mine[0].records[2:])], patience=0)


def test_a_view_that_no_other_process_has_is_opened_here(folder, monkeypatch):
    notebook = types.ModuleType("a_notebook")
    exec("from kdlab.clips.views import Raw\nclass Own(Raw):\n    name = 'own'", notebook.__dict__)
    monkeypatch.setitem(multiprocessing.sys.modules, "a_notebook", notebook)
    assert b"a_notebook" in pickle.dumps(notebook.Own())
    for view in (notebook.Own(), type("Local", (Raw,), {"name": "local", "__reduce__": forbidden_to_pickle})()):
        mine = parts(folder, {"student": view})
        open_all(mine, patience=0)
        assert all(len(next(iter(its.evaluation())).ids) == 4 for its in mine)


def forbidden_to_pickle(self):
    raise TypeError("cannot pickle this")


def test_other_errors_come_whole(folder):
    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(one)

    class Failing(Raw):
        name = "failing"

        def read(self, path, indices=None):
            raise Odd("this", "that")

    with pytest.raises(Odd, match="this"):
        open_all(parts(folder, {"student": Failing()}), patience=0)


@dataclass(frozen=True)
class Deadly(Raw):
    """A view that ends a worker."""

    name = "deadly"

    def read(self, path, indices=None):
        if multiprocessing.parent_process():
            os._exit(9)
        return Raw().read(path, indices)


def test_a_killed_worker_is_told_with_a_clip(folder):
    with pytest.raises(ChildProcessError, match=r"killed while it opened .*\.mp4 or a clip near it\. Out of memory"):
        open_all(parts(folder, {"student": Deadly()}), patience=0)


def test_a_worker_opens_alone(folder, monkeypatch):
    monkeypatch.setattr(module, "parent_process", lambda: object())
    monkeypatch.setattr(module, "pool", forbidden)
    open_all(parts(folder), patience=0)


def test_a_script_without_a_main_guard_opens_alone(folder, monkeypatch):
    def refused(*_, **__):
        raise SystemExit("no guard")

    monkeypatch.setattr(module, "pool", refused)
    open_all(parts(folder), patience=0)


def test_progress_counts_every_clip(folder, monkeypatch):
    told = []
    monkeypatch.setattr(module, "track", lambda items, what, total: told.append((what, total)) or items)
    open_all(parts(folder), "opening videos", patience=0)
    assert told == [("opening videos", 12)]


def test_what_trainings_will_see_is_opened_ahead_and_faults_are_left_to_them(folder, monkeypatch):
    (folder / "train/a/00.mp4").write_bytes(b"")
    data = UserClips(str(folder))
    bright = Recipe("ce_enhanced", data, Enhanced(Gamma()), window=Window(8, 16, 16))
    dark = replace(bright, condition="dlkdd", view=Raw(), teacher=bright)
    seen = []
    monkeypatch.setattr("kdlab.train.preparing.unusable", lambda its: seen.extend(its))
    open_ahead([dark, bright, replace(dark, seed=1)])
    assert [len(part.records) for part in seen] == [4, 4, 4]
    assert [{view.name for view in part.views.values()} for part in seen] == [{"raw", Enhanced(Gamma()).name}] * 3
    monkeypatch.undo()
    open_ahead([dark])


# --- data check ----------------------------------------------------------------------------------------------------

def test_a_check_leaves_the_cache_filled(folder, monkeypatch):
    keep = ClipBatches((), VIEWS, Window(8, 16, 16))
    lines = check(folder, keep=keep).render().splitlines()
    told = f"  cache        the frames of 12 files are kept at 16 pixels (raw, {VIEWS['teacher'].name}) for trainings"
    assert any(line.startswith(told) for line in lines)
    assert len(list(keep.cache.root.glob("*.npy"))) == 24
    for kind in (Raw, Enhanced):
        for name in ("read", "each_frame"):
            monkeypatch.setattr(kind, name, forbidden, raising=False)
    open_all(parts(folder), patience=99)
    assert check(folder).kept == ""


def test_a_check_says_when_nothing_can_be_kept(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    keep = ClipBatches((), VIEWS, Window(8, 16, 16), FrameCache(tmp_path / "file" / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check(folder, keep=keep)
    assert "frames are not kept, or not all: " in report.kept and "KDLAB_CACHE name another folder" in report.kept
    assert kept(replace(keep, cache=FrameCache()), ()) == (None, "")


def test_the_command_keeps_what_the_notebooks_ask_for(folder, command, tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_PROFILE", "smoke")
    assert "for trainings" not in command("data", "check", folder, "--no-cache")[1]
    assert not (tmp_path / "cache").exists()
    assert "for trainings" in command("data", "check", folder)[1]
    catalogue = open_clips(folder)
    cache = FrameCache()
    for record in catalogue.records:
        for name in ("raw", Enhanced(Gamma()).name):
            assert cache.length(record.path, current().window.side, forbidden, name) == 10
