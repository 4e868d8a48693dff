"""Internal classifiers: features kept, recipes and runs; frozen networks stay frozen, every method sees the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from kdlab.clips.coviar import DIFFERENCE
from kdlab.clips.records import ClipRecord
from kdlab.clips.windows import Batch
from kdlab.nets.compressed import matched
from kdlab.nets.video import Normalised
from kdlab.papers.progressive import anytime, exits
from kdlab.papers.progressive.exits import extract
from kdlab.papers.progressive.method import Progressive
from kdlab.papers.progressive.networks import EXITS, ORDER
from kdlab.papers.progressive.recipes import SMOKE, conditions, crossed, night, trio
from kdlab.papers.progressive.wise import max_probability, stop_at
from kdlab.system import paths
from kdlab.train.device import seeded
from kdlab.train.loop import weights_hash
from kdlab.train.obtain import obtain
from tests.conftest import places_in


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("exits")
    with places_in(root) as patch:
        patch.setenv("KDLAB_HEADLESS", "quiet")
        yield root


@pytest.fixture(scope="module")
def obtained(places):
    """Of three classes: clips of all eleven take most of the time."""

    def small(recipe):
        return replace(recipe, settings=replace(recipe.settings, batch_size=8))

    whole = night(SMOKE)
    few = replace(whole, night=replace(whole.night, classes=whole.night.classes[:3]))
    made = {
        name: small(r) for name, r in conditions(SMOKE, tuple(map(small, trio(SMOKE, few)))).items()
    }
    return {name: obtain(made[name]) for name in ("ce_ic", "pkd")}


def test_a_run_has_twelve_exits_of_which_the_finals_are_the_networks_own(obtained):
    run = obtained["pkd"]
    for split, count in (("train", 9), ("val", 3), ("test", 6)):
        said = run.predictions(split)
        assert said.logits.shape == (count, 12, 3) and said.correct.shape == (count, 12)
    for place, backbone in zip((3, 7, 11), run.recipe.backbones, strict=True):
        own = obtain(backbone).predictions()
        assert np.array_equal(own.ids, run.predictions().ids)
        assert np.allclose(run.predictions().logits[:, place], own.logits, atol=1e-4)
    assert np.isclose(run.predictions().accuracy, 100 * run.predictions().correct.mean())


def test_methods_differ_and_share_finals_clips_and_initial_weights(obtained):
    ce, pkd = (run.predictions().logits for run in obtained.values())
    assert np.array_equal(ce[:, 3::4], pkd[:, 3::4]) and not np.allclose(ce[:, 0], pkd[:, 0])
    needed = {name: obtain(r) for name, r in obtained["pkd"].recipe.needs().items()}
    a, b = (
        run.recipe.inputs(needed, run.recipe.data.catalogue()).nets["student"]
        for run in obtained.values()
    )
    assert weights_hash(a.state_dict()) == weights_hash(b.state_dict())


def test_the_command_predicts_a_clip_of_the_test_as_the_run_did_exit_after_exit(
    obtained, tmp_path, monkeypatch, command, refused
):
    run, record = obtained["pkd"], obtained["pkd"].recipe.data.catalogue().split("test")[2]
    monkeypatch.chdir(tmp_path)
    weights = np.tri(12) / 12
    heat = np.full(12, 0.05)
    kept, held = (
        anytime.calibrated(run.predictions(split).logits, weights, heat)
        for split in ("test", "val")
    )
    fitted = anytime.Fitted(
        weights, heat, (held, run.predictions("val").labels), (kept, run.predictions().labels)
    )
    monkeypatch.setattr(anytime, "fit_run", lambda run: fitted)
    sums = kept[[list(run.predictions().ids).index(record.id)]]
    clip = f"{record.path.stem}.exits.csv"
    # two or three exits lie above it
    theta = float(np.sort(max_probability(sums)[0])[-4:-2].mean())
    for arguments, rule in ((["--theta", theta], theta), (["--theta", 1, "--out", "all.csv"], 1.0)):
        code, out, error = command("predict", record.path, "--run", run.folder, *arguments)
        assert code == 0, error
        found = pd.read_csv("all.csv" if rule == 1 else clip)
        assert np.allclose(found["probability"], max_probability(sums)[0], atol=0.05)
        assert found["label"].tolist() == [run.provenance["classes"][k] for k in sums[0].argmax(1)]
        assert found["exit"].tolist() == list(EXITS) and found["stops"].sum() == 1
        assert found["stops"].argmax() == stop_at(sums, rule)[0]
        assert out.count("it would stop here") == 1
        shapes = {name: (2 if name == "motion" else 3, 3, 52, 65) for name in ORDER}
        assert np.array_equal(found["macs"], anytime.cost_per_exit(anytime.trio_of(run), shapes))
    assert stop_at(sums, theta)[0] < 11
    Path("all.csv").write_text("exit,label\n")
    lost = run.folder.parent / run.recipe.backbones[1].name
    lost.rename(tmp_path / "away")
    for arguments, why in (
        (["--out", "all.csv"], "is no table of exits"),
        ([], f"classifiers of {lost.name}"),
    ):
        assert why in refused("predict", record.path, "--run", run.folder, *arguments)
    (tmp_path / "away").rename(lost)


def test_features_are_made_once_for_all_methods_and_leave_the_networks_as_they_were(
    obtained, monkeypatch
):
    recipe, made = obtained["ce_ic"].recipe, []
    nets = {name: obtain(r).net().train() for name, r in recipe.needs().items()}
    before = {name: weights_hash(net.state_dict()) for name, net in nets.items()}
    extract = exits.extract
    monkeypatch.setattr(exits, "extract", lambda *a: made.append(1) or extract(*a))
    exits._last.clear()
    clips = recipe.data.catalogue()
    other = replace(recipe, condition="x", method=Progressive())
    frozen = exits.features_of(recipe, clips, nets, ("a",))
    assert frozen is exits.features_of(other, clips, nets, ("a",))
    assert len(made) == 3 and frozen["train"].tensors["finals"].shape == (SMOKE.draws, 9, 3, 3)
    assert {name: weights_hash(net.state_dict()) for name, net in nets.items()} == before
    assert all(net.training for net in nets.values())
    exits._last.clear()


def test_conditions_differ_in_their_method_alone():
    made = conditions(SMOKE, trio(SMOKE, night(SMOKE)))
    base = made["ce_ic"]
    assert all(replace(r, condition="ce_ic", method=base.method) == base for r in made.values())
    assert len({r.method for r in made.values()}) == len(made) == 14


def test_the_difference_takes_the_residuals_place_and_the_matched_trio_is_one_architecture():
    other = trio(SMOKE, night(SMOKE), residual=DIFFERENCE)
    plain = trio(SMOKE, night(SMOKE))
    assert other[0].view.modality == DIFFERENCE
    assert other[0].net == plain[0].net
    assert other[1:] == plain[1:]
    alike = [replace(r.net, channels=3) for r in trio(SMOKE, night(SMOKE), net=matched)]
    assert len(set(alike)) == 1


def test_unseen_exits_learn_the_scenes_that_their_networks_have_not_seen():
    data = night(SMOKE)
    data = replace(data, night=replace(data.night, per_class=(4, 1, 1)))
    made = crossed(SMOKE, data)
    for name, recipe in made.items():
        taught, learnt = (r.data.catalogue().split("train") for r in (recipe.backbones[0], recipe))
        both = {r.group for r in taught} & {r.group for r in learnt}
        assert bool(both) == name.endswith("_seen") and recipe.condition == name
    base, mixed = made["own_final_unseen"], made["ce_own_unseen"]
    assert mixed.method.alpha == 0.5 and replace(mixed.method, alpha=1) == base.method
    assert (
        base.settings.epochs
        == 2 * conditions(SMOKE, trio(SMOKE, data))["own_final"].settings.epochs
    )


class Numbers:
    """Clips whose picture is their number, plus a random part in training."""

    def __init__(self, count):
        self.records = [ClipRecord(f"c{i}", None, i % 3, "train", "g") for i in range(count)]

    def evaluation(self, batch_size):
        for part in torch.arange(len(self.records)).split(batch_size):
            yield self._made(part.tolist(), torch.zeros(len(part)))

    def training(self, indices, generator):
        return self._made(indices, torch.rand(len(indices), generator=generator))

    def _made(self, indices, extra):
        x = (torch.tensor(indices) + extra)[:, None, None, None, None].expand(-1, 1, 2, 4, 4)
        labels = torch.tensor([self.records[i].label for i in indices])
        return Batch({"a": x, "b": 2 * x}, labels, tuple(self.records[i].id for i in indices))


class Picture(nn.Module):
    """One stage that is the picture itself, and logits that are its first pixel and its negative."""

    def features(self, x):
        return [x.transpose(1, 2).flatten(0, 1)], torch.stack(
            [x[:, 0, 0, 0, 0], -x[:, 0, 0, 0, 0]], 1
        )


network = Normalised(Picture(), torch.zeros(1), torch.ones(1))


def test_features_are_those_of_the_networks():
    clips = Numbers(40)  # more than one batch
    found = extract({"a": network, "b": network}, clips, [])
    batch = next(found.evaluation())
    assert batch.views["a", 0].shape == (40, 2, 1, 4, 4)
    assert batch.views["finals"].shape == (40, 2, 2)
    assert torch.equal(batch.views["b", 0][:, 0, 0, 0, 0], 2 * torch.arange(40.0))
    assert torch.equal(batch.views["finals"][:, 1, 1], -2 * torch.arange(40.0))
    assert batch.labels.tolist() == [i % 3 for i in range(40)] and batch.ids[-1] == "c39"
    assert found.tensors["a", 0].dtype == torch.float16


def test_training_takes_each_clip_under_one_of_its_draws_and_its_logits_with_it():
    found = extract({"a": network}, Numbers(6), [seeded(0), seeded(1), seeded(2)])
    assert found.tensors["finals"].shape[0] == 3
    batch = found.training([4, 4, 4, 4, 1], seeded(7))
    value = batch.views["finals"][:, 0, 0]
    # features and logits of one draw
    assert torch.allclose(value, batch.views["a", 0][:, 0, 0, 0, 0], atol=4e-3)
    assert value[:4].unique().numel() > 1 and ((value[:4] >= 4) & (value[:4] <= 5)).all()
    assert torch.equal(value, found.training([4, 4, 4, 4, 1], seeded(7)).views["finals"][:, 0, 0])
    assert batch.labels.tolist() == [1, 1, 1, 1, 1]


def test_features_that_exceed_the_memory_lie_on_the_disk_and_have_the_same_bits(
    own_places, monkeypatch
):
    def made():
        return extract({"a": network, "b": network}, Numbers(40), [seeded(0), seeded(1)])

    kept = made()
    cache = paths.cache_dir()
    assert not cache.exists()
    monkeypatch.setenv("KDLAB_MEMORY_GB", "0")
    mapped = made()
    # a file without a name
    assert cache.is_dir() and not list(cache.iterdir())
    assert all(torch.equal(tensor, mapped.tensors[key]) for key, tensor in kept.tensors.items())
    one, other = (some.training([7, 39, 7], seeded(5)) for some in (kept, mapped))
    assert torch.equal(one.views["b", 0], other.views["b", 0])
    assert one.views["b", 0].dtype == torch.float32
    if (maps := Path("/proc/self/maps")).exists():
        # mapped, not read
        assert str(cache) in maps.read_text()
