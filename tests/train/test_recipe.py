"""What a recipe is named after, what it becomes in JSON, and which sources it depends on."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kdlab.clips.views import Enhanced
from kdlab.clips.windows import ConsecutiveWindow, Window
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.progressive.exits import ExitRecipe
from kdlab.system import sources
from kdlab.system.sources import source_hash
from kdlab.train.recipe import NotImported, Recipe, check, from_json, to_json
from kdlab.train.sizes import DEMO
from tests.conftest import touch
from tests.train.test_runs import make_recipe, make_student


def test_recipes_survive_json():
    for recipe in (
        *dual_light(DEMO, 3).values(),
        make_student("/nowhere", net=TinyR2Plus1D(widths=(4,))),
    ):
        text = json.dumps(to_json(recipe))
        assert from_json(json.loads(text)) == recipe


def undecodable(root: Path) -> Path:
    """Four files that have a label, a name and a content, which is all that names are made of."""
    return touch(root, "left/0.mp4", "left/1.mp4", "right/0.mp4", "right/1.mp4")


def test_a_run_is_named_for_people_and_not_for_where_the_clips_lie(tmp_path):
    name = dual_light(DEMO, 3)["dlkdd"].name
    assert name.startswith("dlkdd-night-s3-") and len(name) == len("dlkdd-night-s3-") + 6
    a, b = (undecodable(tmp_path / place / "mine") for place in "ab")
    here = make_recipe(a)
    there = make_recipe(b)
    assert here.name == there.name and here.name.startswith("ce_raw-mine-s0-")
    assert make_recipe(a, seed=1).digest() != here.digest()
    assert make_student(a).digest() != make_student(a, method=DualLight(alpha=0.3)).digest()


@pytest.mark.parametrize(
    "recipe",
    [
        lambda root: make_recipe(root),
        lambda root: make_student(root),
        lambda root: Recipe("ce", Night(), Enhanced(TrainedCurves(UserClips(str(root))))),
        lambda root: ExitRecipe("ic", Night(), backbones=(make_recipe(root),) * 4),
    ],
    ids=["data", "teacher", "enhancer", "backbones"],
)
def test_other_clips_in_a_folder_of_the_same_name_are_another_run(tmp_path, recipe):
    """Of other content, in the middle of a file too; of other labels; one more, one less: each has its own name."""
    other = undecodable(tmp_path / "b" / "mine")
    (other / "left" / "0.mp4").write_text("l ft/0.mp4")
    names = {recipe(undecodable(tmp_path / "a" / "mine")).name, recipe(other).name}
    moved = undecodable(tmp_path / "c" / "mine")
    (moved / "left" / "0.mp4").rename(moved / "right" / "2.mp4")
    more = undecodable(tmp_path / "d" / "mine")
    (more / "left" / "2.mp4").write_text("left/2")
    assert len(names | {recipe(moved).name, recipe(more).name}) == 4
    assert recipe(undecodable(tmp_path / "e" / "mine")).name in names


def test_clips_changed_while_a_kernel_runs_have_another_name_at_once(tmp_path):
    """Also within the tick of a clock, at the same size and with the time set back, as an editor of tags does."""
    root = undecodable(tmp_path / "mine")
    file = root / "left" / "0.mp4"
    recipe = make_recipe(root)
    names = set()
    for letter in "abcdefgh":
        before = file.stat()
        file.write_text(f"left/{letter}.mp4")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        names.add(recipe.name)
    assert len(names) == 8
    assert len(recipe.data.catalogue().records) == 4
    (root / "left" / "9.mp4").write_text("one more")
    assert len(recipe.data.catalogue().records) == 5 and recipe.name not in names
    (root / "left").rename(root / "up")
    assert recipe.data.catalogue().classes == ("right", "up")


def test_a_recipe_needs_no_clips_but_its_name_does(tmp_path):
    recipe = make_recipe(tmp_path / "later")
    assert from_json(to_json(recipe)) == recipe and recipe.stem == "ce_raw-later-s0"
    for ask in (recipe.digest, lambda: recipe.name):
        with pytest.raises(
            FileNotFoundError, match="later: no such file or folder.*named by what they are"
        ):
            ask()


@pytest.mark.parametrize(
    "fold", ["../../x", "..", "a:b", "a\\b", "NUL", " ", "ä*", "a\nb", "x" * 300, "~"]
)
def test_no_fold_or_condition_leads_out_of_the_runs_or_is_invalid_elsewhere(fold):
    for condition in ("ce", "con", "../x", "aux.b", fold):
        name = (
            make_recipe("/somewhere", data=UserClips("/a/mine", fold), condition=condition).stem
            + "-0123ab"
        )
        assert re.fullmatch(r"[\w.+=~@-]{1,140}", name, re.ASCII), name
        assert not re.match(r"(con|nul|aux)(\.|$)", name, re.I) and name[0] not in ".-~"


def test_a_teacher_of_another_window_is_refused_and_a_start_is_not():
    """One draw is cut for teacher and student, as the student's window says."""
    other = make_recipe("/somewhere", condition="larger", window=ConsecutiveWindow(16, 40, 36))
    student = make_recipe("/somewhere", window=Window(16, 40, 36))
    check(replace(student, start=other))
    check(replace(student, teacher=replace(other, window=student.window)))
    with pytest.raises(
        ValueError,
        match=r"the teacher of ce_raw-somewhere-s0, larger-somewhere-s0, was trained "
        r"through .*, and would be shown clips through .*: give both one window",
    ):
        check(replace(student, teacher=other))


def test_json_of_strangers_is_refused():
    for gone in ("kdlab.recipe:Recipe", "kdlab.nets.video:Gone"):
        with pytest.raises(
            NotImported, match=f"{gone}, which another version of kdlab had; CHANGELOG.md"
        ):
            from_json({"type": gone})
    with pytest.raises(
        NotImported, match="mine.net:Net, which is not part of kdlab.*: import mine.net"
    ):
        from_json({"type": "mine.net:Net"})
    with pytest.raises(ValueError, match="os:system, which is no frozen dataclass"):
        from_json({"type": "os:system"})
    with pytest.raises(ValueError, match="no field 'colour'"):
        from_json({"type": "kdlab.clips.enhance:Gamma", "colour": 1})
    with pytest.raises(ValueError, match="make it a dataclass"):
        to_json(Enhanced(lambda frames: frames))


def test_source_hash_sees_code_and_not_comments(tmp_path, monkeypatch):
    package = tmp_path / "kdlab"
    shutil.copytree(
        Path(sources.kdlab.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(sources.kdlab, "__file__", str(package / "__init__.py"))

    def hashes():
        sources._package_hash.cache_clear()
        return source_hash(Recipe("ce_raw", Night())), source_hash(dual_light(DEMO)["dlkdd"])

    def edit(name, old, new):
        path = package / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        return hashes()

    start = hashes()
    assert edit("train/loop.py", '"""One training loop', '"""The training loop') == start
    assert (
        edit(
            "nets/video.py", "    dropout: float = 0.0", "    # a comment\n    dropout: float = 0.0"
        )
        == start
    )
    assert edit("measure/paired.py", "LEVEL = 0.95", "LEVEL = 0.9") == start
    # a reader of lists decides no weights: a run knows its clips by their contents
    assert edit("datasets/splits.py", "import hashlib", "X = 1\nimport hashlib") == start
    drawn = edit("night/drawing/clip.py", "import numpy as np\n", "X = 1\nimport numpy as np\n")
    assert all(a != b for a, b in zip(drawn, start, strict=True))
    start = drawn
    paper = edit("papers/dual_light/method.py", "from dataclasses", "X = 1\nfrom dataclasses")
    # a paper's folder decides its own runs
    assert paper[0] == start[0] and paper[1] != start[1]
    loop = edit("train/settings.py", "steps / 5", "steps / 6")
    assert loop[0] != paper[0] and loop[1] != paper[1]
    monkeypatch.undo()
    sources._package_hash.cache_clear()
