"""GenKD's formulas, what each pass moves, and the pitfalls of the released code (docs/methods.md, 2)."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from kdlab.nets.i3d import TinyC3D
from kdlab.nets.layers import outputs
from kdlab.nets.video import build
from kdlab.papers.generative.method import (
    FeatureRepresentation,
    GenerativeDistillation,
    kl_to_attention,
)
from kdlab.papers.generative.networks import CVAEs, Gated, gate, read_cvae
from kdlab.train.loop import Progress, fit
from kdlab.train.settings import Settings
from tests.distill.conftest import TwoSides, bits, kind, same

CLIP = (8, 16, 16)
TEACHER = Gated(TinyC3D((4, 6, 8, 8)), CLIP)
STUDENT = Gated(TinyC3D((2, 3, 4, 8), (False, False, True, True)), CLIP)
HALF = Progress(50, 100)


CLIPS = TwoSides(16, frames=8)
(BATCH,) = CLIPS.evaluation()


def networks(method, student=STUDENT, teacher=TEACHER):
    """As a run prepares them: the teacher and its CVAE frozen."""
    torch.manual_seed(0)
    nets = {
        "student": build(student, 2, 0).train(),
        "teacher": build(teacher, 2, 9).eval().requires_grad_(False),
    }
    if method.teaching:
        nets["teacher_cvae"] = nets["teacher"].net.new_cvae().eval().requires_grad_(False)
    return nets | method.extra_nets(nets, None, 0)


def stored(trained, folder):
    """``folder`` with the weights of a training, as a run stores them."""
    state = {
        f"{name}.{key}": value.contiguous()
        for name in trained.owned
        for key, value in trained.nets[name].state_dict().items()
    }
    save_file(state, folder / "weights.safetensors")
    return folder


# --- formulas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off, sigma, kl", [(0, 1, 0.0), (1, 1, 0.5), (0, 0.5, 0.3181472)])
def test_kl_is_to_a_normal_around_the_attention(off, sigma, kl):
    attention = torch.rand(2, 3, 4, dtype=torch.float64)
    found = kl_to_attention(
        attention + off, torch.full_like(attention, 2 * math.log(sigma)), attention
    )
    assert float(found) == pytest.approx(kl, abs=1e-7)


def check_sum(method, which, weights, progress=HALF):
    """The loss of pass ``which`` is the sum of these terms, so weighted, and of no other."""
    passes = {key: rest for key, *rest in method.losses(networks(method), BATCH, progress)}
    loss, terms = passes[which]
    assert terms.keys() == weights.keys()
    assert loss.item() == pytest.approx(sum(w * terms[n].item() for n, w in weights.items()))


@pytest.mark.parametrize("method", [FeatureRepresentation, GenerativeDistillation])
def test_pass_one_is_the_sum_of_its_weighted_terms(method):
    """With ``generation`` among them is the error of what the CVAE makes from λ and noise alone."""
    taught = {"taught": 0.01} if method.teaching else {}
    check_sum(method(generation=0.7), "cvae", {"rebuilt": 1, "kl": 0.1, "from_prior": 0.7} | taught)


@pytest.mark.parametrize("alternating", [0, 2])
def test_pass_one_takes_several_turns_on_the_same_features(alternating):
    """Each turn moves the CVAE. The network is asked for its features once, and only the last turn has terms."""
    method = FeatureRepresentation(turns=3, generation=1.0, alternating=alternating)
    nets, seen, told = networks(method), [], []
    nets["student"].net.attention.register_forward_hook(
        lambda *_: seen.append(nets["student"].training)
    )
    moved = [bits(nets["cvae"])]
    optimiser = torch.optim.SGD(nets["cvae"].parameters(), 0.1)
    for key, loss, terms in method.losses(nets, BATCH, Progress(10, 100)):
        told.append((key, {*terms}))
        if key == "cvae":
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            assert not same(nets["cvae"], moved[-1])
            moved.append(bits(nets["cvae"]))
    terms = {"rebuilt", "kl", "from_prior"}
    assert told[:3] == [("cvae", set()), ("cvae", set()), ("cvae", terms)] and len(moved) == 4
    assert told[3:] == ([] if alternating else [("net", {"ce", "generated"})])
    # pass 1 asks in eval mode, once
    assert seen == ([False] if alternating else [False, True])


@pytest.mark.parametrize("step, w", [(0, 0), (4, 0.4), (10, 1), (99, 1)])
def test_pass_two_is_the_sum_of_its_weighted_terms(step, w):
    weights, at = {"ce": 1, "generated": 0.5 * w}, Progress(step, 100)
    check_sum(FeatureRepresentation(), "net", weights, at)
    check_sum(GenerativeDistillation(beta=3.0), "net", weights | {"attention": 3}, at)


def seen(net, x):
    """Features and attention, tap by tap."""
    names = net.net.taps
    found = outputs(net, x, names).taps
    maps, half = [found[name] for name in names], len(names) // 2
    return maps[:half], maps[half:]


def by_tap(cvae):
    return cvae if isinstance(cvae, CVAEs) else [cvae]


def rebuilt(cvae, features, attention):
    """What the CVAEs rebuild, their means and their log-variances, each tap by tap."""
    given = zip(by_tap(cvae), features, attention, strict=True)
    return zip(*[its(*maps) for its, *maps in given], strict=True)


def check_terms(method, student, teacher, batch):
    """Every term of recognition and detection again from features and attention; noise by a fixed seed, drawn in the
    order of the passes. Gives the loss and the terms of pass 2, and what the CVAEs generate in it."""
    nets, video = networks(method, student, teacher), batch.views["student"]
    torch.manual_seed(3)
    (_, _, one), (_, loss, two) = method.losses(nets, batch, HALF)
    torch.manual_seed(3)
    features, attention = seen(build(student, 2, 0).eval(), video)
    made, means, log_variances = rebuilt(nets["cvae"], features, attention)
    theirs, *_ = rebuilt(nets["teacher_cvae"], features, attention)
    assert torch.allclose(one["rebuilt"], sum(map(F.mse_loss, made, features)))
    assert torch.allclose(one["kl"], sum(map(kl_to_attention, means, log_variances, attention)))
    assert torch.allclose(one["taught"], sum(map(F.mse_loss, made, theirs)))

    features, attention = seen(build(student, 2, 0).train(), video)
    made = [
        cvae.decode(a + torch.randn_like(a), a)
        for cvae, a in zip(by_tap(nets["cvae"]), attention, strict=True)
    ]
    assert torch.allclose(two["generated"], sum(map(F.mse_loss, made, features)))
    _, theirs = seen(nets["teacher"], batch.views["teacher"])
    assert torch.allclose(two["attention"], sum(map(F.mse_loss, attention, theirs)))
    return loss, two, made


def test_the_terms_are_those_of_the_formulas():
    """The class loss is of the mean probability over steps."""
    _, two, _ = check_terms(GenerativeDistillation(), STUDENT, TEACHER, BATCH)
    fresh = build(STUDENT, 2, 0).train()
    (features,), (attention,) = seen(fresh, BATCH.views["student"])
    steps = fresh.net.fc(
        gate(features, attention).mean((3, 4)).unfold(2, 2, 1).mean(-1).transpose(1, 2)
    ).softmax(-1)
    assert torch.allclose(
        two["ce"], -steps.mean(1)[range(16), BATCH.labels].log().mean(), atol=1e-6
    )


# --- what each pass moves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [FeatureRepresentation(), GenerativeDistillation()], ids=kind)
def test_pass_one_moves_the_cvae_alone_and_pass_two_all_but_it(method):
    check_passes(method, networks(method), BATCH)


def check_passes(method, nets, batch):
    """Pass 1 moves the CVAEs alone, pass 2 all but them; the teacher stays as it is."""
    passes = method.losses(nets, batch, HALF)
    frozen = {n: bits(nets[n]) for n in nets if n.startswith("teacher")}
    before = bits(nets["student"])
    key, loss, _ = next(passes)
    loss.backward()
    assert key == "cvae" and all(p.grad is not None for p in nets["cvae"].parameters())
    assert all(p.grad is None for p in nets["student"].parameters())
    assert same(nets["student"], before)  # the statistics of batch norm too
    assert nets["student"].training

    nets["cvae"].zero_grad(set_to_none=True)
    key, loss, _ = next(passes)
    loss.backward()
    assert key == "net" and all(p.grad is None for p in nets["cvae"].parameters())
    assert all(p.requires_grad for p in nets["cvae"].parameters())  # for the next batch
    assert all(p.grad is not None for p in nets["student"].parameters())
    for name, values in frozen.items():
        assert same(nets[name], values)
        assert all(p.grad is None for p in nets[name].parameters())


def reach(method, term="generated"):
    """The gradients of a term of pass 2 at attention, at backbone and at the classifier."""
    nets = networks(method)
    *_, (_, _, terms) = method.losses(nets, BATCH, HALF)
    terms[term].backward()
    net = nets["student"].net
    return [
        p.grad for p in (net.attention.time.weight, net.backbone.stages[3][0].weight, net.fc.weight)
    ]


def test_generation_reaches_attention_and_backbone_through_the_frozen_decoder_and_the_target_is_detached():
    attention, backbone, classifier = reach(FeatureRepresentation())
    assert attention.any() and backbone.any() and classifier is None
    other = reach(FeatureRepresentation(detached=False))
    assert torch.allclose(other[0], attention)
    assert not torch.allclose(other[1], backbone)
    assert reach(GenerativeDistillation(), "attention")[2] is None


# --- ablations and controls ------------------------------------------------------------------------------------


def test_generative_alone_never_runs_the_teachers_network():
    method = GenerativeDistillation(beta=0)
    nets = networks(method)
    nets["teacher"].register_forward_hook(lambda *_: pytest.fail("the teacher ran"))
    one, two = (terms.keys() for _, _, terms in method.losses(nets, BATCH, HALF))
    assert one == {"rebuilt", "kl", "taught"} and two == {"ce", "generated"}


def test_an_untrained_teacher_has_other_weights_and_is_decided_by_the_seed():
    method = GenerativeDistillation(teacher="untrained")
    nets = networks(GenerativeDistillation())
    trained = bits(nets["teacher"])
    state = torch.get_rng_state()
    a, b, c = (method.extra_nets(nets, None, seed) for seed in (0, 0, 1))
    assert same(nets["teacher"], trained) and torch.equal(state, torch.get_rng_state())
    for name in ("teacher", "teacher_cvae", "cvae"):
        key = next(k for k in a[name].state_dict() if k.endswith("weight"))
        assert torch.equal(bits(a[name])[key], bits(b[name])[key])
        assert not torch.equal(bits(a[name])[key], bits(c[name])[key])
    assert not torch.equal(a["teacher"].net.fc.weight, nets["teacher"].net.fc.weight)
    assert not any(p.requires_grad for p in a["teacher"].parameters()) and not a["teacher"].training
    assert torch.equal(a["teacher"].mean, nets["teacher"].mean)


WIDE = Gated(TinyC3D((4, 6, 8, 16)), CLIP)


@pytest.mark.parametrize(
    "make, says",
    [
        (
            lambda: networks(GenerativeDistillation(), teacher=WIDE),
            r"student's features are \(8, 2, 2, 2\), the teacher's \(16, 2, 2, 2\)",
        ),
        (
            lambda: networks(FeatureRepresentation(), student=STUDENT.backbone),
            "needs networks with attention",
        ),
        (lambda: GenerativeDistillation(teacher="dead"), "teacher='dead': give 'trained'"),
        (lambda: FeatureRepresentation(alternating=3), "even number of epochs"),
        (lambda: FeatureRepresentation(turns=0), "turns=0"),
        (lambda: GenerativeDistillation(generative=False, alternating=2), "one pass"),
        (
            lambda: FeatureRepresentation(alternating=4).passes(Progress(0, 10)),
            "alternating=4, but 10 steps",
        ),
    ],
)
def test_what_cannot_be_distilled_is_said_with_a_mend(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# --- in the loop -----------------------------------------------------------------------------------------------

FAST = Settings(epochs=4, batch_size=8, lr=1e-2)


def both_phases(first, second, student, teacher, clips, settings, folder):
    """The histories of a teacher and of its student, which leaves the teacher and its CVAE as they are stored."""
    nets = {"student": build(teacher, 2, 1)}
    taught = fit(first, nets | first.extra_nets(nets, None, 1), clips, settings, seed=1)
    assert taught.owned == ["cvae", "student"]

    nets = {
        "student": build(student, 2, 0),
        "teacher": taught.nets["student"],
        "teacher_cvae": read_cvae(stored(taught, folder)),
    }
    frozen = {"teacher": bits(taught.nets["student"]), "teacher_cvae": bits(taught.nets["cvae"])}
    learnt = fit(second, nets | second.extra_nets(nets, None, 0), clips, settings, seed=0)
    assert all(same(learnt.nets[name], before) for name, before in frozen.items())
    return taught.history, learnt.history


def fall(history, *names):
    return all(history[-1][name] < history[0][name] for name in names)


def test_both_phases_train_in_the_loop_from_one_to_the_other(tmp_path):
    phases = FeatureRepresentation(), GenerativeDistillation()
    teacher, student = both_phases(*phases, STUDENT, TEACHER, CLIPS, FAST, tmp_path)
    assert fall(teacher, "rebuilt", "ce") and fall(student, "loss_cvae", "ce")
    terms = {"loss_cvae", "loss_net", "rebuilt", "kl", "taught", "ce", "generated", "attention"}
    assert terms < student[0].keys()


def test_alternating_walks_the_clips_once_for_each_pass():
    method = FeatureRepresentation(alternating=4)
    assert [method.passes(Progress(s, 8)) for s in range(8)] == 2 * [
        *2 * [("cvae",)],
        *2 * [("net",)],
    ]
    nets = {"student": build(STUDENT, 2, 0)}
    nets |= method.extra_nets(nets, None, 0)
    rows = fit(method, nets, CLIPS, FAST, seed=0).history
    assert (
        ["loss_cvae" in row for row in rows]
        == ["loss_net" not in row for row in rows]
        == [True, False, True, False]
    )
