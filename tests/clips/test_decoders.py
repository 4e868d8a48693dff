"""Which decoder reads: chosen by name or variable, its frames kept apart, and no damage hidden by it."""

import re
import sys

import numpy as np
import pytest

from kdlab.clips import decode
from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import open_clips
from kdlab.clips.check import by_decoder
from kdlab.clips.decode import DamagedClip, each_frame, read_frames
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw
from kdlab.night import Night
from kdlab.night.darkened import Darkened
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.train.recipe import Recipe, from_json, to_json


@pytest.fixture(autouse=True)
def no_choice(monkeypatch, tmp_path):
    monkeypatch.delenv("KDLAB_DECODER", raising=False)
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["decord", "torchcodec"])
def decoder(request):
    try:
        return decode.chosen(request.param)
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["decord", "torchcodec"])
def absent(request, monkeypatch):
    for name in (request.param, f"{request.param}.decoders"):
        monkeypatch.setitem(sys.modules, name, None)
    decode._library.cache_clear()
    yield request.param
    decode._library.cache_clear()


def test_an_unknown_decoder_is_one_sentence_before_anything_is_read(monkeypatch, make_video):
    path = make_video("a.mp4", frames=3)
    for call in (lambda: Raw(decoder="opencv").name, lambda: read_frames(path, decoder="opencv")):
        with pytest.raises(ValueError, match=r"^no decoder 'opencv': use pyav or decord or torchcodec$"):
            call()
    monkeypatch.setenv("KDLAB_DECODER", "opencv")
    for call in (lambda: read_frames(path), lambda: Recipe("ce_raw", Night()).name, lambda: Raw().name):
        with pytest.raises(ValueError, match=r"^no decoder 'opencv' in KDLAB_DECODER: use pyav or decord or "):
            call()


def test_a_decoder_that_is_not_installed_is_one_sentence_with_the_mend(absent, make_video):
    path = make_video("set/a/a.mp4", frames=3)
    recipe = Recipe("ce_raw", Night(), Raw(decoder=absent))
    for call in (lambda: read_frames(path, decoder=absent), lambda: recipe.name):
        with pytest.raises(ValueError, match=rf"^the decoder {absent} cannot be used here .*install it .*or use pyav$"):
            call()
    assert len(read_frames(path).frames) == 3
    assert f"\n{absent:12} not installed" in by_decoder(open_clips(path.parents[1]))


def test_a_runs_identity_has_the_decoder(monkeypatch, decoder):
    plain, enhanced = Recipe("ce_raw", Night()), Recipe("ce_enhanced", Night(), Enhanced(Gamma()))
    assert to_json(Raw()) == to_json(Raw(decoder="pyav")) == {"type": "kdlab.clips.views:Raw", "decoder": "pyav"}
    assert plain.name == Recipe("ce_raw", Night(), Raw(decoder="pyav")).name
    before = plain.name, enhanced.name, TrainedCurves(Night()).name
    written = to_json(plain)
    monkeypatch.setenv("KDLAB_DECODER", decoder)
    names = plain.name, enhanced.name, TrainedCurves(Night()).name
    assert len({*before, *names}) == 6 and names[0] == Recipe("ce_raw", Night(), Raw(decoder=decoder)).name
    assert from_json(written).name == before[0], "what PyAV's run notes is PyAV's wherever it is read"
    monkeypatch.delenv("KDLAB_DECODER")
    assert from_json(to_json(Recipe("ce_raw", Night(), Raw(decoder=decoder)))).name == names[0]
    assert from_json(written) == plain


def test_frames_of_two_decoders_are_kept_apart(monkeypatch, decoder, make_video, tmp_path):
    path, cache = make_video("a.mp4", frames=12), FrameCache(tmp_path / "kept")
    views = [Raw(), Enhanced(Gamma()), Enhanced(Gamma(), Darkened(0.5)), Darkened(0.5)]
    before = [view.name for view in views]
    cache.frames(path, [0], 16)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    monkeypatch.setenv("KDLAB_DECODER", decoder)
    assert not {*before} & {view.name for view in views}
    cache.frames(path, [0], 16)
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.parametrize(("name", "how"), [
    ("a.mp4", {}), ("b.mkv", {"bf": "3", "g": "10"}), ("b.avi", {"bf": "2", "g": "12", "codec": "mpeg4"}),
    ("open_gop.mp4", {"g": "10", "x264-params": "open-gop=1:bframes=3"}),
    ("odd.mp4", {"size": (75, 43), "pix_fmt": "yuv444p"}), ("one.mp4", {"frames": 1}),
    ("phone.mp4", {}), ("narrow.mp4", {"size": (48, 32)})])  # 48 wide: four channels, it says
def test_another_decoder_gives_pyavs_frames_whole_and_single(decoder, make_video, turned, name, how):
    path = make_video(name, **how)
    if name == "phone.mp4":
        turned(path)
    if (decoder, name) == ("torchcodec", "b.avi"):
        pytest.skip("see below")
    ours = read_frames(path).frames
    assert np.array_equal(read_frames(path, decoder=decoder).frames, ours)
    wanted = [len(ours) - 1, 0, len(ours) // 2]
    assert np.array_equal(read_frames(path, wanted, decoder=decoder).frames, ours[wanted])
    with pytest.raises(ValueError, match=f"index {len(ours)} is outside the clip, which has {len(ours)} frames"):
        read_frames(path, [len(ours)], decoder=decoder)


def _cut(path):
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * 0.7)])


@pytest.mark.parametrize(("name", "codec"), [("cut.mp4", "libx264"), ("cut.avi", "mpeg4")])
@pytest.mark.parametrize("indices", [None, [0, 3]])
def test_damage_is_found_by_pyav_whoever_reads(decoder, make_video, name, codec, indices):
    path = make_video(name, frames=60, size=(128, 96), codec=codec, g="10")
    _cut(path)
    with pytest.raises(DamagedClip, match="truncated: 60 frames announced"):
        list(each_frame(path, indices, decoder))


def test_a_file_that_another_decoder_reads_otherwise_is_refused(decoder, make_video, turned, trimmed):
    cases = {"decord": [(turned(make_video("mirror.mp4", g="10"), (-65536, 0, 0, 65536)), "frame 0"),
                        (trimmed(make_video("long.mp4", g="10", bf="2")), r"frame \d+")],
             "torchcodec": [(make_video("b.avi", bf="2", g="12", codec="mpeg4"), "frame 39")]}  # it lacks the last one
    for path, why in cases[decoder]:
        with pytest.raises(DamagedClip, match=f"{decoder} reads {why} otherwise; PyAV .* reads it well"):
            read_frames(path, [0], decoder=decoder)


def test_a_table_of_the_decoders_names_the_files_that_they_read_otherwise(decoder, make_video):
    for name in ("a.mp4", "b.avi", "cut.avi"):
        path = make_video(f"set/x/{name}", frames=60, size=(128, 96), codec="mpeg4", g="10")
    _cut(path)
    words = by_decoder(open_clips(path.parents[1]))
    assert re.search(r"^pyav +\d+ +0 ", words, re.MULTILINE) and re.search(rf"^{decoder} +\d+ +1 ", words, re.MULTILINE)
    found = rf"\n  {decoder} differs:\n    x/cut.avi: \d+ frames, no fault; PyAV: \d+ frames, truncated"
    assert re.search(found, words)
