"""The paper profile of detection: its numbers, the dry run, and the whole of it on a miniature THUMOS14."""

import json
from dataclasses import replace

import numpy as np
import pytest

from kdlab import paths
from kdlab.clips import released
from kdlab.nets.i3d import TOP, TinyC3D
from kdlab.papers.generative import detection_paper_size
from kdlab.papers.generative.detection_paper_size import SETS, dry_run, profile, recipes, run
from kdlab.papers.generative.detector import Detector
from kdlab.train.loop import Settings

MINIATURE = replace(SETS[0], classes=2)


def small():
    """The paper's size with smaller numbers; the second stage stays."""
    size = profile()
    teacher, student = (Detector(TinyC3D((4, 4, 8, 12), temporal), ("stages.2.2", "stages.3"), 16, 3, 8, refine=True)
                        for temporal in ((True,) * 4, (False, False, True, True)))
    window = replace(size.window, frames=16, side=20, crop=16, rate=5.0, stride=8)
    return replace(size, teacher=teacher, student=student, window=window, settings=Settings(1, 2, precision="fp32"))


@pytest.fixture
def root(make_video, tmp_path, monkeypatch):
    """Two videos in the released layout, two classes."""
    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name))
    monkeypatch.setattr(paths, "pretrained_dir", lambda: tmp_path / "pretrained")
    monkeypatch.setattr(detection_paper_size, "SETS", (MINIATURE,))
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
    assert size.student.of.temporal == TOP and size.teacher.refine and size.student.levels == 6
    assert (size.window.frames, size.window.rate, size.window.crop, size.window.stride) == (256, 10.0, 96, 128)
    made = recipes(SETS[0], paths.data_dir(), size)
    assert [condition for _, condition in made] == list(detection_paper_size.CONDITIONS)
    genkd = made["json", "det_genkd"]
    assert genkd.method.beta == 10 and genkd.method.alternating == genkd.settings.epochs == 100
    assert made["json", "det_student"].settings.epochs == 50 and genkd.settings.batch_size == 1
    assert made["json", "det_untrained"].method.teacher == "untrained"


def test_a_dry_run_says_what_is_missing_and_what_it_costs(tmp_path):
    text = dry_run(tmp_path, small())
    assert f"no folder {tmp_path / 'thumos14'}" in text and "kdlab paper detection --dry-run" in text
    assert "unknown without the videos (200 to train on)" in text and "a 1,000 windows" in text
    assert "32.6 → 33.7" in text and "not comparable" in text and "docs/methods.md, 2.3" in text


def test_with_the_videos_a_dry_run_counts_windows(root):
    text = dry_run(root, small())
    counts = text[text.index("one every 8") :].splitlines()[0]
    assert "found      yes" in text and counts == "one every 8: 3 to train on", "one of two validates"
    assert "a seed, all conditions" in text


def test_without_the_data_set_nothing_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match="THUMOS14 is left out: no folder"):
        run(tmp_path, small())


@pytest.mark.slow
def test_the_whole_in_miniature(root):
    said = []
    table = run(root, small(), say=said.append)
    assert table.index.tolist() == [("THUMOS14", c) for c in detection_paper_size.CONDITIONS]
    assert np.isfinite(table["0.1-0.5"]).all() and table.to_numpy().min() >= 0 and len(said) >= 4
