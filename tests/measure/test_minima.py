"""A trained network in numbers: against dense Hessians and by hand."""


import numpy as np
import pytest
import torch
from torch import nn

from kdlab.measure.flatness import Hessian, sharpness
from kdlab.measure.minima import RISES, STEPS, curves, flatness, walked
from kdlab.measure.surface import filter_direction
from kdlab.train.loop import one_thread
from tests.measure.test_flatness import batches, dense, samples, small_net


@pytest.fixture(autouse=True)
def single_thread():
    with one_thread():
        yield


def test_a_row_against_the_dense_hessian():
    net, (x, y) = small_net(), samples()
    truth = dense(net, x, y)
    row = flatness(net, batches(6, 6), error=0.02, probes=400, least=30, tolerance=1e-6)
    values = torch.linalg.eigvalsh(truth)
    assert row["lambda_max"] == pytest.approx(values[-1].item(), rel=1e-5)
    assert row["lambda_min"] == pytest.approx(values[0].item(), abs=1e-5 * values[-1].item())
    trace = float(truth.trace())
    assert abs(row["hessian_trace"] - trace) < max(4 * row["hessian_trace_error"], 1e-6 * trace)
    assert row["trace_per_weight"] == row["hessian_trace"] / len(truth)
    assert row["train_loss"] == pytest.approx(Hessian(net, [(x, y)]).gradient()[0])
    hessian = Hessian(net, [(x, y)])
    assert row["gradient_norm"] == pytest.approx(float(hessian.gradient()[1].norm()), rel=1e-9)
    assert row["asam_0.5"] == pytest.approx(sharpness(hessian, 0.5, True, steps=3, starts=1).ascent, rel=1e-9)
    assert row["sam_0.05"] == pytest.approx(sharpness(hessian, 0.05, steps=3, starts=1).ascent, rel=1e-9)
    assert row["sam_0.05"] < row["sam_0.5"] and row["asam_0.05"] < row["asam_0.5"]


def test_curves_of_a_quadratic():
    """½ a² δᵀAδ + a gᵀδ: its curvature is δᵀAδ, and each side ends where it has risen enough."""
    hessian = matrix_weights()
    direction = filter_direction(hessian, 3)
    at, losses = walked(hessian, direction)
    bend = 8 * float(direction @ direction)
    slope = float(hessian.gradient()[1] @ direction)
    assert losses == pytest.approx(hessian.value()[0] + slope * at + 0.5 * bend * at**2)
    assert 0 in at and (np.diff(at) > 0).all() and {-0.1, 0.1} <= set(at)
    assert ((losses[[0, -1]] >= hessian.value()[0] + max(RISES)) | (np.abs(at[[0, -1]]) == STEPS[-1])).all()
    found = curves(hessian, 3, seed=1)
    several = [8 * float(d @ d) for d in (filter_direction(hessian, 1000 + k) for k in range(3))]
    assert found["filter_curvature"] == pytest.approx(np.mean(several))
    assert found["filter_curvature_error"] == pytest.approx(np.std(several, ddof=1) / 3**0.5)
    assert 0 < found["filter_radius_0.1"] < found["filter_radius_1"] < 1.25


def matrix_weights() -> Hessian:
    w = nn.Parameter(torch.tensor([[1.0, 2.0], [-1.0, 0.5]]).double())
    return Hessian.of(lambda: 4 * (w * w).sum(), [w])
