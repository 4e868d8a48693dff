"""GenKD's recipes at the paper's size: numbers of the reference, passes that alternate, teachers of the same stream."""

import pytest

from kdlab.clips.flow import Flow, FlowFiles
from kdlab.nets.i3d import I3D, STAGES, TOP
from kdlab.papers.generative import detection_paper_size, paper_size
from kdlab.papers.generative.nets import Gated


def test_recognition(tmp_path):
    made = paper_size.recipes(tmp_path, flow_folder=tmp_path / "flow")
    conditions = "teacher_fr", "student_ce", "kd", "genkd", "untrained"
    assert list(made) == [(data, split, stream, name) for data in ("ucf101", "hmdb51") for stream in ("rgb", "flow")
                          for split in "123" for name in conditions]
    for (data, split, stream, name), recipe in made.items():
        flow = FlowFiles(str(tmp_path / "flow" / data))
        assert recipe.data.test_fold == split and (recipe.view == flow) == (stream == "flow")
        assert (recipe.window.frames, recipe.window.side, recipe.window.crop) == (64, 256, 224)
        assert recipe.settings.batch_size == (6 if stream == "rgb" else 12) and recipe.settings.weight_decay == 5e-4
        if recipe.teacher:
            assert recipe.teacher.view == recipe.view and recipe.teacher.seed == recipe.seed + 1
        if name in ("teacher_fr", "genkd", "untrained"):
            assert recipe.method.alternating == recipe.settings.epochs == 400 and recipe.net.dropout == 0.5
        else:
            assert recipe.settings.epochs == 200 and not isinstance(recipe.net, Gated)
    kd = paper_size.recipes(tmp_path)["ucf101", "1", "flow", "kd"]
    assert kd.view == Flow() and kd.net == I3D(TOP, channels=2) and kd.teacher.net == I3D(STAGES, channels=2)


def test_detection(tmp_path):
    made = detection_paper_size.recipes(tmp_path)
    assert list(made) == [("thumos14", "json", stream, f"det_{name}") for stream in ("rgb", "flow")
                          for name in ("teacher", "student", "genkd", "untrained")]
    for stream, epochs in (("rgb", 50), ("flow", 20)):
        student, genkd = (made["thumos14", "json", stream, name] for name in ("det_student", "det_genkd"))
        assert genkd.method.beta == 10 and genkd.method.alternating == genkd.settings.epochs == 2 * epochs
        assert genkd.method.detection == student.method and student.settings.epochs == epochs
        assert student.net.of.temporal == TOP and genkd.teacher.net.of.temporal == STAGES
        assert genkd.net.gated == genkd.teacher.net.gated == genkd.window.crop == 96 and not student.net.gated
    task = student.method
    assert (task.tiou, task.l1, task.quality, task.boundary, task.splice) == (10, 10, 1, 1, 0.1)


@pytest.mark.parametrize(("module", "stream", "rate"), [
    (paper_size, "rgb", 1e-3), (paper_size, "flow", 1e-2),
    (detection_paper_size, "rgb", 1e-6), (detection_paper_size, "flow", 1e-5)])
def test_rates_as_released(module, stream, rate, tmp_path):
    made = module.recipes(tmp_path, as_released=True)
    settings = next(recipe.settings for key, recipe in made.items() if key[2] == stream)
    rules = dict(settings.as_released.rules)
    assert settings.lr == rate and rate * rules["cvae"].share == pytest.approx(1e-4)
    assert rules["net"].kind == ("sgd" if module is paper_size else "adam")


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nowhere.pth"):
        paper_size.recipes(tmp_path, weights={"flow": "/nowhere.pth"})
