import numpy as np
import pytest
import torch

from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.enhance import Clahe, Gamma, HistogramEqualisation
from kdlab.clips.views import Enhanced, MotionMix, Raw
from kdlab.clips.windows import ClipBatches, Draw, Window
from tests.conftest import encode


def test_gamma_table_of_the_reference():
    """Values of docs/methods.md, section 1: gamma 1.8."""
    table = Gamma(1.8).table()
    assert {v: int(table[v]) for v in (0, 1, 5, 10, 20, 64, 128, 255)} == {
        0: 0, 1: 11, 5: 28, 10: 42, 20: 61, 64: 118, 128: 173, 255: 255}
    assert len(set(table.tolist())) == 202
    assert int(np.flatnonzero(np.diff(table.astype(int)) == 0)[0]) + 1 == 79


@pytest.mark.parametrize("enhancer", [Gamma(1.8), HistogramEqualisation(), Clahe()])
def test_enhancers_brighten_and_keep_shape(enhancer):
    frames = np.random.default_rng(0).integers(0, 30, (3, 24, 32, 3), dtype=np.uint8)
    before = frames.copy()
    out = enhancer(frames)
    assert out.shape == frames.shape and out.dtype == np.uint8 and out.mean() > frames.mean()
    assert np.array_equal(before, frames)


def test_moments_cover_the_clip_and_repeat_only_what_is_short():
    window = Window(frames=16, side=40, crop=36)
    assert window.moments(36, 0.5).tolist() == [1, 3, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    for length in (2, 7, 16, 17, 300):
        for offset in (0.0, 0.5, 0.999):
            moments = window.moments(length, offset)
            assert len(moments) == 16 and moments.min() >= 0 and moments.max() < length
            assert (np.diff(moments) >= 0).all()


def test_a_draw_cuts_where_it_says():
    pixels = np.arange(2 * 6 * 8, dtype=np.uint8).reshape(2, 6, 8, 1)
    assert np.array_equal(Window(2, 4, 4).shown(Draw(np.arange(2), 0, 0), pixels), pixels[:, :4, :4])
    assert np.array_equal(Window(2, 4, 4).shown(Draw(np.arange(2), 1, 1), pixels), pixels[:, 2:, 4:])
    flipped = Window(2, 4, 4).shown(Draw(np.arange(2), 1, 1, flip=True), pixels)
    assert np.array_equal(flipped, pixels[:, 2:, 4:][:, :, ::-1])


class Memory:
    """A cache over arrays in memory: path → frames, each view applied as it would be to a file."""

    def __init__(self, clips):
        self.clips = clips

    def length(self, path, side, read, tag):
        return len(self.clips[path])

    def frames(self, path, indices, side, read, tag):
        frames = self.clips[path]
        return (Gamma(1.8)(frames) if "gamma" in tag else frames)[indices]


def batches(lengths=(20, 30, 36), frames=8):
    rng = np.random.default_rng(0)
    clips = {f"c{i}": rng.integers(0, 60, (n, 20, 26, 3), dtype=np.uint8) for i, n in enumerate(lengths)}
    records = [ClipRecord(p, p, i % 2, "train", "g") for i, p in enumerate(clips)]
    views = {"student": Raw(), "teacher": Enhanced(Gamma(1.8))}
    return ClipBatches(records, views, Window(frames, 20, 16), Memory(clips))


def test_views_of_one_clip_share_crop_flip_and_moment():
    """The enhanced view is a table of the raw one, so the two tensors must agree pixel by pixel."""
    made = batches()
    generator = torch.Generator().manual_seed(0)
    table = torch.from_numpy(Gamma(1.8).table().astype(np.float32)) / 255
    for _ in range(5):
        batch = made.training([0, 1, 2, 0], generator)
        raw = (batch.views["student"] * 255).round().long()
        assert torch.allclose(table[raw], batch.views["teacher"])
    assert batch.views["student"].shape == (4, 3, 8, 16, 16)
    assert batch.views["student"].is_contiguous(memory_format=torch.channels_last_3d)


def test_training_draws_are_a_function_of_the_generator():
    made = batches()
    a, b, c = (made.training([0, 1], torch.Generator().manual_seed(s)).views["student"] for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_evaluation_is_centred_ordered_and_complete():
    made = batches()
    got = list(made.evaluation(batch_size=2))
    assert [b.ids for b in got] == [("c0", "c1"), ("c2",)]
    assert torch.equal(got[0].views["student"], next(made.evaluation(2)).views["student"])


def test_statistics_are_those_of_the_pixels():
    made = batches()
    pixels = torch.cat([b.views["teacher"] for b in made.evaluation()])
    mean, std = made.statistics("teacher")
    assert torch.allclose(mean, pixels.mean((0, 2, 3, 4)), atol=1e-5)
    assert torch.allclose(std, pixels.std((0, 2, 3, 4), correction=0), atol=1e-5)


def test_too_short_clips_are_named_together_before_training():
    with pytest.raises(ValueError, match="c1 has 2 frame.* 4 are the least for a window of 8"):
        batches((20, 2, 30)).check()
    with pytest.raises(ValueError, match="2 clips.*\n.*c0 has 1.*\n.*c2 has 3"):
        batches((1, 20, 3)).check()
    batches().check()


def test_motion_mix_shows_appearance_difference_from_the_background_and_change():
    video = torch.full((1, 3, 5, 4, 4), 0.5)
    video[0, :, 3, 1, 2] = 0.9  # one pixel lights up in one frame
    mixed = MotionMix().finish(video)
    grey, still, change = mixed[0]
    assert mixed.shape == (1, 3, 5, 4, 4)
    assert still[3, 1, 2] > 0 and still.count_nonzero() == 1
    assert change[3, 1, 2] > 0 > change[4, 1, 2] and change.count_nonzero() == 2
    assert grey.mean().abs() < 1e-5 and grey.square().mean().sqrt() == pytest.approx(1, rel=0.1)
    assert MotionMix().finish(torch.full((2, 3, 4, 4, 4), 0.3)).abs().max() < 1e-3  # nothing moves, nothing shows


def test_a_segment_of_a_longer_video_is_read_where_it_lies(tmp_path):
    video = np.repeat(np.arange(0, 240, 5, dtype=np.uint8), 32 * 32 * 3).reshape(48, 32, 32, 3)  # brighter and brighter
    encode(tmp_path / "long.mp4", video, rate=12)
    records = [ClipRecord(f"long@{start}", tmp_path / "long.mp4", 0, "train", "g", start, end)
               for start, end in ((1.0, 2.0), (3.0, None), (None, 0.5))]
    made = ClipBatches(records, {"student": Raw()}, Window(4, 32, 32), FrameCache(tmp_path / "cache"))
    assert [made.stretch(record) for record in records] == [(12, 12), (36, 12), (0, 6)]
    (batch,) = made.evaluation()
    seen = (255 * batch.views["student"]).mean((1, 3, 4)).round()
    assert torch.allclose(seen[0], torch.tensor([65.0, 80, 95, 110]), atol=4)
    assert seen[1].min() > 175 > seen[2].max()
    late = ClipRecord("long@9", tmp_path / "long.mp4", 0, "train", "g", 9.0, 10.0)
    with pytest.raises(ValueError, match="long@9"):
        made.length(late)


def test_a_steady_enhancer_looks_at_the_whole_clip_also_where_some_frames_are_asked_for(tmp_path):
    video = np.random.default_rng(0).integers(0, 60, (12, 32, 32, 3), dtype=np.uint8)
    video[6:] *= 2
    path = encode(tmp_path / "a.mp4", video)
    for enhancer in (HistogramEqualisation(steady=True), HistogramEqualisation()):
        view = Enhanced(enhancer)
        assert np.array_equal(view.read(path, [2, 9]), view.read(path)[[2, 9]])
