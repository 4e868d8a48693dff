"""One training on two processes (gloo, CPU) is the training of one: tests/train/ranks.py says what is trained."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.system.launch import Launch, by_itself, launched
from kdlab.train import parallel
from kdlab.train.loop import Settings, fit
from tests.train import ranks

EXACT = ("ce", "uneven", "accumulate", "alternating", "genkd")


def test_the_parts_of_all_processes_are_the_batch_in_order():
    for clips, wanted, world, accumulate in ((16, 16, 1, 1), (16, 16, 2, 2), (15, 16, 2, 1), (9, 12, 3, 2)):
        found = [cut for rank in range(world) for cut in parallel.cuts(clips, wanted, accumulate, Launch(rank, world))]
        places = list(range(clips))
        assert [place for cut in found for place in places[cut]] == places and len(found) == world * accumulate
        sizes = [cut.stop - cut.start for cut in found]
        assert max(sizes) - min(sizes) <= 1 and (clips < wanted or len(set(sizes)) == 1)


@pytest.mark.parametrize(("clips", "wanted", "words"), [
    (40, 1, "a global batch of 1 does not divide among 2 processes: give batch_size=2,"),
    (3, 16, r"a batch of 3 clips has not one for each of 4 parts \(2 processes, accumulate=2\)"),
])
def test_a_batch_that_does_not_divide_is_refused_with_the_mend(clips, wanted, words):
    with pytest.raises(ValueError, match=words):
        parallel.cuts(clips, wanted, 2, Launch(0, 2))


@pytest.fixture
def in_fp64(monkeypatch):
    monkeypatch.setitem(parallel.PRECISIONS, "fp32", "64-true")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("clips", [40, 15])
def test_accumulated_gradients_are_those_of_the_whole_batch(in_fp64, clips):
    """Of 15 clips in uneven parts, since a batch is of 16."""
    def weights(accumulate):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 8 * 8, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, 2))
        fit(ranks.CrossEntropy(), {"student": net}, ranks.Clips(list(range(clips))),
            Settings(3, 16, accumulate=accumulate), 0)
        return torch.cat([weight.detach().flatten() for weight in net.parameters()])

    whole = weights(1)
    for parts in (2, 4):
        assert torch.allclose(weights(parts), whole, rtol=0, atol=1e-9)


def test_a_process_that_works_by_itself_is_alone(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a",
                        "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    with by_itself():
        assert launched() == Launch() and ranks.ranks.first() and ranks.ranks.told(lambda: 3) == 3
    assert launched() == Launch(1, 2, 1, 2) and not ranks.ranks.first()


# --- two processes ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process found, and each of two."""
    place, script = tmp_path_factory.mktemp("ranks"), str(Path(ranks.__file__))
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    for command in ([sys.executable, script], torchrun):
        child = subprocess.run([*command, str(place)], capture_output=True, text=True, timeout=300,
                               env=env)
        assert child.returncode == 0, child.stderr[-3000:]
    return place, *(json.loads((place / f"{name}.json").read_text()) for name in ("0of1", "0of2", "1of2"))


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_and_the_weights_of_one(found):
    """Two optimisers, in turn on a batch and in turn by epoch; frozen teachers; uneven parts; accumulation."""
    _, one, *two = found
    assert len(one["ce"]["losses"]) == 50 and one["ce"]["losses"][-1] < one["ce"]["losses"][0] / 2
    for name in EXACT:
        assert two[0][name] == two[1][name], "both hold the same weights, losses and validation"
        ours, theirs = (np.array(each[name]["losses"]) for each in (one, two[0]))
        assert np.abs(ours - theirs).max() < 1e-9, name
        for key, weight in one[name]["weights"].items():
            assert np.allclose(weight, two[0][name]["weights"][key], rtol=0, atol=1e-9), (name, key)
        assert [row.get("val_accuracy") for row in one[name]["rows"]] == [
            row.get("val_accuracy") for row in two[0][name]["rows"]]


@pytest.mark.slow
def test_batch_norm_is_each_processs_own_on_a_cpu_and_said(found):
    two = found[2:]
    own = [each["batch_norm"] for each in two]
    assert own[0] == own[1] and own[0]["batch_norm"] == "each process's clips"
    assert two[0]["said"][0].startswith("each process has batch norm's statistics of its own clips")
    assert two[1]["said"] == [], "the first speaks for all"


@pytest.mark.slow
def test_two_processes_that_were_left_go_on_to_the_same_bits(found):
    _, _, *two = found
    for each in two:
        assert each["resumed"] == {**each["batch_norm"], "losses": each["resumed"]["losses"]}
        assert len(each["resumed"]["losses"]) == 4, "from its third epoch on"


@pytest.mark.slow
def test_processes_that_disagree_or_cannot_share_say_so_in_a_sentence(found):
    first, second = found[2:]
    assert [each["told"] for each in (first, second)] == [0, 0], "what the first says holds for all"
    assert first["refused"][0] is None and second["refused"][0].startswith(
        "LaunchError: processes 0 and 1 disagree about sources, sources 0 and sources 1: give all")
    assert all("a global batch of 15 does not divide among 2 processes" in each["refused"][1]
               for each in (first, second))
