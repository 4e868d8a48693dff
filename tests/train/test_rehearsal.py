"""All of a training is done once, on two clips, before anything is trained: what would fail in it is told there."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.distill.adaptation import EntropyMinimisation, PseudoLabels, ReEstimated
from kdlab.distill.baselines import AttentionTransfer, DecoupledKD, FeatureNorm, FitNet, SimKD
from kdlab.distill.method import KD, CrossEntropy
from kdlab.nets.video import build
from kdlab.night import Night
from kdlab.papers.dual_light.control_methods import StoredTargets
from kdlab.papers.dual_light.method import DualLight, MatchedSmoothing
from kdlab.papers.generative.method import GenerativeDistillation
from kdlab.papers.generative.nets import Gated
from kdlab.train import rehearsal, runs
from kdlab.train.loop import Settings
from kdlab.train.many import obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.rehearsal import rehearse
from kdlab.train.runs import Run, obtain
from kdlab.train.sizes import SMOKE

NIGHT = Night(("Jump", "Sit"), (4, 2, 2), 0.25)
BASE = Recipe("ce", NIGHT, net=replace(SMOKE.net, widths=(4, 4)), settings=Settings(epochs=3, batch_size=4), seed=3)


@pytest.fixture(scope="module", autouse=True)
def clips(tmp_path_factory):
    """One `night` and one cache for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATA", "CACHE"):
            patch.setenv(f"KDLAB_{name}", str(tmp_path_factory.mktemp("clips") / name))
        yield


@pytest.fixture(autouse=True)
def nothing_rehearsed(monkeypatch, tmp_path):
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(rehearsal, "_fit", set())


def quiet(line: str) -> None:
    pass


class Plain(nn.Module):
    """A convolution, a norm, a head."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv3d(3, 4, 3, 4), nn.BatchNorm3d(4), nn.Linear(4, classes)
        self.more()

    def more(self) -> None:
        pass

    def pooled(self, x):
        return F.relu(self.norm(self.conv(x))).mean((2, 3, 4))

    def forward(self, x):
        return self.fc(self.pooled(x))


class FrozenNet(Plain):
    def more(self):
        self.conv.requires_grad_(False)
        self.norm.eval()


class Centre(Plain):
    def more(self):
        self.register_buffer("centre", torch.zeros(4), persistent=False)

    def forward(self, x):
        pooled = self.pooled(x)
        if self.training:
            self.centre.lerp_(pooled.detach().mean(0), 1e-3)
        return self.fc(pooled - self.centre)


class Counter(Plain):
    steps = 0

    def forward(self, x):
        self.steps += self.training
        return super().forward(x) / (1 + self.steps)


class CountsInTraining(Plain):
    """Answers as its weights say, but what it learns depends on the steps that this process has taken."""

    steps = 0

    def forward(self, x):
        self.steps += self.training
        return super().forward(x) * (1 + self.steps if self.training else 1)


class Listed(Plain):
    def more(self):
        self.layers = [nn.Linear(4, 4)]

    def pooled(self, x):
        return self.layers[0](super().pooled(x))


class TupleInEvaluation(Plain):
    def forward(self, x):
        return super().forward(x) if self.training else (super().forward(x), x)


class Softmax(Plain):
    def forward(self, x):
        return super().forward(x) if self.training else super().forward(x).softmax(1)


class Sigmoid(Plain):
    def forward(self, x):
        return super().forward(x) if self.training else super().forward(x).sigmoid()


class Works(Plain):
    """A mask of −∞, a table that is no state, a shared weight, a buffer in bfloat16, an attribute called module."""

    def more(self):
        self.register_buffer("mask", torch.triu(torch.full((4, 4), -torch.inf), 1))
        self.register_buffer("table", torch.linspace(0, 1, 4), persistent=False)
        self.register_buffer("short", torch.ones(4, dtype=torch.bfloat16))
        self.module, self.twin = nn.Linear(4, 4), nn.Linear(4, 4)
        self.twin.weight = self.module.weight

    def pooled(self, x):
        inner = self.twin(F.relu(self.module(super().pooled(x) + self.table)))
        return (inner[:, None] + self.mask).softmax(-1).sum(1) * self.short.float()


@dataclass(frozen=True)
class Brought:
    """A stranger's network: what ``make`` builds is one of the classes above, by its name."""

    module: str
    stages = ("conv",)
    head = "fc"

    def make(self, num_classes: int) -> nn.Module:
        return globals()[self.module](num_classes)


@pytest.mark.parametrize(("module", "says"), [
    ("Centre", "Brought, trained by CrossEntropy, .* its buffer 'net.centre' is not persistent"),
    ("Counter", "what training changes is not in its weights"),
    ("CountsInTraining", "ends in other weights"),
    ("Listed", "what training changes is not in its weights.*nn.ModuleList"),
    ("TupleInEvaluation", r"Brought gives tuple for 2 clips, where \(2, 2\) is wanted.* in evaluation"),
    ("Softmax", "Brought gives probabilities in evaluation"),
    ("Sigmoid", "Brought gives probabilities in evaluation"),
])
def test_a_network_that_its_run_would_not_keep_is_refused_by_name_before_it_is_trained(tmp_path, module, says):
    with pytest.raises(ValueError, match=says):
        obtain(replace(BASE, net=Brought(module), seed=0), say=quiet)
    assert not list((tmp_path / "runs").glob("*/begun.json"))


def test_masks_shared_weights_and_short_floats_are_kept():
    recipe = replace(BASE, net=Brought("Works"))
    run = obtain(recipe, say=quiet)
    net = Run(run.folder, recipe).net().net
    assert torch.equal(net.module.weight, net.twin.weight) and net.short.dtype == torch.bfloat16
    assert net.mask.isinf().sum() == 6


def test_what_make_froze_is_not_trained():
    recipe = replace(BASE, net=Brought("FrozenNet"))
    trained, fresh = obtain(recipe, say=quiet).net().state_dict(), build(recipe.net, 2, recipe.seed).state_dict()
    moved = {name for name in trained if name.startswith("net.") and not torch.equal(trained[name], fresh[name])}
    assert moved == {"net.norm.weight", "net.norm.bias", "net.fc.weight", "net.fc.bias"}


def test_layers_in_evaluation_stay_there_whoever_wakes_the_network():
    net = build(Brought("FrozenNet"), 2, 0)
    assert [name for name, layer in net.eval().train().named_modules() if not layer.training] == ["net.norm"]
    before = net.net.norm.running_mean.clone()
    ReEstimated().prepare({"student": net}, [])
    EntropyMinimisation().prepare({"student": net.requires_grad_(True)}, [])
    assert torch.equal(net.net.norm.running_mean, before) and net.net.norm.momentum is not None
    net.net.norm.weight.requires_grad_(False)
    EntropyMinimisation().prepare({"student": net}, [])
    assert [name for name, weight in net.named_parameters() if weight.requires_grad] == ["net.norm.bias"]


TAUGHT = [KD(), DualLight(), MatchedSmoothing(), StoredTargets(), DecoupledKD(), FitNet("net.stages.1"),
          AttentionTransfer(), SimKD(), FeatureNorm(), PseudoLabels(), GenerativeDistillation()]


@pytest.mark.parametrize("method", TAUGHT, ids=lambda method: type(method).__name__)
def test_a_method_that_learns_from_a_teacher_says_that_there_is_none(method):
    net = Gated(BASE.net, (16, 36, 36)) if isinstance(method, GenerativeDistillation) else BASE.net
    with pytest.raises(ValueError, match=f"{type(method).__name__} learns from a teacher, .* has none"):
        rehearse(replace(BASE, method=method, net=net))


def test_a_teacher_of_other_classes_is_refused_before_it_is_trained(tmp_path):
    teacher = replace(BASE, data=replace(NIGHT, classes=("Jump", "Wave")), seed=9)
    rehearse(replace(BASE, method=DualLight(), teacher=BASE))
    for train in (obtain, lambda recipe, say: obtain_all([recipe], workers=1, say=say)):
        with pytest.raises(ValueError, match="the teacher does not know Sit; it was trained on Jump, Wave"):
            train(replace(BASE, method=DualLight(), teacher=teacher), say=quiet)
    assert not list((tmp_path / "runs").glob("*/begun.json"))


@dataclass(frozen=True)
class Draws(CrossEntropy):
    """Weighs its loss by what NumPy and Python draw."""

    def losses(self, nets, batch, progress):
        ce = F.cross_entropy(nets["student"](batch.views["student"]), batch.labels)
        yield "net", ce * (1 + np.random.rand()) * (1 + random.random()), {"ce": ce}


def test_draws_from_numpy_and_python_are_the_seeds_also_after_an_interruption(monkeypatch, tmp_path):
    recipe, weights = replace(BASE, method=Draws()), []

    def stopped(steps, *_, **__):
        for step in steps:
            if step == 2:
                raise KeyboardInterrupt
            yield step

    for number in range(2):
        monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / str(number)))
        if number:
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(runs, "track", stopped)
                obtain(recipe, say=quiet)
        weights.append(obtain(recipe, say=quiet).provenance["weights"])
    assert weights[0] == weights[1]


def drawn() -> tuple:
    return float(torch.rand(())), np.random.rand(), random.random()


def test_a_rehearsal_and_a_training_leave_all_random_states_as_they_were():
    def after(do: Callable[[], object]) -> tuple:
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        do()
        return drawn()

    assert after(lambda: rehearse(BASE)) == after(lambda: obtain(BASE, say=quiet)) == after(lambda: None)


def test_a_run_that_answers_otherwise_when_it_is_opened_is_kept_and_says_so(monkeypatch):
    monkeypatch.setattr(runs, "rehearse", lambda recipe: None)
    said = []
    run = obtain(replace(BASE, net=Brought("Centre")), say=said.append)
    assert any("its predictions are those of the network that was trained, but built again" in line for line in said)
    assert len(run.predictions().logits) == 4
