"""Where the variables may lead: each place either works, or gets one sentence."""

import os
from pathlib import Path

import pytest

from kdlab.clips.cache import FrameCache
from kdlab.system import paths

PLACES = {
    "KDLAB_RUNS": paths.runs_dir,
    "KDLAB_DATA": paths.data_dir,
    "KDLAB_CACHE": paths.cache_dir,
    "KDLAB_FIGURES": paths.figures_dir,
}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone, a home and a current folder; no variable is set."""
    for name in (*PLACES, "KDLAB_REAL_CLIPS"):
        monkeypatch.delenv(name, raising=False)
    for folder in ("clone/notebooks", "clone/pretrained", "clone/figures", "home", "here"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "clone")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "clone"


@pytest.mark.parametrize("variable", PLACES)
def test_what_works(clone, monkeypatch, variable):
    default = PLACES[variable]()
    assert default.parent == clone
    for value, place in (
        ("", default),
        ("elsewhere", clone.parent / "here" / "elsewhere"),
        ("~/kd", clone.parent / "home" / "kd"),
        (str(default / "deep"), default / "deep"),
        (str(default), default),
    ):
        monkeypatch.setenv(variable, value)
        assert PLACES[variable]() == place
    for other in PLACES:  # one folder for all of them
        monkeypatch.setenv(other, str(clone.parent / "one"))
    assert {place() for place in PLACES.values()} == {clone.parent / "one"}


@pytest.mark.parametrize("variable", PLACES)
@pytest.mark.parametrize(
    "value",
    [
        "/",
        "~",
        "file",
        "../clone",
        "../clone/pretrained",
        "../clone/notebooks/deep",
        "link",
        "loop",
        "../clone/figures",
    ],
)
def test_what_gets_one_sentence(clone, monkeypatch, variable, value):
    Path("file").touch()
    os.symlink(clone, "link")
    os.symlink("loop", "loop")
    monkeypatch.setenv(variable, value)
    if (variable, value) == ("KDLAB_FIGURES", "../clone/figures"):
        return
    with pytest.raises(
        ValueError, match=f"{variable} names {value}, which is a file, .*: let it name a folder"
    ):
        PLACES[variable]()


def test_the_size_of_the_cache_is_a_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("KDLAB_CACHE_GB", raising=False)
    monkeypatch.setenv("KDLAB_MEMORY_GB", "0.25")
    assert paths.memory_bytes() == 250 * 10**6
    assert paths.cache_bytes() == 8 * 2**30 == FrameCache(tmp_path).limit_bytes
    for value, size in (("40", 40 * 10**9), ("0.5", 5 * 10**8), ("0", 0)):
        monkeypatch.setenv("KDLAB_CACHE_GB", value)
        assert paths.cache_bytes() == size == FrameCache(tmp_path).limit_bytes
    for value in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv("KDLAB_CACHE_GB", value)
        with pytest.raises(
            ValueError, match=f"KDLAB_CACHE_GB='{value}' is no size: write a number"
        ):
            paths.cache_bytes()
