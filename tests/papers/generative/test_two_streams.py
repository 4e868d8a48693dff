"""Channels that are kept are those of the mix, the others still; fused answers are the means of two."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlab.clips.views import MotionMix, Raw
from kdlab.clips.windows import VideoWindow, Windows
from kdlab.papers.generative import two_streams
from kdlab.papers.generative.two_streams import STREAMS, Only, fusion_table, stream_frames, streams_of
from tests.conftest import encode, pattern


def test_only_some_channels_are_shown():
    clip = torch.rand(2, 3, 6, 8, 8)
    mixed, some = MotionMix().finish(clip), Only(kept=(1, 2)).finish(clip)
    assert torch.equal(some[:, 1:], mixed[:, 1:]) and not some[:, 0].any() and mixed[:, 0].any()
    assert Only(Raw(), (0,)).name == MotionMix().name, "the same pixels in the cache"
    for wrong in ((3,), (-1,), (0.5,)):
        with pytest.raises(ValueError, match="kept"):
            Only(kept=wrong)


def test_every_stream_is_asked_under_its_own_view(monkeypatch):
    views = []
    monkeypatch.setattr(two_streams, "logits_on", lambda run, view, split: views.append(view) or np.zeros(1))
    run = SimpleNamespace(folder=SimpleNamespace(name="run"), recipe=SimpleNamespace(view=MotionMix()))
    assert list(streams_of(run)) == list(STREAMS) and [view.kept for view in views] == list(STREAMS.values())
    run.recipe.view = Raw()
    with pytest.raises(ValueError, match="run sees raw, not MotionMix"):
        streams_of(run)


def test_fused_answers_stand_below_those_that_are_fused(monkeypatch):
    its = [VideoWindow("v@0", None, -1, "test", "g", video="v", seconds=20.0, first=0, segments=((1.0, 3.0, 0),))]
    monkeypatch.setattr(two_streams, "of_split", lambda run, split: its)
    run = SimpleNamespace(recipe=SimpleNamespace(window=Windows(rate=10.0)), provenance={"classes": ["a", "b"]})

    def says(start, end):
        return np.array([[[[6.0, -20, start, end, 6]]]])  # one window, stage and prior

    early, late = says(5, 25), says(15, 35)  # each off by half a second
    found = fusion_table(run, {"one": early, "other": late}, 0.5)
    assert found.iloc[:, 0].tolist() == ["one", "other", "both, fused"]
    assert found["mAP, %"].iloc[2] == 100 and found["mAP, %"].iloc[0] == 100
    worse = fusion_table(run, {"one": says(5, 15), "other": says(25, 45)}, 0.5)["mAP, %"].tolist()
    assert worse[2] == 100 and max(worse[:2]) < 100
    monkeypatch.setattr(two_streams, "KEPT", 0)
    assert not fusion_table(run, {"one": early, "other": late}, 0.5)["mAP, %"].any(), "as everywhere, the surest count"
    with pytest.raises(ValueError, match="two streams are fused, got 1: one"):
        fusion_table(run, {"one": early}, 0.5)


def test_pictures_of_all_streams_are_of_the_same_moments(tmp_path):
    path = encode(tmp_path / "v.mp4", pattern(40, 48, 32), rate=15)
    found = stream_frames(path, Windows(frames=16, rate=7.5), columns=3)
    assert {pixels.shape for pixels in found.values()} == {(3, 32, 48, 3)} and len(found) == 5
    assert all(pixels.dtype == np.uint8 for pixels in found.values())
    assert not (found["moves"][0] - found["moves"][0].flat[0]).any(), "nothing came before the first"
    assert found["flow"][1].std() > 0
