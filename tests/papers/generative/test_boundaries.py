"""Maps of starts and ends: targets, losses and spliced windows, against closed forms and restated loops."""

import math
from dataclasses import replace

import pytest
import torch

from kdlab.clips.untrimmed import IGNORED, PADDING
from kdlab.clips.windows import Batch
from kdlab.layers import outputs
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.papers.generative.boundaries import boundary_loss, boundary_targets, pooled_ends, spliced, triplet_loss
from kdlab.papers.generative.detection_method import Detection, DetectionDistillation, DetectionRepresentation
from kdlab.papers.generative.detector import Detector
from kdlab.train.loop import Progress

PLAIN = Detector(TinyR2Plus1D((4, 4, 8, 8)), steps=32, width=16, refine=True)
MAPPED = replace(PLAIN, boundaries=True)
RELEASED = Detection(l1=10.0, tiou=10.0, boundary=1.0, splice=0.1)


def rows(*its):
    return torch.tensor([its], dtype=torch.float)


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
                row[min(max(round(place - d / 2), 0), 63) : min(max(round(place + d / 2), 0), 63) + 1] = 1
        labels = torch.stack([start, end, torch.zeros(3)], 1)[None]
        assert torch.equal(boundary_targets(labels, 64)[0], expected)


def test_the_boundary_loss_in_closed_form():
    """Starts are said with a probability of 1/2 where all are, ends with 1/4 where none is."""
    both = torch.cat([torch.full((1, 3, 4), math.atanh(0.5)), torch.full((1, 3, 4), math.atanh(0.25))], 1)
    targets = torch.stack([torch.ones(1, 8), torch.zeros(1, 8)], 1)
    assert float(boundary_loss(both, targets)) == pytest.approx(math.log(2) - math.log(0.75))
    odd = targets.clone()
    odd[..., 1::2] = 1 - odd[..., 1::2]
    assert torch.equal(boundary_loss(both, odd), boundary_loss(both, targets)), "of two steps the first counts"


# --- spliced windows ---------------------------------------------------------------------------------------------


def test_spliced_windows_show_the_action_in_two_parts_around_background():
    """An action of 30 steps, a shortest one of 6, and idle time on both sides, a hundred times."""
    labels = rows((20, 50, 0), (80, 86, 1), (100, 110, IGNORED), (-1, -1, PADDING)).expand(100, -1, -1)
    what = torch.zeros(128, dtype=torch.long)  # what the frames show
    what[20:50], what[80:86], what[100:110] = 1, 2, 3
    torch.manual_seed(0)
    order, pieces, done = spliced(labels, 128)
    assert done.all() and torch.equal(order.sort(1).values, torch.arange(128).expand(100, -1)), "no frame twice or lost"
    sides = set()
    for frames, ends in zip(order, pieces.long(), strict=True):
        (one, two, gap), (until_one, until_two, until_gap) = ends.tolist()
        action = torch.cat([frames[one:until_one], frames[two:until_two]])
        assert torch.equal(action, torch.arange(20, 50)), "the whole action, in order"
        inside = frames[until_one:two]
        assert len(inside) == 6 and not what[inside].any() and (inside.diff() == 1).all()
        assert (gap, until_gap) == (until_one + 1, two - 1), "as released"
        assert until_one - one >= 6 and until_two - two >= 6
        assert torch.equal(what[frames][what[frames] > 1], what[what > 1]), "other actions keep their order"
        sides.add(one < 20)
    assert sides == {False, True}, "background from before and from after"


def test_what_cannot_be_spliced_stays():
    torch.manual_seed(0)
    alone, full, short = rows((20, 50, 0)), rows((0, 60, 0), (60, 64, 1)), rows((1, 5, 0), (8, 16, 0))
    told = rows((20, 50, 0), (-5, 0, IGNORED))  # the video has an action of 5 steps elsewhere
    for labels, possible in ((alone, False), (full, False), (short, False), (rows((-1, -1, -1)), False), (told, True)):
        order, _, done = spliced(labels, 64)
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
    assert ends[0, :, 0].tolist() == [3, 0] and starts[0, :, 1].tolist() == [0, 4] and not starts[0, :, 2].any()
    assert float(triplet_loss(both, pieces, torch.tensor([True]), 16)) == pytest.approx(3, abs=1e-4)
    assert float(triplet_loss(both, pieces, torch.tensor([False]), 16)) == 0


# --- the detector and what it learns -----------------------------------------------------------------------------


def clips(count=2, steps=32):
    x = torch.rand(count, 3, steps, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = rows((4.0, 20.0, 1), (24.0, 26.0, 0)).repeat(count, 1, 1)
    return Batch({"student": x, "teacher": x.sqrt()}, labels, tuple(map(str, range(count))))


def test_the_terms_add_up_and_each_is_its_formula():
    nets, batch = {"student": build(MAPPED, 2, 0)}, clips()
    torch.manual_seed(5)
    ((_, loss, terms),) = RELEASED.losses(nets, batch, Progress(0, 1))
    parts = {"focal": 1, "tiou": 10, "l1": 10, "quality": 1, "boundary": 1, "splice": 0.1}
    assert terms.keys() == parts.keys()
    assert float(loss.detach()) == pytest.approx(float(sum(w * terms[name].detach() for name, w in parts.items())))
    fresh = build(MAPPED, 2, 0)
    taps = outputs(fresh, batch.views["student"], RELEASED.maps).taps
    targets = boundary_targets(batch.labels, 32)
    assert [tuple(taps[name].shape) for name in ("net.moments", "net.ends")] == [(2, 16, 32), (2, 32, 16)]
    boundary = boundary_loss(taps["net.moments"], targets) + 0.1 * boundary_loss(taps["net.ends"], targets)
    assert torch.allclose(terms["boundary"], boundary)
    torch.manual_seed(5)
    order, pieces, done = spliced(batch.labels, 32)
    assert done.all()
    moved = torch.stack([clip[:, its] for clip, its in zip(batch.views["student"], order, strict=True)])
    taps = outputs(fresh, moved, RELEASED.maps).taps
    one, other = (triplet_loss(taps[name], pieces, done, 32) for name in ("net.moments", "net.ends"))
    assert torch.allclose(terms["splice"], one + 0.1 * other)


def test_genkd_draws_attention_of_spliced_windows_to_the_teachers_too():
    taps = "stages.2.2", "stages.3"
    tiny = Detector(TinyC3D((2, 3, 8, 12)), taps, 32, 3, 8, refine=True, gated=16, boundaries=True)
    batch, method = clips(), DetectionDistillation(detection=RELEASED)
    nets = {"student": build(tiny, 2, 0).train(), "teacher": build(tiny, 2, 9).eval().requires_grad_(False)}
    nets["teacher_cvae"] = nets["teacher"].net.new_cvae().eval().requires_grad_(False)
    nets |= method.extra_nets(nets, None, 0)
    torch.manual_seed(2)
    two = method._second(nets, batch, Progress(50, 100))
    assert two["spliced_attention"][0] == 10 and two["splice"][0] == 0.1 and "boundary" in two
    student = build(tiny, 2, 0).train()
    student(batch.views["student"])  # moves the batch statistics as the first pass did
    torch.manual_seed(2)
    names = student.net.taps[2:]
    for its in outputs(student, batch.views["student"], names).taps.values():
        torch.randn_like(its)  # the noise that was drawn before
    order = spliced(batch.labels, 32)[0]
    ours, theirs = ([*outputs(net, torch.stack([clip[:, its] for clip, its in zip(x, order, strict=True)]),
                              names).taps.values()]
                    for net, x in ((student, batch.views["student"]), (nets["teacher"], batch.views["teacher"])))
    assert torch.allclose(two["spliced_attention"][1],
                          sum((a - b).square().mean() for a, b in zip(ours, theirs, strict=True)), atol=1e-6)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="refine=True"):
        Detector(boundaries=True)
    with pytest.raises(ValueError, match="boundary=-1"):
        Detection(boundary=-1)
    bare = {"student": build(PLAIN, 2, 0)}
    assert Detection().parts(bare) == {"net": ["student"]}
    for method in (RELEASED, DetectionRepresentation(detection=RELEASED)):
        with pytest.raises(ValueError, match=r"make it as Detector\(refine=True, boundaries=True\)"):
            method.parts(bare)
