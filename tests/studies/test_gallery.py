"""The pictures of the README leave no row hanging, and are not drawn over somebody's."""

import pytest

from kdlab import paths
from kdlab.papers.dual_light import controls
from kdlab.show import plots
from kdlab.studies import gallery
from tests.figures import faults


def test_kdlab_knows_the_pictures_that_it_drew(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    figure = plots.plt.figure()
    figure.savefig(tmp_path / "mine.png")
    figure.savefig(tmp_path / "drawn.png", metadata=gallery._MARK)
    assert [gallery._is_drawn(tmp_path / name) for name in ("mine.png", "drawn.png")] == [False, True]
    monkeypatch.setattr(paths, "figures_are_committed", lambda: True)
    assert gallery._is_drawn(tmp_path / "mine.png")


def test_every_picture_says_what_is_seen_and_one_can_be_drawn_alone(tmp_path, monkeypatch):
    assert all(gallery.shows(name).endswith(".") for name in gallery.PICTURES) and gallery.shows("mine") == ""
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    drawn = []
    monkeypatch.setattr(gallery, "PICTURES", {name: lambda name=name: drawn.append(name) or plots.plt.figure()
                                              for name in ("one", "two")})
    assert [path.name for path in gallery.draw(["two"])] == ["two.png"] and drawn == ["two"]
    assert [path.name for path in gallery.draw()] == ["one.png", "two.png"]
    with pytest.raises(ValueError, match="there is no picture 'three'; they are one, two"):
        gallery.draw(["three"])


def test_every_committed_picture_is_drawn_by_the_gallery():
    there = {path.stem for path in (paths.project_root() / "figures").glob("*.png")}
    assert there == {name for name in gallery.PICTURES if not gallery.awaited(name)}


@pytest.mark.usefixtures("styled")
@pytest.mark.parametrize("name", [name for name in gallery.PICTURES if name != "scoreboard"])  # which takes 17 seconds
def test_with_the_committed_evidence_it_can_be_read_on_a_wall(name):
    try:
        figure = gallery.PICTURES[name]()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    assert faults(figure) == []


def test_every_row_that_continues_another_stands_below_it():
    shown = list(gallery._rivals())
    rows = [what for asked in controls.COMPARISONS.values() for what in asked]
    followers = [what for what in shown if what.startswith("…")]
    assert followers and "CE enhanced on raw clips − on its own light" in shown
    for what in followers:
        assert shown[shown.index(what) - 1] == rows[rows.index(what) - 1]
