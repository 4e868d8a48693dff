"""The pictures of the README leave no row hanging, and are not drawn over somebody's."""

from kdlab import paths
from kdlab.papers.dual_light import controls
from kdlab.show import plots
from kdlab.studies import gallery


def test_kdlab_knows_the_pictures_that_it_drew(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    figure = plots.plt.figure()
    figure.savefig(tmp_path / "mine.png")
    figure.savefig(tmp_path / "drawn.png", metadata=gallery._MARK)
    assert [gallery._is_drawn(tmp_path / name) for name in ("mine.png", "drawn.png")] == [False, True]
    monkeypatch.setattr(paths, "figures_are_committed", lambda: True)
    assert gallery._is_drawn(tmp_path / "mine.png")


def test_every_row_that_continues_another_stands_below_it():
    shown = list(gallery._rivals())
    rows = [what for asked in controls.COMPARISONS.values() for what in asked]
    followers = [what for what in shown if what.startswith("…")]
    assert followers and "teacher shown raw clips" in shown
    for what in followers:
        assert shown[shown.index(what) - 1] == rows[rows.index(what) - 1]
