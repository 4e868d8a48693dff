"""What several tests need: tiny videos with known content, and the user's own clips where there are any."""

import importlib.util
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kdlab.system import paths

#: What takes longest begins first, so that of several processes none waits for another at the end: all notebooks, then
#: these files. The closing table of `make test` and its JUnit report tell the times.
LONGEST = (
    "08_progressive_distillation_and_wise.ipynb",
    "09_flatness_and_sharpness.ipynb",
    "01_data_and_enhancement.ipynb",
    "test_stranger.py",
    "test_runs.py",
    "test_many.py",
)


def pytest_configure(config):
    """Each of several processes keeps to a core of its own, and so do the kernels it starts: what a notebook trains it
    trains itself there, because processes for three steps of training would import for longer than they train."""
    if hasattr(config, "workerinput") and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        number = int(config.workerinput["workerid"].removeprefix("gw"))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def pytest_collection_modifyitems(items):
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(
        key=lambda item: (item.path.suffix != ".ipynb", place.get(item.path.name, len(place)))
    )


@pytest.fixture(autouse=True)
def usual_environment(monkeypatch):
    """No test has the profile that `make test` gives to the notebooks beside it, nor that of somebody's shell."""
    for name in ("KDLAB_PROFILE", "KDLAB_HEADLESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def real_clips() -> Path:
    """The folder ``$KDLAB_REAL_CLIPS``; the test is skipped where it is not set."""
    root = paths.real_clips()
    if root is None:
        pytest.skip("needs real clips: set KDLAB_REAL_CLIPS to their folder")
    return root


def pattern(frames: int, width: int, height: int) -> np.ndarray:
    """uint8 (T, H, W, 3): a bright box walks right over a background that brightens by 5 in each frame."""
    video = np.zeros((frames, height, width, 3), np.uint8)
    for t, frame in enumerate(video):
        frame[:] = 5 * t % 200
        left = 2 * t % (width - 12)
        frame[height // 4 : height // 2, left : left + 12] = 255
    return video


def moving(frames: int, width: int = 128, height: int = 96, block: int = 8) -> np.ndarray:
    """uint8 (T, H, W, 3): coloured blocks that all walk right by 2 and down by 3 pixels a frame, and come round again."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (height // block + 1, width // block + 1, 3), np.uint8)
    picture = blocks.repeat(block, 0).repeat(block, 1)[:height, :width]
    return np.stack([np.roll(picture, (3 * t, 2 * t), (0, 1)) for t in range(frames)])


def square(direction: int, phase: int) -> np.ndarray:
    """Ten dark frames of 48 × 32 in which a square walks left or right; where it starts tells nothing."""
    video = np.full((10, 32, 48, 3), 8, np.uint8)
    for t, frame in enumerate(video):
        x = (phase + 3 * direction * t) % 40
        frame[10:18, x : x + 8] = 60
    return video


def encode(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    rate: int = 25,
    pts: list[int] | None = None,
    pix_fmt: str = "yuv420p",
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Write uint8 (T, H, W, 3) frames as a video; ``options`` go to the encoder, ``pts`` are times in frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if container is None and path.suffix in (".mp4", ".mov"):
        # the header in front, so that a file cut in the middle still opens
        container = {"movflags": "faststart"}
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for t, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = pts[t] if pts else t
            frame.time_base = Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def touch(root: Path, *names: str) -> Path:
    """Files below ``root``, each of which holds its own name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(name))
    return root


def table(path: Path, *lines: str, newline: str = "\n", encoding: str = "utf-8") -> Path:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((newline.join(lines) + newline).encode(encoding))
    return path


def walks(root: Path, **counts: int) -> Path:
    """Squares that walk left or right, so many of each in the splits ``counts``, and their table, in ``root``."""
    lines = ["path,label,split,group"]
    for split, count in counts.items():
        for label, direction in (("left", -1), ("right", 1)):
            for n in range(count):
                path = f"{label}/{split}{n}.mp4"
                encode(root / path, square(direction, 5 * n + (split == "test")))
                lines.append(f"{path},{label},{split},{split}{n}")
    table(root / "index.csv", *lines)
    return root


def cut(path: Path, share: float = 0.5) -> None:
    """Leave only this first share of the file's bytes."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def overwrite(path: Path, content: bytes, at: float = 0.5) -> None:
    """Other bytes behind this share of the file."""
    data = bytearray(path.read_bytes())
    place = int(at * len(data))
    data[place : place + len(content)] = content
    path.write_bytes(data)


def interrupted_at(step: int):
    """A ``progress`` of trainings that ends them before this step, as Ctrl-C does."""

    def progress(steps, *_, **__):
        for number in steps:
            if number == step:
                raise KeyboardInterrupt
            yield number

    return progress


def script(path: Path):
    """A Python file that stands in no package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    del sys.modules[spec.name]
    return module


def ran(*call: str, **how) -> subprocess.CompletedProcess:
    """A process that has ended, and what it printed."""
    return subprocess.run(call, capture_output=True, text=True, **how)


def said_by(code: str, *words: str, **how) -> str:
    """What a new Python prints that runs ``code``."""
    return ran(sys.executable, "-c", code, *words, check=True, **how).stdout


def decoded(path: Path) -> np.ndarray:
    """Every frame, by the plainest loop there is."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """``make_video("name.mp4", frames=40, size=(64, 48), codec=..., **options)`` writes a clip under tmp_path.

    Its pixels are ``pattern``, or those given: uint8 (T, H, W, 3).
    """

    def make(
        name: str,
        frames: int = 40,
        size: tuple[int, int] = (64, 48),
        pixels: np.ndarray | None = None,
        **how,
    ) -> Path:
        return encode(tmp_path / name, pattern(frames, *size) if pixels is None else pixels, **how)

    return make


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Call the command line in this process: ``command("run", "3")`` gives exit code, stdout, stderr."""
    from kdlab.cli import main

    monkeypatch.setattr(main.signal, "signal", lambda *_: None)

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main.main([str(argument) for argument in arguments])
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def refused(command):
    """``refused("run", "3")``: the sentence with which the command line refuses this call."""

    def call(*arguments):
        code, out, error = command(*arguments)
        assert (code, out) == (2, ""), error
        return error

    return call


def set_places(patch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in ("RUNS", "CACHE", "DATA", "FIGURES"):
        patch.setenv(f"KDLAB_{name}", str(folder / name))
    patch.setattr(paths, "pretrained_dir", lambda: folder / "pretrained")


@contextmanager
def places_in(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Inside, runs, cache, data, figures and committed weights lie under ``folder``: for tests that share them."""
    with pytest.MonkeyPatch.context() as patch:
        set_places(patch, folder)
        yield patch


@pytest.fixture
def own_places(tmp_path, monkeypatch):
    """The places of :func:`places_in`, for one test, under ``tmp_path``, which is returned. The test's own
    ``monkeypatch`` sets them: two of them would undo each other's values in the wrong order."""
    set_places(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def styled():
    """Figures in kdlab's own style, as notebooks have them."""
    from matplotlib import pyplot as plt

    from kdlab.show.notebook import style

    with plt.rc_context():
        style()
        yield


def words(fig) -> str:
    """All texts that a picture shows, a line each."""
    from matplotlib.text import Text

    fig.canvas.draw()
    return "\n".join(text.get_text() for text in fig.findobj(Text) if text.get_visible())


# --- files as phones and trimming tools leave them -----------------------------------------------------------------


@pytest.fixture
def hurt(make_video):
    """``hurt(name)``: a video of noise with B-frames, in which two hundred bytes of the fifth frame stored are zero."""

    def make(name: str) -> Path:
        noise = np.random.default_rng(0).integers(0, 255, (30, 96, 128, 3)).astype(np.uint8)
        path = make_video(
            name, pixels=noise, g="15", bf="2", **{"x264-params": "scenecut=0:b-adapt=0"}
        )
        with av.open(str(path)) as container:
            packet = [packet for packet in container.demux(video=0) if packet.size][4]
            middle = packet.pos + packet.size // 3
        data = bytearray(path.read_bytes())
        data[middle : middle + 200] = bytes(200)
        path.write_bytes(data)
        return path

    return make


def remuxed(old: Path, new: Path, choose=lambda packets: packets, **how) -> Path:
    """The packets of a video, or what ``choose`` makes of them, in another file, which is opened ``how``."""
    with av.open(str(old)) as source, av.open(str(new), "w", **how) as out:
        copy = out.add_stream_from_template(source.streams.video[0])
        for packet in choose([packet for packet in source.demux(video=0) if packet.size]):
            packet.stream = copy
            out.mux(packet)
    return new


@pytest.fixture
def turned():
    """``turned(path, (a, b, c, d))``: the MP4 file, saying that its pictures are to be turned or mirrored."""

    def turn(path: Path, matrix: tuple[int, int, int, int] = (0, 65536, -65536, 0)) -> Path:
        header = bytearray(path.read_bytes())
        a, b, c, d = matrix
        place = header.find(
            struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), header.find(b"tkhd")
        )
        header[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(header)
        return path

    return turn


@pytest.fixture
def trimmed():
    """``trimmed(path)``: a copy of an MP4 file whose edit list hides its first ``seconds``."""

    def trim(path: Path, seconds: float = 0.2) -> Path:
        def earlier(packets):
            for packet in packets:
                hidden = int(seconds / packet.time_base)
                packet.pts -= hidden
                packet.dts -= hidden
            return packets

        new_path = path.with_name(f"trimmed_{path.name}")
        return remuxed(path, new_path, earlier, options={"avoid_negative_ts": "disabled"})

    return trim
