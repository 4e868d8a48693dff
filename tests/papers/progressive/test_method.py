import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.clips.windows import Batch
from kdlab.distill.method import entropy
from kdlab.papers.progressive.method import (
    PAPER,
    FixedMixture,
    LabelExits,
    Progressive,
    RandomTeacher,
    SettledCrossEntropy,
    SmoothedExits,
    only,
    orders,
    soft_cross_entropy,
    teacher_at,
)
from kdlab.train.loop import Progress

B, K = 6, 4
FINALS = ("residual", "motion", "iframe")


class Heads(nn.Module):
    """Logits that are parameters: nine exits of a batch's clips."""

    def __init__(self):
        super().__init__()
        self.z = nn.Parameter(torch.randn(B, 9, K, generator=torch.Generator().manual_seed(1)))

    def forward(self, views):
        return self.z


def batch(scale=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    finals = scale * torch.randn(B, 3, K, generator=generator)
    return Batch({"finals": finals}, torch.randint(K, (B,), generator=generator), tuple("abcdef"))


def run(method):
    """Loss, terms and the gradient in the logits."""
    heads = Heads()
    ((key, loss, terms),) = method.losses({"student": heads}, batch(), Progress(0, 3000))
    loss.backward()
    assert key == "net" and method.networks_by_optimiser({}) == {"net": ["student"]}
    return loss.detach(), terms, heads.z.grad


def test_soft_cross_entropy_is_kl_plus_entropy():
    z = torch.randn(5, K, requires_grad=True)
    teacher = 2 * torch.randn(5, K)
    for t in (1.0, 3.0):
        loss = soft_cross_entropy(z, F.softmax(teacher / t, -1), t)
        p = F.softmax(teacher / t, -1)
        kl = F.kl_div(F.log_softmax(z / t, -1), p, reduction="none").sum(-1)
        assert torch.allclose(loss, kl + entropy(p), atol=1e-6)
        (ours,) = torch.autograd.grad(loss.sum(), z)
        assert torch.allclose(ours, (F.softmax(z / t, -1) - p) / t, atol=1e-6)  # no factor T²


def test_soft_cross_entropy_is_safe_at_extreme_logits():
    right = torch.tensor([[1e4, -1e4]])
    wrong = torch.tensor([[-1e4, 1e4]])
    z = wrong.clone().requires_grad_()
    loss = soft_cross_entropy(z, right.softmax(-1))
    assert loss.item() == 2e4 and soft_cross_entropy(right, right.softmax(-1)).item() == 0
    loss.sum().backward()
    assert torch.equal(z.grad, torch.tensor([[-1.0, 1.0]]))


@pytest.mark.parametrize("modality", FINALS)
@pytest.mark.parametrize(
    "epoch, teacher",
    [(0, "motion"), (49, "motion"), (50, "residual"), (99, "residual"), (100, None), (299, None)],
)
def test_the_teacher_of_an_epoch(modality, epoch, teacher):
    """docs/methods.md, 3.3. None stands for the network's own final."""
    data = batch()
    place = FINALS.index(modality)
    last_step_of_epoch = Progress(epoch * 10 + 9, 3000)
    for where in (Progress(epoch * 10, 3000), last_step_of_epoch):
        targets = Progressive().targets(data, where).expand(B, 3, K)
        wanted = data.views["finals"][:, FINALS.index(teacher or modality)]
        assert torch.equal(targets[:, place], F.softmax(wanted, -1))


def test_boundaries_survive_rounding():
    for epochs in (7, 40, 60, 300):
        thirds = (("motion", 1 / epochs),) * (epochs - 1) + (("own", 1 / epochs),)
        assert [teacher_at(thirds, e / epochs) for e in range(epochs)] == ["motion"] * (
            epochs - 1
        ) + ["own"]


def test_the_loss_sums_exits_and_means_clips():
    data = batch()
    z = Heads().z.detach()
    loss, terms, grad = run(Progressive(only("own")))
    finals = data.views["finals"]
    by_hand = {
        m: sum(
            soft_cross_entropy(z[:, 3 * i + k], finals[:, i].softmax(-1)).mean() for k in range(3)
        )
        for i, m in enumerate(FINALS)
    }
    assert list(terms) == list(FINALS) and all(torch.allclose(terms[m], by_hand[m]) for m in FINALS)
    assert torch.allclose(loss, sum(by_hand.values()))
    spread = finals.repeat_interleave(3, 1)
    assert torch.allclose(grad, (F.softmax(z, -1) - F.softmax(spread, -1)) / B, atol=1e-6)


def test_labels_and_their_mixture_with_soft_targets():
    data = batch()
    z = Heads().z.detach()
    labels = run(LabelExits())[0]
    assert torch.allclose(labels, sum(F.cross_entropy(z[:, k], data.labels) for k in range(9)))
    soft = run(Progressive())[0]
    assert torch.allclose(run(Progressive(alpha=0.3))[0], 0.7 * labels + 0.3 * soft)


def test_one_random_teacher_a_batch_of_the_loops_seed():
    data = batch()
    finals = F.softmax(batch().views["finals"], -1)
    said = set()
    for seed in range(60):
        where = Progress(0, 1, seed=seed)
        targets = RandomTeacher().targets(data, where)
        torch.rand(1)  # whatever else is drawn: the parts of a batch have one teacher
        assert torch.equal(targets, RandomTeacher().targets(data, where))
        said.add([torch.equal(targets, finals[:, [i]]) for i in range(3)].index(True))
    assert said == {0, 1, 2}


def test_the_mixture_is_of_probabilities():
    data = batch()
    assert torch.allclose(
        FixedMixture().targets(data, None)[:, 0], F.softmax(data.views["finals"], -1).mean(1)
    )


def test_smoothing_has_the_entropy_of_the_schedules_targets():
    data = [batch(3.0, 1), batch(3.0, 2)]
    for schedule in (PAPER, only("own"), only("iframe")):
        method = SmoothedExits(schedule)
        table = method.prepare({}, iter(data))
        assert table.shape == (3, K, K)
        assert torch.equal(table.argmax(-1), torch.arange(K).expand(3, K))
        taught = [
            entropy(Progressive(schedule).targets(its, Progress(step, 60)).expand(B, 3, K)).mean(0)
            for its in data
            for step in range(60)
        ]
        assert torch.allclose(entropy(table).mean(1), torch.stack(taught).mean(0), atol=1e-4)
    targets = method.targets(data[0], Progress(0, 1, table))
    assert torch.equal(targets.argmax(-1), data[0].labels[:, None].expand(B, 3))
    assert torch.equal(targets[2, 1], table[1, data[0].labels[2]])


def test_the_six_orders():
    six = orders()
    assert len(six) == len(set(six.values())) == 6 and six["motion-residual-own"] == PAPER
    assert orders("iframe")["motion-residual-iframe"][-1] == ("iframe", 4 / 6)


@pytest.mark.parametrize(
    "wrong, said",
    [
        (dict(schedule=(("flow", 1.0),)), "flow"),
        (dict(schedule=(("own", 0.5),)), "add up to 1"),
        (dict(schedule=(("own", 1.5), ("motion", -0.5))), "shares"),
        (dict(schedule=()), "add up"),
        (dict(temperature=0.0), "temperature"),
        (dict(alpha=1.5), "alpha"),
    ],
)
def test_impossible_settings_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Progressive(**wrong)


def test_batch_statistics_settle_and_the_affine_part_learns_on():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.1), nn.Linear(5, K)
    ).train()
    data = Batch({"student": torch.randn(B, 3)}, torch.arange(B) % K, tuple("abcdef"))

    def step(at):
        net.train()  # as the loop's validation leaves it
        before = net[1].running_mean.clone()
        ((_, loss, _),) = SettledCrossEntropy().losses({"student": net}, data, Progress(at, 30))
        loss.backward()
        return not torch.equal(before, net[1].running_mean)

    assert step(0) and step(19) and not step(20) and not step(29)
    assert net[2].training and net[1].weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="freeze_after"):
        SettledCrossEntropy(0.0)
