"""Internal classifiers as recipes and runs: frozen networks stay frozen, every method sees the same, runs come back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kdlab.clips.coviar import DIFFERENCE
from kdlab.nets.compressed import matched
from kdlab.papers.progressive import exits, recipes
from kdlab.papers.progressive.method import Progressive
from kdlab.papers.progressive.networks import ORDER, Trio
from kdlab.papers.progressive.recipes import SMOKE, conditions, crossed, night, trio
from kdlab.system.sources import source_hash
from kdlab.train import runs
from kdlab.train.recipe import from_json, to_json
from kdlab.train.runs import obtain, weights_hash


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("exits")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNS", "CACHE", "DATA", "FIGURES"):
            patch.setenv(f"KDLAB_{name}", str(root / name))
        patch.setenv("KDLAB_HEADLESS", "quiet")
        patch.setattr(runs.paths, "pretrained_dir", lambda: root / "pretrained")
        yield root


@pytest.fixture(scope="module")
def obtained(places):
    """Of three classes: clips of all eleven take most of the time."""
    def small(recipe):
        return replace(recipe, settings=replace(recipe.settings, batch_size=8))

    whole = night(SMOKE)
    few = replace(whole, night=replace(whole.night, classes=whole.night.classes[:3]))
    made = {name: small(r) for name, r in conditions(SMOKE, tuple(map(small, trio(SMOKE, few)))).items()}
    return {name: obtain(made[name], pretrained=False, say=lambda _: None) for name in ("ce_ic", "pkd")}


def test_a_run_has_twelve_exits_of_which_the_finals_are_the_networks_own(obtained):
    run = obtained["pkd"]
    for split, count in (("train", 9), ("val", 3), ("test", 6)):
        said = run.predictions(split)
        assert said.logits.shape == (count, 12, 3) and said.correct.shape == (count, 12)
    for place, backbone in zip((3, 7, 11), run.recipe.backbones, strict=True):
        own = obtain(backbone, pretrained=False, say=lambda _: None).predictions()
        assert np.array_equal(own.ids, run.predictions().ids)
        assert np.allclose(run.predictions().logits[:, place], own.logits, atol=1e-4)
    assert np.isclose(run.predictions().accuracy, 100 * run.predictions().correct.mean())


def test_methods_differ_and_share_finals_clips_and_initial_weights(obtained):
    ce, pkd = (run.predictions().logits for run in obtained.values())
    assert np.array_equal(ce[:, 3::4], pkd[:, 3::4]) and not np.allclose(ce[:, 0], pkd[:, 0])
    needed = {name: obtain(r, pretrained=False, say=str) for name, r in obtained["pkd"].recipe.needs().items()}
    a, b = (run.recipe.prepare(needed, run.recipe.data.catalogue()).nets["student"] for run in obtained.values())
    assert weights_hash(a.state_dict()) == weights_hash(b.state_dict())


def test_the_assembled_networks_say_what_the_run_kept(obtained):
    run = obtained["pkd"]
    nets = {name: obtain(r, pretrained=False, say=lambda _: None).net() for name, r in run.recipe.needs().items()}
    before = {name: weights_hash(net.state_dict()) for name, net in nets.items()}
    views = {name: r.view for name, r in run.recipe.needs().items()}
    batch = next(runs.batches(run.recipe, "test", views).evaluation())
    with torch.no_grad():
        said = Trio(nets, run.net()).eval()(batch.views).exits
    assert np.allclose(said.numpy(), run.predictions().logits[: len(said)], atol=1e-2)  # features were kept as float16
    assert {name: weights_hash(net.state_dict()) for name, net in nets.items()} == before


def test_features_are_made_once_for_all_methods_and_leave_the_networks_as_they_were(obtained, monkeypatch):
    recipe, made = obtained["ce_ic"].recipe, []
    nets = {name: obtain(r, pretrained=False, say=lambda _: None).net().train() for name, r in recipe.needs().items()}
    before = {name: weights_hash(net.state_dict()) for name, net in nets.items()}
    extract = exits.extract
    monkeypatch.setattr(exits, "extract", lambda *a: made.append(1) or extract(*a))
    exits._last.clear()
    frozen = exits.features_of(recipe, nets, ("a",))
    assert frozen is exits.features_of(replace(recipe, condition="x", method=Progressive()), nets, ("a",))
    assert len(made) == 3 and frozen["train"].finals.shape == (SMOKE.draws, 9, 3, 3)
    assert {name: weights_hash(net.state_dict()) for name, net in nets.items()} == before
    assert all(net.training for net in nets.values())
    exits._last.clear()


def test_a_recipe_comes_back_from_json_and_knows_its_sources():
    recipe = conditions(SMOKE, trio(SMOKE, night(SMOKE)))["pkd"]
    again = from_json(to_json(recipe))
    assert again == recipe and again.name == recipe.name and source_hash(again) == source_hash(recipe)
    assert set(recipe.needs()) == set(ORDER) and recipe.name.startswith("pkd-night_bright-c0.9-s0-")


def test_conditions_differ_in_their_method_alone():
    made = conditions(SMOKE, trio(SMOKE, night(SMOKE)))
    base = made["ce_ic"]
    assert all(replace(r, condition="ce_ic", method=base.method) == base for r in made.values())
    assert len({r.method for r in made.values()}) == len(made) == 14
    assert set(recipes.TITLES) == {*made, "ce_own"} - set(recipes.ORDERS)
    orders = [r.method.schedule for name, r in made.items() if len(getattr(r.method, "schedule", ())) == 3
              and "iframe" not in dict(r.method.schedule) and r.method.alpha == 1 and name != "smoothing"]
    assert len(set(orders)) == 6


def test_the_difference_takes_the_residuals_place_and_the_matched_trio_is_one_architecture():
    other = trio(SMOKE, night(SMOKE), residual=DIFFERENCE)
    plain = trio(SMOKE, night(SMOKE))
    assert other[0].view.modality == DIFFERENCE and other[0].net == plain[0].net and other[1:] == plain[1:]
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
    assert base.settings.epochs == 2 * conditions(SMOKE, trio(SMOKE, data))["own_final"].settings.epochs
