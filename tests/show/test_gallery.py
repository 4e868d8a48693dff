"""Pictures of somebody's are not drawn over."""

from kdlab import paths
from kdlab.show import gallery, plots


def test_kdlab_knows_the_pictures_that_it_drew(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    figure = plots.plt.figure()
    figure.savefig(tmp_path / "mine.png")
    figure.savefig(tmp_path / "drawn.png", metadata=gallery._MARK)
    assert [gallery._is_drawn(tmp_path / name) for name in ("mine.png", "drawn.png")] == [False, True]
    monkeypatch.setattr(paths, "figures_are_committed", lambda: True)
    assert gallery._is_drawn(tmp_path / "mine.png")
