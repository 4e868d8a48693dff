"""Flatness against closed forms (docs/methods.md, 5), dense Hessians and invariances."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.measure.flatness import Hessian, flat, sharpness
from kdlab.measure.lanczos import Scaled, extremes, lanczos, trace

A = torch.tensor([[2.0, 1, 0], [1, 3, 1], [0, 1, 4]], dtype=torch.float64)


pytestmark = pytest.mark.usefixtures("single_thread")


def parameter(values):
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def quadratic(matrix=A, at=(1, 1, 1)):
    """½ wᵀ M w."""
    w = parameter(at)
    return Hessian.of(lambda: 0.5 * w @ matrix @ w, [w])


def small_net():
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(12, 4),
    ).double()
    net(torch.randn(64, 2, 4, 4).double())  # buffers that are not 0 and 1
    return net


def samples(count=12):
    generator = torch.Generator().manual_seed(5)
    return (
        torch.randn(count, 2, 4, 4, generator=generator).double(),
        torch.randint(0, 4, (count,), generator=generator),
    )


def batches(*sizes):
    x, y = samples(sum(sizes))
    return list(zip(x.split(sizes), y.split(sizes), strict=True))


def dense(net, x, y):
    """The Hessian of the evaluation-mode loss by torch.autograd.functional, in the order of the parameters."""
    net = copy.deepcopy(net).eval()
    names, weights = zip(*net.named_parameters(), strict=True)

    def loss(vector):
        parts = vector.split([w.numel() for w in weights])
        state = {n: p.view(w.shape) for n, p, w in zip(names, parts, weights, strict=True)}
        return F.cross_entropy(torch.func.functional_call(net, state, (x,)), y)

    return torch.autograd.functional.hessian(loss, flat(weights).to(weights[0].dtype))


def matrix(operator):
    return operator.product(torch.eye(operator.size, dtype=torch.float64))


def apart(one, other):
    """The largest difference."""
    return (one - other).abs().max()


# --- closed forms ----------------------------------------------------------------------------------------------


def test_trace_stops_on_its_standard_error():
    found = trace(quadratic(), relative_error=0.02, seed=1)
    (probes,) = found.probes
    n = len(probes)
    assert found.error == pytest.approx(math.sqrt(8 / n), rel=0.1)
    assert found.error <= 0.02 * found.value
    assert abs(found.value - 9) < 4 * found.error and set(probes.round(9)) == {5, 9, 13}
    # 8 / (0.02 × 9)² = 247 probes
    assert 180 < n < 320
    assert len(trace(quadratic(), relative_error=1e-9, max_probes=20).probes[0]) == 20


def test_lanczos_from_the_first_axis():
    start = torch.tensor([1.0, 0, 0]).double()
    run = lanczos(quadratic(), 3, start)
    values, weights, _ = run.ritz()
    assert run.diagonal == pytest.approx([2, 3, 4])
    assert run.beside == pytest.approx([1, 1, 0], abs=1e-12)
    assert values == pytest.approx([3 - 3**0.5, 3, 3 + 3**0.5], abs=1e-9)
    assert weights == pytest.approx([0.6220085, 1 / 3, 0.0446582], abs=1e-7)
    assert weights @ values == pytest.approx(2)
    two = lanczos(quadratic(), 2, start)
    assert two.ritz()[0] == pytest.approx([(5 - 5**0.5) / 2, (5 + 5**0.5) / 2], abs=1e-9)
    assert two.ritz()[2].max() > 0.5  # β₂ leads out: not eigenvalues, and the residuals say so


def test_an_eigenvector_of_two_weights_is_found_from_any_seed():
    """Of two weights that pull against each other: half of all vectors of signs are orthogonal to (1, −1)."""
    w = nn.Parameter(torch.zeros(40, dtype=torch.float64))
    hessian = Hessian.of(lambda: 0.25 * (w[0] - w[1]).square(), [w])
    assert [extremes(hessian, seed=seed).largest for seed in range(12)] == pytest.approx([1] * 12)


def test_no_curvature_is_zero():
    flat_loss = quadratic(0 * A)
    assert trace(flat_loss)[:2] == (0, 0)
    assert extremes(flat_loss)[:2] == (0, 0)


# --- deflated traces -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gauss_newton", [False, True])
@pytest.mark.parametrize("batches", [1, 2])
def test_a_probe_within_a_block_sees_that_block_of_the_dense_hessian(gauss_newton, batches):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 3)).double()
    x = torch.randn(6, 4).double()
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    operator = Hessian(
        net, list(zip(x.chunk(batches), y.chunk(batches), strict=True)), gauss_newton=gauss_newton
    )
    whole = matrix(operator)
    # norm and bias belong to the layer before them
    assert operator.blocks == [slice(0, 35), slice(35, 53)]
    rows = [torch.randn(b.stop - b.start).double() for b in operator.blocks]
    truth = [whole[b, b] @ v for v, b in zip(rows, operator.blocks, strict=True)]
    twice = Scaled(operator, torch.full((53,), 2.0).double())
    for measured, times in ((operator, 1), (twice, 4)):
        for sees, image in zip(truth, measured.within(list(enumerate(rows))), strict=True):
            assert torch.allclose(image, times * sees, rtol=1e-9) and image.shape == sees.shape


def test_what_layers_have_to_do_with_each_other_does_not_disturb_the_trace():
    """L = 3|a|²/2 + |b|²/2 + 100 aᵀb: any probe of all weights would miss by hundreds."""
    a, b = (nn.Parameter(torch.randn(2, 2).double()) for _ in "ab")
    operator = Hessian.of(
        lambda: 1.5 * (a * a).sum() + 0.5 * (b * b).sum() + 100 * (a * b).sum(), [a, b]
    )
    found = trace(operator, min_probes=2)
    assert found.value == pytest.approx(16, abs=1e-9) and found.error < 1e-9
    assert [len(p) for p in found.probes] == [3, 3]


def test_what_is_known_is_taken_from_each_block_and_given_back_once():
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    operator = Hessian(net, [(torch.randn(8, 3).double(), torch.arange(8) % 2)])
    whole = matrix(operator)
    known = lanczos(operator, 4)
    outside = torch.eye(operator.size).double() - known.basis.T @ known.basis
    rest, left = outside @ whole @ outside, 0.0
    for b, block in enumerate(operator.blocks):
        for i, row in enumerate(torch.eye(block.stop - block.start).double()):
            left += float(known.outside(block, row, whole[block, block] @ row)[i])
        v = torch.randn(block.stop - block.start).double()
        (image,) = operator.within([(b, v)])
        assert torch.allclose(known.outside(block, v, image), rest[block, block] @ v, atol=1e-9)
    assert left + known.diagonal.sum() == pytest.approx(float(whole.trace()), abs=1e-9)
    found = trace(operator, known, 0.03, max_probes=4000)
    assert abs(found.value - float(whole.trace())) < 4 * found.error


# --- networks --------------------------------------------------------------------------------------------------


def test_dense_hessian_mini_batches_and_evaluation_mode():
    net = small_net()
    x, y = samples()
    truth = dense(net, x, y)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.train()
    whole = Hessian(net, [(x, y)])
    cut = Hessian(net, batches(5, 4, 3))
    assert apart(matrix(whole), truth) < 1e-12 * truth.abs().max() + 1e-12
    assert apart(matrix(cut), truth) < 1e-6
    assert apart(matrix(cut), matrix(whole)) < 1e-12
    found = extremes(cut, tolerance=1e-8)
    values = torch.linalg.eigvalsh(truth)
    assert (found.largest, found.smallest) == pytest.approx(
        (values[-1].item(), values[0].item()), abs=1e-6
    )
    value = cut.value()
    net.eval()
    assert value == pytest.approx(F.cross_entropy(net(x), y).item(), abs=1e-12)
    assert cut.gradient()[0] == pytest.approx(value, abs=1e-12)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_gauss_newton_is_the_hessian_of_the_linearised_network():
    net = small_net().eval()
    x, y = samples()
    operator = Hessian(net, batches(5, 7), gauss_newton=True)
    names, weights = zip(*net.named_parameters(), strict=True)

    def outputs(*parts):
        return torch.func.functional_call(net, dict(zip(names, parts, strict=True)), (x,))

    # (N, K, P)
    jacobian = torch.cat(
        [j.flatten(2) for j in torch.autograd.functional.jacobian(outputs, weights)], 2
    )
    p = torch.softmax(net(x), 1)
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    truth = torch.einsum("nkp,nkl,nlq->pq", jacobian, middle, jacobian) / len(x)
    assert apart(matrix(operator), truth) < 1e-10
    assert torch.linalg.eigvalsh(truth)[0] > -1e-9 > torch.linalg.eigvalsh(dense(net, x, y))[0]


def test_a_kept_graph_is_dropped_when_a_weight_changes():
    net = small_net()
    x, y = samples()
    operator = Hessian(net, [(x, y)])
    v = torch.randn(1, sum(p.numel() for p in net.parameters())).double()
    first = operator.product(v)
    calls = []
    net.register_forward_hook(lambda *_: calls.append(1))
    assert torch.equal(operator.product(v), first) and not calls
    with torch.no_grad():
        net[5].weight.mul_(2)
    after = operator.product(v)[0]
    assert len(calls) == 1 and apart(after, dense(net, x, y) @ v[0]) < 1e-10


# --- sharpness -------------------------------------------------------------------------------------------------


def test_sharpness_of_the_worked_examples():
    found = sharpness(quadratic(at=[1.0, 0, 0]))
    assert found.one_step == pytest.approx(0.05 * 5**0.5 + 0.5 * 0.05**2 * 3, abs=1e-9)
    assert found.ascent == pytest.approx(0.1155869, abs=1e-7)
    there = quadratic(at=[1.0, 2, -1])
    assert sharpness(there).one_step == pytest.approx(0.3781836, abs=1e-7)
    assert sharpness(there, adaptive=True).one_step == pytest.approx(0.6545807, abs=1e-7)
    assert there.weights[0].tolist() == [1, 2, -1]


def product_of_two(a, b):
    """½ (ab − 1)², whose minima are one function in any coordinates."""
    u = parameter([[a]])
    v = parameter([[b]])
    return Hessian.of(lambda: 0.5 * (u * v - 1).square().sum(), [u, v])


def test_a_minimum_has_no_single_step_and_the_same_adaptive_sharpness_in_all_coordinates():
    even = product_of_two(1.0, 1.0)
    uneven = product_of_two(10.0, 0.1)
    assert torch.trace(matrix(even)).item() == pytest.approx(2)
    assert torch.trace(matrix(uneven)).item() == pytest.approx(100.01)
    for hessian in (even, uneven):
        found = sharpness(hessian, adaptive=True)
        assert math.isnan(found.one_step)
        assert found.ascent == pytest.approx(0.5 * (2**0.5 * 0.05 + 0.05**2 / 2) ** 2, abs=1e-8)
    assert sharpness(uneven).ascent > 10 * sharpness(even).ascent
    # a gradient that is only rounding has no step
    assert math.isnan(sharpness(product_of_two(10.0, math.nextafter(0.1, 1))).one_step)


def rescaled(net, c):
    """The same function: weights before the batch norm times c, its mean by c, its variance by c²."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight.mul_(c)
        other[1].running_mean.mul_(c)
        other[1].running_var.mul_(c * c)
    return other


def test_rescaled_weights_fake_raw_sharpness_but_not_adaptive():
    net = small_net().eval()
    net[1].eps = 0.0
    data = batches(6, 6)
    one = Hessian(net, data)
    other = Hessian(rescaled(net, 4.0), data)
    assert one.value() == pytest.approx(other.value(), abs=1e-12)
    raw, adaptive = (
        [sharpness(h, 0.5, adaptive=kind) for h in (one, other)] for kind in (False, True)
    )
    for number in ("one_step", "ascent"):
        assert getattr(adaptive[0], number) == pytest.approx(getattr(adaptive[1], number), abs=1e-9)
    assert raw[0].ascent > 1.1 * raw[1].ascent
    assert torch.trace(matrix(one)) > 1.05 * torch.trace(matrix(other))
    scaled = [matrix(Scaled(h, flat(h.weights).abs())) for h in (one, other)]
    assert apart(scaled[0], scaled[1]) < 1e-9


# --- bad input -------------------------------------------------------------------------------------------------


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x / 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient / 2


class Layer(nn.Module):
    """A layer without weights that computes this."""

    def __init__(self, forward):
        super().__init__()
        self.forward = forward


def test_what_cannot_be_measured_says_why():
    net = small_net()
    data = batches(6, 6)
    x, y = samples()
    cases = [
        (copy.deepcopy(net).requires_grad_(False), data, "no parameter to measure"),
        (copy.deepcopy(net).half(), data, "0.weight is torch.float16.*fp32 or fp64"),
        (
            nn.Sequential(Layer(lambda x: x + torch.randn_like(x)), net),
            data,
            "two passes over the data differ",
        ),
        (nn.Sequential(net, Layer(torch.detach)), data, "no gradient: Sequential detaches"),
        (net, [], "no mini-batch with samples"),
        (net, [(x[:0], y[:0])], "no mini-batch with samples"),
        (net, iter(data), "used up by one pass"),
        (net, [(x * torch.inf, y)], "the loss is nan"),
        (
            net,
            lambda: iter([(x + 1e-3 * torch.randn_like(x), y)]),
            "two passes over the data differ",
        ),
    ]
    spoilt = copy.deepcopy(net)
    spoilt[5].bias.data[1] = torch.nan
    for module, batches_, message in [*cases, (spoilt, data, "the loss is nan")]:
        with pytest.raises(ValueError, match=message):
            Hessian(module, batches_)
    with torch.inference_mode(), pytest.raises(ValueError, match="inference mode"):
        Hessian(net, data)


def test_operations_without_a_second_derivative_are_named():
    for kind in (False, True):
        operator = Hessian(
            nn.Sequential(small_net(), Layer(Halved.apply)), batches(6), gauss_newton=kind
        )
        with pytest.raises(ValueError, match="no second derivative: HalvedBackward"):
            operator.product(torch.ones(1, operator.size))
    w = nn.Parameter(torch.randn(4, 1, 3))
    target = torch.ones(1, 1, dtype=torch.long)
    length = torch.tensor([4])
    operator = Hessian.of(lambda: F.ctc_loss(w.log_softmax(2), target, length, length // 4), [w])
    with pytest.raises(ValueError, match="no second derivative.*ctc_loss"):
        operator.product(torch.ones(1, operator.size))
    linear = Hessian.of(lambda: w.sum(), [w])
    assert not linear.product(torch.ones(1, 12)).any()


def test_millions_of_weights_in_fp32():
    """Sums over millions of fp32 products are wrong by parts in a thousand: those that matter are taken in fp64."""

    class Diagonal:
        size, dtype, device = 6_000_000, torch.float32, torch.device("cpu")
        values = torch.cat(
            [torch.tensor([400.0, 100]).double(), torch.full((size - 2,), 1e-3).double()]
        )

        def product(self, rows):
            return rows.double() * self.values

    run = lanczos(Diagonal(), 3)
    assert run.basis.double().square().sum(1).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert run.ritz()[0] == pytest.approx([1e-3, 100, 400], rel=1e-6)


def test_attention_no_grad_and_autocast():
    """Fused attention kernels have no second derivative, a surrounding autocast or no_grad must not matter."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(24, 2)
    )
    data = [(torch.randn(4, 3, 8), torch.tensor([0, 1, 0, 1]))]
    operator = Hessian(net, data)
    truth = operator.product(torch.ones(1, operator.size))
    operator = Hessian(net, data)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(operator.product(torch.ones(1, operator.size)), truth)
        assert truth.dtype == torch.float64


def test_a_large_network_is_measured_in_fp32_as_plain_autograd_does():
    """A rectifier that opens by rounding moves a product by a thousandth: layers have to compute as they are."""
    torch.manual_seed(0)
    layers = []
    for channels in (3, 16, 16, 16, 16, 16):
        convolution = nn.Conv3d(channels, 16, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm3d(16), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())
    x = torch.rand(2, 3, 8, 24, 24)
    y = torch.tensor([0, 1])
    for _ in range(5):
        net(torch.rand(2, 3, 8, 24, 24))
    net.eval()
    weights = list(net.parameters())
    gradient = torch.autograd.grad(F.cross_entropy(net(x), y), weights, create_graph=True)
    together = torch.cat([part.flatten() for part in gradient])
    v = torch.randn(len(together))
    product = torch.autograd.grad(together @ v, weights)
    hessian = Hessian(net, [(x, y)])
    for ours, plain in ((hessian.gradient()[1], gradient), (hessian.product(v[None])[0], product)):
        assert (ours - flat(plain)).norm() <= 1e-7 * flat(plain).norm()
