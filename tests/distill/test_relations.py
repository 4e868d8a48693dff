"""Standardised logits, DIST, RKD and ReviewKD beside the same formulas written out as loops, values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from kdlab.distill.baselines import Review, review_loss
from kdlab.distill.relations import angle_loss, dist_loss, distance_loss, standardised_kd_loss
from tests.distill.conftest import random


def mean(values):
    values = list(values)
    return sum(values) / len(values)


# --- the formulas, one number after the other -------------------------------------------------------------------


def softmax(row, t):
    powers = [torch.exp(z / t) for z in row]
    return [power / sum(powers) for power in powers]


def standardised_by_hand(student, teacher, t):
    def z(row):
        deviation = (sum((v - mean(row)) ** 2 for v in row) / (len(row) - 1)) ** 0.5
        return [(v - mean(row)) / (deviation + 1e-7) for v in row]

    return (
        t
        * t
        * mean(
            sum(q * (q / p).log() for p, q in zip(softmax(z(s), t), softmax(z(r), t), strict=True))
            for s, r in zip(student, teacher, strict=True)
        )
    )


def correlation(a, b):
    over = sum((x - mean(a)) * (y - mean(b)) for x, y in zip(a, b, strict=True))
    return over / (sum((x - mean(a)) ** 2 for x in a) * sum((y - mean(b)) ** 2 for y in b)) ** 0.5


def dist_by_hand(student, teacher, t, inter, intra):
    p, q = ([softmax(row, t) for row in each] for each in (student, teacher))
    rows = mean(1 - correlation(*pair) for pair in zip(p, q, strict=True))
    columns = mean(
        1 - correlation(*pair)
        for pair in zip(zip(*p, strict=True), zip(*q, strict=True), strict=True)
    )
    return t * t * (inter * rows + intra * columns)


def huber(a, b):
    gap = abs(a - b)
    return 0.5 * gap * gap if gap < 1 else gap - 0.5


def length(v):
    return sum(x * x for x in v) ** 0.5


def distance_by_hand(student, teacher):
    clips = range(len(student))

    def distances(f):
        every = {(i, j): length(f[i] - f[j]) for i in clips for j in clips if i != j}
        return {pair: d / mean(every.values()) for pair, d in every.items()}

    a = distances(student)
    b = distances(teacher)
    return sum(huber(a[pair], b[pair]) for pair in a) / len(student) ** 2


def angle_by_hand(student, teacher):
    def cosine(f, i, j, k):
        a, b = f[i] - f[j], f[k] - f[j]
        return sum(x * y for x, y in zip(a, b, strict=True)) / (length(a) * length(b))

    clips = range(len(student))
    triples = [(i, j, k) for i in clips for j in clips for k in clips if len({i, j, k}) == 3]
    return (
        sum(huber(cosine(student, *some), cosine(teacher, *some)) for some in triples)
        / len(student) ** 3
    )


def review_by_hand(student, teacher):
    """For maps of 2 × 5 × 5 places: all places, then at most 4, 2 and 1 an axis; weights 1, 1/2, 1/4, 1/8."""
    total = 0
    for weight, cuts in (
        (1, [*zip(range(5), range(1, 6), strict=True)]),
        (0.5, [(0, 2), (1, 3), (2, 4), (3, 5)]),
        (0.25, [(0, 3), (2, 5)]),
        (0.125, [(0, 5)]),
    ):
        times = [(0, 1), (1, 2)] if len(cuts) > 1 else [(0, 2)]
        gaps = [
            (student - teacher)[:, :, a:b, c:d, e:f].mean((2, 3, 4))
            for a, b in times
            for c, d in cuts
            for e, f in cuts
        ]
        total += weight * mean((gap**2).mean() for gap in gaps)
    return total / 1.875


@pytest.mark.parametrize(
    "ours, by_hand, shapes, how",
    [
        (standardised_kd_loss, standardised_by_hand, [(4, 5), (4, 5)], (2.5,)),
        (dist_loss, dist_by_hand, [(4, 5), (4, 5)], (1.5, 2.0, 3.0)),
        (distance_loss, distance_by_hand, [(4, 3), (4, 6)], ()),
        (angle_loss, angle_by_hand, [(4, 3), (4, 6)], ()),
        (review_loss, review_by_hand, [(2, 3, 2, 5, 5), (2, 3, 2, 5, 5)], ()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_value_and_gradient_are_those_of_the_plain_formula(ours, by_hand, shapes, how):
    student, teacher = (3 * random(*shape, seed=k) for k, shape in enumerate(shapes))
    found = []
    for loss in (ours, by_hand):
        x = student.clone().requires_grad_()
        value = loss(x, teacher, *how)
        found.append((value.detach(), *torch.autograd.grad(value, x)))
    assert found[0][0] > 1e-3 and found[0][1].abs().max() > 1e-4
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-7)


def test_equal_clips_have_finite_gradients():
    x = torch.zeros(2, 3, requires_grad=True)
    teacher = torch.tensor([[1.0, 0, 0], [0, 2, 0]])
    loss = distance_loss(x, teacher) + angle_loss(x, teacher) + dist_loss(x, teacher, 1.0, 1.0, 1.0)
    (loss + standardised_kd_loss(x, teacher, 1.0)).backward()
    assert torch.isfinite(loss) and torch.isfinite(x.grad).all()
    with pytest.raises(ValueError, match="clips_of_student"):
        angle_loss(x, teacher[:1])


def test_the_fusion_sends_deep_features_upwards_and_none_downwards():
    torch.manual_seed(0)
    review = Review([(3, 5), (4, 6)], width=2).double()
    shallow, deep = (
        x.requires_grad_() for x in (random(2, 3, 4, 6, 6, seed=0), random(2, 4, 2, 3, 3, seed=1))
    )
    made = review([shallow, deep])
    assert [tuple(x.shape) for x in made] == [(2, 5, 4, 6, 6), (2, 6, 2, 3, 3)]
    (made[0] ** 3).sum().backward(retain_graph=True)
    assert shallow.grad.any() and deep.grad.any()
    assert torch.autograd.grad((made[1] ** 3).sum(), shallow, allow_unused=True) == (None,)
    pooled = F.adaptive_avg_pool3d(made[0], 3)
    assert torch.allclose(
        review_loss(made[0], random(2, 5, 3, 3, 3, seed=2)),
        review_loss(pooled, random(2, 5, 3, 3, 3, seed=2)),
    )
