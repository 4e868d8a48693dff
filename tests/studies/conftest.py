import pytest

from kdlab import paths


@pytest.fixture
def own_places(monkeypatch, tmp_path):
    """Runs, cache, data, figures and committed weights under ``tmp_path``, which is returned."""
    for name in ("RUNS", "CACHE", "DATA", "FIGURES"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name))
    monkeypatch.setattr(paths, "pretrained_dir", lambda: tmp_path / "pretrained")
    return tmp_path


@pytest.fixture
def reading(monkeypatch):
    """``reading("wise")``: from here on what is not told apart from the committed evidence is what the smoke size of
    that study left in ``runs/``, whose folder is returned."""
    def read(study):
        place = paths.runs_dir() / "studies" / f"{study}-smoke"
        monkeypatch.setenv("KDLAB_FIGURES", str(place))
        return place

    return read


@pytest.fixture
def miniature_arid6(make_video, monkeypatch, own_places):
    """Twelve clips of two classes in two folds, found as the real dark set is; returns :func:`own_places`."""
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(own_places))
    lines = ["path,label,fold,group"]
    for k in range(12):
        label, fold = ("Run", "Sit")[k % 2], "AB"[k // 6]
        make_video(f"arid6/{label}/{k}.mp4", frames=10 + k, size=(50, 40))
        lines.append(f"{label}/{k}.mp4,{label},{fold},g{k // 2}{label}")
    (own_places / "arid6" / "index.csv").write_text("\n".join(lines))
    return own_places
