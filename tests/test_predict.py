"""One clip, one trained network: classes as in its tests, a picture that replaces nobody's file, one sentence else."""

import shutil
import sys

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from kdlab.cli.predict import open_run, predict
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced
from kdlab.clips.windows import Window
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.video import TinyR2Plus1D
from kdlab.system import paths
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from kdlab.video.container import DamagedClip
from tests.conftest import cut, encode, square, walks

SIDES = ("left", "right")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return walks(tmp_path_factory.mktemp("clips"), train=2, val=1, test=2)


@pytest.fixture
def places(tmp_path, monkeypatch):
    for name in ("runs", "cache"):
        monkeypatch.setenv(f"KDLAB_{name.upper()}", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(clips, places):
    recipe = Recipe(
        "ce",
        UserClips(str(clips)),
        view=Enhanced(Gamma()),
        net=TinyR2Plus1D((4, 8)),
        window=Window(4, 16, 16),
        settings=Settings(epochs=1, batch_size=4),
    )
    return obtain(recipe, say=str)


def test_a_clip_of_the_test_gets_the_probabilities_of_the_test(run, clips, places):
    tested = run.predictions()
    for number, name in enumerate(tested.ids):
        found = predict(clips / f"{name}.mp4", run)
        assert found.classes == SIDES
        expected = torch.from_numpy(tested.logits[number]).softmax(0)
        assert np.allclose(found.probabilities, expected, atol=1e-6)
    assert found.layer == "net.stages.1"
    assert not any((places / "cache" / "frames").glob("*.tmp"))


def test_the_command_answers_with_classes_and_a_picture(run, clips, places, command):
    clip, told = clips / "right" / "test0.mp4", []
    for name in (run.folder, run.folder.name):
        code, out, error = command("predict", clip, "--run", name)
        assert code == 0, error
        told.append(out)
        assert f"{clip} by {run.folder.name}\n" in out
        assert " %  left\n" in out
        assert " %  right\n" in out
        assert "Grad-CAM at net.stages.1: test0.gradcam.png\n" in out
    picture = cv2.imread(str(places / "test0.gradcam.png"))
    assert picture.shape[0] > 100 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    before = (places / "test0.gradcam.png").stat().st_mtime_ns
    command("predict", clip, "--run", run.folder, "--out", "other.png")
    assert (places / "other.png").is_file()
    assert (places / "test0.gradcam.png").stat().st_mtime_ns == before


def test_a_picture_is_never_written_over_a_file_of_somebody_else(run, clips, places, refused):
    mine = places / "test0.gradcam.png"
    mine.write_bytes(b"a photograph")
    clip = shutil.copy(clips / "left" / "test0.mp4", places / "clip.mp4")
    content = (places / "clip.mp4").read_bytes()
    for out in ([], ["--out", clip]):
        error = refused("predict", clips / "left" / "test0.mp4", "--run", run.folder, *out)
        assert "is no Grad-CAM picture of kdlab's, so it stays as it is" in error
    assert mine.read_bytes() == b"a photograph" and (places / "clip.mp4").read_bytes() == content


def test_a_wrong_run_is_one_sentence_with_the_nearest_name(run, clips, places, refused):
    clip = clips / "left" / "test0.mp4"
    assert f"there are {run.folder.name}" in refused("predict", clip, "--run", run.folder.name[:-2])
    (places / "begun").mkdir()
    with pytest.raises(ValueError, match=r"begun is not finished \(it has no run.json\)"):
        open_run("begun")
    (run.folder / "weights.safetensors").write_bytes(b"")
    assert "weights.safetensors is " in refused("predict", clip, "--run", run.folder)


def test_what_a_run_is_called_first_names_the_nearest(places):
    """``dlkdd`` is nearer to dlkdd-night-s0-c39f22 than to shorter names of strangers."""
    for name in ("dlkdd-night-s0-c39f22", "kd-x-s0-0123ab", "ce_raw-night-s0-0123ab"):
        folder = paths.runs_dir() / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
    assert open_run("dlkdd").folder.name == "dlkdd-night-s0-c39f22"  # of that condition
    with pytest.raises(ValueError, match="is no run's folder.* there are dlkdd-night-s0-c39f22"):
        open_run("DLKD-night")


def test_a_damaged_a_short_and_a_missing_clip_are_one_sentence(run, clips, places, refused):
    cut(shutil.copy(clips / "left" / "test0.mp4", places / "cut.mp4"))
    encode(places / "short.mp4", square(1, 0)[:1])
    for name, error, why in (
        ("cut.mp4", DamagedClip, "truncated: 10 frames announced"),
        ("short.mp4", ValueError, r"has 1 frame\(s\)"),
        ("gone.mp4", FileNotFoundError, "no such file"),
    ):
        with pytest.raises(error, match=rf"{name}.*{why}"):
            predict(places / name, run)
        assert refused("predict", places / name, "--run", run.folder).startswith("error: ")
        assert not list(places.glob("*.gradcam.png"))


class Odd(nn.Module):
    """What ``answer`` makes of its maps."""

    def __init__(self, answer):
        super().__init__()
        self.stages = nn.Sequential(nn.Identity(), nn.Conv3d(3, 2, 3, padding=1))
        self.answer = answer

    def forward(self, x):
        return self.answer(self.stages(x))


NO_LOGITS = "gives no logits (1, 2) for one clip: "


@pytest.mark.parametrize(
    "answer, code, says",
    [
        (lambda maps: maps.flatten(3).mean(3).flatten(1)[:, :3], 2, NO_LOGITS),
        (lambda maps: (maps,), 2, NO_LOGITS),
        (lambda maps: maps.reshape(2, 2, -1).mean(2), 2, NO_LOGITS),
        (
            lambda maps: maps.detach().mean((2, 3, 4)),
            0,
            "no picture: Grad-CAM needs logits (N, K)",
        ),
    ],
)
def test_an_odd_network_is_one_sentence(answer, code, says, run, clips, command, monkeypatch):
    net = nn.Module()
    net.net, net.forward = Odd(answer), lambda x: net.net(x)
    monkeypatch.setattr(type(run), "net", lambda _: net)
    ended, *said = command("predict", clips / "left" / "test0.mp4", "--run", run.folder)
    assert ended == code and says in "".join(said)


def test_a_published_run_brings_the_classes_of_its_study(monkeypatch):
    folder = next(paths.pretrained_dir().glob("real_dark-*"))
    monkeypatch.chdir(folder.parent)
    for name in ("real_dark", folder.name):
        monkeypatch.delitem(sys.modules, "both_ways", raising=False)
        assert open_run(name).recipe.condition == "real_dark"


@pytest.mark.parametrize("condition", ["dlkdd_re", "genkd", "motion", "pkd", "det_genkd"])
def test_committed_runs_answer_or_say_why_not(condition, clips, places):
    """`pretrained/` has every kind of network: 3-D ones, gated ones, one of motion vectors, exits, a detector."""
    run = open_run(condition)
    path = encode(
        places / "coded.avi", square(1, 0).repeat(4, 1).repeat(4, 2), codec="mpeg4", g="12"
    )
    if condition in ("pkd", "det_genkd"):
        with pytest.raises(ValueError, match=r"has (exits|a detector): use .*, or give a run"):
            predict(path, run)
        return
    found = predict(path, run)
    assert len(found.probabilities) == len(run.provenance["classes"])
    assert found.picture.is_file()
