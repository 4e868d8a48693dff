"""A person opens a notebook: JupyterLab in a real browser, a cell is run, a slider moved, and the picture changes.

It needs Chromium (the system's package, or the one that ``$KDLAB_CHROMIUM`` names) and Playwright's Python client.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import nbformat
import pytest

import kdlab

SOURCES = Path(kdlab.__file__).parent
PICTURE = ".widget-output img, .jupyter-widgets-output-area img"
TOKEN, SECONDS = "test", 90  # of waiting at most; on two quiet cores the whole takes about 30
FIRST = ("import numpy as np\nimport pandas as pd\nimport torch\nfrom kdlab.show.opening import opening\n"
         'opening("smoke")\nframes = np.full((13, 64, 64, 3), 90, np.uint8)\n'
         "for t, frame in enumerate(frames):\n    frame[16:40, 2 * t : 2 * t + 24] = 250 - 9 * np.arange(24)[:, None]\n"
         'truth = pd.DataFrame({"group": ["g1"] * 3, "video": ["v1"] * 3, "label": [0, 0, 1], "start": [0.0, 5, 2],\n'
         '                      "end": [2.0, 7, 3]})')
#: Every widget of kdlab's → its cell; all are moved with keys.
WIDGETS = {
    "kdlab.show.widgets.temperature_widget":
        'temperature_widget(np.array([2.0, 1.0, -1.0]), ("Jump", "Run", "Sit"), label=0)',
    "kdlab.show.widgets.exposure_widget": "exposure_widget(frames)",
    "kdlab.show.minds.minds_widget":
        "from kdlab.clips.views import Window\nfrom kdlab.show.minds import Mind\n"
        "class Light(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return torch.stack([0 * x.mean((1, 2, 3, 4)), x.mean((1, 2, 3, 4))], 1)\n"
        'minds_widget(frames, {"one": Mind(Light(), Window(8, 36, 32))}, ("dark", "light"))',
    "kdlab.show.codec_widgets.gop_widget":
        "from pathlib import Path\nfrom kdlab.night.codec import write_mpeg4\n"
        'write_mpeg4(Path("clip.avi"), frames)\ngop_widget("clip.avi")',
    "kdlab.show.clip_widgets.differing_widget":
        "from kdlab.study import Scores\n"
        'ids, right = np.array(["dark/Jump/test-0", "dark/Jump/test-1"]), np.zeros((2, 2), int)\n'
        'scores = Scores(("Jump", "Run"), (0, 1), ids, np.arange(2), right[0],\n'
        '                {"a": right, "b": right + [0, 1], "c": right + 1})\n'
        'differing_widget(scores, "a", "c", lambda name: frames // (1 + int(name[-1])))',
    "kdlab.show.scoreboard.evidence_widget":
        'from kdlab.show.scoreboard import board\nevidence_widget(board(["D4", "P1"]))',
    "kdlab.show.attention_plots.time_widget":
        "from kdlab.show.attention_plots import Look\n"
        "masks = np.zeros((1, 6, 12, 14), bool)\nmasks[..., 3:6, 4:8] = True\n"
        "heat = masks[0] * np.linspace(0.5, 1, 6)[:, None, None]\n"
        'time_widget([np.full((6, 12, 14, 3), 90, np.uint8)], ["Run"], masks,\n'
        '            lambda clip, layer: {"DL-KDD": Look(heat, "Run", True)}, ["net.stages.3"])',
    "kdlab.show.map_plots.map_widget":
        'cells = pd.DataFrame([dict(method="dlkdd", teacher="wide", clips=clips, steps=steps, seed=seed,\n'
        "                           gain=clips / 10 - seed, gap=3.0)\n"
        "                      for clips in (10, 40) for steps in (0.5, 1.0) for seed in (0, 1)])\n"
        'map_widget(cells, {"dlkdd": "DL-KDD"}, {"wide": "wide"})',
    "kdlab.papers.progressive.cost_plots.threshold_widget":
        "sums = np.random.default_rng(0).normal(size=(30, 12, 3)).cumsum(1)\n"
        'threshold_widget(sums, np.zeros(30, int), {"million MACs": np.arange(1, 13)})',
    "kdlab.papers.generative.threshold_plots.threshold_widget":
        "found = truth.assign(score=[0.31, 0.5, 0.9])\n"
        'threshold_widget(truth, lambda sigma: found, ("Jump", "Run"), 8.0)',
    "kdlab.papers.generative.detection_plots.timeline_widget":
        'timeline_widget(truth, {"one": truth.assign(score=[0.3, 0.5, 0.9])}, ("Jump", "Run"), frames, 8.0)',
    "kdlab.papers.generative.plots.moment_widget":
        "from kdlab.measure.alignment import Trace\nseconds = np.arange(13) / 15\n"
        'trace = Trace("v", "g", seconds, seconds > 0.4, ((0.4, 0.8, 1),), {"genkd": np.sin(seconds)})\n'
        'moment_widget(frames, trace, ("Sit", "Wave"), ["genkd"], 15)',
    "kdlab.papers.generative.reconstruction_plots.between_widget":
        "from kdlab.nets.i3d import TinyC3D\nfrom kdlab.nets.video import build\n"
        "from kdlab.papers.generative.nets import Gated\n"
        "from kdlab.papers.generative.reconstruction import Seen\n"
        "net = build(Gated(TinyC3D((4, 4, 8, 8)), (8, 16, 16)), 2, 0).eval().net\n"
        "features = torch.rand(2, *net.shape, generator=torch.Generator().manual_seed(0))\n"
        "with torch.no_grad():\n    attention = net.attention(features)\n"
        "seen = Seen(net, net.new_cvae().eval(), features, attention, (features, attention), np.arange(2),\n"
        '            ("a", "b"), ("Jump", "Sit"))\n'
        "between_widget(seen, [0, 1])",
    "kdlab.studies.flatness_plots.walk_widget":
        "from kdlab.studies.walks import Walk\nat = np.linspace(-0.5, 0.5, 9)\n"
        'walk_widget({"motion": {f"random {k}": Walk(at, 1 + 9 * k * at**2, 90 - 50 * abs(at)) for k in (1, 2)}})',
    "kdlab.studies.flatness_plots.path_widget":
        "from kdlab.measure.surface import Path as Line\n"
        'path_widget({"two seeds": Line(np.linspace(0, 1, 3), np.array([0.1, 2, 0.1]), np.array([1, 0.1, 1]))})',
}
CELLS = [FIRST, *("from {} import {}\n".format(*name.rsplit(".", 1)) + cell for name, cell in WIDGETS.items())]


def free_port() -> int:
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    direct, until = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + SECONDS
    while True:
        try:
            direct.open(url, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab of its own, with a notebook ``widget.ipynb`` in its folder."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (tmp_path / "work").mkdir()
    nbformat.write(notebook, tmp_path / "work" / "widget.ipynb")
    places = {f"JUPYTER_{name}_DIR": tmp_path / name.lower() for name in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{name}_DIR": tmp_path / name.lower() for name in ("SETTINGS", "WORKSPACES")}
    # Nobody is there to answer whether news are wanted, and nothing may be fetched.
    config = tmp_path / "config" / "labconfig" / "page_config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    environment = {k: v for k, v in os.environ.items() if k not in ("KDLAB_HEADLESS", "KDLAB_PROFILE")}
    environment |= {k: str(v) for k, v in places.items()} | {"IPYTHONDIR": str(tmp_path / "ipython")}
    # All cells are drawn, not only those that can be seen.
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))
    port, log = free_port(), tmp_path / "lab.log"
    call = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={tmp_path / 'work'}",
            f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True",
            "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate"]
    with log.open("w") as out:
        server = subprocess.Popen(call, env=environment, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status?token={TOKEN}", server, log)
        yield f"http://127.0.0.1:{port}/lab/tree/widget.ipynb?token={TOKEN}"
    finally:
        server.terminate()  # takes its kernels with it
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def keys_move_the_picture(playwright, page, cell: int) -> None:
    """No mouse is needed: an arrow key moves the first slider, and keys open a list and choose from it; the picture
    changes each time."""
    output = page.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")
    picture, value = output.locator(PICTURE), output.locator(".widget-readout").first
    picture.wait_for()
    before, read = picture.get_attribute("src"), value.inner_text()
    output.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    playwright.expect(picture).not_to_have_attribute("src", before, timeout=1000 * SECONDS)
    assert value.inner_text() != read
    with suppress(ValueError):  # the scoreboard's slider reads claims
        read = float(read)
        assert float(value.inner_text()) > read
    choices = output.locator("select").first
    if choices.count() and choices.locator("option").count() > 1:
        before, chosen = picture.get_attribute("src"), choices.input_value()
        choices.focus()
        for key in ("Space", "ArrowDown", "Enter"):  # JupyterLab takes the arrows of a list that is not open
            page.keyboard.press(key)
        playwright.expect(picture).not_to_have_attribute("src", before, timeout=1000 * SECONDS)
        assert choices.input_value() != chosen


def test_every_widget_is_tried():
    there = {f"{'.'.join(file.relative_to(SOURCES.parent).with_suffix('').parts)}.{name}"
             for file in SOURCES.rglob("*.py") for name in re.findall(r"^def (\w+_widget)\(", file.read_text(), re.M)}
    assert there == {*WIDGETS}


def test_a_slider_moves_the_picture(chromium, lab, tmp_path):
    from playwright import sync_api as playwright

    page = chromium.new_page(viewport={"width": 1200, "height": 1000})
    try:
        page.set_default_timeout(1000 * SECONDS)
        page.goto(lab)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.wait_for_function("() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel")
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        output = page.locator(".jp-CodeCell").nth(1).locator(".jp-Cell-outputArea")
        picture = output.locator(PICTURE)
        page.locator(PICTURE).nth(len(WIDGETS) - 1).wait_for()  # then nothing moves any more
        assert "profile smoke" in page.locator(".jp-CodeCell").nth(0).inner_text()
        assert output.locator(".widget-readout").inner_text() == "4.00"
        before = picture.get_attribute("src")
        assert before.startswith("data:image/png;base64,") and len(before) > 5000
        assert "the label is Jump" in picture.get_attribute("alt") and "t = 4" in picture.get_attribute("alt")

        output.scroll_into_view_if_needed()
        handle = output.locator(".noUi-handle").bounding_box()
        x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 60, y, steps=5)
        page.mouse.up()
        playwright.expect(picture).not_to_have_attribute("src", before, timeout=1000 * SECONDS)
        picture.wait_for()
        assert float(output.locator(".widget-readout").inner_text()) > 4
        after = picture.get_attribute("src")
        assert after.startswith("data:image/png;base64,") and len(after) > 5000 and after != before
        for cell in range(2, len(CELLS)):
            keys_move_the_picture(playwright, page, cell)
    except Exception:
        page.screenshot(path=tmp_path / "page.png")  # for whoever looks for the cause
        raise
