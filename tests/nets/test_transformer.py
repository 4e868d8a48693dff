import pytest
import torch

from kdlab.nets.i3d import TinyC3D
from kdlab.nets.layers import outputs, trunk
from kdlab.nets.transformer import TinyTransformer
from kdlab.nets.video import build


def maps(spec, x):
    return list(
        outputs(
            build(spec, 11, 0).eval(), x, [f"net.{stage}" for stage in spec.stages]
        ).taps.values()
    )


def test_its_stages_have_the_places_of_the_convolutional_network_and_the_last_is_never_negative():
    x = torch.rand(2, 3, 12, 34, 34)
    ours = maps(TinyTransformer(), x)
    theirs = maps(TinyC3D(), x)
    assert [each.shape[2:] for each in ours] == [each.shape[2:] for each in theirs]
    assert ours[-1].shape == theirs[-1].shape and ours[-1].min() >= 0


def test_every_place_attends_to_every_other_and_knows_where_it_lies():
    patches = trunk(build(TinyTransformer(), 11, 0).eval().double().net, "stages.3")[0][2]
    x = torch.ones(1, 16, 6, 8, 8, dtype=torch.float64, requires_grad=True)
    out = patches(x)
    out[0, 0, 0, 0, 0].backward()
    # beyond the reach of patch and positions: only attention sees it
    assert x.grad[0, :, -2:, -2:, -2:].all()
    assert (out[0, :, 0, 0, 0] - out[0, :, 1, 1, 1]).abs().max() > 1e-3  # a corner among equals


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="64 channels do not divide among heads=5"):
        TinyTransformer(heads=5)
