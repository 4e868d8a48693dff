import json
import shutil

import numpy as np
import pytest
import torch

from kdlab import enhancer as module
from kdlab import paths
from kdlab.clips.enhance import on_batch
from kdlab.clips.night import Night
from kdlab.clips.views import Enhanced
from kdlab.enhancer import TrainedCurves
from kdlab.recipe import Recipe, UserClips, from_json, source_hash, to_json
from tests.conftest import encode


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six dark clips of a class each; the light of a room differs from clip to clip."""
    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for label in ("left", "right"):
        for n in range(6):
            room = rng.uniform(3, 25, (1, 24, 32, 1)) + 6 * np.sin(np.arange(6) + n).reshape(-1, 1, 1, 1)
            encode(root / label / f"{n}.mp4", np.repeat(room, 3, 3).clip(0, 255).astype(np.uint8))
    return root


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    module._net.cache_clear()
    return tmp_path


def tiny(clips, **changes) -> TrainedCurves:
    return TrainedCurves(UserClips(str(clips)), **{"width": 4, "side": 16, "steps": 12, "lr": 5e-3} | changes)


FRAMES = np.random.default_rng(1).integers(0, 30, (5, 20, 28, 3), dtype=np.uint8)


def test_the_first_use_trains_and_the_next_finds(clips, places, monkeypatch):
    curves = tiny(clips)
    bright = curves(FRAMES)
    assert bright.shape == FRAMES.shape and bright.dtype == np.uint8 and bright.mean() > FRAMES.mean() + 3
    folder = paths.runs_dir() / curves.name
    assert {p.name for p in folder.iterdir()} == {"weights.safetensors", "history.csv", "enhancer.json"}
    about = json.loads((folder / "enhancer.json").read_text())
    assert from_json(about["enhancer"]) == curves and about["steps"] >= 12
    history = curves.training()
    assert history.loss_net.iloc[-1] < history.loss_net.iloc[0]

    module._net.cache_clear()
    monkeypatch.setattr(module, "_train", lambda *_: pytest.fail("trained again"))
    assert np.array_equal(curves(FRAMES), bright)
    shutil.move(folder, places / "pretrained" / curves.name)
    monkeypatch.setattr(paths, "pretrained_dir", lambda: places / "pretrained")
    module._net.cache_clear()
    assert np.array_equal(curves(FRAMES), bright)


def test_the_same_recipe_gives_the_same_weights_and_an_unfinished_folder_is_finished(clips, places, monkeypatch):
    bright = tiny(clips)(FRAMES)
    monkeypatch.setenv("KDLAB_RUNS", str(places / "other"))
    (places / "other" / tiny(clips).name).mkdir(parents=True)
    (places / "other" / tiny(clips).name / "weights.safetensors").write_bytes(b"half")
    module._net.cache_clear()
    assert np.array_equal(tiny(clips)(FRAMES), bright)


def test_steady_curves_share_the_weights_and_do_not_flicker(clips, places):
    steady = tiny(clips, steady=True)
    steady(FRAMES)
    assert steady.name == f"{tiny(clips).name}-steady"
    assert len([p for p in paths.runs_dir().iterdir() if p.is_dir()]) == 1
    still = np.repeat(FRAMES[:1], 3, 0)
    assert np.abs(steady(still).astype(int) - tiny(clips)(still)).max() <= 1  # the mean of equal maps, rounded
    still[1, :4] += 60  # something else changes: what stays must stay
    below = np.s_[:, 16:]
    assert np.ptp(steady(still)[below].astype(int), axis=0).max() == 0
    still[1] += 60
    assert np.ptp(tiny(clips)(still)[::2].astype(int), axis=0).max() == 0


def test_batches_of_tensors_give_the_same_bits(clips, places):
    batch = np.stack([FRAMES, FRAMES[::-1]])
    for steady in (False, True):
        curves = tiny(clips, steady=steady)
        out = on_batch(curves, torch.from_numpy(batch).permute(0, 4, 1, 2, 3))
        assert np.array_equal(out.permute(0, 2, 3, 4, 1).numpy(), np.stack([curves(clip) for clip in batch]))


def test_it_stands_in_recipes(clips):
    for data in (UserClips(str(clips)), Night()):
        recipe = Recipe("ce_enhanced", data, Enhanced(TrainedCurves(data, steady=True)))
        assert from_json(to_json(recipe)) == recipe
    plain = Recipe("ce_enhanced", Night())
    assert source_hash(plain) != source_hash(Recipe("ce_enhanced", Night(), Enhanced(TrainedCurves(Night()))))


def test_names_differ_where_weights_differ(clips):
    changes = [{}, {"width": 8}, {"seed": 1}, {"steps": 13}, {"steady": True}]
    assert len({tiny(clips, **change).name for change in changes}) == len(changes)
    assert TrainedCurves(Night()).name != TrainedCurves(Night(seed=1)).name


@pytest.mark.parametrize("change", [{"side": 8}, {"steps": 0}, {"width": 0}])
def test_impossible_numbers_are_refused(clips, change):
    with pytest.raises(ValueError, match="side >= 16"):
        tiny(clips, **change)
