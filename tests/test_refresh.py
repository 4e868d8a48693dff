import base64
import io

import nbformat
from matplotlib import pyplot as plt
from nbformat import v4
from PIL import Image

from kdlab.refresh import _put_back, evidence_sources


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
    _put_back(tmp_path / "ours.ipynb", tmp_path / "run.ipynb", "demo")

    back = nbformat.read(tmp_path / "ours.ipynb", as_version=4)
    assert [c.source for c in back.cells] == ["# title", "a = 1", "plot()"]
    said, shown = back.cells[2].outputs
    assert said.text == "three words said\n" and shown.execution_count == back.cells[2].execution_count == 3
    small, large = (Image.open(io.BytesIO(base64.b64decode(p))) for p in (shown.data["image/png"], big))
    assert small.size == large.size and len(shown.data["image/png"]) < 0.7 * len(big)
    assert back.metadata.kdlab == {"profile": "demo", "sources": evidence_sources()}
