from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from kdlab.measure.attention import grad_cam
from kdlab.measure.cost import macs
from kdlab.measure.flatness import Hessian
from kdlab.nets.layers import features, outputs
from kdlab.nets.norms import folded
from kdlab.nets.video import (
    IMAGENET,
    Normalised,
    TinyR2Plus1D,
    begin_as,
    build,
    for_classes,
    load_weights,
)
from kdlab.protocols import Net


def test_exposure_is_normalised_per_clip_before_anything_else():
    """A clip twice as bright gives nearly the same logits: the first normalisation is the clip's own."""
    net = build(TinyR2Plus1D(), 11, seed=0).eval()
    x = 0.1 * torch.rand(1, 3, 8, 32, 32)
    assert torch.allclose(net(x), net(2 * x), atol=0.02)


def test_initial_weights_are_a_function_of_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a, b, c = (build(TinyR2Plus1D(), 11, seed=s).state_dict() for s in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["net.fc.weight"], c["net.fc.weight"])


def test_normalisation_travels_with_the_weights():
    mean = torch.tensor([0.1, 0.2, 0.3])
    std = torch.tensor([0.5, 0.6, 0.7])
    net = build(TinyR2Plus1D(), 4, 0, mean, std).eval()
    bare = build(TinyR2Plus1D(), 4, 1)
    load_weights(bare, net.state_dict(), "here")
    x = torch.rand(2, 3, 8, 20, 20)
    assert torch.equal(bare.eval()(x), net(x))


def test_features_are_taps_without_what_comes_after_them():
    net = build(TinyR2Plus1D(), 11, seed=0).eval()
    x = torch.rand(2, 3, 16, 36, 36)
    names = ["net.stages.2", "net.stages.0"]
    wanted = outputs(net, x, names).taps
    later = [net.net.stages[3].register_forward_hook(lambda *_: pytest.fail("nobody asked for it"))]
    found = features(net, x, names)
    assert list(found) == names and all(torch.equal(found[name], wanted[name]) for name in names)
    later[0].remove()
    assert not net.net.stages[2]._forward_hooks and net(x).shape == (2, 11)


def test_weights_of_another_architecture_are_named():
    state = build(TinyR2Plus1D(), 11, 0).state_dict()
    with pytest.raises(ValueError, match=r"mine.safetensors.*net.fc.*\(11.*expected \(6"):
        load_weights(build(TinyR2Plus1D(), 6, 0), state, "mine.safetensors")


def test_a_start_gives_its_weights_and_the_rows_of_the_classes_both_know():
    start = build(TinyR2Plus1D((4, 8)), 3, seed=1)
    net = begin_as(
        build(TinyR2Plus1D((4, 8)), 2, seed=2), start, ("new", "walk"), ("run", "sit", "walk")
    )
    own = net.state_dict()
    its = start.state_dict()
    assert torch.equal(own["net.stages.1.temporal.weight"], its["net.stages.1.temporal.weight"])
    assert torch.equal(own["net.fc.weight"][1], its["net.fc.weight"][2])
    random = build(TinyR2Plus1D((4, 8)), 2, seed=2).state_dict()
    assert torch.equal(own["net.fc.weight"][0], random["net.fc.weight"][0])
    with pytest.raises(ValueError, match="another architecture"):
        begin_as(build(TinyR2Plus1D((4, 6)), 2, seed=2), start, ("a", "b"), ("a", "b", "c"))


class Two(nn.Module):
    """Two layers, ``tied`` or each with its own weight."""

    def __init__(self, tied: bool):
        super().__init__()
        self.one, self.other, self.fc = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        if tied:
            self.other.weight = self.one.weight


@dataclass(frozen=True)
class Made(Net):
    """The network that ``of`` makes."""

    of: Callable
    stages: tuple[str, ...] = ()

    def make(self, num_classes: int) -> nn.Module:
        return self.of(num_classes)


def test_two_weights_are_not_loaded_into_one():
    apart, tied = (build(Made(lambda _, tied=tied: Two(tied)), 2, seed=1) for tied in (False, True))
    start, names = (
        apart.state_dict(),
        "net.one.weight and net.other.weight differ there and are one weight",
    )
    with pytest.raises(ValueError, match=names):
        begin_as(tied, apart, "ab", "ab")
    with pytest.raises(ValueError, match=names):
        load_weights(tied, start, "a file")
    begin_as(apart, tied, "ab", "ab")
    assert torch.equal(apart.net.one.weight, tied.net.one.weight)
    assert torch.equal(apart.net.other.weight, tied.net.one.weight)
    begin_as(tied, apart, "ab", "ab")  # two layers with equal weights


@pytest.mark.parametrize("channels_last", [True, False])
def test_normalisation_is_that_of_the_definition_in_the_layout_it_was_given(channels_last):
    x = torch.rand(2, 3, 4, 5, 7)
    mean = torch.tensor([0.1, 0.5, 0.9])
    std = torch.tensor([0.3, 1.0, 2.0])
    x = x.contiguous(memory_format=torch.channels_last_3d) if channels_last else x
    got = Normalised(torch.nn.Identity(), mean, std)(x)
    torch.testing.assert_close(got, (x - mean.view(3, 1, 1, 1)) / std.view(3, 1, 1, 1))
    assert got.stride() == x.stride()


class PerFrame(nn.Module):
    """A network on frames: weights of four dimensions, and a positional parameter that is read by ``view``."""

    def __init__(self, classes: int):
        super().__init__()
        self.patch, self.place = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 8, 6, 6))
        self.space = nn.Parameter(torch.randn(1, 8, 2, 6, 6))
        self.rnn, self.fc = nn.GRU(8, 8, batch_first=True), nn.Linear(8, classes)

    def forward(self, x):
        b, c, t, h, w = x.shape
        y = torch.relu(self.patch(x.transpose(1, 2).reshape(b * t, c, h, w)))
        y = y.flatten(2) * self.place.view(1, 8, 36) + self.space.view(1, 8, 2, 36)[:, :, 0]
        return self.fc(self.rnn(y.mean(2).view(b, t, 8))[0].mean(1))


def test_a_network_of_four_dimensions_is_built_tapped_measured_and_explained():
    spec = Made(PerFrame, ("patch",))
    net, x = build(spec, 3, 0).eval(), torch.rand(2, 3, 4, 24, 24)
    assert all(p.is_contiguous() for p in net.parameters())
    assert features(net, x, ["net.patch"])["net.patch"].shape == (2, 8, 4, 6, 6)
    found = outputs(net, x, ["net.patch"])
    (slope,) = torch.autograd.grad(found.logits.sum(), found.taps["net.patch"])
    assert slope.shape == (2, 8, 4, 6, 6) and slope.abs().sum() > 0
    assert grad_cam(net, x, 1, "net.patch").maps.shape == (2, 4, 24, 24)
    assert torch.equal(folded(net, x)(x), net(x)) and macs(net, tuple(x.shape)) > 0
    hessian = Hessian(net, [(x, torch.tensor([0, 1]))])
    assert hessian.product(torch.ones(1, hessian.size)).isfinite().all()


def test_a_network_that_knows_more_classes_answers_for_the_wanted_ones_in_their_order():
    net = build(TinyR2Plus1D(), 4, seed=0).eval()
    x = torch.rand(2, 3, 8, 20, 20)
    every = net(x)
    named = outputs(net, x, ["net.stages.3"]).taps
    assert torch.equal(for_classes(net, "JRSW", ("J", "R", "S", "W"))(x), every)
    assert not net._forward_hooks
    few = folded(for_classes(net, ["Jump", "Run", "Sit", "Walk"], ["Walk", "Run"]), x)
    torch.testing.assert_close(few(x), every[:, [3, 1]], atol=1e-4, rtol=1e-5)
    found = outputs(few, x, ["net.stages.3"]).taps
    torch.testing.assert_close(found, named, atol=1e-4, rtol=1e-5)


def test_a_class_the_teacher_does_not_know_is_named():
    with pytest.raises(ValueError, match="was not trained on Swim, but on Run, Walk"):
        for_classes(torch.nn.Identity(), ["Run", "Walk"], ["Run", "Swim"])


def test_a_dark_clip_is_nearly_constant_under_imagenet_statistics():
    """At 12 of 255 all three colours stand near −2, a grey level less than 0.02 apart: docs/methods.md, 1."""
    net = build(TinyR2Plus1D(), 3, 0, *map(torch.tensor, IMAGENET))
    shown = lambda level: (torch.full((1, 3, 1, 1, 1), level / 255) - net.mean) / net.std  # noqa: E731
    assert torch.all((shown(12) < -1.5) & (shown(12) > -2.2))
    assert float((shown(13) - shown(12)).max()) < 0.02
