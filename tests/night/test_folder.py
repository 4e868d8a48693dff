"""A folder of somebody's own is refused before anything is touched, and in kdlab's own only its own files go."""

import json
import os

import pytest

from kdlab.night import Night, make_night
from kdlab.night import make as making
from kdlab.night.untrimmed import Untrimmed, make_untrimmed
from kdlab.system.files import write_atomically
from tests.conftest import touch

SPEC = Night(("Jump", "Run"), (1, 0, 0))
FEW = Untrimmed(("Jump",), (1, 0, 0), (12.0, 12.0))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def somebodys(tmp_path):
    """A folder of clips with their truth, which happen to lie as those of `night` do."""
    names = ("truth/Run/train-0000.npz", "index.csv", "dark/Run/train-0000.mp4", "thesis.txt")
    return touch(tmp_path / "mine", *names)


@pytest.fixture
def drawn(monkeypatch):
    """Videos are made in no time, of one byte each."""

    def make_one(job, root):
        for stream in ("dark", "dark_mpeg4", "bright", "truth"):
            write_atomically(root / job.name(stream), lambda path: path.write_bytes(b"0"))

    monkeypatch.setattr(making, "_make_one", make_one)


@pytest.mark.parametrize(
    "mark", [None, "{}", '{"generator": "0.1", "classes": []}', "[1]", "not json"]
)
@pytest.mark.parametrize(
    "make", [lambda root: make_night(SPEC, root), lambda root: make_untrimmed(FEW, root)]
)
def test_somebodys_folder_is_refused_and_stays_as_it_is(somebodys, drawn, make, mark):
    if mark:
        (somebodys / "night.json").write_text(mark)
    before = contents(somebodys)
    with pytest.raises(ValueError, match="empty folder|another folder|not readable"):
        make(somebodys)
    assert contents(somebodys) == before and not (somebodys / ".lock").exists()


def test_an_empty_folder_is_free_whatever_a_desktop_or_a_killed_call_left_there(tmp_path, drawn):
    for name in (".DS_Store", ".lock", ".kdlab-4711-00112233.tmp"):
        (tmp_path / name).touch()
    assert len(make_night(SPEC, tmp_path).records) == 2


def test_clips_of_another_generator_go_and_what_somebody_added_stays(tmp_path, drawn, monkeypatch):
    make_night(SPEC, tmp_path)
    mine = (
        "notes.txt",
        "dark/Run/mine.mp4",
        "truth/Run/masks.npz",
        "dark/Run/train-0000.mp4.bak",
        "bright/index.csv",
    )
    touch(tmp_path, *mine)
    own = tmp_path / "dark/Run/train-0000.mp4"
    own.write_text("of yesterday")
    (tmp_path / "dark/Run/train-0007.mp4").write_text("left by a larger set")
    monkeypatch.setattr(making, "generator_fingerprint", lambda: "0123456789abcdef")
    make_night(SPEC, tmp_path)
    assert [(tmp_path / name).read_text() for name in mine] == list(mine)
    assert own.read_text() == "0" and not (tmp_path / "dark/Run/train-0007.mp4").exists()
    assert json.loads((tmp_path / "night.json").read_text())["generator"] == "0123456789abcdef"


def test_links_are_not_followed(tmp_path, drawn, monkeypatch):
    make_night(SPEC, tmp_path / "night")
    (tmp_path / "night" / "dark").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "night" / "dark")
    monkeypatch.setattr(making, "generator_fingerprint", lambda: "0123456789abcdef")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="dark is a link"):
        make_night(SPEC, tmp_path / "night")
    assert contents(tmp_path) == before


def test_drafts_of_killed_calls_are_dropped_when_they_are_old(tmp_path, drawn):
    make_night(SPEC, tmp_path)
    draft = tmp_path / "dark/Run/.kdlab-4711-00112233.tmp"
    draft.touch()
    os.utime(draft, (0, 0))
    make_night(SPEC, tmp_path)
    assert not draft.exists()
