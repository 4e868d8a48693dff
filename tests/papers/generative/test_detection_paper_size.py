"""The paper profile of detection: its numbers, the dry run, and the whole of it on a miniature THUMOS14."""

import json
from dataclasses import replace

import numpy as np
import pytest

from kdlab import paths
from kdlab.clips import released
from kdlab.clips.flow import Flow, FlowFiles
from kdlab.clips.views import Raw
from kdlab.nets.i3d import TOP, TinyC3D
from kdlab.papers.generative import detection_paper_size
from kdlab.papers.generative.detection_paper_size import PAPER, SETS, STREAMS, profile, recipes
from kdlab.papers.generative.detector import Detector
from kdlab.train.loop import Settings

MINIATURE = replace(PAPER, sets=(replace(SETS[0], classes=2),))


def alone(*args):
    """The recipes of students without a teacher, which are counted in a second."""
    return {key: recipe for key, recipe in recipes(*args).items() if key[-1] == "det_student"}


def small():
    """The paper's size with smaller numbers; the second stage stays."""
    def detector(temporal, channels):
        return Detector(TinyC3D((4, 4, 8, 12), temporal, channels), ("stages.2.2", "stages.3"), 16, 3, 8, refine=True,
                        boundaries=True)

    size, light = profile(), (False, False, True, True)
    teachers, students = (tuple(detector(temporal, n) for n in (3, 2)) for temporal in ((True,) * 4, light))
    window = replace(size.window, frames=16, side=20, crop=16, rate=5.0, stride=8, dense=4)
    settings = Settings(1, 2, precision="fp32")
    return replace(size, teachers=teachers, students=students, window=window, settings=(settings, settings))


@pytest.fixture
def root(make_video, tmp_path, monkeypatch):
    """Two videos in the released layout, two classes."""
    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name))
    monkeypatch.setattr(paths, "pretrained_dir", lambda: tmp_path / "pretrained")
    monkeypatch.setitem(released.THUMOS_VIDEOS, "json", {"train": 2, "test": 1})
    monkeypatch.setitem(released.THUMOS_SEGMENTS, "json", {"train": 4, "test": 2})
    folder, database = tmp_path / "sets" / "thumos14", {}
    for subset, names in (("train", ("video_validation_0000051", "video_validation_0000052")),
                          ("test", ("video_test_0000004",))):
        for name in names:
            make_video(f"sets/thumos14/{name}.mp4", frames=60, size=(32, 24), rate=10)
            database[name] = {"subset": subset, "annotations": [
                {"segment": ["0.5", "2.0"], "label": "BaseballPitch"},
                {"segment": ["3.0", "5.5"], "label": "CliffDiving"}]}
    (folder / "Class Index_Detection.txt").write_text("7 BaseballPitch\n22 CliffDiving\n")
    (folder / "thumos_gt.json").write_text(json.dumps({"database": database}))
    return tmp_path / "sets"


def test_the_numbers_are_the_papers():
    size = profile()
    for student, teacher, channels in zip(size.students, size.teachers, (3, 2), strict=True):
        assert student.of.temporal == TOP and teacher.refine and teacher.boundaries and student.levels == 6
        assert student.channels == teacher.channels == channels
    window = size.window
    assert (window.frames, window.rate, window.crop, window.stride, window.dense) == (256, 10.0, 96, 128, 30)
    made = recipes(SETS[0], paths.data_dir(), size)
    assert list(made) == [("json", s, c) for s in STREAMS for c in detection_paper_size.CONDITIONS]
    for stream, epochs in zip(STREAMS, (50, 20), strict=True):
        genkd = made["json", stream, "det_genkd"]
        assert genkd.method.beta == 10 and genkd.method.alternating == genkd.settings.epochs == 2 * epochs
        assert genkd.method.detection == made["json", stream, "det_student"].method
        assert made["json", stream, "det_student"].settings.epochs == epochs and genkd.settings.batch_size == 1
        assert made["json", stream, "det_untrained"].method.teacher == "untrained"
    task = made["json", "rgb", "det_student"].method
    assert (task.tiou, task.l1, task.quality, task.boundary, task.splice) == (10, 10, 1, 1, 0.1)


def test_flow_is_computed_or_read_from_a_folder(tmp_path):
    made = recipes(SETS[0], tmp_path, profile())
    assert made["json", "rgb", "det_genkd"].view == Raw() and made["json", "flow", "det_genkd"].view == Flow()
    made = recipes(SETS[0], tmp_path, profile(flow_folder=tmp_path / "flow"))
    assert made["json", "flow", "det_teacher"].view == FlowFiles(str(tmp_path / "flow" / "thumos14"))


def test_a_dry_run_says_what_is_missing_and_what_it_costs(tmp_path):
    text = replace(PAPER, recipes=alone).dry_run(tmp_path, small())
    assert f"no folder {tmp_path / 'thumos14'}" in text and "kdlab paper detection --dry-run" in text
    assert "6,211 in 200 videos, of which 80% are assumed" in text and "json: 4,969 training clips" in text
    assert "32.6 → 33.7" in text and "not comparable" in text and "docs/methods.md, 2.3" in text


def test_with_the_videos_a_dry_run_counts_windows(root):
    """Of 30 steps, every 4: from step 0 to 14. The actions lie from 2.5 to 10 and from 15 to 27.5."""
    text = replace(MINIATURE, recipes=alone).dry_run(root, small())
    assert "found      yes" in text and "json: 3 training clips" in text, "from 0, 12 and 14; one of two validates"
    assert "one every 4" in text and "h a seed" in text


def test_without_the_data_set_nothing_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match="THUMOS14 is left out: no folder"):
        PAPER.run(tmp_path, small())


@pytest.mark.slow
def test_a_dry_run_counts_every_training(tmp_path):
    lines = [line.strip() for line in PAPER.dry_run(tmp_path, small()).splitlines()]
    for stream in STREAMS:
        for condition in ("det_teacher", "det_student", "det_genkd, det_untrained"):
            assert [line for line in lines if line.startswith(stream) and line.endswith(f" {condition}")]


@pytest.mark.slow
def test_the_whole_in_miniature(root):
    said = []
    table = MINIATURE.run(root, small(), say=said.append)
    rows = [("THUMOS14", s, c) for s in (*STREAMS, "both") for c in detection_paper_size.CONDITIONS]
    assert table.index.tolist() == rows
    assert np.isfinite(table["0.1-0.5"]).all() and table.to_numpy().min() >= 0 and len(said) >= 4
