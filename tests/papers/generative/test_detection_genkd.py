"""GenKD at the taps of a detector: the formulas, what each pass moves, and the aliasing of the released code."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from kdlab.clips.windows import Batch
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.video import build
from kdlab.papers.generative.detection import (
    Detection,
    DetectionDistillation,
    DetectionRepresentation,
    detection_terms,
)
from kdlab.papers.generative.detector import Detector
from kdlab.papers.generative.networks import normed_gate
from kdlab.train.recipe import from_json, to_json
from kdlab.train.settings import Settings
from tests.distill.conftest import InMemory, kind
from tests.papers.generative.test_method import (
    HALF,
    both_phases,
    check_passes,
    check_terms,
    fall,
    networks,
    seen,
)

CROP = 16
TAPS = ("stages.2.2", "stages.3")


def detector(widths, temporal=(True,) * 4):
    return Detector(TinyC3D(widths, temporal), TAPS, steps=16, levels=3, width=8, gated=CROP)


TEACHER = detector((4, 6, 8, 12))
STUDENT = detector((2, 3, 8, 12), (False, False, True, True))


class Videos(InMemory):
    """Windows with one bright stretch."""

    records = range(8)

    def batch(self, indices, generator):
        x = 0.3 * torch.rand(len(indices), 3, 16, CROP, CROP, generator=generator)
        labels = torch.tensor([[[2.0 + i % 4, 9.0 + i % 4, i % 2]] for i in indices])
        for clip, row in zip(x, labels[:, 0].int().tolist(), strict=True):
            clip[row[2], row[0] : row[1]] += 0.5
        return Batch({"student": x, "teacher": x.sqrt()}, labels, tuple(map(str, indices)))


def batch():
    return next(Videos().evaluation())


# --- the gate and the network ----------------------------------------------------------------------------------


def test_the_gate_is_the_papers_but_keeps_features_under_constant_attention():
    features = torch.rand(2, 3, 4, 2, 2)
    attention = torch.rand(2, 3, 4)
    assert torch.allclose(normed_gate(features, torch.full((2, 3, 4), 0.3)), features)
    paper = features * attention[..., None, None] / attention.sum((1, 2))[:, None, None, None, None]
    # C T' = 12 times the paper's
    assert torch.allclose(normed_gate(features, attention), 12 * paper)


def test_the_gated_detector_answers_as_the_bare_one_does_to_gated_features():
    net = build(STUDENT, 2, 0).eval()
    assert net.net.shape == ((8, 8, 4, 4), (12, 4, 2, 2))
    x = batch().views["student"]
    gated = [*map(normed_gate, *seen(net, x))]
    assert torch.equal(net(x), net.net.detect(gated))
    assert torch.allclose(net(x)[3:4], net(x[3:4]), atol=1e-5)
    assert from_json(to_json(STUDENT)) == STUDENT
    with pytest.raises(ValueError, match=r"make it as Detector\(gated=32\)"):
        net(torch.rand(1, 3, 16, 32, 32))


# --- formulas --------------------------------------------------------------------------------------------------


def test_the_terms_are_those_of_the_formulas():
    """Of both taps. The target of generation is what the backbone gives, not what the gate made of it."""
    method = DetectionDistillation(background=0.5)
    windows = batch()
    loss, two, made = check_terms(method, STUDENT, TEACHER, windows)
    parts = two["focal"] + two["tiou"] + two["l1"] + two["quality"]
    parts = parts + 0.5 * two["generated"] + 10 * two["attention"] + 0.5 * two["background"]
    assert loss.item() == pytest.approx(parts.item())

    fresh = build(STUDENT, 2, 0).train()
    answers = fresh(windows.views["student"])
    its = detection_terms(answers, fresh.net.priors, windows.labels)
    assert all(torch.allclose(two[name], its[name]) for name in its)
    gated = map(normed_gate, *seen(fresh, windows.views["student"]))
    # the released code's aliasing
    assert not torch.allclose(two["generated"], sum(map(F.mse_loss, made, gated)))


# --- what each pass moves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [DetectionRepresentation(), DetectionDistillation()], ids=kind)
def test_pass_one_moves_the_cvaes_alone_and_pass_two_all_but_them(method):
    check_passes(method, networks(method, STUDENT, TEACHER), batch())


def test_the_background_sees_what_attention_leaves_out():
    """Where λ is constant it sees what the foreground sees."""
    method = DetectionRepresentation(background=1.0)
    nets = networks(method, STUDENT, TEACHER)
    for attend in nets["student"].net.attentions:
        torch.nn.init.zeros_(attend.time.weight)
        torch.nn.init.zeros_(attend.time.bias)
    *_, (_, _, terms) = method.losses(
        nets, replace(batch(), labels=torch.full((8, 1, 3), -1.0)), HALF
    )
    assert terms["background"].item() == pytest.approx(terms["focal"].item() / 8, rel=1e-4)


# --- controls, and what cannot be ------------------------------------------------------------------------------


FAST = Settings(epochs=6, batch_size=4, lr=1e-2)


def test_both_phases_train_in_the_loop_from_one_to_the_other(tmp_path):
    phases = DetectionRepresentation(), DetectionDistillation(detection=Detection(l1=0.5))
    teacher, student = both_phases(*phases, STUDENT, TEACHER, Videos(), FAST, tmp_path)
    assert fall(teacher, "focal", "rebuilt")
    assert fall(student, "focal", "attention")
    assert {"focal", "generated", "attention", "taught"} < student[0].keys()
