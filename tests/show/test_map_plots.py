"""The map shows every cell's gain where it belongs, and a hand can move through it."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kdlab.show import widgets
from kdlab.show.map_plots import cell_picture, map_picture, map_sentences, map_widget, means
from tests.conftest import words

METHODS, TEACHERS = {"dlkdd": "DL-KDD", "genkd": "GenKD"}, {"equal": "equal", "wide": "wide"}


def made(seeds=4) -> pd.DataFrame:
    """Gains grow with the gap, and less with steps; GenKD has no twice, and seeds differ by two points."""
    rows = []
    for method, teacher, clips, steps in itertools.product(METHODS, TEACHERS, (10, 40), (0.25, 0.5, 1.0, 2.0)):
        if method == "genkd" and steps == 2:
            continue
        gap = 8.0 * (teacher == "wide") + clips / 10
        gain = 0.5 * gap - 2 * np.log2(steps) - 3 * (method == "genkd")
        rows += [dict(method=method, teacher=teacher, clips=clips, steps=steps, seed=100 + s, gap=gap,
                      gain=gain + 2 * (s % 2) - 1) for s in range(seeds)]
    return pd.DataFrame(rows)


def test_a_cell_has_the_mean_of_its_seeds_and_their_interval():
    here = "method == 'dlkdd' and teacher == 'wide' and clips == 10 and steps == 0.5"
    (cell,) = means(made()).query(here).itertuples()
    assert (cell.gain, cell.gap, cell.seeds) == (6.5, 9.0, 4)
    assert cell.half == pytest.approx(3.1824 * np.sqrt(4 / 3) / 2, abs=1e-3)
    assert means(made(1)).half.isna().all()


def test_every_gain_stands_in_its_row_and_column():
    fig = map_picture(made(), METHODS, TEACHERS, "The map")
    top, bottom = fig.axes
    shown = {(round(text.get_position()[0] - 0.5), round(text.get_position()[1] - 0.5)): text for text in top.texts
             if text.get_text()[0] in "+−"}
    assert [label.get_text() for label in top.get_yticklabels()] == [
        "DL-KDD, equal", "DL-KDD, wide", "GenKD, equal", "GenKD, wide"]
    assert len(shown) == 28 and shown[5, 1].get_text() == "+8.0", "DL-KDD, wide, 40 clips, half the steps"
    assert shown[0, 2].get_text() == "+1.5" and shown[0, 2].get_fontweight() == "normal", "± 1.8"
    assert shown[5, 1].get_fontweight() == "bold" and (3, 2) not in shown, "GenKD has no twice"
    assert "40 clips a class" in words(fig) and "×¼" in words(fig) and "mean of 4 seeds" in words(fig)
    points = np.concatenate([line.get_xydata() for line in bottom.lines if line.get_marker() in "os"])
    assert len(points) == 28 and [9.0, 6.5] in points.tolist()


def test_of_one_seed_nothing_is_sure():
    fig = map_picture(made(1), METHODS, TEACHERS)
    assert {text.get_fontweight() for text in fig.axes[0].texts if text.get_text()[0] in "+−"} == {"normal"}
    assert "mean of 1 seed;" in words(fig)
    assert "gain +7.0 points, where" in words(cell_picture(made(1), METHODS, TEACHERS, "dlkdd", "wide", 40, 0.5))


def test_a_cell_says_its_gain_and_gap_and_is_ringed():
    fig = cell_picture(made(), METHODS, TEACHERS, "dlkdd", "wide", 10, 0.5)
    (ax,) = fig.axes
    assert ax.get_title().startswith("DL-KDD, teacher wide, 10 clips a class, ×½ steps:\ngain +6.5 ± 1.8 points")
    assert "the teacher is +9.0 better" in ax.get_title()
    (ring,) = [line for line in ax.lines if line.get_markersize() == 15]
    assert ring.get_xydata().tolist() == [[-1.0, 6.5]]
    assert "not on the map" in words(cell_picture(made(), METHODS, TEACHERS, "genkd", "wide", 10, 2.0))
    with pytest.raises(ValueError, match="no clips 20; it has 10, 40"):
        cell_picture(made(), METHODS, TEACHERS, "dlkdd", "wide", 20, 1.0)
    with pytest.raises(ValueError, match="no teacher 'pretrained'; it has equal, wide"):
        cell_picture(made(), METHODS, TEACHERS, "dlkdd", "pretrained", 10, 1.0)


def test_what_the_map_shows_is_told_in_sentences():
    cells = made()
    count, largest, methods, together = map_sentences(cells, METHODS, TEACHERS)
    found = means(cells)
    above, below = (found.gain > found.half).sum(), (found.gain < -found.half).sum()
    assert above and below and "28 cells, 4 seeds each" in count
    assert f"above zero in {above} and below it in {below};" in count
    assert "DL-KDD, teacher wide, 40 clips a class, ×¼ steps: gain +10.0 ± 1.8 points" in largest
    gains = found.groupby("method").gain.mean()
    assert f"DL-KDD {gains['dlkdd']:+.1f} ± 1.8" in methods and f"GenKD {gains['genkd']:+.1f} ± 1.8" in methods
    assert together.endswith(f"by {np.corrcoef(found.gap, found.gain)[0, 1]:+.2f}.")
    assert "±" not in map_sentences(made(1), METHODS, TEACHERS)[1]


def test_a_hand_moves_through_the_map(monkeypatch, capsys):
    monkeypatch.setattr(widgets, "headless", lambda: False)
    titles = []
    monkeypatch.setattr(plt.Axes, "set_title", lambda ax, text, **_: titles.append(text))
    widget = map_widget(made(), METHODS, TEACHERS)
    method, teacher, clips, steps = widget.children[:4]
    assert list(clips.options) == [10, 40] and [label for label, _ in steps.options] == ["×¼", "×½", "×1", "×2"]
    assert not clips.continuous_update and not steps.continuous_update
    method.value, teacher.value, clips.value, steps.value = "genkd", "wide", 40, 2.0
    widget.update()
    assert titles[-1] == "GenKD, teacher wide, 40 clips a class, ×2 steps:\nnot on the map"
    assert "Error" not in capsys.readouterr().out


def test_headless_there_is_no_dead_slider(monkeypatch, capsys):
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert map_widget(made(), METHODS, TEACHERS) is None and "JupyterLab" in capsys.readouterr().out
