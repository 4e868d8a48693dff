"""The one rule: nothing that kdlab did not make is written over or deleted."""

import os

import pytest

from kdlab.system.ours import NotOurs, may_fill, may_write, strangers


def test_a_file_is_written_where_none_is_or_an_own_one(tmp_path):
    file = tmp_path / "page.html"
    assert may_write(file, lambda _: False, "report") == file and list(tmp_path.iterdir()) == []
    file.write_text("mine")
    assert may_write(file, lambda its: its.read_text() == "mine", "report") == file
    with pytest.raises(NotOurs, match="page.html is there already and is no report of kdlab's"):
        may_write(file, lambda _: False, "report")
    os.symlink(file, tmp_path / "link")
    for name in ("link", "", "."):
        with pytest.raises(NotOurs):
            may_write(tmp_path / name, lambda _: True, "report")
    with pytest.raises(NotADirectoryError, match="there is no folder .*nope; make it first"):
        may_write(tmp_path / "nope" / "page.html", lambda _: True, "report")
    with pytest.raises(NotADirectoryError):
        may_write(file / "page.html", lambda _: True, "report")


def test_a_folder_is_filled_where_it_is_free_or_an_own_one(tmp_path):
    may_fill(tmp_path / "new", lambda _: False, "data set")
    (tmp_path / ".lock").touch()
    (tmp_path / ".DS_Store").touch()
    may_fill(tmp_path, lambda _: False, "data set")
    for name in "abcd":
        (tmp_path / name).touch()
    with pytest.raises(NotOurs, match="holds a, b, c … and is no data set of kdlab's: give an empty folder"):
        may_fill(tmp_path, lambda _: False, "data set")
    may_fill(tmp_path, lambda _: True, "data set")
    with pytest.raises(NotOurs, match="is no folder"):
        may_fill(tmp_path / "a", lambda _: True, "data set")
    assert strangers(tmp_path) == ["a", "b", "c", "d"]
