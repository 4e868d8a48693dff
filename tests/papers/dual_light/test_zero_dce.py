from types import SimpleNamespace

import pytest
import torch

from kdlab.papers.dual_light.zero_dce import (
    CurveNet,
    ZeroDce,
    colour_loss,
    exposure_loss,
    smoothness_loss,
    spatial_loss,
)


def test_exposure_of_flat_patches():
    x = torch.full((1, 3, 32, 32), 0.6)
    assert exposure_loss(x) < 1e-12
    x[..., :16] = 0.1  # half of the patches are 0.5 away
    assert exposure_loss(x).item() == pytest.approx(0.25 / 2)
    x[:, 1:] = 0.6  # the patch's grey mean is ⅓ 0.1 + ⅔ 0.6
    assert exposure_loss(x).item() == pytest.approx((0.5 / 3) ** 2 / 2, rel=1e-4)


def test_colour_of_known_means():
    x = torch.zeros(1, 3, 4, 4)
    x[:, 0], x[:, 1] = 0.3, 0.1  # squared differences of red-green, red-blue, green-blue: .04, .09, .01
    assert colour_loss(x).item() == pytest.approx((0.04**2 + 0.09**2 + 0.01**2) ** 0.5)
    assert colour_loss(torch.cat([x, torch.rand(1, 1, 4, 4).expand(1, 3, 4, 4)])).item() == pytest.approx(
        colour_loss(x).item() / 2)


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


def test_spatial_of_one_region():
    """One region is 0.3 brighter than its input: inside, five regions see it; on the border it meets zero as well."""
    x = torch.rand(1, 3, 12, 12)
    y = x.clone()
    y[..., 4:8, 4:8] += 0.3
    assert spatial_loss(y, x).item() == pytest.approx((4 + 4) * 0.09 / 9, rel=1e-4)
    y = x.clone()
    y[..., :4, :4] += 0.3
    assert spatial_loss(y, x).item() == pytest.approx((4 + 2) * 0.09 / 9, rel=1e-4)
    y = x + 0.3  # contrasts are kept: only the border's comparison with zero is left, once or twice a region
    assert spatial_loss(y, x).item() == pytest.approx((4 * 2 + 4 * 1) * 0.09 / 9, rel=1e-4)


def test_spatial_is_the_papers_sum():
    """Against the definition, region by region and neighbour by neighbour."""
    x, y = torch.rand(1, 3, 8, 12), torch.rand(1, 3, 8, 12)
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
    batch = SimpleNamespace(views={"student": torch.rand(2, 3, 2, 32, 32) / 10})  # has no labels to read
    net = CurveNet(4)
    (key, loss, terms), = ZeroDce().losses({"student": net}, batch, None)
    assert ZeroDce().parts({}) == {key: ["student"]}
    assert set(terms) == {"spatial", "exposure", "colour", "smoothness"}
    weighed = sum(w * terms[name] for name, w in {"spatial": 1, "exposure": 10, "colour": 5, "smoothness": 200}.items())
    assert torch.isclose(loss, weighed)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
