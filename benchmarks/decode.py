"""Our reader against bare decord and bare PyAV loops on the same indices: ratios of CPU time.

    python benchmarks/decode.py          # prints a table, writes benchmarks/decode.json; decord must be installed

Dark H.264 clips of `night` are made in a temporary folder; with KDLAB_REAL_CLIPS set, some real clips of each data set
in it follow. One thread, one process, interleaved repeats; the bare loops check nothing. "simple" is the loop that
PyAV's own pages show, with a new converter for each frame; "careful" keeps one.
"""

import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import decord
import numpy as np
from av.video.reformatter import VideoReformatter

from kdlab.night import Night, make_night
from kdlab.night.drawing import write_h264
from kdlab.system import paths
from kdlab.video.decode import read_frames

REPEATS, FILES = 7, 12
Indices = np.ndarray | None


def with_decord(path: Path, indices: Indices) -> np.ndarray:
    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(np.arange(len(reader)) if indices is None else indices).asnumpy()


def with_pyav(
    path: Path, indices: Indices, convert: Callable[[av.VideoFrame], np.ndarray]
) -> np.ndarray:
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        for number, frame in enumerate(container.decode(stream)):
            if indices is None or number == indices[len(found)]:
                found.append(convert(frame))
                if indices is not None and len(found) == len(indices):
                    break
    return np.stack(found)


def simple(path: Path, indices: Indices) -> np.ndarray:
    return with_pyav(path, indices, lambda frame: frame.to_ndarray(format="rgb24"))


def careful(path: Path, indices: Indices) -> np.ndarray:
    converter = VideoReformatter()
    return with_pyav(
        path, indices, lambda frame: converter.reformat(frame, format="rgb24").to_ndarray()
    )


WAYS = {
    "kdlab": lambda path, indices: read_frames(path, indices).frames,
    "decord": with_decord,
    "PyAV, simple": simple,
    "PyAV, careful": careful,
}


def spread(paths_: Sequence[Path], count: int | None) -> list[tuple[Path, Indices]]:
    """Each file with ``count`` indices spread evenly over it, or all frames."""
    lengths = [len(simple(path, None)) for path in paths_]
    return [
        (path, None if count is None else np.unique(np.linspace(0, length - 1, count).astype(int)))
        for path, length in zip(paths_, lengths, strict=True)
    ]


def measure(jobs: list[tuple[Path, Indices]]) -> dict:
    """Minimum, median and interquartile range in CPU ms per file, of each way in turn; and who returns other frames."""
    times, wrong = {name: [] for name in WAYS}, {}
    for name, way in WAYS.items():  # also the warm-up
        wrong[name] = sum(not np.array_equal(way(*job), simple(*job)) for job in jobs)
    for _ in range(REPEATS):
        for name, way in WAYS.items():
            start = time.process_time()
            for job in jobs:
                way(*job)
            times[name].append(1000 * (time.process_time() - start) / len(jobs))
    return {
        name: {
            "min_ms": round(min(column), 2),
            "median_ms": round(float(np.median(column)), 2),
            "iqr_ms": round(float(np.subtract(*np.quantile(column, [0.75, 0.25]))), 2),
            "files with other frames": wrong[name],
        }
        for name, column in times.items()
    }


def main() -> None:
    decord.logging.set_level(decord.logging.QUIET)
    with tempfile.TemporaryDirectory() as folder:
        records = make_night(Night(per_class=(1, 1, 1)), Path(folder) / "night", workers=1).records[
            :FILES
        ]
        sets = {"night (H.264, MP4)": [record.path for record in records]}
        film = np.concatenate([read_frames(path).frames for path in sets["night (H.264, MP4)"]])
        write_h264(Path(folder) / "film.mp4", film)
        sets[f"night, a film of {len(film)} frames"] = [Path(folder) / "film.mp4"]
        for name, pattern in (
            {"arid6": "*/*.mp4", "weizmann": "*/*.avi"}.items() if paths.real_clips() else ()
        ):
            files = sorted((paths.real_clips() / name).glob(pattern))
            if files:
                sets[name] = files[:: max(1, len(files) // FILES)][:FILES]
        rows = {
            f"{name}: {what}": measure(spread(files, count))
            for name, files in sets.items()
            for what, count in (("whole", None), ("16 frames", 16))
        }
    for name, row in rows.items():
        row["ratios of minima"] = {
            other: round(row["kdlab"]["min_ms"] / row[other]["min_ms"], 3)
            for other in WAYS
            if other != "kdlab"
        }
        print(
            f"{name:40}",
            *(f"{way} {row[way]['min_ms']:7.2f} ms" for way in WAYS),
            row["ratios of minima"],
        )
    about = {
        "python": platform.python_version(),
        "av": av.__version__,
        "decord": decord.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "repeats": REPEATS,
        "files per set": FILES,
    }
    Path(__file__).with_suffix(".json").write_text(
        json.dumps({"rows": rows, "environment": about}, indent=1)
    )


if __name__ == "__main__":
    main()
