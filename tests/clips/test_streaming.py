"""Every view gives the same frames one by one as whole, in memory that the length of a clip does not change."""

import tracemalloc

import cv2
import numpy as np
import pytest

from kdlab.clips.cache import FrameCache, resize
from kdlab.clips.enhance import Clahe, Gamma, HistogramEqualisation
from kdlab.clips.records import ClipRecord
from kdlab.clips.untrimmed import AtRate
from kdlab.clips.views import Enhanced, Flow, MotionMix, Raw
from kdlab.clips.windows import ClipBatches, Window, open_all
from kdlab.night.darkened import Darkened
from kdlab.papers.dual_light.networks import BothLights
from kdlab.protocols import View
from kdlab.video.container import DamagedClip, probe
from kdlab.video.decode import read_frames
from tests.conftest import cut

STEADY = (HistogramEqualisation(True), Clahe(steady=True))


def plain(view, path):
    """What a view shows, computed of all frames at once, by its definition."""
    if isinstance(view, MotionMix):
        return plain(view.of, path)
    if isinstance(view, Enhanced):
        return view.by(plain(view.of, path))
    if isinstance(view, BothLights):
        frames = plain(view.of, path)
        return np.concatenate([frames, view.by(frames)], -1)
    if isinstance(view, AtRate):
        info = probe(path)
        frames = plain(view.of, path)
        steps = np.arange(max(1, int(len(frames) / info.fps * view.rate + 1e-6)))
        return frames[np.minimum((steps + 0.5) * info.fps / view.rate, len(frames) - 1).astype(int)]
    if isinstance(view, Flow):
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in plain(view.of, path)]
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow = np.stack([dis.calc(a, b, None) for a, b in zip(grey, grey[1:], strict=False)])
        rows = np.rint(128 + 127 * np.clip(flow / view.bound, -1, 1)).astype(np.uint8)
        return np.concatenate([rows[:1], rows])
    return read_frames(path).frames if view == Raw() else view.read(path)


class Cropped(View):
    """A view of somebody else's: no ``each_frame``."""

    name = "cropped"

    def read(self, path, indices=None):
        return read_frames(path, indices).frames[:, 2:-2]


VIEWS = [
    Raw(),
    Enhanced(Gamma()),
    Enhanced(HistogramEqualisation()),
    Enhanced(Clahe()),
    *map(Enhanced, STEADY),
    MotionMix(Enhanced(Gamma())),
    Flow(),
    Flow(of=Enhanced(Clahe())),
    BothLights(Gamma()),
    BothLights(STEADY[1]),
    AtRate(Raw(), 10.0),
    AtRate(Enhanced(STEADY[1]), 60.0),
    Darkened(),
    Enhanced(Gamma(), Darkened()),
    Cropped(),
    Enhanced(STEADY[0], Cropped()),
]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{type(view).__name__}-{view.name}")
@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_one_by_one_is_as_whole(make_video, tmp_path, view, name):
    noise = np.random.default_rng(0).integers(0, 60, (24, 46, 62, 3)).astype(np.uint8)
    path = make_video(
        name, pixels=noise, codec="libx264" if name == "a.mp4" else "mpeg4", g="6", bf="0"
    )
    whole, each = plain(view, path), view.yield_frames
    assert np.array_equal(np.stack(list(each(path))), whole)
    assert np.array_equal(view.read(path), whole)
    some = np.unique(np.array([0, 1, 7, 8, 20]).clip(max=len(whole) - 1))
    assert np.array_equal(np.stack(list(each(path, some))), whole[some])
    assert np.array_equal(view.read(path, [3, 0, 3]), whole[[3, 0, 3]])
    cache = FrameCache(tmp_path / "cache")
    for side in (20, 70):
        assert np.array_equal(
            cache.frames(path, range(len(whole)), side, each, view.name), resize(whole, side)
        )


@pytest.mark.parametrize(
    "view",
    [v for v in VIEWS if not any(word in v.name for word in ("dark", "crop", "steady"))],
    ids=lambda view: f"{type(view).__name__}-{view.name}",
)
def test_a_longer_clip_takes_no_more_memory(make_video, tmp_path, view):
    peaks = []
    for frames in (20, 50):
        path = make_video(f"{frames}.mp4", frames=frames, size=(160, 120), preset="ultrafast")
        clips = ClipBatches(
            [ClipRecord("a", path, 0, "train", "g")],
            {"x": view},
            Window(4, 20, 20),
            FrameCache(tmp_path / "cache"),
        )
        tracemalloc.start()
        try:
            open_all([clips])
            next(clips.evaluation())
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5 * 160 * 120 * 3


class Darker(Raw):
    """A class below one of kdlab's that knows of ``read`` alone."""

    def read(self, path, indices=None):
        return super().read(path, indices) // 2


def test_a_read_of_ones_own_is_never_passed_by(make_video):
    path = make_video("a.mp4")
    assert np.array_equal(
        np.stack(list(Darker().yield_frames(path))), read_frames(path).frames // 2
    )
    assert np.array_equal(
        Enhanced(Gamma(), of=Darker()).read(path), Gamma()(read_frames(path).frames // 2)
    )


def test_an_enhancer_of_ones_own_gets_the_clip_whole(make_video):
    class Rising:
        """Looks at all it is given, without saying so."""

        name = "rising"

        def __call__(self, frames):
            return (frames // 4 + np.arange(len(frames)).reshape(-1, 1, 1, 1)).astype(np.uint8)

    path = make_video("a.mp4")
    assert np.array_equal(Enhanced(Rising()).read(path), Rising()(read_frames(path).frames))
    steady = Rising()
    steady.steady = True
    assert np.array_equal(
        Enhanced(steady).read(path, [7, 30]), Rising()(read_frames(path).frames)[[7, 30]]
    )


def test_damage_behind_the_frames_asked_for_is_raised(make_video):
    path = make_video("a.avi", frames=60, size=(128, 96), codec="mpeg4", g="10")
    cut(path)
    for view in (
        Raw(),
        Enhanced(Gamma()),
        Flow(),
        BothLights(Gamma()),
        MotionMix(),
        AtRate(Raw(), 10.0),
    ):
        with pytest.raises(DamagedClip, match="truncated"):
            list(view.yield_frames(path, [0, 3]))
