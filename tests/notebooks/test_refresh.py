import base64
import io
import json
import shutil

import nbformat
import numpy as np
from matplotlib import pyplot as plt
from nbformat import v4
from PIL import Image

from kdlab import paths
from kdlab.notebooks.parameters import effective_parameters, evidence_sources, evidence_there, fingerprint
from kdlab.notebooks.refresh import _small, put_back, stale_notebooks
from kdlab.notebooks.run import executed_file
from kdlab.system import sources
from tests.notebooks.test_run import clone, write  # noqa: F401
from tools.publish import executed


def test_a_picture_keeps_as_many_colours_as_it_needs():
    def stored(image: Image.Image) -> Image.Image:
        image.save(buffer := io.BytesIO(), "PNG")
        output = {"data": {"image/png": base64.b64encode(buffer.getvalue()).decode()}}
        return Image.open(io.BytesIO(base64.b64decode(_small(output)["data"]["image/png"])))

    ramp = np.arange(256, dtype=np.uint8)
    colours = np.stack(np.broadcast_arrays(ramp, ramp[:, None], (ramp[:, None] ^ ramp)), -1)
    assert len(stored(Image.open(io.BytesIO(base64.b64decode(picture())))).getcolors()) <= 32
    assert len(stored(Image.fromarray(colours)).getcolors()) > 128
    grey = Image.fromarray(np.broadcast_to(ramp, (256, 256)).copy()).convert("RGB")
    kept = np.asarray(stored(grey).convert("RGB"), float)
    assert np.abs(kept - np.asarray(grey)).mean() <= 0.75


def test_small_marks_keep_their_colours():
    """Among many greys a few dots of two colours are still there."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8) // 4 * 4, (256, 256))
    image = np.repeat(ramp[..., None], 3, axis=2).copy()
    dots = {(40, 40): (185, 133, 0), (80, 80): (213, 94, 0)}
    for (y, x), colour in dots.items():
        image[y : y + 5, x : x + 5] = colour
    Image.fromarray(image).save(buffer := io.BytesIO(), "PNG")
    output = {"data": {"image/png": base64.b64encode(buffer.getvalue()).decode()}}
    kept = np.asarray(Image.open(io.BytesIO(base64.b64decode(_small(output)["data"]["image/png"]))).convert("RGB"), int)
    for (y, x), colour in dots.items():
        assert np.abs(kept[y + 2, x + 2] - colour).max() < 48


def test_colours_of_one_palette_stay_apart():
    """Two ochres of the palette, 39 levels apart, beside many greys: each seen often, neither becomes the other."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8) // 4 * 4, (256, 256))
    image = np.repeat(ramp[..., None], 3, axis=2).copy()
    areas = {40: (185, 133, 0), 80: (213, 120, 20), 120: (213, 94, 0), 160: (200, 140, 30)}
    for y, colour in areas.items():
        image[y : y + 5, 100:106] = colour
    Image.fromarray(image).save(buffer := io.BytesIO(), "PNG")
    output = {"data": {"image/png": base64.b64encode(buffer.getvalue()).decode()}}
    kept = np.asarray(Image.open(io.BytesIO(base64.b64decode(_small(output)["data"]["image/png"]))).convert("RGB"), int)
    for y, colour in areas.items():
        assert np.abs(kept[y + 2, 103] - colour).max() <= 12


def picture() -> str:
    fig, ax = plt.subplots(figsize=(4, 3))
    ax.plot([0, 1, 0, 1])
    fig.savefig(buffer := io.BytesIO(), format="png")
    plt.close(fig)
    return base64.b64encode(buffer.getvalue()).decode()


def test_outputs_are_put_back_small_and_marked(tmp_path):
    cells = [v4.new_markdown_cell("# title"), v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]}),
             v4.new_code_cell("plot()")]
    ours = v4.new_notebook(cells=cells)
    big = picture()
    run = v4.new_notebook(cells=[
        cells[0], cells[1], v4.new_code_cell("a = 2", metadata={"tags": ["injected-parameters"]}),
        v4.new_code_cell("plot()", execution_count=9, outputs=[
            v4.new_output("stream", text="three words said\n"),
            v4.new_output("execute_result", data={"image/png": big}, execution_count=9),
        ]),
    ])
    nbformat.write(ours, tmp_path / "ours.ipynb")
    nbformat.write(run, tmp_path / "run.ipynb")
    put_back(tmp_path / "ours.ipynb", tmp_path / "run.ipynb", "demo")

    back = nbformat.read(tmp_path / "ours.ipynb", as_version=4)
    assert [c.source for c in back.cells] == ["# title", "a = 1", "plot()"]
    said, shown = back.cells[2].outputs
    assert said.text == "three words said\n" and shown.execution_count == back.cells[2].execution_count == 3
    small, large = (Image.open(io.BytesIO(base64.b64decode(p))) for p in (shown.data["image/png"], big))
    assert small.size == large.size and len(shown.data["image/png"]) < 0.7 * len(big)
    assert back.metadata.kdlab == {"profile": "demo", "sources": evidence_sources(tmp_path / "ours.ipynb"),
                                   "evidence": evidence_there()}


def test_outputs_of_other_sources_or_evidence_are_stale(clone):  # noqa: F811
    notebook = write(clone, "03_x", "x = 1")
    assert stale_notebooks() == {"03_x.ipynb": "its outputs carry no mark"}
    shutil.copy(notebook, clone / "run.ipynb")
    put_back(notebook, clone / "run.ipynb", "demo")
    assert stale_notebooks() == {}
    (clone / "figures" / "shards" / "dual_light").mkdir(parents=True)
    (clone / "figures" / "shards" / "dual_light" / "shard.json").write_text("{}")
    (clone / "figures" / "ledger.json").write_text("[]")
    assert stale_notebooks() == {}
    (clone / "figures" / "dual_light.csv").write_text("study,data\n")
    assert stale_notebooks() == {"03_x.ipynb": "its outputs show other evidence"}
    page = nbformat.read(notebook, as_version=4)
    page.cells[-1].source = "from kdlab.system import progress"
    nbformat.write(page, notebook)
    assert stale_notebooks() == {"03_x.ipynb": "its outputs were made by other sources"}


def test_only_what_a_notebook_imports_can_stale_it(tmp_path, monkeypatch):
    """A help text of the command line stales none; a module that the notebook's own modules import does."""
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("from kdlab.show import plots")]), tmp_path / "n.ipynb")
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("x = 1")]), tmp_path / "none.ipynb")
    read, changed = [], {}
    monkeypatch.setattr(sources, "syntax", lambda path: read.append(path.stem) or changed.get(path.stem, ""))

    def now(name: str) -> str:
        sources._read.cache_clear()
        return evidence_sources(tmp_path / f"{name}.ipynb")

    before = now("n")
    assert {"plots", "paired", "__init__"} <= set(read) and not {"main", "data", "paper", "doctor"} & set(read)
    changed["cli_paper"] = "another help text"
    assert now("n") == before != now("none")
    changed["paired"] = "another formula"
    assert now("n") != before
    monkeypatch.undo()
    sources._read.cache_clear()
    for notebook in (paths.project_root() / "notebooks").glob("*.ipynb"):
        assert len(evidence_sources(notebook)) == 64


def test_only_a_whole_execution_of_today_is_published(clone):  # noqa: F811
    notebook = write(clone, "03_x", "x = 1")

    def run(finished, **given):
        effective = effective_parameters(notebook, given)
        file = executed_file(notebook, effective)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(notebook.read_text())
        times = {"started": 0, "finished": finished, "seconds": 1}
        file.with_suffix(".json").write_text(json.dumps(fingerprint(notebook, effective) | times))
        return file

    assert executed(notebook) is None
    usual, trained = run(1, profile="demo"), run(2, profile="demo", pretrained=False)
    run(3, profile="demo", seed=5)
    usual.with_suffix(".partial.ipynb").write_text("{}")
    assert executed(notebook) == trained
    trained.with_suffix(".json").unlink()  # as while it is executed again, and after that has failed
    assert executed(notebook) == usual
    write(clone, "03_x", "x = 2")
    assert executed(notebook) is None
