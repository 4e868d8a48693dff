"""The gate, the attention, the CVAE, and the network that holds the first two (docs/methods.md, 2)."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from kdlab.nets.i3d import I3D, TOP, TinyC3D
from kdlab.nets.pretrained import Weights
from kdlab.nets.video import build
from kdlab.papers.generative.networks import (
    CVAE,
    Attention,
    FromPoint,
    Gated,
    ToPoint,
    gate,
    mean_log_probability,
    read_cvae,
)
from kdlab.train.recipe import from_json, to_json
from kdlab.train.runs import untrained

STUDENT = Gated(TinyC3D((2, 3, 4, 8)), (8, 16, 16))


def some(batch=3, channels=8, steps=4, size=(2, 3)):
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(batch, channels, steps, *size, generator=generator)
    return features, torch.rand(batch, channels, steps, generator=generator)


# --- gate ------------------------------------------------------------------------------------------------------


def test_the_gate_keeps_each_clips_sum_and_does_nothing_where_attention_is_even():
    features, attention = some()
    gated = gate(features, attention)
    assert torch.allclose(gated.sum((1, 2, 3, 4)), features.sum((1, 2, 3, 4)))
    assert not torch.allclose(gated, features, atol=1e-2)
    assert torch.allclose(gate(features, torch.full_like(attention, 0.3)), features)
    assert not gate(torch.zeros_like(features), attention).any()


def test_what_the_gate_does_to_a_clip_does_not_depend_on_its_neighbours_but_the_released_one_does():
    features, attention = some()
    alone = torch.cat([gate(features[i : i + 1], attention[i : i + 1]) for i in range(3)])
    assert torch.allclose(gate(features, attention), alone)
    assert not torch.allclose(gate(features, attention, faithful=True), alone, atol=1e-3)
    one = features[:1], attention[:1]
    assert torch.allclose(gate(*one, faithful=True), gate(*one))


# --- logits ----------------------------------------------------------------------------------------------------


def test_logits_are_those_of_the_mean_probability_over_steps():
    steps = 3 * torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(0))
    mean = steps.softmax(-1).mean(1)
    assert torch.allclose(mean_log_probability(steps).softmax(-1), mean, atol=1e-6)
    assert torch.isfinite(mean_log_probability(1e4 * steps)).all()


# --- attention and CVAE ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "channels, steps, size", [(64, 4, (4, 4)), (20, 1, (3, 5)), (7, 9, (1, 2))]
)
def test_any_channels_steps_and_sizes(channels, steps, size):
    features, _ = some(2, channels, steps, size)
    attention = Attention(channels, steps, size)(features)
    assert attention.shape == (2, channels, steps)
    assert 0 < attention.min() and attention.max() < 1
    made, mean, log_variance = CVAE(channels, size)(features, attention)
    assert made.shape == features.shape and made.min() >= 0
    assert mean.shape == log_variance.shape == attention.shape


def test_at_the_papers_size_the_modules_are_the_papers():
    with torch.device("meta"):
        attention = Attention(1024, 8, (7, 7))
        cvae = CVAE(1024, (7, 7))
        other = CVAE(832, (6, 6))
    assert attention.space[0].weight.shape == (512, 1024, 1, 7, 7)
    assert attention.space[1].num_groups == 32
    assert attention.near[0].weight.shape == (1024, 512, 3) and attention.near[1].num_groups == 32
    assert attention.time.weight.shape == (8, 8)  # as released 1024 → 8, after stretching
    for part, last in ((cvae.encoder, 2048), (cvae.decoder, 1024)):
        shapes = [weight.shape for weight in part.parameters() if weight.ndim > 1]
        assert shapes == [(1024, 2048), (1024, 1024), (last, 1024)]
    assert cvae.expand[0].weight.shape == (1024, 1024, 1, 7, 7) and cvae.squeeze[1].num_groups == 32
    assert other.squeeze[1].num_groups == 32


def test_the_cvae_is_reparametrised():
    cvae = CVAE(8, (2, 3))
    features, attention = some()
    torch.manual_seed(0)
    assert not torch.allclose(cvae(features, attention)[0], cvae(features, attention)[0])
    noise = torch.randn_like(attention)
    made, mean, log_variance = cvae(features, attention, noise)
    assert torch.equal(made, cvae(features, attention, noise)[0])
    z = mean + (log_variance / 2).exp() * noise
    assert torch.allclose(made, cvae.decode(z, attention))
    made.sum().backward()  # through z to both heads of the encoder
    last = cvae.encoder[-1].weight.grad
    assert last[:8].any() and last[8:].any()


def test_the_latent_is_per_step_and_attention_conditions_both_sides():
    cvae = CVAE(8, (2, 3))
    features, attention = some()
    mean = cvae.encode(features, attention)[0]
    changed = attention.clone()
    changed[:, :, 1] = 0.9
    moved = (cvae.encode(features, changed)[0] - mean).abs().sum((0, 1)) > 0
    assert moved.tolist() == [False, True, False, False]
    assert not torch.allclose(cvae.decode(mean, changed), cvae.decode(mean, attention))


# --- the network -----------------------------------------------------------------------------------------------


def test_a_clip_of_another_size_is_refused_with_the_mend():
    with pytest.raises(
        ValueError,
        match=r"a clip of \(8, 32, 32\) gives features \(8, 2, 4, 4\).*Gated\(clip=\(8, 32",
    ):
        build(STUDENT, 5, 0)(torch.rand(1, 3, 8, 32, 32))


def test_the_spec_is_a_recipes_and_knows_its_weights(tmp_path):
    file = tmp_path / "w.pt"
    file.write_bytes(b"x")
    spec = Gated(I3D(TOP, weights=Weights.of(file)), (64, 224, 224), dropout=0.5)
    assert from_json(to_json(spec)) == spec and spec.statistics == ((0.5,) * 3, (0.5,) * 3)
    assert untrained(spec).backbone.weights is None and STUDENT.statistics is None


def test_the_cvae_is_read_back_from_a_run(tmp_path):
    cvae = build(STUDENT, 5, 0).net.new_cvae(deterministic=True)
    state = {f"cvae.{k}": v.contiguous() for k, v in cvae.state_dict().items()}
    save_file(state | {"student.x": torch.zeros(1)}, tmp_path / "weights.safetensors")
    read = read_cvae(tmp_path)
    features, attention = some(2, 8, 2, (2, 2))
    # deterministic too
    assert torch.allclose(read(features, attention)[0], cvae(features, attention)[0], atol=1e-6)
    assert not read.training and not any(p.requires_grad for p in read.parameters())
    save_file({"student.x": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(
        ValueError, match="holds no CVAE: train that network by FeatureRepresentation"
    ):
        read_cvae(tmp_path)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_kernels_as_large_as_the_pictures_are_the_convolutions_of_their_weights(layout):
    torch.manual_seed(0)
    to = ToPoint(6, 4, (1, 3, 2)).to(memory_format=layout)
    back = FromPoint(4, 6, (1, 3, 2)).to(memory_format=layout)
    x = torch.randn(2, 6, 5, 3, 2).to(memory_format=layout).requires_grad_()
    point = F.conv3d(x, to.weight, to.bias)
    picture = F.conv_transpose3d(point, back.weight, back.bias)
    for ours, wanted in ((to(x), point), (back(to(x)), picture)):
        assert ours.shape == wanted.shape and torch.allclose(ours, wanted, atol=1e-5)
    weights = [x, *to.parameters(), *back.parameters()]
    slopes = [torch.autograd.grad(out.square().sum(), weights) for out in (back(to(x)), picture)]
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(*slopes, strict=True))
    # of larger pictures it is a convolution
    assert to(torch.randn(2, 6, 5, 4, 2)).shape == (2, 4, 5, 2, 1)
