"""All of a training is done once, on two clips, before anything is trained: what would fail in it is told there."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.datasets.user_clips import UserClips
from kdlab.distill.adaptation import AsItIs
from kdlab.distill.baselines import FitNet
from kdlab.distill.method import KD
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.papers.dual_light.method import DualLight, MatchedSmoothing
from kdlab.protocols import Net
from kdlab.train.many import obtain_all
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.rehearsal import _Few, rehearse
from kdlab.train.runs import Run
from kdlab.train.settings import Settings
from kdlab.train.sizes import SMOKE
from tests.conftest import places_in, walks

NIGHT = Night(("Jump", "Sit"), (4, 2, 2), 0.25)
BASE = Recipe(
    "ce",
    NIGHT,
    net=replace(SMOKE.net, widths=(4, 4)),
    settings=Settings(epochs=3, batch_size=4),
    seed=3,
)


def test_the_clips_of_a_rehearsal_are_of_several_classes(tmp_path):
    every = UserClips(str(walks(tmp_path, train=6, val=1, test=1))).catalogue()
    by_turns = sorted(every.records, key=lambda record: record.path.name)  # left, right, left, …
    mixed = replace(every, records=tuple(by_turns))
    for each in (every, mixed):
        snapshot = SimpleNamespace(catalogue=lambda _, of=each: of, fingerprint=str)
        few = _Few.of(SimpleNamespace(name="few"), snapshot).few.split("train")
        assert len(few) == 3 and {record.label for record in few} == {0, 1}


@pytest.fixture(scope="module", autouse=True)
def clips(tmp_path_factory):
    """One `night` and one cache for all tests of this file."""
    root = tmp_path_factory.mktemp("clips")
    with places_in(root):
        yield root


@pytest.fixture(autouse=True)
def nothing_rehearsed(monkeypatch, tmp_path, clips):
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    shutil.rmtree(clips / "CACHE" / "rehearsed", ignore_errors=True)


class Plain(nn.Module):
    """A convolution, a norm, a head."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv, self.norm, self.fc = (
            nn.Conv3d(3, 4, 3, 4),
            nn.BatchNorm3d(4),
            nn.Linear(4, classes),
        )
        self.more()

    def more(self) -> None:
        pass

    def pooled(self, x):
        return F.relu(self.norm(self.conv(x))).mean((2, 3, 4))

    def forward(self, x):
        return self.fc(self.pooled(x))


class Centre(Plain):
    def more(self):
        self.register_buffer("centre", torch.zeros(4), persistent=False)

    def forward(self, x):
        pooled = self.pooled(x)
        if self.training:
            self.centre.lerp_(pooled.detach().mean(0), 1e-3)
        return self.fc(pooled - self.centre)


class CountsInTraining(Plain):
    """Answers as its weights say, but what it learns depends on the steps that this process has taken."""

    steps = 0

    def forward(self, x):
        self.steps += self.training
        return super().forward(x) * (1 + self.steps if self.training else 1)


class Softmax(Plain):
    def forward(self, x):
        return super().forward(x) if self.training else super().forward(x).softmax(1)


class MovesInEvaluation(Plain):
    def forward(self, x):
        self.norm.running_mean += 1
        return super().forward(x)


ONE = []


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
class Brought(Net):
    """A stranger's network: what ``make`` builds is one of the classes above, by its name."""

    module: str
    stages = ("conv",)
    head = "fc"

    def make(self, num_classes: int) -> nn.Module:
        if self.module == "One":
            ONE.append(Plain(num_classes))
            return ONE[0]
        return globals()[self.module](num_classes)


@pytest.mark.parametrize(
    "module, says",
    [
        (
            "Centre",
            "Brought, trained by CrossEntropy, cannot be opened again: its outputs differ .* persistent buffers",
        ),
        ("CountsInTraining", "ends in other weights"),
        ("Softmax", "Brought gives probabilities in evaluation"),
        ("MovesInEvaluation", "Brought changes its buffer 'net.norm.running_mean' in evaluation"),
        ("One", "Brought.make gives the same weights twice"),
    ],
)
def test_a_network_that_its_run_would_not_keep_is_refused_by_name_before_it_is_trained(
    tmp_path, module, says
):
    with pytest.raises(ValueError, match=says):
        obtain(replace(BASE, net=Brought(module), seed=0))
    assert not list((tmp_path / "runs").glob("*/*.safetensors"))


def test_masks_shared_weights_and_short_floats_are_kept():
    recipe = replace(BASE, net=Brought("Works"))
    run = obtain(recipe)
    net = Run(run.folder, recipe).net().net
    assert torch.equal(net.module.weight, net.twin.weight) and net.short.dtype == torch.bfloat16
    assert net.mask.isinf().sum() == 6


@dataclass(frozen=True)
class Stages(TinyR2Plus1D):
    """A network that takes the stages of its start and none of its other weights."""

    def begin(self, net, start):
        net.net.stages.load_state_dict(start.net.stages.state_dict())


def test_a_network_decides_itself_what_it_takes_of_its_start():
    began = obtain(BASE).net()
    net = obtain(replace(BASE, net=Stages((4, 4)), start=BASE, method=AsItIs())).net()
    kept = {
        name
        for name, weight in net.named_parameters()
        if torch.equal(weight, began.get_parameter(name))
    }
    assert {name.split(".")[1] for name in kept} == {"stages"} and "net.fc.weight" not in kept


@pytest.mark.parametrize(
    "method", [KD(), FitNet("net.stages.1"), MatchedSmoothing()], ids=lambda it: type(it).__name__
)
def test_a_method_that_learns_from_a_teacher_says_that_there_is_none(method):
    says = f"{type(method).__name__} fails .* learns from a teacher, and the recipe has none"
    with pytest.raises(ValueError, match=says):
        rehearse(replace(BASE, method=method))


def test_a_teacher_of_other_classes_is_refused_before_it_is_trained(tmp_path):
    teacher = replace(BASE, data=replace(NIGHT, classes=("Jump", "Wave")), seed=9)
    rehearse(replace(BASE, method=DualLight(), teacher=BASE))
    for train in (obtain, lambda recipe: obtain_all([recipe], workers=1)):
        with pytest.raises(
            ValueError, match="the teacher was not trained on Sit, but on Jump, Wave"
        ):
            train(replace(BASE, method=DualLight(), teacher=teacher))
    assert not list((tmp_path / "runs").glob("*/*.safetensors"))


def test_a_rehearsal_and_a_training_leave_all_random_states_as_they_were():
    def after(do: Callable[[], object]) -> tuple:
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        do()
        return float(torch.rand(())), np.random.rand(), random.random()

    assert after(lambda: rehearse(BASE)) == after(lambda: obtain(BASE)) == after(lambda: None)
