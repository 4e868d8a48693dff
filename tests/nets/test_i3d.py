"""I3D in the released layout, its thinnings, its padding, and the tiny network."""

import pytest
import torch
from torch.nn import functional as F

from kdlab.nets.i3d import BOTTOM, I3D, STAGES, TOP, Pool, TinyC3D, Unit
from kdlab.nets.layers import trunk


@pytest.mark.parametrize("temporal, units", [(STAGES, 20), (TOP, 10), (BOTTOM, 10), ((), 0)])
def test_a_thinning_keeps_the_kernels_in_time_of_its_stages_alone(temporal, units):
    with torch.device("meta"):
        net = I3D(temporal).make(400)
    deep = [
        name
        for name, m in net.named_modules()
        if isinstance(m, torch.nn.Conv3d) and m.kernel_size[0] > 1
    ]
    assert len(deep) == units  # the stem, 2c, and two in each of nine blocks
    assert {name.split(".")[0].split("_")[1] for name in deep} == set(temporal)
    assert net.Mixed_3b.b3a.kernel_size[0] == (3 if "3b" in temporal else 1)


@pytest.mark.parametrize("n", [7, 8, 9, 16])
def test_padding_is_that_of_the_released_networks(n):
    """⌈n / 2⌉ places; for even n the stem has 2 before and 3 behind, so a plain padding of 3 would be one off."""
    unit = Unit(1, 1, (1, 7, 7), (1, 2, 2)).eval()
    x = torch.rand(1, 1, 1, n, n)
    front, behind = (2, 3) if n % 2 == 0 else (3, 3)
    expected = F.conv3d(
        F.pad(x, (front, behind, front, behind)), unit.conv3d.weight, stride=(1, 2, 2)
    )
    assert expected.shape[-1] == -(-n // 2)
    assert torch.allclose(unit(x), torch.relu(unit.bn(expected)))
    pooled = Pool((1, 3, 3), (1, 2, 2))(x)
    before = 1 - (n % 2 == 0)
    assert torch.equal(pooled, F.max_pool3d(F.pad(x, (before, 1, before, 1)), (1, 3, 3), (1, 2, 2)))


def test_video_becomes_logits_also_of_flow_and_odd_sizes():
    spec = I3D((), channels=2)
    x = torch.rand(2, 2, 9, 33, 50)
    net = spec.make(5).eval()
    assert net(x).shape == (2, 5)
    assert trunk(net, spec.stages[-1])(x).shape[1:] == (1024, 2, 2, 2)


@pytest.mark.parametrize("frames, side", [(16, 32), (16, 36), (7, 25), (9, 43)])
def test_tiny_teacher_and_half_width_thinned_student_have_features_of_one_shape(frames, side):
    x, space = torch.rand(2, 3, frames, side, side + 1), [-(-n // 4) // 2 for n in (side, side + 1)]
    for spec in (
        TinyC3D(),
        TinyC3D((4, 8, 16, 64), (False, False, True, True)),
        TinyC3D((4, 8, 16, 32), projector=64),
    ):
        net = spec.make(5)
        assert trunk(net, spec.stages[-1])(x).shape[1:] == (64, frames // 4, *space)
        assert net(x).shape == (2, 5)
    two = TinyC3D(temporal=(False, False, True, True)).make(5)
    assert [stage[0].kernel_size for stage in two.stages] == [(1, 3, 3)] * 2 + [(3, 3, 3)] * 2
