"""All of a training is done once, on two clips, before anything is trained: what would fail in it is told there."""

import random
import shutil
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlab.datasets.user_clips import UserClips
from kdlab.distill.adaptation import AsItIs
from kdlab.distill.baselines import FitNet
from kdlab.distill.method import KD
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.papers.dual_light.method import DualLight, MatchedSmoothing
from kdlab.train.many import obtain_all
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.rehearsal import _Few, rehearse
from kdlab.train.settings import Settings
from kdlab.train.sizes import SMOKE
from tests.conftest import places_in, walks
from tests.distill.conftest import kind

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


@pytest.mark.parametrize("method", [KD(), FitNet("net.stages.1"), MatchedSmoothing()], ids=kind)
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
    def after(do):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        do()
        return float(torch.rand(())), np.random.rand(), random.random()

    assert after(lambda: rehearse(BASE)) == after(lambda: obtain(BASE)) == after(lambda: None)
