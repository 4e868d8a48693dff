"""Views: known motion as flow, its mirror image, flow from pictures, and what finishes a batch."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdlab.clips.records import Catalogue, CatalogueError, ClipRecord
from kdlab.clips.untrimmed import Windows
from kdlab.clips.views import Flow, FlowFiles, MotionMix, Raw
from kdlab.clips.windows import Draw, Window
from kdlab.train.recipe import from_json, to_json
from kdlab.video.container import DamagedClip


def moving(steps):
    """uint8 (T, H, W, 3): a smooth texture, moved as a whole by each of ``steps`` (x, y) pixels in turn."""
    rough = np.random.default_rng(0).integers(0, 256, (64, 96), np.uint8)
    smooth = cv2.GaussianBlur(rough, (0, 0), 3)
    frames = [cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)]
    for x, y in steps:
        frames.append(np.roll(frames[-1], (y, x), (0, 1)))
    return np.repeat(np.stack(frames)[..., None], 3, -1)


@pytest.fixture
def clip(make_video):
    """Right by 3, down by 2, then left by 4: five frames."""
    frames = moving([(3, 0), (3, 0), (0, 2), (-4, 0)])
    return make_video("moving.mkv", pixels=frames, codec="ffv1", pix_fmt="bgr0")


def pixels(flow, bound=20.0):
    """The median motion of each frame, in pixels, away from the border."""
    return (
        (np.median(flow[:, 12:-12, 12:-12].reshape(len(flow), -1, 2), axis=1) - 128) / 127 * bound
    )


def test_known_motion_comes_out_in_pixels(clip):
    flow = Flow().read(clip)
    assert flow.dtype == np.uint8 and flow.shape == (5, 64, 96, 2)
    known = [(3, 0), (3, 0), (3, 0), (0, 2), (-4, 0)]
    assert np.abs(pixels(flow) - known).max() < 0.3
    assert np.array_equal(flow[0], flow[1])  # the first frame has the second's
    assert np.abs(pixels(Flow(bound=5).read(clip), 5) - known).max() < 0.2
    # cut
    assert pixels(Flow(bound=2).read(clip), 2)[1:, 0] == pytest.approx([2, 2, 0, -2], abs=0.2)


def test_one_frame_has_no_flow(make_video):
    with pytest.raises(ValueError, match="one frame"):
        Flow().read(make_video("one.mkv", pixels=moving([]), codec="ffv1", pix_fmt="bgr0"))


# --- mirrored clips --------------------------------------------------------------------------------------------


def test_flow_of_the_mirrored_clip_is_the_mirrored_flow(clip, make_video):
    mirrored = make_video(
        "mirrored.mkv", pixels=Raw().read(clip)[:, :, ::-1], codec="ffv1", pix_fmt="bgr0"
    )
    flow = Flow().read(clip)
    draw = Draw(np.arange(5), flip=True)
    window = Window(5, 40, 40)
    turned = window.shown(draw, flow, Flow())
    truth = window.shown(Draw(np.arange(5)), Flow().read(mirrored))
    assert np.median(np.abs(turned.astype(int) - truth)) <= 1
    assert np.abs(pixels(turned)[:, 0] - [-3, -3, -3, 0, 4]).max() < 0.3
    # what a plain draw would show
    assert np.abs(pixels(window.shown(draw, flow))[:, 0] - [3, 3, 3, 0, -4]).max() < 0.3


# --- pictures --------------------------------------------------------------------------------------------------


def test_flow_is_read_from_pictures_beside_the_clips(clip, tmp_path):
    place = tmp_path / "flows" / "moving"
    place.mkdir(parents=True)
    for k in range(4):  # flow_x_8, 9, 10 and 11: as text, 10 and 11 would come first
        for axis, value in (("x", 10 * k), ("y", 200 + k)):
            cv2.imwrite(str(place / f"flow_{axis}_{k + 8}.png"), np.full((6, 8), value, np.uint8))
    view = FlowFiles(str(tmp_path / "flows"), "flow_x_*.png", "flow_y_*.png")
    flow = view.read(clip)
    assert flow.shape == (5, 6, 8, 2)  # one for each frame of the clip
    assert flow[:, 0, 0].tolist() == [[0, 200], [0, 200], [10, 201], [20, 202], [30, 203]]
    assert np.array_equal(view.read(clip, [3, 0]), flow[[3, 0]])
    with pytest.raises(
        FileNotFoundError, match="has 4 pictures flow_x.*the flow of all of .*moving.mkv"
    ):
        view.read(clip, [0, 5])
    assert from_json(to_json(view)) == view
    assert str(tmp_path) not in str(to_json(view, lambda part: part.contents()))
    (place / "flow_x_9.png").write_bytes(b"no picture")
    with pytest.raises(DamagedClip, match=r"flow_x_9.png: damaged: no picture"):
        view.read(clip)
    (place / "flow_x_9.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"moving has 3 pictures flow_x.* and 4 flow_y.*moving.mkv"
    ):
        view.read(clip)


def test_clips_of_one_name_have_pictures_of_their_own_or_are_refused(tmp_path):
    view, records = FlowFiles(str(tmp_path), "x.png", "y.png"), []
    without = view.contents()
    for label, name in enumerate(("Run", "Sit")):
        place, path = tmp_path / name / "1", Path("clips", name, "1.mp4")
        place.mkdir(parents=True)
        for axis in "xy":
            cv2.imwrite(str(place / f"{axis}.png"), np.full((6, 8), label, np.uint8))
        assert view.read(path).max() == label
        records.append(ClipRecord(name, path, label, "train", "g"))
    assert view.contents() != without
    clips = Catalogue("mine", tmp_path, ("Run", "Sit"), tuple(records))
    Window().batches(clips, "train", {"student": view})
    place.rename(tmp_path / "1")
    (tmp_path / "Run").rename(tmp_path / "other")
    for window in (Window(), Windows()):
        with pytest.raises(CatalogueError, match="Run/1.mp4 and clips/Sit/1.mp4 .* put the flow"):
            window.batches(clips, "train", {"student": view})


# --- what finishes a batch -----------------------------------------------------------------------------------------


def test_motion_mix_shows_appearance_difference_from_the_background_and_change():
    video = torch.full((1, 3, 5, 4, 4), 0.5)
    video[0, :, 3, 1, 2] = 0.9  # one pixel lights up in one frame
    mixed = MotionMix().finish(video)
    grey, still, change = mixed[0]
    assert mixed.shape == (1, 3, 5, 4, 4)
    assert still[3, 1, 2] > 0 and still.count_nonzero() == 1
    assert change[3, 1, 2] > 0 > change[4, 1, 2] and change.count_nonzero() == 2
    assert grey.mean().abs() < 1e-5 and grey.square().mean().sqrt() == pytest.approx(1, rel=0.1)
    # nothing moves, nothing shows
    assert MotionMix().finish(torch.full((2, 3, 4, 4, 4), 0.3)).abs().max() < 1e-3
