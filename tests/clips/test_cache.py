"""A cached clip equals a decoded one, whatever happens to the folder, the clip or the process beside."""

import os
import tracemalloc
import warnings

import numpy as np
import pytest

from kdlab.clips.cache import FrameCache, file_key, resize
from kdlab.datasets.user_clips import UserClips
from kdlab.video.container import DamagedClip, probe, timeline


class Reader:
    """Reads a "clip" that is a text file holding a seed: 20 frames of noise; counts how often, and what, it reads."""

    def __init__(self):
        self.reads = []

    def __call__(self, path, indices=None):
        self.reads.append(indices)
        rng = np.random.default_rng(int(path.read_text()))
        frames = rng.integers(0, 256, (20, 24, 36, 3), dtype=np.uint8)
        return frames if indices is None else frames[indices]


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.txt"
    path.write_text("7")
    return path


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


WANTED = [19, 0, 5, 5]


def expected(clip):
    return resize(Reader()(clip), 12)[WANTED]


def test_a_clip_is_read_once_and_in_no_later_process(root, clip):
    cache = FrameCache(root)
    read = Reader()
    for _ in range(3):
        got = cache.frames(clip, WANTED, 12, read)
        assert np.array_equal(got, expected(clip))
        assert got.shape == (4, 12, 18, 3)
    assert cache.length(clip, 12, read) == 20
    assert FrameCache(root).length(clip, 12, read) == 20
    assert np.array_equal(FrameCache(root).frames(clip, WANTED, 12, read), expected(clip))
    assert len(read.reads) == 1


def test_shrinking_is_the_mean_over_the_area():
    frames = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3), dtype=np.uint8)
    mean = frames.reshape(1, 4, 2, 6, 2, 3).mean(axis=(2, 4))
    assert np.abs(resize(frames, 4) - mean).max() <= 0.5


def test_a_changed_clip_is_read_afresh(root, clip):
    cache = FrameCache(root)
    read = Reader()
    before = cache.frames(clip, WANTED, 12, read)
    status = clip.stat()
    # as long as before; then also of the same modification time
    for text, later in (("8", 1), ("9", 1)):
        clip.write_text(text)
        os.utime(clip, ns=(status.st_atime_ns, status.st_mtime_ns + later))
        after = cache.frames(clip, WANTED, 12, read)
        assert not np.array_equal(before, after)
        assert np.array_equal(after, expected(clip))
        before = after


def test_two_clips_of_one_size_and_time_that_change_places_are_read_afresh(make_video, tmp_path):
    """Their headers, times and vectors too."""
    one = make_video("one.avi", frames=12, codec="rawvideo", pix_fmt="yuv420p", rate=25)
    other = make_video("two.avi", frames=12, codec="rawvideo", pix_fmt="yuv420p", rate=10)
    clips = UserClips(str(tmp_path))
    (tmp_path / "index.csv").write_text("path,label,split\none.avi,a,train\ntwo.avi,b,test\n")

    def seen():
        for path in (one, other):
            os.utime(path, (10**9, 10**9))
        assert one.stat().st_size == other.stat().st_size
        return [
            (probe(path).fps, timeline(path).seconds) for path in (one, other)
        ], clips.recent_fingerprint()

    before, name = seen()
    third = one.rename(tmp_path / "third.avi")
    other.rename(one)
    third.rename(other)
    clips.fingerprint()  # as every training asks for it
    after, new_name = seen()
    assert after == before[::-1] and new_name != name


@pytest.mark.parametrize("fresh", [True, False], ids=["new process", "same process"])
@pytest.mark.parametrize("left", [-1, 40, 0, None])  # cut, half a header, empty, gone
def test_a_damaged_cache_file_is_made_again(root, clip, left, fresh):
    cache = FrameCache(root)
    read = Reader()
    cache.frames(clip, WANTED, 12, read)
    (file,) = root.iterdir()
    whole = file.read_bytes()
    file.unlink() if left is None else file.write_bytes(whole[:left])
    again = FrameCache(root) if fresh else cache
    assert np.array_equal(again.frames(clip, WANTED, 12, read), expected(clip))
    assert file.read_bytes() == whole


def test_frames_one_by_one_are_never_held_together(root, clip):
    """20 frames of 480x720 pixels, a megabyte each, in the memory of a few."""

    def read(path, indices=None):
        for number in range(20) if indices is None else indices:
            yield np.full((480, 720, 3), number, np.uint8)

    tracemalloc.start()
    try:
        for cache in (FrameCache(root), FrameCache(root / "none", limit_bytes=0)):
            with warnings.catch_warnings(record=True):
                assert cache.length(clip, 48, read) == 20
                assert cache.frames(clip, [19, 3, 3], 48, read)[:, 0, 0, 0].tolist() == [19, 3, 3]
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_a_clip_damaged_at_its_end_leaves_nothing_in_the_cache(root, clip):
    def read(path):
        yield from Reader()(path)
        raise DamagedClip(path, "truncated: 30 frames announced, 20 found")

    for _ in range(2):
        with pytest.raises(DamagedClip):
            FrameCache(root).length(clip, 12, read)
    assert list(root.iterdir()) == []


def test_above_the_limit_only_the_frames_asked_for_are_read(root, tmp_path):
    clips = [tmp_path / f"{seed}.txt" for seed in range(4)]
    for seed, clip in enumerate(clips):
        clip.write_text(str(seed))
    one = 20 * 12 * 18 * 3
    cache = FrameCache(root, limit_bytes=int(2.5 * one))
    read = Reader()
    with pytest.warns(
        RuntimeWarning, match="limit of KDLAB_CACHE_GB.*let KDLAB_CACHE_GB allow more"
    ) as warned:
        for _ in range(2):
            for clip in clips:
                assert np.array_equal(cache.frames(clip, WANTED, 12, read), expected(clip))
    assert len(warned) == 1
    assert len(list(root.glob("*.npy"))) == 2
    # two that were kept, and the one that met the limit
    assert sum(asked is None for asked in read.reads) == 3
    assert [list(asked) for asked in read.reads if asked is not None] == [sorted(set(WANTED))] * 4
    assert cache.length(clips[3], 12, read) == 20


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path, clip):
    # a file for a parent: root may write anywhere else
    (tmp_path / "file").write_text("in the way")
    cache = FrameCache(tmp_path / "file" / "cache")
    with pytest.warns(RuntimeWarning, match="KDLAB_CACHE") as warned:
        for _ in range(2):
            assert np.array_equal(cache.frames(clip, WANTED, 12, Reader()), expected(clip))
        assert cache.length(clip, 12, Reader()) == 20
    assert len(warned) == 1
    assert str(cache.root) in str(warned[0].message)


@pytest.mark.parametrize(
    "says, wrong",
    [
        ("frame indices .* has 20 frames", ([20], [-1], [0, 99])),
        ("the frame indices .* are no whole numbers", ([0.5], ["1"], [None])),
    ],
)
def test_an_index_that_is_none_of_the_clips_names_the_clip(root, clip, says, wrong):
    for indices in wrong:
        cache = FrameCache(root / str(indices))
        for _ in range(2):  # fresh from decoding, then from the cache
            with pytest.raises(ValueError, match=rf"clip\.txt: {says}"):
                cache.frames(clip, indices, 12, Reader())


def test_other_mistakes_are_named(root, clip, tmp_path):
    cache = FrameCache(root)
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4: no such file"):
        cache.frames(tmp_path / "gone.mp4", [0], 12)
    with pytest.raises(ValueError, match=r"clip\.txt: its view gave a frame of float32"):
        cache.length(clip, 12, lambda path: np.zeros((2, 24, 36, 3), np.float32), tag="half")
    assert cache.frames(clip, [], 12, Reader()).shape == (0, 12, 18, 3)


def test_file_key_is_of_content_not_place(tmp_path):
    data = np.random.default_rng(0).bytes(300_000)
    variants = [
        data,
        b"?" + data[1:],
        data[:-1] + b"?",
        data[:150_000] + data[150_001:],
        b"",
        data[:65_536],
    ]
    keys = []
    for content in 2 * variants:
        place = tmp_path / f"{len(keys)}.mp4"
        place.write_bytes(content)
        keys.append(file_key(place))
    assert keys[:6] == keys[6:] and len(set(keys)) == 6


def test_a_clip_that_is_held_is_not_asked_from_the_disk_again(make_video, tmp_path, monkeypatch):
    clip = make_video("clip.mp4", frames=12)
    cache = FrameCache(tmp_path / "cache")
    cache.hold()
    first, asked = cache.frames(clip, [3, 1], 24), []
    monkeypatch.setattr("kdlab.clips.cache.stamp", asked.append)
    assert np.array_equal(cache.frames(clip, [3, 1], 24), first) and cache.length(clip, 24) == 12
    assert not asked
    with pytest.raises(ValueError, match="frame indices 12 to 12 requested"):
        cache.frames(clip, [12], 24)
