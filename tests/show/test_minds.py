"""Networks that change their minds: what they say of a light, through their own view and window, is what is drawn."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from kdlab.clips.cache import resize
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, MotionMix, Raw, Window
from kdlab.night import Camera, darken
from kdlab.show import widgets
from kdlab.show.minds import Mind, minds_along, minds_lines, minds_picture, minds_widget, relit
from tests.conftest import words

CLASSES = ("dim", "middling", "light")
CAMERA = Camera(level=60)


class Meter(torch.nn.Module):
    """Says *light* the more surely the brighter its input is."""

    def forward(self, x):
        mean = x.mean((1, 2, 3, 4))
        return torch.stack([torch.zeros_like(mean), torch.full_like(mean, -9), 20 * (mean - 0.3)], 1)


@pytest.fixture
def bright() -> np.ndarray:
    ramp = np.linspace(20, 230, 48).astype(np.uint8)
    return np.broadcast_to(ramp[None, None, :, None], (9, 32, 48, 3)).copy()


@pytest.fixture
def two() -> dict[str, Mind]:
    window = Window(4, 16, 12)
    return {"raw": Mind(Meter(), window), "gamma": Mind(Meter(), window, Gamma(3.0))}


def test_a_mind_sees_the_centre_window_of_its_own_view(bright, two):
    frames = np.stack([frame // (k + 2) for k, frame in enumerate(bright)])
    cut = np.stack([Gamma(3.0)(frames)[t] for t in (1, 3, 5, 7)])
    mean = resize(cut, 16)[:, 2:14, 6:18].mean() / 255
    wanted = torch.tensor([0, -9, 20 * (mean - 0.3)]).softmax(0)
    assert two["gamma"].answer(frames) == pytest.approx(wanted.numpy(), abs=1e-5)
    assert two["gamma"].answer(frames)[2] > two["raw"].answer(frames)[2]


def test_a_network_is_asked_in_the_view_that_it_was_trained_on():
    def run(view):
        return SimpleNamespace(folder=SimpleNamespace(name="run"), net=Meter,
                               recipe=SimpleNamespace(view=view, window=Window(4, 16, 12)))

    assert Mind.of(run(Raw())).seen is np.asarray and Mind.of(run(Enhanced(Gamma(3.0)))).seen == Gamma(3.0)
    with pytest.raises(ValueError, match="run sees .*: give a run on raw clips or on those of an enhancer"):
        Mind.of(run(MotionMix()))


def test_less_light_is_a_darker_clip_and_the_same_seed_the_same(bright):
    assert relit(bright, -3, CAMERA).mean() < relit(bright, 0, CAMERA).mean() < relit(bright, 2, CAMERA).mean()
    assert np.array_equal(relit(bright, -1), darken(bright, 0.5, np.random.default_rng(0), Camera()))
    stepped = Camera(steps=((2, 4.0),))
    assert np.array_equal(relit(bright, 0, stepped), relit(bright, 0, Camera())), "auto-exposure is left out"


def test_bars_are_the_answers_and_the_first_of_each_is_told(bright, two):
    fig = minds_picture(bright, two, CLASSES, -2, CAMERA, label=2)
    frames = relit(bright, -2, CAMERA)
    heights = [bar.get_height() for bar in fig.axes[1].patches]
    assert heights == pytest.approx([100 * p for mind in two.values() for p in mind.answer(frames)], abs=1e-4)
    assert np.array_equal(fig.axes[0].images[0].get_array(), frames[4])
    said = words(fig)
    best = two["gamma"].answer(frames)
    assert f"gamma: {CLASSES[best.argmax()]} {100 * best.max():.0f} %" in said
    assert "light (label)" in said and "light −2 stops" in said


def test_lines_are_the_labels_probability_at_each_light(bright, two):
    found = minds_along(bright, two, 2, (-2, 0, 2), CAMERA)
    assert found["raw"][0] == pytest.approx(100 * two["raw"].answer(relit(bright, -2, CAMERA))[2])
    assert (np.diff(found["raw"]) > 0).all()
    fig = minds_lines(found, (-2, 0, 2), "light")
    assert [line.get_ydata().tolist() for line in fig.axes[0].lines[:2]] == [found["raw"].tolist(),
                                                                            found["gamma"].tolist()]
    assert {"raw", "gamma", "probability of light (%)"} <= set(words(fig).split("\n"))


def test_the_slider_draws_the_picture_at_its_light(bright, two, monkeypatch, capsys):
    monkeypatch.setattr(widgets, "headless", lambda: True)
    assert minds_widget(bright, two, CLASSES) is None and "in JupyterLab" in capsys.readouterr().out
    monkeypatch.setattr(widgets, "headless", lambda: False)
    asked = []
    monkeypatch.setattr("kdlab.show.minds.minds_picture", lambda *given: asked.append(given[3]) or Figure())
    widget = minds_widget(bright, two, CLASSES)
    (slider,) = [child for child in widget.children if hasattr(child, "min")]
    widget.update()
    slider.value = -3
    assert asked[-1] == -3 and (slider.min, slider.max, slider.description) == (-4, 4, "light (stops)")
