"""What is left of a clip in made features: the code's channels, what the last layers say, λ between two clips."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlab.nets.i3d import TinyC3D
from kdlab.nets.video import build
from kdlab.papers.generative import reconstruction
from kdlab.papers.generative.nets import CVAEs, Gated
from kdlab.papers.generative.reconstruction import (
    SHOWN,
    Seen,
    below_the_gate,
    between,
    by_channels,
    seen,
    told,
    told_table,
)
from kdlab.papers.generative.reconstruction_plots import between_picture, between_widget, code_curves, one_of_each
from kdlab.show import widgets
from tests.figures import legible

pytestmark = pytest.mark.usefixtures("styled")

CLASSES = ("Jump", "Sit", "Wave")


@pytest.fixture(scope="module")
def its() -> Seen:
    """An untrained network and an untrained CVAE, on made-up features of nine clips."""
    net = build(Gated(TinyC3D((4, 4, 8, 8)), (8, 16, 16)), 3, 0).eval()
    torch.manual_seed(1)
    shape = net.net.shape
    cvae = net.net.new_cvae().eval()
    features, known = torch.rand(9, *shape), torch.rand(12, *shape)
    with torch.no_grad():
        attention, others = net.net.attention(features), net.net.attention(known)
    return Seen(net.net, cvae, features, attention, (known, others), np.arange(9) % 3,
                tuple(f"clip{i}" for i in range(9)), CLASSES)


def test_the_features_explain_all_and_the_training_mean_nothing(its):
    found = told(its)
    assert found.index.tolist() == list(SHOWN)
    assert found.explained.iloc[0] == pytest.approx(100) and found.explained.iloc[-1] == pytest.approx(0, abs=1e-4)
    assert found.right.between(0, 100).all()


def test_the_last_layers_say_of_features_what_the_whole_network_says(its, monkeypatch):
    net, clips = build(Gated(TinyC3D((4, 4, 8, 8)), (8, 16, 16)), 3, 0).eval(), torch.rand(4, 3, 8, 16, 16)
    with torch.no_grad():
        features = net.net.backbone((clips - net.mean) / net.std)
        whole, parts = net(clips), its.answers(features, net.net.attention(features))
    assert np.allclose(whole, parts, atol=1e-5)


def test_rebuilt_and_generated_differ_in_the_code_alone(its):
    found = by_channels(its)
    channels = its.attention.shape[1]
    assert list(found) == [0, 1, 2, 4, channels]
    table, noise = told(its).explained, its.noise()
    assert found[0] == pytest.approx(table["generated from λ"], abs=1e-3)
    assert found[channels] == pytest.approx(table["rebuilt"], abs=1e-3)
    assert torch.equal(noise, its.noise()) and not torch.equal(noise, its.noise(1))


def test_channels_that_lie_farthest_from_the_prior_tell_first(its, monkeypatch):
    def encode(features, attention):
        mean = attention.clone()
        mean[:, 3] += 5  # this one says much, the others nothing
        return mean, torch.zeros_like(mean)

    told_by = []
    monkeypatch.setattr(its.cvae, "encode", encode)
    monkeypatch.setattr(its.cvae, "decode", lambda code, attention: told_by.append(code) or its.mean)
    by_channels(its, [0, 1])
    assert ((told_by[1] - told_by[0]).abs().amax((0, 2)) > 1).nonzero().flatten().tolist() == [3]


def test_lambda_goes_from_one_clip_to_the_other(its):
    made, attention = between(its, 0, 1, 0)
    assert torch.equal(attention[0], its.attention[0])
    assert torch.allclose(made, its.generated(its.attention, its.noise())[:1], atol=1e-6)
    assert torch.allclose(between(its, 0, 1, 1)[1][0], its.attention[1])
    assert torch.allclose(between(its, 0, 1, 0.5)[1][0], its.attention[:2].mean(0))
    with pytest.raises(ValueError, match="share=1.5: give 0"):
        between(its, 0, 1, 1.5)


def test_what_a_run_sees_is_told_apart_from_a_detectors(its, monkeypatch):
    net = build(Gated(TinyC3D((4, 4, 8, 8)), (8, 16, 16)), 3, 0).eval()
    clips = [SimpleNamespace(views={"student": torch.rand(3, 3, 8, 16, 16)}) for _ in range(2)]
    records = [SimpleNamespace(label=i % 3, id=f"c{i}") for i in range(6)]
    loaded = SimpleNamespace(evaluation=lambda: clips, records=records)
    monkeypatch.setattr(reconstruction, "batches", lambda *_: loaded)
    monkeypatch.setattr(reconstruction, "read_cvae", lambda _: net.net.new_cvae())
    run = SimpleNamespace(folder=SimpleNamespace(name="run"), recipe=None, net=lambda: net,
                          provenance={"classes": ["a", "b", "c"]})
    found = seen(run)
    assert found.features.shape == (6, *net.net.shape) and found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert torch.allclose(found.known[0], found.features), "the same clips here"
    monkeypatch.setattr(reconstruction, "read_cvae", lambda _: CVAEs())
    with pytest.raises(ValueError, match="run is a detector"):
        seen(run)


def test_what_is_below_the_gate_is_said(its, monkeypatch):
    assert ": below the 10 % that" in below_the_gate(its), "an untrained CVAE makes nothing of a clip"
    monkeypatch.setattr(its.cvae, "decode", lambda code, attention: its.features)
    assert below_the_gate(its).startswith("rebuilt 100.0 %, generated 100.0 %: not below")


def test_networks_stand_side_by_side(its):
    found = told_table({"teacher": its, "student": its})
    assert found.columns.tolist() == ["its last layers are shown", "teacher: R², %", "teacher: right, %",
                                      "student: R², %", "student: right, %"]
    assert found.iloc[:, 0].tolist() == list(SHOWN) and (found.iloc[:, 1] == found.iloc[:, 3]).all()


def test_a_curve_shows_every_count_and_what_it_is_measured_against(its):
    fig = code_curves({"teacher": its, "student": its}, "title")
    said = legible(fig)
    assert "what the gate asks for" in said and "teacher" in said and "generated from λ" in said
    assert list(fig.axes[0].lines[0].get_ydata()) == pytest.approx(list(by_channels(its).values()))


def test_a_picture_says_how_much_is_whose(its):
    said = legible(between_picture(its, 0, 1, 0.25))
    assert "λ 75 : 25" in said and "Jump" in said and "Sit" in said and "most active" in said


def test_clips_to_choose_from_are_those_that_the_network_gets_right(its, monkeypatch):
    said = np.eye(3)[[0, 0, 0, 0, 1, 1, 0, 1, 1]]  # of Wave, the third class, none is right
    monkeypatch.setattr(Seen, "answers", lambda *_: said)
    assert one_of_each(its) == [0, 4, 2]


def test_dragging_draws_anew_and_there_is_no_dead_slider(its, monkeypatch, capsys):
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert between_widget(its, one_of_each(its)) is None
    monkeypatch.setattr(widgets, "headless", lambda: False)
    widget = between_widget(its, [0, 1, 2])
    one, other, share = widget.children[:3]
    assert one.value == "Jump (clip0)" and other.value == "Sit (clip1)"
    one.value, share.value = "Wave (clip2)", 1.0
    widget.update()
    assert "Error" not in capsys.readouterr().out
