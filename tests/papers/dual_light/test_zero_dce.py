"""Zero-DCE: curves, and losses without references."""

from types import SimpleNamespace

import pytest
import torch

from kdlab.papers.dual_light.zero_dce import (
    CurveNet,
    ZeroDce,
    apply_curves,
    colour_loss,
    exposure_loss,
    smoothness_loss,
    spatial_loss,
)


def bright(x: float, r: float) -> float:
    return float(
        apply_curves(torch.full((1, 3, 1, 1), x).double(), torch.full((1, 24, 1, 1), r).double())[
            0, 0
        ]
    )


def test_worked_values():
    """docs/methods.md, 1.1: eight curves of r = −1 give 1 − (1 − x)^256."""
    assert bright(0.01, -1) == pytest.approx(0.9236850, abs=5e-8) == 1 - 0.99**256
    assert bright(0.01, -0.5) == pytest.approx(0.2190881, abs=5e-8)


@pytest.mark.parametrize("r", [-1, -0.5, 0.3, 1])
def test_fixed_points_and_order(r):
    assert bright(0, r) == 0 and bright(1, r) == 1
    x = torch.linspace(0, 1, 101).view(1, 1, 1, -1).expand(1, 3, 1, -1).double()
    y = apply_curves(x, torch.full((1, 24, 1, 101), r).double())
    assert (y.diff(dim=-1) >= 0).all() and y.min() >= 0 and y.max() <= 1
    assert (y >= x).all() if r < 0 else (y <= x).all()


def test_zero_is_the_identity_and_maps_broadcast_over_time():
    clip = torch.rand(2, 3, 4, 5, 6)
    maps = torch.rand(2, 24, 1, 5, 6) * 2 - 1
    assert torch.equal(apply_curves(clip, torch.zeros(2, 24, 1, 1, 1)), clip)
    whole = apply_curves(clip, maps)
    for t in range(4):
        assert torch.equal(whole[:, :, t], apply_curves(clip[:, :, t], maps[:, :, 0]))


def test_the_released_network():
    net = CurveNet()
    x = torch.rand(2, 3, 18, 23)
    assert [tuple(c.weight.shape[:2]) for c in net.convs] == [
        (32, 3),
        *3 * [(32, 32)],
        *2 * [(32, 64)],
        (24, 64),
    ]
    assert sum(p.numel() for p in net.parameters()) == 79416
    curves, y = net(x)
    assert curves.shape == (2, 24, 18, 23) and curves.abs().max() < 1
    assert torch.equal(y, apply_curves(x, curves))


def test_skips_join_the_layers_the_paper_names():
    net = CurveNet(4)
    x = torch.rand(1, 3, 16, 16)
    for conv in net.convs:  # at the initial scale deep layers would not show
        torch.nn.init.normal_(conv.weight, 0, 0.3)
    layer = lambda n, *inputs: torch.relu(net.convs[n - 1](torch.cat(inputs, 1)))  # noqa: E731
    one = layer(1, x)
    two = layer(2, one)
    three = layer(3, two)
    five = layer(5, three, layer(4, three))
    six = layer(6, two, five)
    assert torch.allclose(net(x)[0], torch.tanh(net.convs[6](torch.cat([one, six], 1))), atol=1e-6)


def test_exposure_of_flat_patches():
    x = torch.full((1, 3, 32, 32), 0.6)
    assert exposure_loss(x) < 1e-12
    x[..., :16] = 0.1  # half of the patches are 0.5 away
    assert exposure_loss(x).item() == pytest.approx(0.25 / 2)
    x[:, 1:] = 0.6  # the patch's grey mean is ⅓ 0.1 + ⅔ 0.6
    assert exposure_loss(x).item() == pytest.approx((0.5 / 3) ** 2 / 2, rel=1e-4)


def test_colour_of_known_means():
    x = torch.zeros(1, 3, 4, 4)
    # squared differences of red-green, red-blue, green-blue: .04, .09, .01
    x[:, 0], x[:, 1] = (0.3, 0.1)
    assert colour_loss(x).item() == pytest.approx((0.04**2 + 0.09**2 + 0.01**2) ** 0.5)
    assert colour_loss(
        torch.cat([x, torch.rand(1, 1, 4, 4).expand(1, 3, 4, 4)])
    ).item() == pytest.approx(colour_loss(x).item() / 2)


def test_colour_has_a_gradient_on_grey():
    x = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    colour_loss(x).backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_smoothness_of_a_ramp():
    """A slope of 0.1 a pixel, downwards in one map of two pictures: (2/2)·0.01; and to the right in all 24 of both."""
    curves = torch.zeros(2, 24, 5, 7)
    curves[0, 3] = 0.1 * torch.arange(5)[:, None]
    assert smoothness_loss(curves).item() == pytest.approx(0.01)
    curves = (0.1 * torch.arange(7)).expand(2, 24, 5, 7)
    assert smoothness_loss(curves).item() == pytest.approx(2 * 24 * 0.01)


def test_spatial_is_the_papers_sum():
    """Against the definition, region by region and neighbour by neighbour."""
    x = torch.rand(1, 3, 8, 12)
    y = torch.rand(1, 3, 8, 12)
    grey = [z.mean(1).unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4))[0] for z in (y, x)]
    total = 0.0
    for i in range(2):
        for j in range(3):
            for a, b in ((i, j - 1), (i, j + 1), (i - 1, j), (i + 1, j)):
                inside = 0 <= a < 2 and 0 <= b < 3
                out, before = (z[i, j] - (z[a, b] if inside else 0) for z in grey)
                total += float((out - before) ** 2)
    assert spatial_loss(y, x).item() == pytest.approx(total / 6, rel=1e-5)


def test_the_method_weighs_its_terms_and_reads_no_labels():
    # has no labels to read
    batch = SimpleNamespace(views={"student": torch.rand(2, 3, 2, 32, 32) / 10})
    net = CurveNet(4)
    ((key, loss, terms),) = ZeroDce().losses({"student": net}, batch, None)
    assert ZeroDce().networks_by_optimiser({}) == {key: ["student"]}
    weights = {"spatial": 1, "exposure": 10, "colour": 5, "smoothness": 200}
    assert terms.keys() == weights.keys()
    assert torch.isclose(loss, sum(w * terms[name] for name, w in weights.items()))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
