"""The explorer: clips are chosen by what networks say of them, seen, and asked about; a stranger's, too."""

import asyncio
import io
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from torch import nn

from kdlab.clips.untrimmed import Windows
from kdlab.night import Night
from kdlab.night.make import make_night
from kdlab.show import explore as module
from kdlab.show.explore import (
    Asked,
    Clip,
    _Explorer,
    bars,
    chosen,
    clips_of,
    explore,
    moving,
    nearest,
    stored,
)
from kdlab.system import paths
from kdlab.train.obtain import obtain
from kdlab.video.container import UnusableFile
from tests.train.test_runs import clips, make_student  # noqa: F401

A, B, C = (Clip(Path(f"{name}.mp4"), label) for name, label in (("a", 0), ("b", 0), ("c", 1)))


def asked(*logits):
    """A network that has answered A, B and C; from B's features, those of A are nearer than those of C."""
    rows = zip((A, B, C), np.array(logits), (1, 0, 9), strict=True)
    return Asked(None, {(clip.path, False): {"logits": z, "features": h} for clip, z, h in rows})


ONE, OTHER = asked([2, 0], [0, 1], [0, 3]), asked([0, 2], [0, 1], [0, 9])


@pytest.fixture(scope="module")
def pair(clips, tmp_path_factory):  # noqa: F811
    """A student and its teacher, trained on two classes of a stranger's clips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDLAB_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("KDLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        student = make_student(clips)
        return {"student": obtain(student), "teacher": obtain(student.teacher)}


@pytest.mark.parametrize(
    "label, which, found",
    [
        (0, "all", [A, B]),
        (None, "right", [A, C]),
        (None, "wrong", [B]),
        (None, "they differ most", [A, C, B]),
    ],
)
def test_clips_are_chosen_by_class_and_by_what_networks_say(label, which, found):
    assert chosen([A, B, C], label, which, [ONE, ONE, OTHER]) == found


def test_the_nearest_clips_are_those_with_the_nearest_features(monkeypatch):
    network = asked([2, 0], [0, 1], [0, 3])
    assert nearest(B.path, network) == "nearest of 2 clips by features: /a, /c"
    monkeypatch.setattr(module, "PATIENCE", -1)  # no time for another clip
    del network.known(C.path)["features"]
    assert nearest(B.path, network) == "nearest of 1 clips so far by features: /a"


@pytest.mark.parametrize(
    "net, read",
    [
        (nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2)), 4),
        (nn.Conv3d(1, 2, (1, 1, 8)), 8),
        (nn.AdaptiveAvgPool3d((1, 1, 2)), 2),
    ],
)
def test_features_of_any_network_are_what_its_classifier_reads(net, read, monkeypatch):
    seen = [torch.rand(1, 1, 1, 1, 8)]
    monkeypatch.setattr(module, "input_of", lambda *_: seen.pop())  # once
    network = Asked(SimpleNamespace(recipe=None, provenance={"classes": "ab"}))
    network.net = net
    assert len(network.answer(A.path, "features")) == read
    assert ("by logits" in nearest(A.path, network)) == (read == 2)


def test_a_runs_features_give_its_logits_and_a_changed_file_is_asked_again(pair, clips, tmp_path):  # noqa: F811
    network, file = Asked(pair["student"]), tmp_path / "mine.mp4"
    for source in list(clips.rglob("*.mp4"))[:2]:
        file.write_bytes(source.read_bytes())
        again = network.net.net.fc(torch.from_numpy(network.answer(file, "features"))).detach()
        assert np.allclose([again, network.answer(source)], network.answer(file))


def test_bars_give_each_networks_percent_and_mark_the_true_class():
    html = bars({"x<y": np.array([0.25, 0.75])}, ("Jump", "Sit"), 1)
    assert (
        "x&lt;y" in html and "width:75%" in html and "<b>Sit</b>" in html and "<b>Jump" not in html
    )


def test_a_moving_picture_has_its_frames_in_order():
    frames = np.repeat(np.arange(0, 250, 25, dtype=np.uint8), 20 * 30 * 3).reshape(10, 20, 30, 3)
    picture = Image.open(io.BytesIO(moving(frames)))
    assert picture.n_frames == 10 and picture.size == (225, 150)
    picture.seek(9)
    assert abs(np.asarray(picture.convert("L")).mean() - 225) < 4


def test_a_folders_names_are_the_classes_of_its_videos(pair, clips, tmp_path):  # noqa: F811
    network = Asked(pair["student"])
    found = clips_of(network, clips)
    assert found and all(network.classes[c.label] == c.path.parent.name for c in found)
    with pytest.raises(ValueError, match="holds no video: name a folder of videos"):
        clips_of(network, tmp_path)
    tested = clips_of(network, None)
    assert [network.label(c.path) == c.label for c in tested] == list(
        pair["student"].predictions().correct
    )
    again = Asked(pair["student"])
    for (path, _), known in network.given.items():  # what is asked now is what was said in the test
        assert np.allclose(again.answer(path), known["logits"], atol=1e-5)


def test_a_file_that_cannot_be_read_is_neither_right_nor_wrong(pair, tmp_path):
    (deep := tmp_path / "left" / "monday").mkdir(parents=True)
    (deep / "text.mp4").write_text("no video")
    network = Asked(pair["student"])
    seen = clips_of(network, tmp_path)
    assert network.classes[seen[0].label] == "left"  # the nearest folder of a class
    for which in ("right", "wrong"):
        assert not chosen(seen, None, which, [network])


def test_without_a_browser_it_is_a_still_picture_and_without_a_classifier_one_sentence(
    pair, monkeypatch
):
    monkeypatch.setattr(module, "headless", lambda: False)
    assert len(explore(pair).children) == 2
    monkeypatch.setattr(module, "headless", lambda: True)
    p, q = (softmax(run.predictions().logits, 1) for run in pair.values())
    furthest = p[abs(p - q).sum(1).argmax()]  # the clip on which they differ most
    assert f", {100 * furthest.max():.0f} %; teacher" in explore(pair).get_suptitle()
    networks = [Asked(run) for run in pair.values()]
    order = chosen(clips_of(networks[0], None), None, module.APART, networks)
    with monkeypatch.context() as patch:  # that clip stands last
        patch.setattr(module, "clips_of", lambda *_: order[::-1])
        patch.setattr(module, "still", lambda clip, _: clip)
        assert explore(pair) == order[0] != order[-1]
    for clips_too, window in ((False, None), (True, Windows())):  # exits, a detector
        recipe = SimpleNamespace(on_clips=clips_too, window=window)
        with pytest.raises(ValueError, match="PKD does not classify clips: .*give its internal"):
            explore({"PKD": SimpleNamespace(recipe=recipe)})
    recipe = SimpleNamespace(on_clips=True, window=None)
    other = SimpleNamespace(recipe=recipe, provenance={"classes": ["a"]})
    with pytest.raises(ValueError, match="other has the classes a, the first network left, right"):
        explore(pair | {"other": other})


def test_each_move_shows_what_it_says(pair, clips):  # noqa: F811
    networks = {name: Asked(run) for name, run in pair.items()}
    seen = clips_of(networks["student"], None)

    def exits(clip, theta):
        if clip.stat().st_size < 9:
            raise ValueError("no exits")
        return pd.DataFrame({"exit": [clip.name], "macs": 2213472, "stops": True}), theta

    widgets = _Explorer(networks, exits, seen, {})
    assert widgets.label.label == "every class"
    for told in (widgets.clip.path.name, "2.2 M", "here"):
        assert f"<td>{told}</td>" in widgets.exit_table.value
    said, widgets.exit_table.value = widgets.said.value, "as it was"
    widgets.temperature.value = 2.0  # the exits have no temperature, and are not asked again
    assert widgets.exit_table.value == "as it was" and widgets.said.value != said
    titles = lambda: [box.children[0].value for box in widgets.seen.children]  # noqa: E731
    assert titles() == ["the clip", "enhanced"] and "teacher" in widgets.said.value

    async def look():
        widgets.near.value = True
        while "so far" in widgets.said.value:
            await asyncio.sleep(0.1)

    asyncio.run(asyncio.wait_for(look(), 60))
    assert "student: nearest of 7 clips by features" in widgets.said.value
    before = widgets.seen.children[1].children[1].value
    widgets.gamma.value = 3.0
    assert widgets.seen.children[1].children[1].value != before
    widgets.enhancer.value, widgets.looks.value = "none", True
    assert titles() == ["the clip", "student looks", "teacher looks"]
    widgets.which.value = "wrong"
    assert len(widgets.list.options) == (~pair["student"].predictions().correct).sum()
    widgets.matrix.selected_index = 0
    cells = [c for c in widgets.matrix.children[0].children if getattr(c, "description", "")]
    assert sum(int(cell.description) for cell in cells) == 8
    cells[0].click()
    assert len(widgets.list.options) == int(cells[0].description)
    assert (widgets.label.label, widgets.which.value) == ("every class", "a cell of the matrix")
    widgets.which.value = "all"
    assert len(widgets.list.options) == 8
    own = next(clips.rglob("*.mp4"))
    widgets.receive(SimpleNamespace(new=[{"name": "mine.mp4", "content": own.read_bytes()}]))
    assert widgets.list.options[0][0] == "mine" and widgets.clip.label is None
    widgets.receive(SimpleNamespace(new=[{"name": "text.mp4", "content": b"no video"}]))
    assert "text.mp4" in widgets.said.value and "text.mp4" in widgets.seen.children[0].value
    assert widgets.exit_table.value == "no exits"
    widgets.receive(SimpleNamespace(new=[{"name": "text.mp4", "content": own.read_bytes()}]))
    assert "teacher" in widgets.said.value  # of the second file of that name
    widgets.which.value = "they differ most"  # the broken clip has no answer
    assert "text.mp4" in widgets.said.value
    widgets.which.value = "wrong"
    assert "mine" not in dict(widgets.list.options)  # its class is unknown


def test_what_the_codec_stores_is_shown_or_refused(tmp_path):
    night = make_night(Night(("Jump",), (0, 0, 1)), tmp_path, progress=False, stream="bright")
    shown = stored(night.records[0].path)
    assert set(shown) == {"I-frames", "motion", "residual, times 2"}
    assert all(frames.dtype == np.uint8 and frames.shape[-1] == 3 for frames in shown.values())
    (bad := tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UnusableFile):
        stored(bad)


@pytest.mark.slow
def test_in_a_browser_a_clip_is_chosen_uploaded_turned_and_answered(tmp_path, monkeypatch):
    """The last notebook as a page of voilà, in Chromium."""
    pytest.importorskip("voila", reason="needs `pip install voila`")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs `pip install selenium`")
    if not shutil.which("chromedriver"):
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    monkeypatch.delenv("KDLAB_HEADLESS", raising=False)
    book = paths.project_root() / "notebooks" / "13_explore.ipynb"
    command = [sys.executable, "-m", "voila", str(book), "--port=8899", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            options = webdriver.ChromeOptions()
            for switch in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1400,2000"):
                options.add_argument(f"--{switch}")
            options.page_load_strategy = "none"  # voilà answers after the last cell has run
            with webdriver.Chrome(options) as browser:
                _walk_through(browser, tmp_path)
        finally:
            server.kill()


def _walk_through(browser, tmp_path):
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import Select, WebDriverWait

    # while the page loads, parts of it are made anew, or are not there yet
    wait = WebDriverWait(browser, 300, 0.2, (StaleElementReferenceException, IndexError)).until

    def every(css):
        return browser.find_elements("css selector", css)

    def listed():
        return [option.text for option in every(".widget-select select option")]

    def choose(number, text):
        Select(every(".widget-dropdown select")[number]).select_by_visible_text(text)
        return True

    def picture():
        return every(".widget-image")[1].get_attribute("src")

    wait(lambda _: socket.socket().connect_ex(("localhost", 8899)) == 0)
    browser.get("http://localhost:8899")
    wait(lambda _: picture() and listed())
    count = len(listed())
    wait(lambda _: choose(1, "wrong"))
    wait(lambda _: 0 < len(listed()) < count)
    before = picture()
    choose(2, "CLAHE")
    wait(lambda _: picture() != before)
    source = next((paths.data_dir() / "night-v0.25-c0-s0" / "dark" / "Sit").glob("test-*.mp4"))
    (own := tmp_path / "mine.mp4").write_bytes(source.read_bytes())
    # the button's file dialogue hangs on an input outside the page: put it there instead of opening it
    browser.execute_script(
        "HTMLInputElement.prototype.click = function () { document.body.append(this); }"
    )
    every(".widget-upload")[0].click()
    every("body > input[type=file]")[0].send_keys(str(own))
    wait(lambda _: listed()[0] == "mine" and "%" in every(".widget-html table")[0].text)
