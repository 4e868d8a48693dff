from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kdlab.datasets.splits import halves
from kdlab.nets.compressed import CHANNELS
from kdlab.papers.progressive.anytime import cost_per_exit, fit_run, walk
from kdlab.papers.progressive.networks import ORDER
from kdlab.papers.progressive.wise import combine, fit_wise, stop_at, temperatures
from kdlab.train.runs import Predictions
from tests.papers.progressive.test_networks import trio as trio

SHAPES = {m: (c, 2, 32, 40) for m, c in CHANNELS.items()}
SAMPLES = 7


@pytest.fixture(scope="module")
def views():
    torch.manual_seed(1)
    return {m: torch.rand(SAMPLES, *shape) for m, shape in SHAPES.items()}


class Reader:
    """The views, and a note of who asked for what."""

    def __init__(self, views):
        self.views, self.asked = views, []

    def __call__(self, modality, indices):
        self.asked.append((modality, indices.tolist()))
        return self.views[modality][indices]


def stopping(at: list[int], whole: torch.Tensor):
    """A rule that stops each sample at its own place, and knows by their logits which samples it is shown."""
    places = torch.tensor(at)
    alive = torch.arange(len(at))

    def decide(k, logits):
        nonlocal alive
        assert torch.allclose(logits, whole[alive][:, :k], atol=1e-5)
        stop = places[alive] == k - 1
        alive = alive[~stop]
        return stop, logits.sum(1)

    return decide


@torch.no_grad()
@pytest.mark.parametrize("at", [[0, 3, 3, 5, 0, 11, 1], [2] * 7, [20] * 7, [7, 7, 7, 7, 0, 0, 0]])
def test_every_sample_gets_the_answer_of_its_exit_and_nothing_else_is_computed(trio, views, at):
    whole = trio(views).exits
    read = Reader(views)
    costs = cost_per_exit(trio, SHAPES)
    with FlopCounterMode(display=False) as counter:
        walked = walk(trio, read, stopping(at, whole), SAMPLES, costs)
    last = [min(place, 11) for place in at]
    assert walked.exits.tolist() == last
    expected = torch.stack([whole[i, : place + 1].sum(0) for i, place in enumerate(last)])
    assert torch.allclose(walked.answers, expected, atol=1e-4)
    assert walked.macs.tolist() == [costs[place] for place in last]
    # what was charged is what was really computed
    assert counter.get_total_flops() == 2 * walked.macs.sum()
    needed = [
        (m, [i for i, place in enumerate(last) if place >= 4 * n]) for n, m in enumerate(ORDER)
    ]
    assert read.asked == [(m, who) for m, who in needed if who]


@pytest.fixture
def a_run():
    """Predictions of a run with twelve exits, better than chance; held-out clips are of twenty groups."""
    rng, said = np.random.default_rng(0), {}
    for split, count in (("val", 40), ("test", SAMPLES)):
        labels = rng.integers(0, 5, count)
        logits = rng.normal(size=(count, 12, 5))
        logits[np.arange(count), :, labels] += 1.5
        said[split] = Predictions(
            np.arange(count), np.repeat(np.arange(count), 2)[:count].astype(str), labels, logits
        )
    return SimpleNamespace(predictions=lambda split="test": said[split])


def test_wise_is_fitted_on_one_half_of_the_held_out_groups(a_run):
    held = a_run.predictions("val")
    half = halves(a_run.predictions("val").groups)
    fitted = fit_run(a_run)
    weights = fit_wise(held.logits[half], held.labels[half])
    assert np.array_equal(fitted.weights, weights)
    heat = temperatures(combine(held.logits[half], weights), held.labels[half])
    assert np.array_equal(fitted.temperatures, heat)
    assert np.array_equal(fitted.validate[1], held.labels[~half])
    assert np.allclose(fitted.test[0], combine(a_run.predictions().logits, weights) / heat[:, None])


def test_the_walk_stops_where_the_sums_on_paper_say(trio, views, a_run):
    fitted, read = fit_run(a_run), Reader(views)
    with torch.no_grad():
        whole = trio(views).exits.double().numpy()
    paper = combine(whole, fitted.weights) / fitted.temperatures[:, None]
    theta = float(np.median(np.exp(paper).max(2) / np.exp(paper).sum(2)))
    walked = walk(trio, read, fitted.rule(theta), SAMPLES, cost_per_exit(trio, SHAPES))
    stops = stop_at(paper, theta)
    assert np.array_equal(walked.exits, stops) and 0 < stops.mean() < 11
    assert np.allclose(walked.answers.numpy(), paper[np.arange(SAMPLES), stops], atol=1e-4)
    reads = {modality: len(who) for modality, who in read.asked}
    assert reads["residual"] == SAMPLES and reads.get("iframe", 0) == (stops >= 8).sum()
