"""What a notebook shows and keeps of a figure, and what whoever does not see it is told."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

from kdlab.measure.paired import Effect
from kdlab.nets.layers import one_thread
from kdlab.show import notebook, plots

CLIP = np.random.default_rng(0).integers(0, 60, (6, 16, 20, 3), np.uint8)
EFFECT = {"method − baseline": Effect(3, 1, 5, 3, 100)}


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A notebook's shell, whose figures are displayed by kdlab."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    found = InteractiveShell.instance()
    monkeypatch.setattr(notebook, "get_ipython", lambda: found)
    try:
        with plt.rc_context():
            yield found
    finally:
        InteractiveShell.clear_instance()


def shown(shell, fig) -> tuple[dict, dict]:
    data, metadata = shell.display_formatter.format(fig)
    data.pop("text/plain")
    return data, metadata


def test_frames_are_stored_as_jpeg_and_charts_as_png_and_both_say_what_they_show(
    shell, monkeypatch
):
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    notebook.style()
    for fig, kind, word in (
        (plots.filmstrip({"dark": CLIP}, 2), "image/jpeg", "dark"),
        (plots.effects(EFFECT), "image/png", "method − baseline"),
    ):
        data, metadata = shown(shell, fig)
        assert list(data) == [kind] and word in metadata[kind]["alt"]
        picture = Image.open(io.BytesIO(base64.b64decode(data[kind])))
        assert picture.width == pytest.approx(110 * fig.get_figwidth(), rel=0.1)


def test_who_watches_gets_two_pixels_for_one_and_the_text(shell, monkeypatch):
    monkeypatch.setattr(notebook, "headless", lambda: False)
    notebook.style()
    fig = plots.filmstrip({"a & b": CLIP}, 2)
    data, _ = shown(shell, fig)
    html = data.pop("text/html")
    assert not data and 'alt="Pictures: a &amp; b"' in html
    picture = Image.open(io.BytesIO(base64.b64decode(html.split("base64,")[1].split('"')[0])))
    assert picture.width == pytest.approx(220 * fig.get_figwidth(), rel=0.1)
    assert f'width="{picture.width // 2}"' in html


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU does the work")
def test_a_notebook_works_on_one_thread():
    with plt.rc_context(), one_thread():  # restores the number of threads
        torch.set_num_threads(2)
        notebook.start_notebook("smoke")
        assert torch.get_num_threads() == 1


def test_outside_a_notebook_nothing_happens(monkeypatch):
    changed = []
    monkeypatch.setattr(notebook, "set_matplotlib_formats", lambda *how: changed.append(how))
    notebook._display_figures()
    assert not changed


def test_the_text_names_titles_axes_rows_and_keys_once_and_is_short():
    fig, axes = plt.subplots(1, 2)
    for ax in axes:
        ax.plot([0, 1], [5, 5], label="line")
        ax.set(xlabel="time (s)", yticks=[5, 6], yticklabels=["five", "six"])
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center")
    assert notebook.alt(fig) == "Chart: five; six; time (s); line"
    fig.set_label("Two of one")
    assert notebook.alt(fig) == "Two of one"
    fig.set_label("")
    axes[0].set_title("word " * 500)
    assert len(notebook.alt(fig)) <= notebook.LONGEST and notebook.alt(fig).endswith("…")
    fig, ax = plt.subplots()
    ax.set(yscale="log", ylim=(1e-3, 1e3), xticks=[1], xticklabels=["1e-3"])
    assert notebook.alt(fig) == "Chart:"


def test_a_named_index_is_a_column_and_what_is_missing_is_empty():
    rows = pd.DataFrame({"lead": [np.nan]}, pd.Index(["D1"], name="claim"))
    html = notebook.table(rows, "A caption").to_html()
    assert ">D1<" in html and "nan" not in html and "A caption" in html
    assert ">0<" not in notebook.table(rows.reset_index()).to_html()


def test_what_agrees_is_said_in_a_line(capsys):
    notebook.same("loss", torch.tensor(1.0, requires_grad=True), 1.0 + 1e-9)
    notebook.same("terms", {"a": [torch.ones(2)]}, {"a": np.ones((1, 2))})
    same = "yours and kdlab's are the same"
    assert capsys.readouterr().out == f"loss: {same}\nterms: {same}\n"


@pytest.mark.parametrize(
    "yours, kdlabs, why",
    [
        (1.0, 1.5, "yours gives 1 where 1.5 is right"),
        ([1.0, -2.0], [-1.0, 2.0], r"yours gives .* at \(1,\) .*; the sign is the opposite one"),
        ([1, np.nan], [1, 2], r"yours gives .*nan.*, not all of which are finite numbers"),
        ([1, np.nan], [1, np.nan], "kdlab's gives .*, not all of .*: look in the cells above, .*"),
        ([9.0, 1.0], [np.inf, 1.0], "kdlab's gives .*inf.*: look in the cells above, .*"),
        ([1, 2], [1, 2, 3], r"yours gives the shape \(2,\) where \(3,\) is right"),
        (None, 1.0, "yours gives None, which is no number and no array of numbers"),
        (1.0, None, "kdlab's gives None, which is no number .*"),
        ({"a": 1}, {"b": 1}, r"yours has the names \['a'\], kdlab's \['b'\]"),
        ({"a": 1}, 1, "yours gives {'a': 1}, .*"),
    ],
)
def test_a_cell_that_parts_from_kdlab_is_told_what_differs_where_and_by_how_much(
    yours, kdlabs, why
):
    with pytest.raises(AssertionError, match=f"^loss: {why}$"):
        notebook.same("loss", yours, kdlabs)
