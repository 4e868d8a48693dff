import shutil

import numpy as np
import pytest
import torch

from kdlab.clips.views import Enhanced
from kdlab.datasets.user_clips import UserClips
from kdlab.night import Night
from kdlab.papers.dual_light import enhancer as module
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.zero_dce import apply_curves
from kdlab.system import paths
from kdlab.system.sources import source_hash
from kdlab.train.recipe import Recipe, from_json, to_json
from tests.conftest import encode


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six dark clips of a class each; the light of a room differs from clip to clip."""
    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for label in ("left", "right"):
        for n in range(6):
            room = rng.uniform(3, 25, (1, 24, 32, 1)) + 6 * np.sin(np.arange(6) + n).reshape(
                -1, 1, 1, 1
            )
            encode(root / label / f"{n}.mp4", np.repeat(room, 3, 3).clip(0, 255).astype(np.uint8))
    return root


@pytest.fixture
def places(own_places):
    module._net.cache_clear()
    return own_places


def tiny(clips, **changes) -> TrainedCurves:
    return TrainedCurves(
        UserClips(str(clips)), **{"width": 4, "side": 16, "steps": 12, "lr": 5e-3} | changes
    )


FRAMES = np.random.default_rng(1).integers(0, 30, (5, 20, 28, 3), dtype=np.uint8)


def test_the_first_use_trains_and_the_next_finds(clips, places, monkeypatch):
    curves = tiny(clips)
    bright = curves(FRAMES)
    assert bright.shape == FRAMES.shape
    assert bright.dtype == np.uint8
    assert bright.mean() > FRAMES.mean() + 3
    run = curves.run()
    assert run.folder == paths.runs_dir() / curves.recipe().name
    assert run.recipe.name.startswith("zerodce-clips")
    assert from_json(to_json(run.recipe)) == run.recipe and run.provenance["steps"] >= 12
    assert run.history.loss_net.iloc[-1] < run.history.loss_net.iloc[0]

    module._net.cache_clear()
    monkeypatch.setattr("kdlab.train.obtain.fit", lambda *_, **__: pytest.fail("trained again"))
    assert np.array_equal(curves(FRAMES), bright)
    shutil.move(run.folder, places / "pretrained" / run.folder.name)
    module._net.cache_clear()
    assert np.array_equal(curves(FRAMES), bright)


def test_steady_curves_share_the_weights(clips, places):
    steady = tiny(clips, steady=True)
    still = np.repeat(FRAMES[:1], 3, 0)
    # the mean of equal maps, rounded
    assert np.abs(steady(still).astype(int) - tiny(clips)(still)).max() <= 1
    assert steady.name == f"{tiny(clips).name}-steady"
    assert steady.run().folder == tiny(clips).run().folder
    assert len([p for p in paths.runs_dir().iterdir() if p.is_dir()]) == 1


def test_steady_curves_are_the_mean_of_the_clip(clips, monkeypatch):
    """A network whose curves follow the frame's level: what stays the same flickers without ``steady``, not with it."""

    def net(x):
        curves = -x.mean().expand(1, 24, *x.shape[2:])
        return curves, apply_curves(x, curves)

    net.convs = []

    monkeypatch.setattr(module, "_net", lambda enhancer, name: net)
    clip = FRAMES[:2].copy()
    clip[1, :10] += 100
    clip[1, 10:] = clip[0, 10:]
    plain = tiny(clips)(clip).astype(int)
    steady = tiny(clips, steady=True)(clip)
    assert (plain[1, 10:] >= plain[0, 10:]).all() and np.ptp(plain[:, 10:], axis=0).max() > 3
    assert np.array_equal(steady[0, 10:], steady[1, 10:])
    x = torch.from_numpy(clip).permute(0, 3, 1, 2) / 255
    mean = -x.mean().expand(2, 24, 1, 1)
    assert (
        np.abs(steady / 255 - apply_curves(x, mean).permute(0, 2, 3, 1).numpy()).max()
        <= 0.5 / 255 + 1e-6
    )


@pytest.mark.parametrize("steady", [False, True])
def test_large_pictures_go_through_in_strips_to_the_same_bits(clips, places, monkeypatch, steady):
    large = np.random.default_rng(2).integers(0, 30, (2, 210, 28, 3), dtype=np.uint8)
    curves = tiny(clips, steady=steady)
    whole = curves(large)
    monkeypatch.setattr(module, "_AT_ONCE", 1)  # strips of 32 rows
    seen, net = [], module._net(curves, curves.name.removesuffix("-steady"))
    net.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[2]))
    assert np.array_equal(curves(large), whole)
    assert seen == [39, *5 * [46], 25] * 2


def test_it_stands_in_recipes(clips):
    for data in (UserClips(str(clips)), Night()):
        recipe = Recipe("ce_enhanced", data, Enhanced(TrainedCurves(data, steady=True)))
        assert from_json(to_json(recipe)) == recipe
    plain = Recipe("ce_enhanced", Night())
    assert source_hash(plain) != source_hash(
        Recipe("ce_enhanced", Night(), Enhanced(TrainedCurves(Night())))
    )


def test_names_differ_where_weights_differ(clips):
    changes = [{}, {"width": 8}, {"seed": 1}, {"steps": 13}, {"steady": True}]
    assert len({tiny(clips, **change).name for change in changes}) == len(changes)
    assert TrainedCurves(Night()).name != TrainedCurves(Night(seed=1)).name


def test_names_follow_clips_and_sources_but_no_path(clips, tmp_path, monkeypatch):
    moved, other = tmp_path / "a" / clips.name, tmp_path / "b" / clips.name
    shutil.copytree(clips, moved)
    shutil.copytree(clips, other)
    shutil.copy(other / "left" / "0.mp4", other / "left" / "1.mp4")
    assert tiny(moved).name == tiny(clips).name != tiny(other).name
    before = tiny(clips).name
    module._named.cache_clear()
    monkeypatch.setattr(module, "source_hash", lambda enhancer: "changed")
    assert tiny(clips).name != before
    module._named.cache_clear()
