import pytest
import torch

from kdlab.papers.dual_light.zero_dce import CurveNet, apply_curves


def bright(x: float, r: float) -> float:
    return float(apply_curves(torch.full((1, 3, 1, 1), x).double(), torch.full((1, 24, 1, 1), r).double())[0, 0])


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
    clip, maps = torch.rand(2, 3, 4, 5, 6), torch.rand(2, 24, 1, 5, 6) * 2 - 1
    assert torch.equal(apply_curves(clip, torch.zeros(2, 24, 1, 1, 1)), clip)
    whole = apply_curves(clip, maps)
    for t in range(4):
        assert torch.equal(whole[:, :, t], apply_curves(clip[:, :, t], maps[:, :, 0]))


def test_the_released_network():
    net, x = CurveNet(), torch.rand(2, 3, 18, 23)
    assert [tuple(c.weight.shape[:2]) for c in net.convs] == [
        (32, 3), (32, 32), (32, 32), (32, 32), (32, 64), (32, 64), (24, 64)]
    assert sum(p.numel() for p in net.parameters()) == 79416
    curves, y = net(x)
    assert curves.shape == (2, 24, 18, 23) and curves.abs().max() < 1
    assert torch.equal(y, apply_curves(x, curves))


def test_a_clip_is_its_frames():
    net, clip = CurveNet(8), torch.rand(2, 3, 4, 16, 16)
    curves, y = net(clip)
    assert curves.shape == (2, 24, 4, 16, 16) and y.shape == clip.shape
    for t in range(4):
        assert torch.allclose(y[:, :, t], net(clip[:, :, t])[1], atol=1e-6)
        assert torch.allclose(curves[:, :, t], net(clip[:, :, t])[0], atol=1e-6)


def test_skips_join_the_layers_the_paper_names():
    net, x = CurveNet(4), torch.rand(1, 3, 16, 16)
    for conv in net.convs:  # at the initial scale deep layers would not show
        torch.nn.init.normal_(conv.weight, 0, 0.3)
    layer = lambda n, *inputs: torch.relu(net.convs[n - 1](torch.cat(inputs, 1)))  # noqa: E731
    one = layer(1, x)
    two = layer(2, one)
    three = layer(3, two)
    five = layer(5, three, layer(4, three))
    six = layer(6, two, five)
    assert torch.allclose(net(x)[0], torch.tanh(net.convs[6](torch.cat([one, six], 1))), atol=1e-6)
