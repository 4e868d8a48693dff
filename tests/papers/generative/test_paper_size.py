"""GenKD's recipes at the paper's size: numbers of the reference, passes that alternate, teachers of the same stream."""

import pytest

from kdlab.clips.views import Flow, FlowFiles
from kdlab.nets.i3d import I3D, STAGES, TOP
from kdlab.papers.generative import detection_recipes, recipes
from kdlab.papers.generative.networks import Gated


def test_recognition(tmp_path):
    which = recipes.PAPER.sets[1]
    conditions = ("teacher_fr", "student_ce", "kd", "genkd", "untrained")
    made = recipes.paper_recipes(
        which, tmp_path, recipes.paper_profile(flow_folder=tmp_path / "flow")
    )
    assert list(made) == [
        (split, stream, name)
        for split in "123"
        for stream in ("rgb", "flow")
        for name in conditions
    ]
    flow = FlowFiles(str(tmp_path / "flow" / "hmdb51"))
    for (split, stream, name), recipe in made.items():
        assert recipe.data.test_fold == split and (recipe.view == flow) == (stream == "flow")
        if recipe.teacher:
            assert recipe.teacher.view == recipe.view and recipe.teacher.seed == recipe.seed + 1
        if name in ("teacher_fr", "genkd", "untrained"):
            assert recipe.method.alternating == recipe.settings.epochs == 400
        else:
            assert recipe.settings.epochs == 200 and not isinstance(recipe.net, Gated)
    kd = recipes.paper_recipes(which, tmp_path, recipes.paper_profile())["1", "flow", "kd"]
    assert kd.view == Flow()
    assert kd.net == I3D(TOP, channels=2)
    assert kd.teacher.net == I3D(STAGES, channels=2)


def test_detection(tmp_path):
    made = detection_recipes.paper_recipes(
        detection_recipes.PAPER.sets[0], tmp_path, detection_recipes.paper_profile()
    )
    assert list(made) == [
        ("json", stream, f"det_{name}")
        for stream in ("rgb", "flow")
        for name in ("teacher", "student", "genkd", "untrained")
    ]
    for stream, epochs in (("rgb", 50), ("flow", 20)):
        student, genkd = (made["json", stream, name] for name in ("det_student", "det_genkd"))
        assert genkd.method.beta == 10
        assert genkd.method.alternating == genkd.settings.epochs == 2 * epochs
        assert genkd.method.detection == student.method and student.settings.epochs == epochs
        assert student.net.of.temporal == TOP and genkd.teacher.net.of.temporal == STAGES
        assert genkd.net.gated == genkd.teacher.net.gated == genkd.window.crop == 96
        assert not student.net.gated


@pytest.mark.parametrize(
    "module, rates, kind",
    [(recipes, (1e-3, 1e-2), "sgd"), (detection_recipes, (1e-6, 1e-5), "adam")],
)
def test_rates_as_released(module, rates, kind):
    for settings, rate in zip(
        (size.settings for size in module.paper_profile(as_released=True)), rates, strict=True
    ):
        rules = dict(settings.as_released.rules)
        assert settings.lr == rate
        assert rate * rules["cvae"].share == pytest.approx(1e-4)
        assert rules["net"].kind == kind


def test_a_checkpoint_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nowhere.pth"):
        recipes.paper_profile(weights={"flow": "/nowhere.pth"})
