"""The pictures of the README are those of today's evidence, leave no row hanging, and are not drawn over somebody's."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from kdlab import paths
from kdlab.papers.dual_light import controls
from kdlab.show import plots
from kdlab.studies import gallery
from tests.figures import faults

#: Pictures of all claims: reading these takes 17 seconds. Tests of tests/show draw them of some.
BOARDS = {"scoreboard", "claims_at_a_glance"}
#: Another matplotlib sets text elsewhere: with that, pictures cannot be compared with the committed ones.
LOCKED = f"matplotlib=={matplotlib.__version__}" in (paths.project_root() / "requirements.lock").read_text().split()


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
@pytest.mark.parametrize("name", sorted(gallery.PICTURES.keys() - BOARDS))
def test_with_the_committed_evidence_it_can_be_read_on_a_wall(name):
    try:
        figure = gallery.PICTURES[name]()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    assert is_committed(name, figure) or not LOCKED, f"the evidence has changed: run `kdlab figures {name}`"
    assert faults(figure) == []


def is_committed(name, figure):
    """Whether the committed picture ``name`` is this one, which was not drawn yet (a layout drawn twice is another): a
    number or a mark that moved has more pixels of another colour than the arithmetic of another machine gives."""
    figure.savefig(drawn := io.BytesIO(), format="png")
    one, other = (np.asarray(Image.open(file).convert("L"), int)
                  for file in (drawn, paths.project_root() / "figures" / f"{name}.png"))
    return one.shape == other.shape and (abs(one - other) > 64).sum() < 10


def test_a_picture_of_another_number_is_not_the_committed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    (tmp_path / "figures").mkdir()
    for said in ("+1.1 ± 1.4", "+1.1 ± 1.5"):
        figure = plots.plt.figure()
        figure.text(0.5, 0.5, said)
        if said.endswith("4"):
            figure.savefig(tmp_path / "figures" / "one.png")
        assert is_committed("one", figure) == said.endswith("4")


@pytest.mark.slow
@pytest.mark.usefixtures("styled")
def test_all_claims_are_read_once_and_fit_a_screen_at_a_glance(monkeypatch):
    made = []
    monkeypatch.setattr(gallery.board, "board", lambda make=gallery.board.board: made.append(make()) or made[-1])
    gallery._board.cache_clear()
    try:
        glance, whole = (gallery.PICTURES[name]() for name in ("claims_at_a_glance", "scoreboard"))
    finally:
        gallery._board.cache_clear()
    same = is_committed("claims_at_a_glance", glance) and is_committed("scoreboard", whole)
    assert same or not LOCKED, "the evidence has changed: run `kdlab figures`"
    assert len(made) == 1 and faults(glance) == faults(whole) == []
    assert len(glance.axes[0].patches) == len(made[0].claims) and glance.get_figheight() < 0.85 * glance.get_figwidth()


def test_every_row_that_continues_another_stands_below_it():
    shown = list(gallery._rivals())
    rows = [what for asked in controls.COMPARISONS.values() for what in asked]
    followers = [what for what in shown if what.startswith("…")]
    assert followers and "CE enhanced on raw clips − on its own light" in shown
    for what in followers:
        assert shown[shown.index(what) - 1] == rows[rows.index(what) - 1]
