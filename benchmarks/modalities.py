"""The compressed-domain reader against bare PyAV loops: ratios of CPU time at 340x256 in one thread.

    python benchmarks/modalities.py          # prints a table, writes benchmarks/modalities.json

Clips of `night` are made and transcoded to MPEG-4 and to H.264 in a temporary folder; with KDLAB_REAL_CLIPS set, real
clips of each data set in it follow, and all of them one after the other as one long film. One process, interleaved
repeats. "bare" decodes, exports motion vectors and converts to RGB with one kept converter; "bare decode" leaves the
vectors out, "vectors alone" the pixels and stacks the vectors, as "motion vectors as one array" does by kdlab; "usual"
calls `frame.to_ndarray` and computes nothing. "all arrays" has motion and residuals to both references, from one decode,
and their memory. mv-extractor 2 takes
part where it is installed, by `pip install --no-deps motion-vector-extractor`: with its dependencies it would put a
second OpenCV over kdlab's. Its vectors alone are those that it reads without converting frames.
"""

import json
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from kdlab.clips.cache import FrameCache
from kdlab.clips.coviar import MODALITIES, Compressed, tsn_frames
from kdlab.datasets.transcode import CoviarFormat, transcode
from kdlab.night import Night, make_night
from kdlab.night.drawing import write_mpeg4
from kdlab.system import paths
from kdlab.video.compressed import modalities, read, scan, vectors
from kdlab.video.decode import read_frames

try:
    from mvextractor.videocap import VideoCap
except ImportError:
    VideoCap = None

REPEATS, FILES, SIDE = 9, 4, 112


def bare(path: Path, motion: bool = True, pixels: bool = True) -> None:
    converter, blocks = VideoReformatter(), []
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        stream.codec_context.options = {"flags2": "+export_mvs"} if motion else {}
        for frame in file.decode(stream):
            if motion and (exported := frame.side_data.get("MOTION_VECTORS")):
                blocks.append(exported.to_ndarray())
            if pixels:
                converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    if motion and not pixels:
        np.concatenate(blocks)


def usual(path: Path) -> None:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        for frame in file.decode(stream):
            frame.to_ndarray(format="rgb24")


def every_frame(path: Path) -> None:
    for _ in modalities(path):
        pass


def not_accumulated(path: Path) -> None:
    for _ in modalities(path, accumulated=False):
        pass


def one_a_group(path: Path) -> None:
    """Places and pixels advanced on every P-frame; the last frame of each group alone is compared."""
    stream = scan(path)
    for _ in modalities(path, [*(stream.keys[1:] - 1), len(stream.kinds) - 1]):
        pass


def tsn(path: Path) -> None:
    for _ in modalities(path, tsn_frames(len(scan(path).kinds))):
        pass


def tsn_unscanned(path: Path) -> None:
    scan.__wrapped__(path)  # not from its cache
    tsn(path)


def extractor(path: Path, pixels: bool = True) -> None:
    video = VideoCap()
    video.open(str(path))
    video.set_decode_frames(pixels)
    while video.read()[0]:
        pass
    video.release()


WAYS: dict[str, Callable[[Path], None]] = {
    "bare": bare,
    "bare decode": partial(bare, motion=False),
    "vectors alone": partial(bare, pixels=False),
    "usual": usual,
    "every frame": every_frame,
    "every frame, not accumulated": not_accumulated,
    "one frame a group": one_a_group,
    "motion vectors as one array": vectors,
    "all arrays": read,
    "TSN by seeking": tsn,
    "TSN by seeking, first time": tsn_unscanned,
}
if VideoCap:
    WAYS |= {
        "mv-extractor": extractor,
        "mv-extractor, vectors alone": partial(extractor, pixels=False),
    }


def measure(files: list[Path]) -> dict:
    """CPU microseconds per frame of the files (also where not all are decoded), and speeds over that of the bare loop,
    of the minima and, for the spread, of each repeat."""
    for path in files:
        for way in WAYS.values():
            way(path)
    frames, times = sum(len(scan(path).kinds) for path in files), {name: [] for name in WAYS}
    for _ in range(REPEATS):
        for name, way in WAYS.items():
            start = time.process_time()
            for path in files:
                way(path)
            times[name].append(1e6 * (time.process_time() - start) / frames)
    low, middle, high = (
        np.quantile([np.array(times["bare"]) / column for column in times.values()], q, axis=1)
        for q in (0.25, 0.5, 0.75)
    )
    return {
        name: {
            "us": round(min(column), 1),
            "over bare": round(min(times["bare"]) / min(column), 3),
            "over usual": round(min(times["usual"]) / min(column), 3),
            "over bare, quartiles": [round(float(q[i]), 3) for q in (low, middle, high)],
        }
        for i, (name, column) in enumerate(times.items())
    }


def about(files: list[Path]) -> dict:
    """Of what kind the material is, and what its modalities take as cached: quantised, short side SIDE."""
    moved, vectors, blocks, cached = [], 0, 0, {}
    for its in (its for path in files for its in modalities(path) if its.kind == "P"):
        moved.append(float((its.motion != 0).any(-1).mean()))
        source, target = (its.blocks[[f"{end}_x", f"{end}_y"]].tolist() for end in ("src", "dst"))
        vectors += sum(here != there for here, there in zip(source, target, strict=True))
        blocks += len(its.blocks)
    with tempfile.TemporaryDirectory() as folder:
        for view in map(Compressed, MODALITIES):
            cache = FrameCache(Path(folder) / view.modality)
            for path in files:
                cache.length(path, SIDE, view.read, view.name)
            cached[view.modality] = sum(f.stat().st_size for f in cache.root.iterdir()) // len(
                files
            )
    return {
        "files": len(files),
        "frames": sum(len(scan(path).kinds) for path in files),
        "pixels moved": round(float(np.mean(moved)), 3),
        "blocks moved": round(vectors / max(1, blocks), 3),
        "bytes a clip": {
            "file": sum(path.stat().st_size for path in files) // len(files),
            "cached": cached,
        },
    }


def main() -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder, sets = Path(temporary), {}
        night = Night(per_class=(1, 0, 0), classes=("Jump", "Run", "Sit", "Walk"))
        for record in make_night(night, folder / "night", workers=1).records:
            twin = (
                record.path.parents[2]
                / "bright"
                / record.path.parent.name
                / f"{record.path.stem}.avi"
            )
            sets.setdefault("night", []).append(twin)
        for name, pattern in (
            {"arid6": "*/*.mp4", "weizmann": "*/*.avi"}.items() if paths.real_clips() else ()
        ):
            files = sorted((paths.real_clips() / name).glob(pattern))
            sets |= {name: files[:: len(files) // FILES][:FILES]} if files else {}
        made = {}
        for codec in ("mpeg4", "h264"):
            form, films = CoviarFormat(codec=codec), folder / codec
            of_codec = {
                name: [transcode(path, films / name, form, workers=1)[0].target for path in files]
                for name, files in sets.items()
            }
            if codec == "mpeg4":
                frames = (read_frames(path).frames for files in of_codec.values() for path in files)
                write_mpeg4(folder / "film.avi", np.concatenate(list(frames)))
            of_codec["all, as one film"] = [
                transcode(folder / "film.avi", films, form, workers=1)[0].target
            ]
            made |= {f"{name}, {codec}": files for name, files in of_codec.items()}
        rows = {name: about(files) | {"ways": measure(files)} for name, files in made.items()}
    for name, row in rows.items():
        print(
            f"{name}: {row['frames']} frames, {row['pixels moved']:.0%} of pixels and {row['blocks moved']:.0%} of "
            f"blocks moved; bytes a clip {row['bytes a clip']}"
        )
        for way, its in row["ways"].items():
            print(
                f"  {way:30} {its['us']:7.1f} us  over bare {its['over bare']:.2f} "
                f"({' '.join(f'{q:.2f}' for q in its['over bare, quartiles'])})  over usual {its['over usual']:.2f}"
            )
    if not VideoCap:
        print("without mv-extractor, which is not installed")
    environment = {
        "python": platform.python_version(),
        "av": av.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "machine": platform.machine(),
        "repeats": REPEATS,
        "threads": 1,
        "mv-extractor": metadata.version("motion-vector-extractor")
        if VideoCap
        else "not installed",
    }
    Path(__file__).with_suffix(".json").write_text(
        json.dumps({"rows": rows, "environment": environment}, indent=1)
    )


if __name__ == "__main__":
    main()
