"""Other decoders are a second opinion: no training depends on them, and what they read otherwise is told."""

import re
import sys
from types import ModuleType

import numpy as np
import pytest

from kdlab.clips.views import Raw
from kdlab.datasets.check import by_decoder, check
from kdlab.night import Night
from kdlab.train.recipe import Recipe, from_json, to_json
from kdlab.video import decoders
from kdlab.video.decode import read_frames
from tests.conftest import cut


@pytest.fixture(params=["decord", "torchcodec"])
def decoder(request):
    try:
        decoders.library(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture
def broken(monkeypatch):
    """``broken(load, read)``: torchcodec raises one of these errors when it is imported, or when it opens a file."""

    def make(load=None, read=None):
        def opened(*args, **options):
            raise read

        class Module(ModuleType):
            def __getattr__(self, name):
                if load:
                    raise load
                return opened

        monkeypatch.setattr(
            decoders, "importlib", Module("importlib") if load else decoders.importlib
        )
        monkeypatch.setitem(sys.modules, "torchcodec", Module("torchcodec"))
        monkeypatch.setitem(sys.modules, "torchcodec.decoders", Module("torchcodec.decoders"))
        decoders.library.cache_clear()

    yield make
    decoders.library.cache_clear()


CAUSES = [
    ({"load": ModuleNotFoundError("No module named 'torchcodec'")}, "does not load"),
    (
        {"load": RuntimeError("Could not load libtorchcodec. Likely causes:\n 1. no FFmpeg")},
        "does not load",
    ),
    ({"read": RuntimeError("Could not open the file:\n no AV1")}, "torchcodec cannot read it"),
]


@pytest.mark.parametrize("errors, what", CAUSES)
def test_a_decoder_that_does_not_load_or_read_tells_its_own_cause(broken, make_video, errors, what):
    path = make_video("set/a/a.mp4", frames=3)
    broken(**errors)
    [error] = errors.values()
    cause = re.escape(" ".join(str(error).split()))
    with pytest.raises(ValueError, match=rf"{what} \({cause}\)") as said:
        read_frames(path, decoder="torchcodec")
    assert "Replace" not in str(said.value)
    assert re.search(rf"{what} \({cause}\)", by_decoder(check(path.parents[1])))


def test_no_training_depends_on_a_decoder(make_video, monkeypatch):
    before = Recipe("ce_raw", Night()).name
    monkeypatch.setenv("KDLAB_DECODER", "decord")  # it chose the decoder in earlier versions
    assert Recipe("ce_raw", Night()).name == before
    # as in the names of runs
    assert to_json(Raw()) == {"type": "kdlab.clips.views:Raw", "decoder": "pyav"}
    assert from_json(to_json(Raw())) == Raw() and Raw().name == "raw"
    with pytest.raises(ValueError, match=r"^decoder='decord': give 'pyav'$"):
        from_json(to_json(Raw()) | {"decoder": "decord"})
    with pytest.raises(
        ValueError, match=r"^no decoder 'opencv': use pyav or decord or torchcodec$"
    ):
        read_frames(make_video("a.mp4", frames=3), decoder="opencv")


# 48 wide: four channels, it says
@pytest.mark.parametrize(
    "name, how",
    [
        ("a.mp4", {}),
        ("b.mkv", {"bf": "3", "g": "10"}),
        ("b.avi", {"bf": "2", "g": "12", "codec": "mpeg4"}),
        ("open_gop.mp4", {"g": "10", "x264-params": "open-gop=1:bframes=3"}),
        ("odd.mp4", {"size": (75, 43), "pix_fmt": "yuv444p"}),
        ("one.mp4", {"frames": 1}),
        ("phone.mp4", {}),
        ("narrow.mp4", {"size": (48, 32)}),
    ],
)
def test_another_decoder_gives_pyavs_frames_whole_and_single(
    decoder, make_video, turned, name, how
):
    path = make_video(name, **how)
    if name == "phone.mp4":
        turned(path)
    if (decoder, name) == ("torchcodec", "b.avi"):
        pytest.skip("see below")
    ours = read_frames(path).frames
    assert np.array_equal(read_frames(path, decoder=decoder).frames, ours)
    wanted = [len(ours) - 1, 0, len(ours) // 2]
    assert np.array_equal(read_frames(path, wanted, decoder=decoder).frames, ours[wanted])
    with pytest.raises(ValueError, match=r"reading it gave 0 frames; 1 or more were asked for"):
        read_frames(path, [len(ours)], decoder=decoder)


def test_what_another_decoder_reads_otherwise_is_told_by_file(decoder, make_video, turned, trimmed):
    for name in ("a.mp4", "b.avi", "cut.avi"):
        path = make_video(f"set/x/{name}", frames=60, size=(128, 96), codec="mpeg4", g="10")
    # damaged, which PyAV says
    cut(path, 0.7)
    if decoder == "decord":
        turned(make_video("set/x/mirror.mp4", g="10"), (-65536, 0, 0, 65536))
        trimmed(make_video("set/x/long.mp4", g="10", bf="2"))
        files = 5
        lines = {
            "mirror.mp4": "frame 0 is another",
            "trimmed_long.mp4": r"frame \d+ is another or missing",
        }
    else:
        make_video("set/x/packed.avi", bf="2", g="12", codec="mpeg4")
        files = 3
        lines = {"packed.avi": "(frame 39 is another or missing|.*torchcodec cannot read it)"}
    words = by_decoder(check(path.parents[1]))
    assert f"{decoder} reads {files - len(lines)} of {files} sound files as PyAV does" in words
    for name, how in lines.items():
        assert re.search(rf"\n    x/{name}: {how}", words)
