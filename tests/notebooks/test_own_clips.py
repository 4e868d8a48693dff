"""Which notebooks take which clips of one's own, said before a kernel starts; and, slow, notebooks 04 to 08 on some."""

from pathlib import Path

import numpy as np
import pytest

from kdlab import paths
from kdlab.clips.transcode import CoviarFormat, transcode
from kdlab.notebooks import reproduce as reproducing
from kdlab.notebooks import run as running
from kdlab.notebooks.own_clips import why_not
from kdlab.notebooks.parameters import NotebookError, declared_parameters, number_of
from kdlab.notebooks.run import run_notebook
from kdlab.papers.generative import detection_recipes
from kdlab.papers.generative import recipes as generative_recipes
from kdlab.papers.progressive import recipes as progressive_recipes
from kdlab.studies import flatness
from kdlab.train.recipe import UserClips, check, own_clips
from tests.conftest import encode

MPEG4 = {"codec": "mpeg4", "qmin": "2", "qmax": "2", "bf": "0", "g": "12"}
NOTEBOOKS = {number_of(path): path for path in sorted((paths.project_root() / "notebooks").glob("*.ipynb"))}
TAKEN = {"bright": "00 01 02 03 04 10 11", "mpeg4": "00 01 02 03 04 06 07 08 10 11",
         "untrimmed": "00 01 02 03 04 05 10 11"}

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="not a clone: there is no folder notebooks/")


def moving(frames: int, way: str, seed: int = 0) -> np.ndarray:
    """A textured square that goes right or down, or stays, uint8 (T, 48, 64, 3)."""
    rng = np.random.default_rng(seed)
    video = np.repeat(rng.integers(40, 120, (1, 48, 64, 3), np.uint8), frames, 0)
    square = rng.integers(120, 255, (16, 16, 3), np.uint8)
    for t, frame in enumerate(video):
        top, left = (2 * t + seed) % 32 if way == "down" else 12, (2 * t + seed) % 48 if way == "right" else 20
        frame[top : top + 16, left : left + 16] = square
    return video


def bright(root: Path, suffix: str = "mp4", **how) -> Path:
    """Two classes of eight clips each, in groups of two."""
    for n in range(8):
        for way in ("right", "down"):
            encode(root / way / f"{way}_{n // 2}_{n}.{suffix}", moving(20 + n, way, n), **how)
    return root


def mpeg4(root: Path) -> Path:
    return bright(root, "avi", **MPEG4)


def untrimmed(root: Path) -> Path:
    """Four videos of 10 s in which something goes right, and then down."""
    rows = ["path,label,start,end,split"]
    for n, split in enumerate(("train", "train", "val", "test")):
        shown = [moving(20, "still", n), moving(30, "right", n), moving(20, "still", n), moving(30, "down", n)]
        encode(root / f"v{n}.mp4", np.concatenate(shown), rate=10)
        rows += [f"v{n}.mp4,right,2,5,{split}", f"v{n}.mp4,down,7,10,{split}"]
    (root / "index.csv").write_text("\n".join(rows))
    return root


@pytest.mark.parametrize("make", [bright, mpeg4, untrimmed], ids=lambda make: make.__name__)
def test_reproduce_says_which_notebooks_take_the_clips_and_why_the_others_do_not(make, own_places, monkeypatch):
    started = {}

    def executed(notebook, given, **_):
        started[number_of(notebook)] = "data" in given
        return running.Executed(notebook, 0.0)

    monkeypatch.setenv("KDLAB_CORES", "1")
    monkeypatch.setattr(reproducing, "run_notebook", executed)
    lines = []
    reproducing.reproduce("smoke", str(make(own_places / "clips")), say=lambda text: lines.append((text, len(started))))
    chapters = TAKEN[make.__name__].split()
    taken = [number for number, path in NOTEBOOKS.items()  # a companion may look at committed evidence alone
             if number in chapters or number[:2] in chapters and "data" in declared_parameters(path)]
    kept = [number for number in NOTEBOOKS if number not in taken]
    assert lines[0] == (f"on your clips: {' '.join(taken)}; on kdlab's own: {' '.join(kept)}\n", 0)
    assert [text.strip().partition("_")[0] for text, _ in lines[1 : 1 + len(kept)]] == kept and not lines[len(kept)][1]
    assert started == {number: number in taken for number in NOTEBOOKS}
    said = "".join(text for text, _ in lines)
    assert "09_gradcam_attention: it scores maps against the actor's outline" in said
    assert ("06_compressed_modalities: 16 of 16 files are not MPEG-4" in said) == (make is bright)
    assert ("05_temporal_detection: " in said and "path,label,start,end,split" in said) == (make is not untrimmed)


@pytest.mark.parametrize(("number", "why"), [
    ("05", r"16 of 16 clips, such as down/down_0_0, say not when .* index\.csv .*path,label,start,end,split"),
    ("06", r"16 of 16 files are not MPEG-4 .*codec is h264.* `kdlab data transcode .*clips --out FOLDER`"),
    ("07", "kdlab data transcode"), ("08", "kdlab data transcode"), ("09", "outline"),
])
def test_clips_that_do_not_fit_are_refused_before_a_kernel_starts(number, why, own_places, monkeypatch):
    monkeypatch.setattr(running, "_execute", lambda *_: pytest.fail("a kernel was started"))
    with pytest.raises(NotebookError, match=why):
        run_notebook(NOTEBOOKS[number], {"data": str(bright(own_places / "clips"))}, say=lambda text: None)
    assert not (own_places / "RUNS").exists()


@pytest.mark.parametrize("number", ["04", "05", "07", "08"])
def test_what_trains_takes_folds_and_damaged_clips_as_notebook_03_does(number):
    names = ("data", "test_fold", "own_folds", "on_damaged")
    assert [declared_parameters(NOTEBOOKS[number])[name] for name in names] == [None, "", 0, "raise"]


def test_the_folds_and_the_care_for_damaged_clips_that_are_asked_for_are_those_that_are_looked_at(own_places):
    clips = mpeg4(own_places / "clips")
    given = {"data": str(clips), "test_fold": "", "own_folds": 0, "on_damaged": "raise"}
    assert why_not(NOTEBOOKS["07"], given) == ""
    assert "no fold '9'" in why_not(NOTEBOOKS["07"], given | {"own_folds": 2, "test_fold": "9"})
    file = clips / "right" / "right_0_0.avi"
    file.write_bytes(file.read_bytes()[:-400])
    assert str(file) in why_not(NOTEBOOKS["07"], given)
    assert why_not(NOTEBOOKS["07"], given | {"on_damaged": "skip"}) == ""


def test_every_training_of_notebooks_04_to_08_can_be_made_on_ones_own_clips(own_places):
    films, cut = (UserClips(str(make(own_places / make.__name__))) for make in (untrimmed, mpeg4))
    size, small = generative_recipes.DEMO, progressive_recipes.DEMO
    made = generative_recipes.conditions(size, cut)
    assert {r.settings.epochs for c, r in made.items() if c in generative_recipes.HEADLINE} == {size.real_epochs}
    made |= detection_recipes.conditions(detection_recipes.SMOKE, 0, films)
    three = progressive_recipes.trio(small, progressive_recipes.yours(cut))
    assert {recipe.settings.epochs for recipe in three} == {small.real_epochs}
    made |= progressive_recipes.conditions(small, three)
    assert made["pkd"].settings.epochs == small.real_exit_epochs
    for recipe in (*made.values(), *three):
        check(recipe)
        assert len(recipe.digest()) == 64 and own_clips(recipe) in ((films,), (cut,))
    assert flatness._tested(three[0]) is three[0]


@pytest.mark.slow
@pytest.mark.parametrize("number", ["04", "05", "06", "07", "08"])
def test_the_notebook_runs_on_ones_own_clips(number, own_places, monkeypatch):
    monkeypatch.delenv("KDLAB_FIGURES")  # the committed evidence
    if number == "05":
        clips = untrimmed(own_places / "clips")
    elif number == "04":
        clips = bright(own_places / "clips")
    else:
        clips = own_places / "mpeg4"
        transcode(bright(own_places / "clips"), clips, CoviarFormat(64, 48), workers=1)
    given = {"profile": "smoke", "data": str(clips)} | ({} if number == "06" else {"pretrained": False})
    done = run_notebook(NOTEBOOKS[number], given, say=lambda text: None)
    assert done.failure is None
    text = done.output.read_text("utf-8")
    assert f"your clips in {clips}" in text
    assert ("committed study on kdlab's own clips, not on yours" in text) == (number != "06")
