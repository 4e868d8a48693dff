"""WISE walked on one run does what it says on paper, and reads clips as the batches do."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.coviar import Compressed
from kdlab.clips.segments import SegmentBatches, Segments
from kdlab.nets.compressed import CHANNELS, tiny
from kdlab.papers.progressive import stopping
from kdlab.papers.progressive.anytime import cost_per_exit, walk
from kdlab.papers.progressive.budgets import calibrated
from kdlab.papers.progressive.nets import ORDER
from kdlab.papers.progressive.stopping import counted, decoding, fitted, on_paper, rule, shown, times
from kdlab.papers.progressive.wise import combine, fit_wise, stop_at, temperatures
from kdlab.train.runs import Predictions
from tests.conftest import public
from tests.papers.progressive.test_nets import a_trio


@pytest.fixture(scope="module")
def net():
    return a_trio({m: tiny(m) for m in CHANNELS}, 3).eval()


@pytest.fixture
def clips(make_video, tmp_path):
    records = [ClipRecord(f"c{i}", make_video(f"c{i}.avi", 24 + i, (112, 80), codec="mpeg4", bf="0", g="12"), i, "test",
                          f"g{i}") for i in range(3)]
    views = {m: Compressed(m) for m in ORDER}
    return SegmentBatches(records, views, Segments(3, 40, 36), FrameCache(tmp_path / "cache"))


@pytest.fixture
def some(net, clips):
    """Fitted on noise: what the exits say is not the point."""
    rng, said = np.random.default_rng(0), {}
    for split, count in (("train", 20), ("val", 40), ("test", 3)):
        labels = rng.integers(0, 3, count)
        logits = rng.normal(size=(count, 12, 3))
        logits[np.arange(count), :, labels] += 1.5
        said[split] = Predictions(np.arange(count), np.repeat(np.arange(count // 2 + 1), 2)[:count].astype(str), labels,
                                  logits)
    return fitted(SimpleNamespace(predictions=said.__getitem__))


def views_of(clips):
    batch = next(clips.evaluation())
    return {m: batch.views[m] for m in ORDER}


def test_what_is_fitted_is_fitted_on_one_half_of_the_held_out_clips(some):
    assert np.array_equal(some.weights, fit_wise(*some.own.calibrate))
    heat = temperatures(combine(some.own.calibrate[0], some.weights), some.own.calibrate[1])
    assert np.array_equal(some.heat, heat) and len(some.own.calibrate[1]) + len(some.own.validate[1]) == 40
    both = calibrated(some.own, some.weights)
    assert np.array_equal(some.test, both.test) and np.array_equal(some.validate, both.validate)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_walk_stops_where_the_sums_on_paper_say(net, clips, some, share):
    views, reads = views_of(clips), Counter()
    paper = on_paper(net, views, some)
    assert np.allclose(paper, combine(net(views).exits.detach().double().numpy(), some.weights) / some.heat[:, None])
    sure = np.exp(paper).max(2) / np.exp(paper).sum(2)
    theta = float(np.quantile(sure, share))
    costs = cost_per_exit(net, {m: tuple(x.shape[1:]) for m, x in views.items()})
    walked = walk(net, counted(views, reads), rule(some, theta), 3, costs)
    stops = stop_at(paper, theta)
    assert np.array_equal(walked.exits, stops)
    assert np.allclose(walked.answers.numpy(), paper[np.arange(3), stops], atol=1e-4)
    assert reads["residual"] == 3 and reads["iframe"] == (stops >= 8).sum()


def test_clips_are_decoded_as_the_batches_have_them(clips):
    views, read = views_of(clips), decoding(clips)
    for modality in ORDER:
        assert torch.equal(read(modality, np.array([2, 0])), views[modality][[2, 0]])


def test_all_clips_of_a_run_are_shown(clips, monkeypatch):
    needs = {m: SimpleNamespace(view=Compressed(m)) for m in ORDER}
    run = SimpleNamespace(recipe=SimpleNamespace(needs=lambda: needs))

    def batches(recipe, split, views):
        assert split == "test" and views == {m: Compressed(m) for m in ORDER}
        return clips

    monkeypatch.setattr(stopping, "batches", batches)
    found, views = shown(run)
    assert found is clips and all(torch.equal(x, views_of(clips)[m]) for m, x in views.items())


def test_times_are_shares_of_all_exits(net, clips, some):
    views = views_of(clips)
    costs = cost_per_exit(net, {m: tuple(x.shape[1:]) for m, x in views.items()})
    table = times(net, clips, views, rule(some, -1.0), costs, [2, 0], repeats=2)
    assert table.clips.tolist() == ["decoded before", "decoding"]
    assert table["MACs (%)"].tolist() == pytest.approx(2 * [100 * costs[0] / costs[-1]])
    assert ((table.low <= table["CPU time (%)"]) & (table["CPU time (%)"] <= table.high)).all()
    assert (table["CPU time (%)"] < 100).all(), "every clip stops at the first exit"


def test_every_function_is_tested_here():
    assert public(stopping) <= globals().keys()
