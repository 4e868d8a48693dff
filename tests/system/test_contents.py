"""What files hold is read once, and never answered from before a change."""

import pytest

from kdlab.system import contents


def test_clips_that_lie_still_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    files, read, was = [tmp_path / name for name in "abc"], [], contents._key
    for file in files:
        file.write_text(file.name)
    monkeypatch.setattr(contents, "_key", lambda file: read.append(file) or was(file))
    keys = contents.content_keys(files)
    assert contents.content_keys(files) == keys and read == files
    files[1].write_text("x")
    assert contents.content_keys(files)[files[1]] != keys[files[1]] and len(read) == 4
    for damage in ("", "[" * 100, "[]", "3"):
        (tmp_path / "cache" / "contents.json").write_text(damage)
        assert contents.content_keys(files)[files[0]] == keys[files[0]]


def test_one_operation_sees_one_state():
    answers = iter("abc")
    with contents.one_look():
        assert [contents.once("q", lambda: next(answers)) for _ in range(2)] == ["a", "a"]
    assert contents.once("q", lambda: next(answers)) == "b"


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.mp4: no such file. Restore it"):
        contents.content_keys([tmp_path / "gone.mp4"])
    with pytest.raises(ValueError, match="is no regular file"):
        contents.content_keys([tmp_path])
