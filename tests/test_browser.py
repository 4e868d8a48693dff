"""A person opens a notebook: JupyterLab in a real browser, a cell is run, a slider moved, and the picture changes.

It needs Chromium (the system's package, or the one that ``$KDLAB_CHROMIUM`` names) and Playwright's Python client.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import nbformat
import pytest

TOKEN, SECONDS = "test", 90  # of waiting at most; on two quiet cores the whole takes about 15
CELLS = ["import numpy as np\nfrom kdlab.show.opening import opening\n"
         'from kdlab.show.widgets import temperature_widget\nopening("smoke");',
         'temperature_widget(np.array([2.0, 1.0, -1.0]), ("Jump", "Run", "Sit"), label=0)',
         "from pathlib import Path\nfrom kdlab.night.codec import write_mpeg4\n"
         "from kdlab.show.codec_widgets import gop_widget\n"
         "frames = np.full((13, 64, 64, 3), 90, np.uint8)\n"
         "for t, frame in enumerate(frames):\n    frame[16:40, 2 * t : 2 * t + 24] = 250 - 9 * np.arange(24)[:, None]\n"
         'write_mpeg4(Path("clip.avi"), frames)\ngop_widget("clip.avi")',
         "from kdlab.papers.progressive.cost_plots import threshold_widget\n"
         "sums = np.random.default_rng(0).normal(size=(30, 12, 3)).cumsum(1)\n"
         'threshold_widget(sums, np.zeros(30, int), {"million MACs": np.arange(1, 13)})',
         "from kdlab.studies.flatness_plots import walk_widget\nfrom kdlab.studies.walks import Walk\n"
         "at = np.linspace(-0.5, 0.5, 9)\n"
         'walk_widget({"motion": {"random 1": Walk(at, 1 + 9 * at**2, 90 - 50 * abs(at))}})',
         "from kdlab.show.attention_plots import Look, time_widget\n"
         "masks = np.zeros((1, 6, 12, 14), bool)\nmasks[..., 3:6, 4:8] = True\n"
         "heat = masks[0] * np.linspace(0.5, 1, 6)[:, None, None]\n"
         'time_widget([np.full((6, 12, 14, 3), 90, np.uint8)], ["Run"], masks,\n'
         '            lambda clip, layer: {"DL-KDD": Look(heat, "Run", True)}, ["net.stages.3"])',
         "import pandas as pd\nfrom kdlab.show.map_plots import map_widget\n"
         'cells = pd.DataFrame([dict(method="dlkdd", teacher="wide", clips=clips, steps=steps, seed=seed,\n'
         "                           gain=clips / 10 - seed, gap=3.0)\n"
         "                      for clips in (10, 40) for steps in (0.5, 1.0) for seed in (0, 1)])\n"
         'map_widget(cells, {"dlkdd": "DL-KDD"}, {"wide": "wide"})']


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


def arrows_move_the_picture(playwright, page, cell: int) -> None:
    """Once its first slider has the focus, an arrow key moves it, and the picture changes: no mouse is needed."""
    output = page.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")
    picture = output.locator(".widget-output img, .jupyter-widgets-output-area img")
    value = output.locator(".widget-readout").first
    picture.wait_for()
    before, number = picture.get_attribute("src"), float(value.inner_text())
    output.locator(".noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    playwright.expect(picture).not_to_have_attribute("src", before, timeout=1000 * SECONDS)
    assert float(value.inner_text()) > number


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
        picture = output.locator(".widget-output img, .jupyter-widgets-output-area img")
        picture.wait_for()
        assert "profile smoke" in page.locator(".jp-CodeCell").nth(0).inner_text()
        assert output.locator(".widget-readout").inner_text() == "4.00"
        before = picture.get_attribute("src")
        assert before.startswith("data:image/png;base64,") and len(before) > 5000
        assert "the label is Jump" in picture.get_attribute("alt") and "t = 4" in picture.get_attribute("alt")

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
            arrows_move_the_picture(playwright, page, cell)
    except Exception:
        page.screenshot(path=tmp_path / "page.png")  # for whoever looks for the cause
        raise
