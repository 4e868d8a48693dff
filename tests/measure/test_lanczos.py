"""Does the error of a trace hold what it promises?"""

import numpy as np
import pytest
import torch

from kdlab.measure.lanczos import _Block, trace
from tests.measure.test_flatness import A

pytestmark = pytest.mark.usefixtures("single_thread")


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
        self.size = ends[-1]
        self.blocks = [slice(a, b) for a, b in zip(ends, ends[1:], strict=False)]

    def within(self, probes):
        return [self.parts[b] @ row for b, row in probes]


@pytest.mark.parametrize("asked", [0.2, 0.04])
def test_the_error_covers_the_truth_however_few_probes_do(asked):
    operator = Blocks()
    truth = sum(float(part.trace()) for part in operator.parts)
    found = [
        trace(operator, relative_error=asked, min_probes=2, max_probes=4000, seed=s)
        for s in range(250)
    ]
    assert all(t.error <= asked * t.value for t in found)
    assert 0.92 <= np.mean([abs(t.value - truth) <= 1.96 * t.error for t in found]) <= 0.98
    true = np.std([t.value for t in found])
    assert np.sqrt(np.mean([t.error**2 for t in found])) == pytest.approx(true, rel=0.2)


def test_the_variance_of_probes_is_without_bias_from_two():
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    found = []
    for one in signs:
        for other in signs:
            block = _Block()
            block.add(one * (A @ one))
            block.add(other * (A @ other))
            found.append(block.spread**2)
    # 2 Σ_{i≠j} A_ij²
    assert np.mean(found) == pytest.approx(8)
