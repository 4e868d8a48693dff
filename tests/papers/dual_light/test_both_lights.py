import numpy as np

from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw
from kdlab.clips.windows import ClipBatches, Window
from kdlab.nets.attention_head import Attended
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.papers.dual_light.both_lights import BothLights
from kdlab.papers.dual_light.two_lights import TwoLights


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
