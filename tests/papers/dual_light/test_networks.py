"""Networks that see both lights, and the view they see."""

import numpy as np
import torch

from kdlab.clips.cache import FrameCache
from kdlab.clips.enhance import Gamma
from kdlab.clips.records import ClipRecord
from kdlab.clips.views import Enhanced, Raw
from kdlab.clips.windows import ClipBatches, Window
from kdlab.nets.attention_head import Attended
from kdlab.nets.layers import outputs
from kdlab.nets.pretrained import Weights
from kdlab.nets.torchvision_video import KINETICS, R2Plus1D
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.papers.dual_light.networks import BothLights, TwoLights


def test_both_lights_are_those_of_the_single_views_and_reach_a_network(make_video, tmp_path):
    clip = ClipRecord("a", make_video("a.mp4", frames=8, size=(64, 46)), 0, "train", "g")
    views = {"both": BothLights(Gamma(1.8)), "raw": Raw(), "bright": Enhanced(Gamma(1.8))}
    batches = ClipBatches([clip], views, Window(4, 20, 16), FrameCache(tmp_path))
    batch = next(batches.evaluation())
    both = batch.views["both"]
    assert both.shape == (1, 6, 4, 16, 16)
    alone = np.concatenate([batch.views["raw"], batch.views["bright"]], 1)
    assert np.array_equal(both.numpy(), alone)  # six channels, which OpenCV does not resize at once
    mean, std = batches.statistics("both")
    assert len(mean) == 6 and (mean[3:] > mean[:3]).all()
    spec = TwoLights(TinyR2Plus1D((8, 16)), tokens=8, heads=4)
    assert isinstance(spec, Attended) and build(spec, 3, 0, mean, std).eval()(both).shape == (1, 3)


TINY = TinyR2Plus1D((4, 8))
CLIPS = torch.rand(3, 6, 8, 16, 16, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_tokens_of_both_lights_stand_one_after_the_other():
    spec = TwoLights(TINY, tokens=8, heads=2)
    net = build(spec, 5, 0, torch.zeros(6), torch.ones(6)).eval()
    one = Attended(TINY, tokens=8, heads=2).make(5).eval()
    one.load_state_dict(net.net.state_dict())  # the same weights: one backbone for both lights
    raw = one.tokens(CLIPS[:, :3])
    light = one.tokens(CLIPS[:, 3:])
    assert raw.shape == (3, 4, 8)
    out = outputs(net, CLIPS, ["net.attention"])
    assert torch.allclose(
        out.taps["net.attention"], one.attention(torch.cat([raw, light], 1)), atol=1e-6
    )
    swapped = net(torch.cat([CLIPS[:, 3:], CLIPS[:, :3]], 1))
    assert out.logits.shape == (3, 5) and not torch.allclose(out.logits, swapped, atol=1e-4)


def test_at_the_papers_size_there_are_sixteen_tokens_and_statistics_for_both_lights(tmp_path):
    with torch.device("meta"):
        net = TwoLights().make(11)
        assert net.tokens(torch.zeros(1, 6, 64, 112, 112)).shape == (1, 16, 512)
    (tmp_path / "some.pth").write_bytes(b"any")
    weights = Weights.of(tmp_path / "some.pth")
    assert TwoLights(R2Plus1D(weights)).statistics == (KINETICS[0] * 2, KINETICS[1] * 2)
    assert TwoLights().statistics is None
