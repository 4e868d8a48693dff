"""What a detector learns: losses and boundaries in closed form, spliced windows, and a planted toy."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

from kdlab.clips.untrimmed import IGNORED, PADDING, VideoWindow
from kdlab.clips.windows import Batch
from kdlab.measure.detection import annotated, decode, evaluate
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.layers import outputs
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.papers.generative.detection import (
    Detection,
    DetectionDistillation,
    DetectionRepresentation,
    boundary_loss,
    boundary_targets,
    detection_terms,
    match,
    overlaps,
    spliced,
    triplet_loss,
)
from kdlab.papers.generative.detector import Detector, pooled_ends
from kdlab.train.loop import Progress, fit, predict
from kdlab.train.settings import Settings
from tests.papers.generative.test_method import networks, seen

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
    assert ignored[0].tolist() == [True, False, False, False, False]
    assert classes[0, 1].tolist() == [1, 0]


# --- the four terms --------------------------------------------------------------------------------------------


def answers(*stages):
    """Output ``(1, S, 5, 2 + 3)`` from (logit of every class, start, end, quality logit) of each stage."""
    out = torch.zeros(1, len(stages), 5, 5)
    for stage, (logit, *rest) in enumerate(stages):
        out[0, stage, :, :2] = logit
        out[0, stage, :, 2:] = torch.tensor(rest)
    return out


def test_terms_of_one_stage_in_closed_form():
    # priors 3 and 5 learn (2, 6); both answer (2, 8): tIoU 2/3, mean error of 1 in a length of 4
    terms = detection_terms(answers((0.0, 2, 8, 0.0)), PRIORS, rows((2, 6, 0)))
    assert float(terms["tiou"]) == pytest.approx(1 / 3)
    assert float(terms["l1"]) == pytest.approx(1 / 4)
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
    assert [name for name in terms if terms[name] > 0] == ["focal"]


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
            self.records.append(
                VideoWindow(
                    name,
                    name,
                    -1,
                    "train",
                    name,
                    video=name,
                    seconds=64.0,
                    segments=tuple(segments),
                )
            )

    def training(self, indices, generator):
        chosen = [self.records[i] for i in indices]
        labels = torch.full((len(chosen), 6, 3), -1.0)
        for table, record in zip(labels, chosen, strict=True):
            if record.segments:
                table[: len(record.segments)] = torch.tensor(record.segments)
        video = torch.from_numpy(self.video[list(indices)])[..., None, None].expand(
            -1, -1, -1, 4, 4
        )
        return Batch({"student": video}, labels, tuple(record.id for record in chosen))

    def evaluation(self):
        yield self.training(range(self.count), None)


def test_a_detector_learns_planted_segments():
    net = build(Detector(TinyR2Plus1D((8, 16, 24, 32)), width=32), 2, 0)
    settings = Settings(epochs=5, batch_size=16, lr=4e-3)
    trained = fit(Detection(), {"student": net}, Streams(256, 0), settings, seed=0)
    test = Streams(64, 1)
    outputs, _, ids = predict(trained.nets["student"], test.evaluation(), "student")
    assert ids == [record.id for record in test.records]
    found = decode(outputs.numpy(), test.records, rate=1.0)
    scores = evaluate(annotated(test.records), found, 2).mean_ap()
    first, last = trained.history[0], trained.history[-1]
    assert {"focal", "tiou", "l1", "quality"} < first.keys()
    assert all(last[k] < first[k] for k in ("focal", "tiou"))
    assert scores["0.5"] > 0.85 and scores["0.1-0.5"] > 0.85, scores


PLAIN = Detector(TinyR2Plus1D((4, 4, 8, 8)), steps=32, width=16, refine=True)
MAPPED = replace(PLAIN, boundaries=True)
RELEASED = Detection(l1=10.0, tiou=10.0, boundary=1.0, splice=0.1)


# --- targets and their loss --------------------------------------------------------------------------------------


def test_targets_are_those_of_the_released_loop():
    """Its rounding is Python's, its edges are cut to the window."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        start, end = (torch.rand(3, 2, generator=generator) * 64).sort(1).values.unbind(1)
        expected = torch.zeros(2, 64)
        for s, e in zip(start.tolist(), end.tolist(), strict=True):
            d = max((e - s) / 10, 2.0)
            for row, place in zip(expected, (s, e), strict=True):
                row[
                    min(max(round(place - d / 2), 0), 63) : min(max(round(place + d / 2), 0), 63)
                    + 1
                ] = 1
        labels = torch.stack([start, end, torch.zeros(3)], 1)[None]
        assert torch.equal(boundary_targets(labels, 64)[0], expected)


def test_the_boundary_loss_in_closed_form():
    """Starts are said with a probability of 1/2 where all are, ends with 1/4 where none is."""
    both = torch.cat(
        [torch.full((1, 3, 4), math.atanh(0.5)), torch.full((1, 3, 4), math.atanh(0.25))], 1
    )
    targets = torch.stack([torch.ones(1, 8), torch.zeros(1, 8)], 1)
    assert float(boundary_loss(both, targets)) == pytest.approx(math.log(2) - math.log(0.75))
    odd = targets.clone()
    odd[..., 1::2] = 1 - odd[..., 1::2]
    # of two steps the first counts
    assert torch.equal(boundary_loss(both, odd), boundary_loss(both, targets))


# --- spliced windows ---------------------------------------------------------------------------------------------


def test_spliced_windows_show_the_action_in_two_parts_around_background():
    """An action of 30 steps, a shortest one of 6, and idle time on both sides, a hundred times."""
    labels = rows((20, 50, 0), (80, 86, 1), (100, 110, IGNORED), (-1, -1, PADDING)).expand(
        100, -1, -1
    )
    what = torch.zeros(128, dtype=torch.long)  # what the frames show
    what[20:50], what[80:86], what[100:110] = 1, 2, 3
    torch.manual_seed(0)
    order, pieces, done = spliced(labels, 128)
    # no frame twice or lost
    assert done.all() and torch.equal(order.sort(1).values, torch.arange(128).expand(100, -1))
    sides = set()
    for frames, ends in zip(order, pieces.long(), strict=True):
        (one, two, gap), (until_one, until_two, until_gap) = ends.tolist()
        action = torch.cat([frames[one:until_one], frames[two:until_two]])
        # the whole action, in order
        assert torch.equal(action, torch.arange(20, 50))
        inside = frames[until_one:two]
        assert len(inside) == 6 and not what[inside].any() and (inside.diff() == 1).all()
        # as released
        assert (gap, until_gap) == (until_one + 1, two - 1)
        assert until_one - one >= 6 and until_two - two >= 6
        # other actions keep their order
        assert torch.equal(what[frames][what[frames] > 1], what[what > 1])
        sides.add(one < 20)
    # background from before and from after
    assert sides == {False, True}


def test_what_cannot_be_spliced_stays():
    torch.manual_seed(0)
    alone = ((20, 50, 0),)
    full = (0, 60, 0), (60, 64, 1)
    short = (1, 5, 0), (8, 16, 0)
    none = ((-1, -1, -1),)
    told = (20, 50, 0), (-5, 0, IGNORED)  # the video has an action of 5 steps elsewhere
    for labels in (alone, full, short, none, told):
        possible = labels == told
        order, _, done = spliced(rows(*labels), 64)
        assert done.tolist() == [possible]
        assert torch.equal(order[0], torch.arange(64)) != possible


def test_the_triplet_loss_in_closed_form():
    """The end of the first part and the start of the second say (3, 0) and (0, 4): 5 apart; the background's start
    says (0, 0): 3 from the first. So 1 + 5 − 3."""
    both = torch.zeros(1, 4, 16)
    both[0, 2, 5] = 3  # ends, at the first part's end
    both[0, 1, 11] = 4  # starts, at the second part's start
    pieces = torch.tensor([[[2.0, 11, 8], [5.0, 14, 9]]])
    starts, ends = pooled_ends(both, pieces, 16)
    assert ends[0, :, 0].tolist() == [3, 0]
    assert starts[0, :, 1].tolist() == [0, 4]
    assert not starts[0, :, 2].any()
    assert float(triplet_loss(both, pieces, torch.tensor([True]), 16)) == pytest.approx(3, abs=1e-4)
    assert float(triplet_loss(both, pieces, torch.tensor([False]), 16)) == 0


# --- the detector and what it learns -----------------------------------------------------------------------------


def clips():
    x = torch.rand(2, 3, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = rows((4.0, 20.0, 1), (24.0, 26.0, 0)).repeat(2, 1, 1)
    return Batch({"student": x, "teacher": x.sqrt()}, labels, tuple("01"))


def in_order(x, order):
    return torch.stack([clip[:, its] for clip, its in zip(x, order, strict=True)])


def test_the_terms_add_up_and_each_is_its_formula():
    nets = {"student": build(MAPPED, 2, 0)}
    batch = clips()
    torch.manual_seed(5)
    ((_, loss, terms),) = RELEASED.losses(nets, batch, Progress(0, 1))
    parts = {"focal": 1, "tiou": 10, "l1": 10, "quality": 1, "boundary": 1, "splice": 0.1}
    assert terms.keys() == parts.keys()
    assert loss.item() == pytest.approx(sum(w * terms[name].item() for name, w in parts.items()))
    fresh = build(MAPPED, 2, 0)
    taps = outputs(fresh, batch.views["student"], RELEASED.maps).taps
    targets = boundary_targets(batch.labels, 32)
    moments, ends = (taps[name] for name in ("net.moments", "net.ends"))
    assert moments.shape == (2, 16, 32) and ends.shape == (2, 32, 16)
    one, other = (boundary_loss(maps, targets) for maps in (moments, ends))
    assert torch.allclose(terms["boundary"], one + 0.1 * other)
    torch.manual_seed(5)
    order, pieces, done = spliced(batch.labels, 32)
    assert done.all()
    taps = outputs(fresh, in_order(batch.views["student"], order), RELEASED.maps).taps
    one, other = (
        triplet_loss(taps[name], pieces, done, 32) for name in ("net.moments", "net.ends")
    )
    assert torch.allclose(terms["splice"], one + 0.1 * other)


def test_genkd_draws_attention_of_spliced_windows_to_the_teachers_too():
    taps = "stages.2.2", "stages.3"
    tiny = Detector(TinyC3D((2, 3, 8, 12)), taps, 32, 3, 8, refine=True, gated=16, boundaries=True)
    batch = clips()
    method = DetectionDistillation(detection=RELEASED)
    nets = networks(method, tiny, tiny)
    torch.manual_seed(2)
    two = method._network_terms(nets, batch, Progress(50, 100))
    assert two["spliced_attention"][0] == 10 and two["splice"][0] == 0.1 and "boundary" in two
    student = build(tiny, 2, 0).train()
    torch.manual_seed(2)
    for attention in seen(student, batch.views["student"])[1]:
        torch.randn_like(attention)  # the noise that was drawn before
    order = spliced(batch.labels, 32)[0]
    _, ours = seen(student, in_order(batch.views["student"], order))
    _, theirs = seen(nets["teacher"], in_order(batch.views["teacher"], order))
    expected = sum(map(mse_loss, ours, theirs))
    assert torch.allclose(two["spliced_attention"][1], expected, atol=1e-6)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="refine=True"):
        Detector(boundaries=True)
    with pytest.raises(ValueError, match="boundary=-1"):
        Detection(boundary=-1)
    bare = {"student": build(PLAIN, 2, 0)}
    assert Detection().networks_by_optimiser(bare) == {"net": ["student"]}
    for method in (RELEASED, DetectionRepresentation(detection=RELEASED)):
        with pytest.raises(
            ValueError, match=r"make it as Detector\(refine=True, boundaries=True\)"
        ):
            method.networks_by_optimiser(bare)
