"""Does the error of a trace hold what it promises? On matrices, and on trained networks (slow)."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.models import VisionTransformer, resnet18, shufflenet_v2_x0_5

from benchmarks.flatness import learnt
from kdlab.measure.flatness import Hessian
from kdlab.measure.lanczos import OWN, Trace, Within, _Block, extremes, lanczos, trace
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.train.loop import one_thread


@pytest.fixture(autouse=True)
def single_thread():
    with one_thread():
        yield


def covered(found: list[Trace], truth: float) -> float:
    """In how many of 100 cases 1.96 errors on both sides hold the truth."""
    return 100 * float(np.mean([abs(t.value - truth) <= 1.96 * t.error for t in found]))


class Blocks:
    """Dense symmetric blocks of uneven size and spread on a diagonal, as layers are; nothing between them."""

    dtype, device = torch.float64, torch.device("cpu")

    def __init__(self, sizes=(4, 8, 8, 16, 16, 24, 24, 32)):
        generator = torch.Generator().manual_seed(0)
        self.parts = []
        for k, n in enumerate(sizes):
            roots = torch.randn(n, n, generator=generator, dtype=torch.float64)
            self.parts.append((1 + k % 3) * roots @ roots.T / n)
        ends = np.cumsum([0, *sizes]).tolist()
        self.size, self.blocks = ends[-1], [slice(a, b) for a, b in zip(ends, ends[1:], strict=False)]

    def within(self, probes):
        return [self.parts[b] @ row for b, row in probes]


@pytest.mark.parametrize("asked", [0.2, 0.04])
def test_the_error_covers_the_truth_however_few_probes_do(asked):
    operator = Blocks()
    truth = sum(float(part.trace()) for part in operator.parts)
    found = [trace(operator, relative_error=asked, min_probes=2, max_probes=4000, seed=s) for s in range(250)]
    assert all(t.error <= asked * t.value for t in found)
    assert 92 <= covered(found, truth) <= 98
    true = np.std([t.value for t in found])
    assert np.sqrt(np.mean([t.error**2 for t in found])) == pytest.approx(true, rel=0.2)


def test_the_variance_of_probes_is_without_bias_from_two():
    a = torch.tensor([[2.0, 1, 0], [1, 3, 1], [0, 1, 4]], dtype=torch.float64)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    found = []
    for one in signs:
        for other in signs:
            block = _Block()
            block.add(one * (a @ one))
            block.add(other * (a @ other))
            found.append(block.spread**2)
    assert np.mean(found) == pytest.approx(8), "2 Σ_{i≠j} A_ij²"


def test_probes_that_agree_by_chance_do_not_stop_the_search():
    """Two sums agree here in every tenth case, while the images behind them never do."""
    generator = torch.Generator().manual_seed(1)
    m = torch.randn(60, 60, generator=generator, dtype=torch.float64)
    m, claimed = m + m.T, []
    for _ in range(100):
        block = _Block()
        for _ in range(2):
            v = torch.randint(0, 2, (60,), generator=generator).double() * 2 - 1
            block.add(v * (m @ v))
        claimed.append((block.spread, abs(block.values[0] - block.values[1]) / 2**0.5))
    truth = float(2 * (m.square().sum() - m.diagonal().square().sum())) ** 0.5
    ours, sums = np.array(claimed).T
    assert (sums < 0.15 * truth).sum() > 5 and ours.min() > 0.7 * truth


class Outliers(Blocks):
    """A small first block that has ten large eigenvalues, and larger ones that have none."""

    keeps = True

    def __init__(self):
        super().__init__((40, 200, 200, 200))
        self.walked = 0
        roots = torch.linalg.qr(torch.randn(40, 40, generator=torch.Generator().manual_seed(2)).double()).Q
        self.parts[0] = roots @ torch.diag(torch.tensor([100.0 + k for k in range(10)] + [1.0] * 30).double()) @ roots.T

    def within(self, probes):
        self.walked += len(probes)
        return super().within(probes)


def test_a_block_that_asks_for_many_probes_gets_a_run_of_its_own():
    deep, plain = Outliers(), Outliers()
    plain.keeps = False  # where a step alone would cost as much as the probes of all blocks
    truth = sum(float(part.trace()) for part in deep.parts)
    ours, theirs = (trace(o, relative_error=0.01, min_probes=2, max_probes=4000) for o in (deep, plain))
    assert all(abs(t.value - truth) < 4 * t.error and t.error <= 0.01 * t.value for t in (ours, theirs))
    assert deep.walked < plain.walked / 3 and len(ours.probes[0]) < len(theirs.probes[0]) / 5
    assert ours.value == pytest.approx(sum(probes.mean() for probes in ours.probes))
    hasty = Outliers()
    trace(hasty, relative_error=0.01, min_probes=2, max_probes=2 * OWN - 1)
    assert hasty.walked == sum(map(len, trace(plain, relative_error=0.01, min_probes=2, max_probes=15).probes))


def test_errors_with_runs_of_blocks_cover_the_truth():
    operator = Outliers()
    truth = sum(float(part.trace()) for part in operator.parts)
    found = [trace(operator, relative_error=0.02, max_probes=4000, seed=s) for s in range(100)]
    assert 90 <= covered(found, truth) <= 99


def test_probes_seen_before_a_run_are_seen_again():
    operator = Outliers()
    block, fresh = Within(operator, None, 0), Within(operator, None, 0)
    rows = torch.randint(0, 2, (3, 40), generator=torch.Generator().manual_seed(3)).double() * 2 - 1
    fresh.deepen()
    for row in rows:
        for one in (block, fresh):
            one.add(row, operator.parts[0] @ row)
    before = block.found.spread
    block.deepen()
    assert block.found.values == pytest.approx(fresh.found.values) and block.found.spread < before
    basis = block.run.basis
    rest = torch.eye(40).double() - basis.T @ basis
    assert block.found.values == pytest.approx((rows * (rows @ rest @ operator.parts[0] @ rest)).sum(1).tolist())
    assert block.captured == pytest.approx(float((basis @ operator.parts[0] @ basis.T).trace()))
    assert block.short(32) and not block.short(31)
    for _ in range(3):
        block.deepen()
        assert len(block.run.diagonal) in (11, 12), "eleven different eigenvalues"
        assert not block.short(np.inf), "vectors would outweigh the weights"


def network(name: str) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """Ten noisy patterns, learnt by Adam to under half a nat in evaluation mode."""
    torch.manual_seed(0)
    net, shape, count = {
        "TinyR2Plus1D": lambda: (build(TinyR2Plus1D((8, 16, 24, 32)), 10, 0), (3, 4, 16, 16), 20),
        "ViT": lambda: (VisionTransformer(16, 4, 3, 4, 32, 64, num_classes=10), (3, 16, 16), 20),
        "shufflenet_v2_x0_5": lambda: (shufflenet_v2_x0_5(num_classes=10), (3, 32, 32), 20),
        "ResNet-18": lambda: (resnet18(num_classes=10), (3, 32, 32), 10)}[name]()
    x, y, _ = learnt(net, shape, count, torch.Generator().manual_seed(0))
    return net, x, y


@pytest.mark.slow  # about five minutes of a quiet core, more than half of them for the 11 million weights of ResNet-18
@pytest.mark.parametrize("name, repeats", [("TinyR2Plus1D", 400), ("ViT", 400), ("shufflenet_v2_x0_5", 100),
                                           ("ResNet-18", 100)])
def test_the_error_covers_the_truth_of_trained_networks(name, repeats):
    net, x, y = network(name)
    hessian = Hessian(net, [(x[:4], y[:4]) if name == "ResNet-18" else (x, y)])
    known = extremes(hessian, min_steps=10).run
    found = [trace(hessian, known, 0.05, 4, seed=s) for s in range(repeats)]
    # All probes of all repeats know the truth ten or twenty times better than one repeat does.
    truth = known.captured + sum(np.concatenate(its).mean() for its in zip(*(t.probes for t in found), strict=True))
    assert np.mean([t.error for t in found]) / repeats**0.5 < 0.005 * truth
    assert 92 <= covered(found, truth) <= 98


def test_room_is_made_for_the_vectors_that_are_needed():
    """Not for all that a search may take: for a ResNet-3D-18 those are 13 GB."""
    values = torch.cat([torch.linspace(0, 1, 3000), torch.tensor([9.0, 30.0])]).double()
    operator = SimpleNamespace(size=len(values), dtype=torch.float64, device=values.device,
                               product=lambda rows: rows * values)
    found = extremes(operator, max_steps=2000, smallest=False)
    assert found.largest == pytest.approx(30, rel=1e-3)
    assert len(found.run.diagonal) < 16 and found.run.basis.untyped_storage().nbytes() <= 16 * 8 * len(values)
    long = lanczos(operator, 70)
    assert torch.allclose(long.basis @ long.basis.T, torch.eye(70, dtype=torch.float64), atol=1e-9)
