"""Class activation maps on networks small enough to know them by hand, and scores with known values."""

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.clips.views import Raw
from kdlab.clips.windows import ClipBatches, Window
from kdlab.measure import attention
from kdlab.measure.attention import actor_masks, centred, grad_cam, scores
from kdlab.nets.compressed import TinyCompressed
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.night import Night, truth
from kdlab.papers.generative.networks import Gated


class Linear(nn.Module):
    """Video (B, 2, T, H, W) → ``features``, the same, or every second pixel of it → mean → ``fc``, known weights."""

    def __init__(self, weights, stride=1):
        super().__init__()
        kernel = 1 if stride == 1 else 3
        edge = kernel // 2
        self.features = nn.Conv3d(
            2, 2, (1, kernel, kernel), (1, stride, stride), (0, edge, edge), bias=False
        )
        self.unused = nn.Conv3d(2, 2, 1)
        self.fc = nn.Linear(2, len(weights), bias=False)
        nn.init.dirac_(self.features.weight)
        self.fc.weight.data = torch.tensor(weights)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3, 4)))


WEIGHTS = [[2.0, -1.0], [0.0, 1.0]]


def test_the_map_of_a_linear_network_is_its_weighted_input_rectified():
    x = torch.randn(3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    found = grad_cam(Linear(WEIGHTS), x, torch.tensor([0, 1, 0]), "features", batch_size=2)
    by_hand = (
        torch.stack([2 * x[0, 0] - x[0, 1], x[1, 1], 2 * x[2, 0] - x[2, 1]]).clamp_min(0)
        / x[0, 0].numel()
    )
    assert found.maps == pytest.approx(by_hand.numpy(), abs=1e-7) and not found.constant.any()


@pytest.mark.parametrize("at", [(0, 0), (4, 6), (8, 2), (8, 8)])
def test_a_unit_of_a_strided_layer_is_brought_to_the_pixel_it_looks_at(at):
    x = torch.zeros(1, 2, 1, 9, 9)
    x[0, 0, 0, *at] = 1
    (found,) = grad_cam(Linear(WEIGHTS, stride=2), x, 0, "features").maps
    assert np.unravel_index(found[0].argmax(), (9, 9)) == at
    # Of kernel 3, stride 2: unit 0 sees pixels 0 and 1 and stands between them, unit 1 at 2.
    assert found[0, :, at[1]] == pytest.approx(
        found[0].max() * np.interp(np.arange(9), [0.5, 2, 4, 6, 7.5], np.arange(5) == at[0] // 2),
        abs=1e-5,
    )


@pytest.mark.parametrize(
    "size, layer, expected",
    [
        (36, 3, [6.3, 16, 26.4]),
        (36, 2, [3.1, 8, 16, 24, 30]),
        (65, 1, [1.4, *range(4, 61, 4), 62.6]),
    ],
)
def test_units_in_the_middle_stand_where_strides_say_and_those_at_the_edge_further_in(
    size, layer, expected, monkeypatch
):
    """For each map and unit the units' places are noted: along time, along height, along width."""
    centres, interpolation = [], np.interp

    def noted(pixels, its, values):
        centres.append(its)
        return interpolation(pixels, its, values)

    monkeypatch.setattr(attention.np, "interp", noted)
    x = torch.rand(1, 3, 4, size, size, generator=torch.Generator().manual_seed(0))
    grad_cam(build(TinyR2Plus1D(), 3, 0), x, 0, f"net.stages.{layer}")
    for found in (centres[-1], centres[-1 - len(expected)]):
        assert found == pytest.approx(expected, abs=0.05)


def test_frames_of_a_2d_network_have_their_own_maps():
    net = build(TinyCompressed((4, 4, 8, 8)), 3, 0)
    x = torch.rand(2, 3, 3, 52, 65, generator=torch.Generator().manual_seed(0))
    whole = grad_cam(net, x, 1, "net.stages.3").maps
    assert whole.shape == (2, 3, 52, 65)
    alone = np.concatenate(
        [grad_cam(net, x[:, :, t : t + 1], 1, "net.stages.3").maps for t in range(3)], 1
    )
    # logits are the mean over frames, so a third of the gradient
    assert whole == pytest.approx(alone / 3, abs=1e-6)


@pytest.mark.parametrize(
    "spec, layer",
    [
        (TinyR2Plus1D(), "net.stages.3"),
        (TinyR2Plus1D(), "net.stages.0.spatial"),
        (Gated(), "net.backbone.stages.3"),
    ],
)
def test_maps_of_3d_networks_have_the_clips_shape_also_with_frozen_weights(spec, layer):
    net = build(spec, 3, 0).requires_grad_(False).train()
    found = grad_cam(net, torch.rand(2, 3, 16, 36, 36), 0, layer)
    assert found.maps.shape == (2, 16, 36, 36) and (found.maps >= 0).all() and net.training


def test_a_constant_map_is_flagged_and_not_made_of_noise():
    x = torch.ones(2, 2, 2, 4, 4) + 1e-7 * torch.rand(2, 2, 2, 4, 4)
    for target in (0, 1):  # constant and positive; and a logit whose rectified map is 0
        found = grad_cam(Linear([[2.0, -1.0], [-1.0, -1.0]]), x, target, "features")
        assert found.constant.all() and (found.maps == 1).all()


def test_what_cannot_be_explained_is_told():
    net = Linear(WEIGHTS)
    x = torch.rand(1, 2, 2, 4, 4)
    for layer, says in (
        ("featurs", "no layer 'featurs' in Linear; it has features, "),
        ("fc", r"'fc' gives \(5, 2\) for 5 clips, without extent in space"),
        ("unused", "'unused' is not called"),
    ):
        with pytest.raises(ValueError, match=says):
            grad_cam(net, x, 0, layer)
    with torch.inference_mode(), pytest.raises(ValueError, match="leave torch.inference_mode"):
        grad_cam(net, x, 0, "features")
    with torch.no_grad():
        # no_grad is no obstacle
        assert grad_cam(net, x, 0, "features").maps.max() > 0
    net.fc.weight.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        grad_cam(net, x, 0, "features")


class Odd(Linear):
    """A :class:`Linear` that runs its features, or reads them, in another ``way``."""

    def __init__(self, way):
        super().__init__(WEIGHTS)
        self.way = way

    def forward(self, x):
        maps = self.features(x)
        ways = {
            "twice": lambda: self.features(maps),
            "detached": maps.detach,
            "tuple": lambda: maps,
            "frames": lambda: sum(self.features(x[:, :, [t]]) for t in range(x.shape[2])),
        }
        logits = self.fc(ways[self.way]().mean((2, 3, 4)))
        return (logits,) if self.way == "tuple" else logits


@pytest.mark.parametrize(
    "way, why",
    [
        ("twice", "'features' runs 2 times"),
        ("frames", "'features' runs 3 times"),
        ("detached", r"needs logits \(N, K\) of Odd, and their gradient at layer 'feat"),
        ("tuple", r"needs logits \(N, K\) of Odd, and their gradient at layer 'feat"),
    ],
)
def test_no_map_is_made_of_one_of_two_calls_or_without_a_gradient(way, why):
    net = Odd(way).train()
    net.features.eval()
    with pytest.raises(ValueError, match=why):
        grad_cam(nn.DataParallel(net), torch.rand(2, 2, 2, 4, 4), 0, "features")
    # each layer has its own mode again
    assert net.training and not net.features.training


# --- scores ----------------------------------------------------------------------------------------------------


@pytest.fixture
def masks():
    found = np.zeros((2, 3, 8, 10), bool)
    found[0, :, 2:5, 3:6] = True
    found[1, 1, 6:, :2] = True  # not seen in two frames
    return found


def test_the_uniform_map_has_the_scores_of_blind_chance(masks):
    for height in (1, 0):  # zeros look nowhere, that is everywhere
        found = scores(height * np.ones(masks.shape), masks)
        share = np.array([9 / 80, 4 / 80])
        assert found["energy_inside"] == pytest.approx(share) == found["pointing_game"]
        assert found["iou"] == pytest.approx(share / (2 - share))


def test_a_map_by_hand(masks):
    maps = np.zeros((1, 3, 8, 10))
    maps[0, :, 2, 3], maps[0, :, 0, 0] = [3, 1, 2], [1, 3, 2]  # on the actor, beside it
    found = scores(maps, masks[:1])
    assert found["pointing_game"] == pytest.approx([(1 + 0 + 0.5) / 3])
    assert found["energy_inside"] == pytest.approx([(3 / 4 + 1 / 4 + 2 / 4) / 3])
    common = 1 + 7 * 8 / 78  # one pixel above, and seven of 78 zeros of which eight are the actor's
    assert found["iou"] == pytest.approx([common / (18 - common)])


def test_no_actor_is_no_score_and_other_shapes_are_refused(masks):
    maps = np.ones(masks.shape)
    assert all(
        np.isnan(v).tolist() == [False, True]
        for v in scores(maps, masks & [[[[1]]], [[[0]]]]).values()
    )
    with pytest.raises(ValueError, match="of one shape"):
        scores(maps[:, :2], masks)


def test_the_gaussian_of_the_middle_is_highest_there():
    assert np.unravel_index(centred((2, 9, 11))[0].argmax(), (9, 11)) == (4, 5)


def test_masks_are_where_the_network_sees_the_actor(own_places):
    clips = ClipBatches(
        Night(("Wave",), (1, 0, 0), 0.25).catalogue().records, {"raw": Raw()}, Window(8, 40, 36)
    )
    masks = actor_masks(clips)
    assert masks.shape == (1, 8, 36, 36) and 0.02 < masks.mean() < 0.5

    y, x = (
        p * 40 / 128
        for p in np.nonzero(truth(clips.records[0])["masks"][clips.window.centre(36).frames])[1:]
    )
    mine = np.nonzero(masks)
    # 36² of 40 × 50 pixels
    seen = (y >= 2) & (y < 38) & (x >= 7) & (x < 43)
    assert mine[2].mean() == pytest.approx(y[seen].mean() - 2.3, abs=0.5)
    assert mine[3].mean() == pytest.approx(x[seen].mean() - 7.3, abs=0.5)
