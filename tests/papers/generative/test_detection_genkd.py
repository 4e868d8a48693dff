"""GenKD at the taps of a detector: the formulas, what each pass moves, and the aliasing of the released code."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from kdlab.clips.windows import Batch
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.layers import outputs
from kdlab.nets.video import build
from kdlab.papers.generative.detection import (
    Detection,
    DetectionDistillation,
    DetectionRepresentation,
    detection_terms,
)
from kdlab.papers.generative.detector import Detector
from kdlab.papers.generative.method import kl_to_attention
from kdlab.papers.generative.networks import normed_gate, read_cvae
from kdlab.train.loop import fit
from kdlab.train.recipe import from_json, to_json
from kdlab.train.settings import Settings
from tests.distill.conftest import bits, same
from tests.papers.generative import test_method as method_tests

CROP = 16
TAPS = ("stages.2.2", "stages.3")


def detector(widths, temporal=(True,) * 4):
    return Detector(TinyC3D(widths, temporal), TAPS, steps=16, levels=3, width=8, gated=CROP)


TEACHER = detector((4, 6, 8, 12))
STUDENT = detector((2, 3, 8, 12), (False, False, True, True))


class Videos:
    """Windows with one bright stretch, in memory: all that the loop asks of them."""

    records = range(8)

    def training(self, indices, generator):
        x = 0.3 * torch.rand(len(indices), 3, 16, CROP, CROP, generator=generator)
        labels = torch.tensor([[[2.0 + i % 4, 9.0 + i % 4, i % 2]] for i in indices])
        for clip, row in zip(x, labels[:, 0].int().tolist(), strict=True):
            clip[row[2], row[0] : row[1]] += 0.5
        return Batch({"student": x, "teacher": x.sqrt()}, labels, tuple(map(str, indices)))

    def evaluation(self):
        yield self.training(self.records, torch.Generator().manual_seed(7))


def networks(method):
    return method_tests.networks(method, STUDENT, TEACHER)


def batch():
    return next(Videos().evaluation())


def seen(net, x):
    """Features and attention, tap by tap."""
    names = net.net.taps
    found = outputs(net, x, names).taps
    return [found[name] for name in names[:2]], [found[name] for name in names[2:]]


# --- the gate and the network ----------------------------------------------------------------------------------


def test_the_gate_keeps_features_under_constant_attention_and_does_not_know_the_batch():
    features = torch.rand(2, 3, 4, 2, 2)
    attention = torch.rand(2, 3, 4)
    assert torch.allclose(normed_gate(features, torch.full((2, 3, 4), 0.3)), features)
    gated = normed_gate(features, attention)
    # λ / Σλ has no scale
    assert torch.allclose(gated, normed_gate(features, 0.1 * attention))
    assert torch.allclose(gated[:1], normed_gate(features[:1], attention[:1]))
    paper = features * attention[..., None, None] / attention.sum((1, 2))[:, None, None, None, None]
    # C T' = 12 times the paper's
    assert torch.allclose(gated, 12 * paper)


def test_the_gated_detector_answers_as_the_bare_one_does_to_gated_features():
    net = build(STUDENT, 2, 0).eval()
    assert net.net.shape == ((8, 8, 4, 4), (12, 4, 2, 2))
    x = batch().views["student"]
    features, attention = seen(net, x)
    assert torch.equal(
        net(x), net.net.detect([normed_gate(*its) for its in zip(features, attention, strict=True)])
    )
    assert torch.allclose(net(x)[3:4], net(x[3:4]), atol=1e-5)
    assert from_json(to_json(STUDENT)) == STUDENT
    with pytest.raises(ValueError, match=r"make it as Detector\(gated=32\)"):
        net(torch.rand(1, 3, 16, 32, 32))


# --- formulas --------------------------------------------------------------------------------------------------


def test_the_terms_are_those_of_the_formulas():
    """Every one again from features and attention of both taps; noise by a fixed seed, in the order of the passes.
    The target of generation is what the backbone gives, not what the gate made of it."""
    method = DetectionDistillation(background=0.5)
    nets = networks(method)
    windows = batch()
    torch.manual_seed(3)
    (_, loss_one, one), (_, loss_two, two) = method.losses(nets, windows, method_tests.HALF)
    parts = one["rebuilt"] + 0.1 * one["kl"] + 0.01 * one["taught"]
    assert float(loss_one.detach()) == pytest.approx(float(parts.detach()))
    parts = two["focal"] + two["tiou"] + two["l1"] + two["quality"]
    parts = parts + 0.5 * two["generated"] + 10 * two["attention"] + 0.5 * two["background"]
    assert float(loss_two.detach()) == pytest.approx(float(parts.detach()))

    torch.manual_seed(3)
    features, attention = seen(build(STUDENT, 2, 0).eval(), windows.views["student"])
    own = [cvae(*its) for cvae, *its in zip(nets["cvae"], features, attention, strict=True)]
    theirs = [
        cvae(*its)[0] for cvae, *its in zip(nets["teacher_cvae"], features, attention, strict=True)
    ]
    assert torch.allclose(
        one["rebuilt"], sum(F.mse_loss(o[0], f) for o, f in zip(own, features, strict=True))
    )
    assert torch.allclose(
        one["kl"], sum(kl_to_attention(*o[1:], a) for o, a in zip(own, attention, strict=True))
    )
    assert torch.allclose(
        one["taught"], sum(F.mse_loss(o[0], t) for o, t in zip(own, theirs, strict=True))
    )

    fresh = build(STUDENT, 2, 0).train()
    answers = fresh(windows.views["student"])
    its = detection_terms(answers, fresh.net.priors, windows.labels)
    assert all(torch.allclose(two[name], its[name]) for name in its)
    features, attention = seen(build(STUDENT, 2, 0).train(), windows.views["student"])
    made = [
        cvae.decode(a + torch.randn_like(a), a)
        for cvae, a in zip(nets["cvae"], attention, strict=True)
    ]
    assert torch.allclose(two["generated"], sum(map(F.mse_loss, made, features)))
    gated = [normed_gate(*its) for its in zip(features, attention, strict=True)]
    # the released code's aliasing
    assert not torch.allclose(two["generated"], sum(map(F.mse_loss, made, gated)))
    theirs = seen(nets["teacher"], windows.views["teacher"])[1]
    assert torch.allclose(two["attention"], sum(map(F.mse_loss, attention, theirs)))


# --- what each pass moves --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [DetectionRepresentation(), DetectionDistillation()], ids=lambda m: type(m).__name__
)
def test_pass_one_moves_the_cvaes_alone_and_pass_two_all_but_them(method):
    method_tests.check_passes(method, networks(method), batch())


def test_the_background_sees_what_attention_leaves_out():
    """Where λ is constant it sees what the foreground sees."""
    method = DetectionRepresentation(background=1.0)
    nets = networks(method)
    for attend in nets["student"].net.attentions:
        torch.nn.init.zeros_(attend.time.weight)
        torch.nn.init.zeros_(attend.time.bias)
    *_, (_, _, terms) = method.losses(
        nets, replace(batch(), labels=torch.full((8, 1, 3), -1.0)), method_tests.HALF
    )
    assert float(terms["background"].detach()) == pytest.approx(
        float(terms["focal"].detach()) / 8, rel=1e-4
    )


# --- controls, and what cannot be ------------------------------------------------------------------------------


FAST = Settings(epochs=6, batch_size=4, lr=1e-2)


def test_both_phases_train_in_the_loop_from_one_to_the_other(tmp_path):
    first = DetectionRepresentation()
    nets = {"student": build(TEACHER, 2, 1)}
    teacher = fit(first, nets | first.extra_nets(nets, None, 1), Videos(), FAST, seed=1)
    assert teacher.owned == ["cvae", "student"]
    assert teacher.history[-1]["focal"] < teacher.history[0]["focal"]
    assert teacher.history[-1]["rebuilt"] < teacher.history[0]["rebuilt"]

    second = DetectionDistillation(detection=Detection(l1=0.5))
    nets = {
        "student": build(STUDENT, 2, 0),
        "teacher": teacher.nets["student"],
        "teacher_cvae": read_cvae(method_tests.stored(teacher, tmp_path)),
    }
    assert same(nets["teacher_cvae"], bits(teacher.nets["cvae"]))
    frozen = {n: bits(nets[n]) for n in ("teacher", "teacher_cvae")}
    student = fit(second, nets | second.extra_nets(nets, None, 0), Videos(), FAST, seed=0)
    assert {"focal", "generated", "attention", "taught"} < student.history[0].keys()
    assert student.history[-1]["focal"] < student.history[0]["focal"]
    assert student.history[-1]["attention"] < student.history[0]["attention"]
    assert all(same(student.nets[n], before) for n, before in frozen.items())
