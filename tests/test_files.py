"""Files are written whole or not at all."""

import pytest

from kdlab.files import StorageFull, write_atomically


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
