"""TEAM-Net's setting from labels to early exits, on a toy set that each modality tells a part of."""

import copy

import numpy as np
import pytest
import torch

from kdlab.clips.features import Features
from kdlab.clips.views import Batch
from kdlab.distill.progressive import TEAMNET, Progressive
from kdlab.distill.teamnet import FusedLabels, LinearExits, fit_team
from kdlab.distill.wise import combine, descend, outcome, stop_at
from kdlab.nets.compressed import CHANNELS
from kdlab.nets.teamnet import TinyTeam
from kdlab.runs import weights_hash
from kdlab.train import Settings, fit

CLASSES = 4


class Toy:
    """Noise, and by class a bright patch: its row in the I-frame, its column in the residual, both as motion."""

    def __init__(self, count: int, seed: int):
        draw = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(CLASSES, (count,), generator=draw)
        self.views = {m: 0.5 + 0.15 * torch.randn(count, c, 2, 16, 16, generator=draw) for m, c in CHANNELS.items()}
        for i, label in enumerate(self.labels.tolist()):
            y, x = 8 * (label // 2), 8 * (label % 2)
            self.views["iframe"][i, :, :, y : y + 8] += 0.25
            self.views["residual"][i, :, :, :, x : x + 8] += 0.25
            self.views["motion"][i, 0, :, y : y + 8, x : x + 8] += 0.35
        self.records = range(count)

    def training(self, indices, generator):
        return Batch({m: v[indices] for m, v in self.views.items()}, self.labels[indices], tuple(map(str, indices)))


class Clip:
    """What :class:`Features` asks of a record."""

    def __init__(self, label):
        self.label, self.id = label, ""


def frozen(net, toy) -> Features:
    with torch.no_grad():
        pooled, finals = net.features(toy.views)
    return Features([Clip(k) for k in toy.labels.tolist()], {"pooled": [p[None] for p in pooled]}, finals[None])


@pytest.fixture(scope="module")
def learnt():
    """The fused network after labels, and its history; toy sets to learn from, to fit on and to test."""
    torch.manual_seed(0)
    net, sets = TinyTeam().make(CLASSES), [Toy(n, seed) for seed, n in enumerate((96, 64, 128))]
    before = {name: p.clone() for name, p in net.exits.named_parameters()}
    trained = fit(FusedLabels(), {"student": net}, sets[0], Settings(epochs=8, batch_size=16, lr=4e-3), seed=0)
    assert all(torch.equal(p, before[name]) for name, p in net.exits.named_parameters()), "labels leave the exits alone"
    return trained.nets["student"].requires_grad_(False), trained.history, sets


@pytest.fixture(scope="module")
def taught(learnt):
    """The exits after PKD on the frozen network, the loss's history, and six logits a clip to fit on and to test."""
    net, _, sets = learnt
    heads, before = LinearExits(copy.deepcopy(net.exits)), weights_hash(net.state_dict())
    settings = Settings(epochs=40, batch_size=16, lr=1e-2, schedule="cosine")
    trained = fit(Progressive(schedule=TEAMNET), {"student": heads}, frozen(net, sets[0]), settings, seed=0)
    assert weights_hash(net.state_dict()) == before
    said = []
    for toy in sets[1:]:
        batch = next(frozen(net, toy).evaluation(len(toy.records)))
        with torch.no_grad():
            said.append((torch.cat([heads(batch.views), batch.views["finals"]], 1).numpy(), toy.labels.numpy()))
    return heads, trained.history, said


def right(logits, labels) -> float:
    return 100 * float((logits.argmax(-1) == labels).mean())


def test_labels_teach_the_prediction_and_every_head(learnt):
    net, history, sets = learnt
    assert {"ce", "residual", "motion", "iframe"} <= history[0].keys()
    assert history[-1]["loss_net"] < 0.5 * history[0]["loss_net"]
    with torch.no_grad():
        out = net(sets[2].views)
    assert right(out.logits.numpy(), sets[2].labels.numpy()) > 60, "chance is 25 %"
    assert all(right(out.taps[m].numpy(), sets[2].labels.numpy()) > 40 for m in CHANNELS)


def test_linear_exits_learn_from_the_heads_in_turn(learnt, taught):
    heads, history, (_, (test, labels)) = taught
    assert history[-1]["loss_net"] < history[0]["loss_net"] and {"exit_1", "exit_3"} <= history[0].keys()
    accuracy = [right(test[:, k], labels) for k in range(3)]
    assert max(accuracy) > 50 and accuracy[2] > 40, "chance is 25 %"
    # each exit agrees more with its last teacher, the I-frame's head, than the untrained exits do
    untrained = copy.deepcopy(learnt[0])
    with torch.no_grad():
        first = untrained(learnt[2][2].views).exits[:, :3].numpy()
    agree = lambda exits: (exits.argmax(-1) == test[:, 5:].argmax(-1)).mean()  # noqa: E731
    assert agree(test[:, :3]) > agree(first) + 0.2
    assert len(heads) == 3


def test_wise_from_its_one_hot_start_stops_early_and_is_no_worse(taught):
    _, _, ((fit_on, labels), (test, truth)) = taught
    weights = fit_team(fit_on, labels)
    assert weights.shape == (4, 6) and (weights >= 0).all() and (weights[0] == np.eye(6)[0]).all()
    assert (weights[1, 2:] == 0).all() and (weights[2, 3:] == 0).all() and weights[3, 3:].any()
    assert np.array_equal(weights[1, :2], np.maximum(descend(fit_on[:, :2], labels, 0.01, lambda _: (0, 1)), 0))
    begun = fit_team(fit_on, labels, steps=0)
    assert begun.tolist() == [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1.2, 1.3]]
    combined = combine(test, weights)
    assert right(combined[:, -1], truth) >= max(right(test[:, k], truth) for k in range(6)) - 5
    costs = np.array([1.0, 2.0, 3.0, 4.0])
    walked = [outcome(combined, truth, costs, stop_at(combined, theta)) for theta in (-1, 0.7, 1)]
    assert [w["cost"] for w in walked[::2]] == [1, 4] and 1 < walked[1]["cost"] < 4
    assert walked[1]["accuracy"] > 60 and walked[2]["accuracy"] == right(combined[:, -1], truth)
