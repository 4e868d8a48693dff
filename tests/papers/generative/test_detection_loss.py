"""Detection losses against closed forms, and a detector that learns a planted toy."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from kdlab.clips.untrimmed import VideoWindow
from kdlab.clips.windows import Batch
from kdlab.measure.detection import annotated, decode, evaluate
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.papers.generative.detection_method import Detection, detection_terms, match, overlaps
from kdlab.papers.generative.detector import Detector
from kdlab.train.loop import Settings, fit, predict

PRIORS = torch.tensor([1.0, 3, 5, 7, 9])


def rows(*its):
    return torch.tensor([its], dtype=torch.float)


# --- overlaps --------------------------------------------------------------------------------------------------


def test_overlaps_in_closed_form():
    predicted = torch.tensor([[0.0, 10], [0, 10], [0, 2], [2, 8]])
    target = torch.tensor([[0.0, 10], [5, 15], [8, 10], [0, 10]])
    tiou, generalised = overlaps(predicted, target)
    assert tiou.tolist() == pytest.approx([1, 1 / 3, 0, 0.6])
    assert generalised.tolist() == pytest.approx([1, 1 / 3, -0.6, 0.6])


def test_overlaps_are_symmetric_and_a_turned_prediction_still_learns():
    a, b = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(0)).sort(-1).values
    for one, other in zip(overlaps(a, b), overlaps(b, a), strict=True):
        assert torch.allclose(one, other, atol=1e-6) and (-1 < one).all() and (one <= 1).all()
    turned = torch.tensor([[9.0, 7.0]], requires_grad=True)  # ends before it starts
    for overlap in overlaps(turned, torch.tensor([[0.0, 4.0]]))[1:]:
        (grad,) = torch.autograd.grad(overlap.sum(), turned, retain_graph=True)
        assert overlap < 0 and grad.isfinite().all() and grad.abs().sum() > 0


# --- matching --------------------------------------------------------------------------------------------------


def test_the_shortest_segment_wins_and_the_rest_is_background():
    segments, classes, ignored = match(PRIORS, rows((0, 8, 1), (2, 6, 0), (-1, -1, -1)), 3)
    assert classes[0].tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert segments[0, :4].tolist() == [[0, 8], [2, 6], [2, 6], [0, 8]] and not ignored.any()


def test_a_segment_of_two_classes_teaches_both():
    """A CliffDiving is also a Diving: THUMOS14 repeats its times."""
    assert match(PRIORS, rows((2, 6, 0), (2, 6, 2)), 3)[1][0, 1].tolist() == [1, 0, 1]


def test_half_seen_segments_are_left_out_except_where_another_is():
    _, classes, ignored = match(PRIORS, rows((0, 4, -2), (2, 6, 0)), 2)
    assert ignored[0].tolist() == [True, False, False, False, False] and classes[0, 1].tolist() == [1, 0]


# --- the four terms --------------------------------------------------------------------------------------------


def answers(*stages, classes=2):
    """Output ``(1, S, 5, K + 3)`` from (logit of every class, start, end, quality logit) of each stage."""
    out = torch.zeros(1, len(stages), 5, classes + 3)
    for stage, (logit, *rest) in enumerate(stages):
        out[0, stage, :, :classes], out[0, stage, :, classes:] = logit, torch.tensor(rest, dtype=torch.float)
    return out


def test_terms_of_one_stage_in_closed_form():
    # priors 3 and 5 learn (2, 6); both answer (2, 8): tIoU 2/3, mean error of 1 in a length of 4
    terms = detection_terms(answers((0.0, 2, 8, 0.0)), PRIORS, rows((2, 6, 0)))
    assert float(terms["tiou"]) == pytest.approx(1 / 3) and float(terms["l1"]) == pytest.approx(1 / 4)
    assert float(terms["quality"]) == pytest.approx(math.log(2))
    # every p is 1/2: 2 rights of weight 1/4, 8 wrongs of 3/4, each (1/2)² ln 2, over N = 2
    assert float(terms["focal"]) == pytest.approx((2 * 0.25 + 8 * 0.75) * 0.25 * math.log(2) / 2)


def test_the_second_stage_learns_where_the_first_is_near():
    near, far = (2.0, 6, 0.0), (2.0, 11, 0.0)  # tIoU 1 and 4/9
    for first, learns in ((near, True), (far, False)):
        alone = detection_terms(answers((0.0, *first)), PRIORS, rows((2, 6, 0)))
        both = detection_terms(answers((0.0, *first), (0.0, 2, 8, 0.0)), PRIORS, rows((2, 6, 0)))
        assert float(both["tiou"] - alone["tiou"]) == pytest.approx(1 / 3 if learns else 0)
        extra = (2 * 0.25 + 8 * 0.75) / 2 if learns else 10 * 0.75
        assert float(both["focal"] - alone["focal"]) == pytest.approx(extra * 0.25 * math.log(2))


def test_quality_learns_the_tiou_but_does_not_change_it():
    out = answers((0.0, 2, 8, math.log(2))).requires_grad_()  # sigmoid 2/3 is the tIoU
    (grad,) = torch.autograd.grad(detection_terms(out, PRIORS, rows((2, 6, 0)))["quality"], out)
    assert grad.abs().max() < 1e-6


def test_left_out_priors_get_no_gradient_and_no_action_is_no_trouble():
    out = answers((0.5, 2, 8, 0.0)).requires_grad_()
    terms = detection_terms(out, PRIORS, rows((4, 8, -2)))
    (grad,) = torch.autograd.grad(sum(terms.values()), out)
    assert [bool(g.any()) for g in grad[0, 0]] == [True, True, False, False, True]
    assert [bool(terms[k] > 0) for k in ("focal", "tiou", "l1", "quality")] == [True, False, False, False]


# --- learning --------------------------------------------------------------------------------------------------


@dataclass
class Streams:
    """Noise of 64 steps in three channels; segments of class 0 or 1 raise that channel."""

    count: int
    seed: int

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.video, self.records = rng.normal(0, 0.3, (self.count, 3, 64)).astype(np.float32), []
        for number in range(self.count):
            segments, now = [], rng.uniform(2, 12)
            while (end := now + rng.uniform(5, 24)) < 62:
                segments.append((round(now), round(end), int(rng.integers(2))))
                self.video[number, segments[-1][2], slice(*segments[-1][:2])] += 1
                now = end + rng.uniform(3, 14)
            name = f"v{number}"
            self.records.append(VideoWindow(name, name, -1, "train", name, video=name, seconds=64.0,
                                            segments=tuple(segments)))

    def training(self, indices, generator):
        chosen = [self.records[i] for i in indices]
        labels = torch.full((len(chosen), 6, 3), -1.0)
        for table, record in zip(labels, chosen, strict=True):
            if record.segments:
                table[: len(record.segments)] = torch.tensor(record.segments)
        video = torch.from_numpy(self.video[list(indices)])[..., None, None].expand(-1, -1, -1, 4, 4)
        return Batch({"student": video}, labels, tuple(record.id for record in chosen))

    def evaluation(self):
        yield self.training(range(self.count), None)


def learnt(method, refine, epochs):
    spec = Detector(TinyR2Plus1D((8, 16, 24, 32)), width=32, refine=refine)
    settings = Settings(epochs=epochs, batch_size=16, lr=4e-3)
    trained = fit(method, {"student": build(spec, 2, 0)}, Streams(256, 0), settings, seed=0)
    test = Streams(64, 1)
    outputs, _, ids = predict(trained.nets["student"], test.evaluation(), "student")
    assert ids == [record.id for record in test.records]
    found = decode(outputs.numpy(), test.records, rate=1.0)
    return trained, evaluate(annotated(test.records), found, 2).mean_ap()


def test_a_detector_learns_planted_segments():
    trained, scores = learnt(Detection(), refine=False, epochs=5)
    first, last = trained.history[0], trained.history[-1]
    assert {"focal", "tiou", "l1", "quality"} < first.keys() and all(last[k] < first[k] for k in ("focal", "tiou"))
    assert scores["0.5"] > 0.85 and scores["0.1-0.5"] > 0.85, scores
