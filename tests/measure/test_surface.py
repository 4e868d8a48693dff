"""Curves and surfaces against closed forms (docs/methods.md, 5.4) and invariances."""

import numpy as np
import pytest
import torch

from kdlab.measure.flatness import Hessian
from kdlab.measure.lanczos import Scaled, trace
from kdlab.measure.surface import curve, filter_direction, filter_scale
from tests.measure.test_flatness import A, batches, parameter, product_of_two, small_net

AT = np.linspace(-1, 1, 51)


pytestmark = pytest.mark.usefixtures("single_thread")


def quadratic():
    """½ wᵀ A w at (1, 2, −1), with the filters {w1, w2} and {w3}."""
    w = [parameter([[1.0, 2.0]]), parameter([[-1.0]])]
    return Hessian.of(lambda: 0.5 * (v := torch.cat([p.flatten() for p in w])) @ A @ v, w)


def test_a_quadratic_gives_its_curve_surface_and_curvature():
    hessian = quadratic()
    value, gradient = hessian.gradient()
    d = filter_direction(hessian, 0)
    e = filter_direction(hessian, 1)
    assert value == 9 and gradient.tolist() == [4, 6, -2]
    losses = curve(hessian, d, AT)
    assert losses == pytest.approx(
        9 + AT * float(gradient @ d) + 0.5 * AT**2 * float(d @ A @ d), abs=1e-12
    )
    assert 2 * np.polyfit(AT, losses, 2)[0] == pytest.approx(float(d @ A @ d), abs=1e-9)
    with hessian.moved(0.3 * e):
        (loss,) = curve(hessian, d, [0.7])
    w = torch.tensor([1.0, 2, -1]).double() + 0.7 * d + 0.3 * e
    assert loss == pytest.approx(float(0.5 * w @ A @ w), abs=1e-12)
    assert torch.cat([w.detach().flatten() for w in hessian.weights]).tolist() == [1, 2, -1]


def test_directions_have_the_filters_norms():
    d = filter_direction(quadratic(), 4)
    assert d[:2].norm().item() == pytest.approx(5**0.5, abs=1e-8)
    assert abs(d[2].item()) == pytest.approx(1, abs=1e-8)
    net = small_net()
    d = filter_direction(Hessian(net, batches(5, 7)))
    sizes = [p.numel() for p in net.parameters()]
    parts = dict(zip((n for n, _ in net.named_parameters()), d.split(sizes), strict=True))
    for name, rows in (("0.weight", 3), ("5.weight", 4)):
        weight = net.get_parameter(name).detach().flatten(1)
        assert parts[name].view(rows, -1).norm(dim=1) == pytest.approx(
            weight.norm(dim=1).numpy(), rel=1e-8
        )
    for name in ("1.weight", "1.bias", "5.bias"):
        assert not parts[name].any()


def test_expected_curvature():
    hessian = quadratic()
    scaled = Scaled(hessian, filter_scale(hessian))
    assert torch.trace(scaled.product(torch.eye(3).double())).item() == pytest.approx(
        16.5, abs=1e-12
    )
    found = trace(scaled, relative_error=0.02)
    assert abs(found.value - 16.5) < 4 * found.error
    many = torch.stack([filter_direction(hessian, s) for s in range(2000)])
    curvatures = ((many @ A) * many).sum(1)
    assert abs(curvatures.mean() - 16.5) < 4 * curvatures.std() / 2000**0.5


def test_one_function_in_other_coordinates_has_the_same_curve():
    curves = []
    for a, b in ((1.0, 1.0), (10.0, 0.1)):
        hessian = product_of_two(a, b)
        d = filter_direction(hessian, 7)
        signs = (d / torch.tensor([a, b], dtype=torch.float64)).tolist()
        curves.append(curve(hessian, d, AT))
        assert curves[-1] == pytest.approx(
            0.5 * ((1 + AT * signs[0]) * (1 + AT * signs[1]) - 1) ** 2, abs=1e-8
        )
    assert curves[0] == pytest.approx(curves[1], abs=1e-8)
