"""The embedded data set: what is on disk, whose it is, and that it is the same everywhere."""

import os
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest
from av.video.frame import PictureType

from kdlab.night import ACTIONS, Night, make_night, render_clip, truth
from kdlab.night.drawing import group_of
from kdlab.video.compressed import modalities, scan
from tests.conftest import decoded
from tests.marks import luma
from tests.night.test_folder import contents

SMALL = Night(classes=("Jump", "Walk", "Wave"), per_class=(2, 1, 1), variety=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("night")
    make_night(SMALL, root, workers=2, progress=False)
    return root


@pytest.mark.parametrize(
    "values, word",
    [
        ({"classes": ("Walk", "Fly")}, "Fly"),
        ({"classes": ("Walk", "Walk")}, "Walk"),
        ({"classes": ()}, "classes"),
        ({"per_class": (3, 2)}, "per_class"),
        ({"variety": 1.5}, "1.5"),
    ],
)
def test_impossible_values_are_named(values, word):
    with pytest.raises(ValueError, match=word):
        Night(**values)


def test_an_unknown_clip_stream_or_worker_count_is_named(tmp_path):
    with pytest.raises(ValueError, match="Fly"):
        render_clip(SMALL, "train", "Fly", 0)
    with pytest.raises(ValueError, match="flow"):
        make_night(SMALL, tmp_path, stream="flow")
    with pytest.raises(ValueError, match="workers=0"):
        make_night(SMALL, tmp_path, workers=0)


@pytest.mark.parametrize("stream", ["dark", "dark_mpeg4", "bright"])
def test_every_stream_is_complete(folder, stream):
    catalogue = make_night(SMALL, folder, stream=stream)
    catalogue.require("train", "val", "test")
    assert catalogue.counts().to_numpy().tolist() == [[2, 1, 1]] * 3
    assert decoded(catalogue.records[0].path).shape == (36, 128, 160, 3)


def test_bits_do_not_depend_on_the_number_of_workers(folder, tmp_path):
    make_night(SMALL, tmp_path, workers=1, progress=False)
    by_two, by_one = contents(folder), contents(tmp_path)
    assert len(by_two) == 12 * 4 + 2
    assert [name for name in by_two if by_two[name] != by_one[name]] == []


def test_resume_remakes_only_what_is_missing(folder):
    records = make_night(SMALL, folder).records
    lost, kept = records[3].path, records[4].path
    before = lost.read_bytes()
    kept_time = kept.stat().st_mtime_ns
    lost.unlink()
    make_night(SMALL, folder, workers=1, progress=False)
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == kept_time
    # temporary files are left
    assert not list(folder.rglob(".*.mp4*"))


def test_a_smaller_set_is_a_subset_of_a_larger_one(folder):
    larger = {(r.id, r.group) for r in make_night(SMALL, folder).records}
    fewer = Night(classes=("Walk", "Jump"), per_class=(1, 1, 1), variety=0.5)
    assert {(r.id, r.group) for r in make_night(fewer, folder).records} < larger
    assert fewer.name == SMALL.name
    assert fewer.fingerprint() != SMALL.fingerprint()


def test_groups_hold_several_classes_and_one_split():
    splits, classes = {}, {}
    spec = Night(per_class=(24, 4, 12))
    for split in ("train", "val", "test"):
        for index in range(spec.count(split)):
            for name in ACTIONS:
                group = group_of(spec.seed, split, name, index)[1]
                splits.setdefault(group, set()).add(split)
                classes.setdefault(group, []).append(name)
    assert all(len(s) == 1 for s in splits.values())
    assert all(len(c) == len(set(c)) and len(c) in (3, 4) for c in classes.values())


def test_mpeg4_and_its_h264_have_only_i_and_p_frames_in_groups_of_twelve(folder):
    for stream in ("dark_mpeg4", "bright", "bright_h264"):
        record = next(r for r in make_night(SMALL, folder, stream=stream).records if "Walk" in r.id)
        assert scan(record.path).info.codec == ("h264" if "h264" in stream else "mpeg4")
        assert scan(record.path).kinds == ("I" + "P" * 11) * 3
        assert sum(frame.motion.any() for frame in modalities(record.path)) > 20


def test_h264_is_as_people_have_it(folder):
    with av.open(str(make_night(SMALL, folder).records[0].path)) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        assert PictureType.B in {frame.pict_type for frame in file.decode(video=0)}


def test_twins_show_the_same_scene(folder):
    for dark, bright in zip(
        make_night(SMALL, folder).records,
        make_night(SMALL, folder, stream="bright").records,
        strict=True,
    ):
        a, b = (
            cv2.resize(luma(decoded(r.path))[20], (40, 32), interpolation=cv2.INTER_AREA)
            for r in (dark, bright)
        )
        same = np.corrcoef(np.log(a + 1).ravel(), np.log(b + 1).ravel())[0, 1]
        shifted = np.corrcoef(np.log(a[:, 5:] + 1).ravel(), np.log(b[:, :-5] + 1).ravel())[0, 1]
        assert same > 0.8
        assert same > shifted


def test_truth_shows_an_actor_that_moves(folder):
    on_actor = []
    for record in make_night(SMALL, folder, stream="bright").records:
        found = truth(record)
        masks, joints = found["masks"], found["joints"]
        assert masks.shape == (36, 128, 160)
        assert joints.shape == (36, 19, 2)
        assert masks.mean() > 0.005
        assert (masks[1:] ^ masks[:-1]).any(axis=(1, 2)).mean() > 0.5
        x, y = joints[:, list(found["joint_names"]).index("chest")].round().astype(int).T
        seen = (x >= 0) & (x < 160) & (y >= 0) & (y < 128)
        on_actor.extend(masks[np.arange(36)[seen], y[seen], x[seen]])
        assert {"level", "tone", "electrons"} <= set(found)
    assert np.mean(on_actor) > 0.8  # a box or a chair may stand before the actor


def test_a_clip_does_not_depend_on_the_kernels_of_matrix_products():
    """These had other pixels where OpenBLAS multiplied by its AVX-512 kernel."""
    code = """
import hashlib, numpy
from kdlab.night import Night, render_clip
content = hashlib.sha256()
for split, name, index in (("test", "Jump", 1), ("train", "Jump", 4)):
    clip = render_clip(Night(variety=0.25), split, name, index)
    content.update(clip.dark.tobytes() + clip.bright.tobytes())
print(content.hexdigest())
"""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OPENBLAS_CORETYPE": kernel},
        )
        for kernel in ("Haswell", "SkylakeX")
    ]
    assert len({run.communicate()[0] for run in runs}) == 1
    assert all(run.returncode == 0 for run in runs)
