"""Clips on disk: made in parallel, resumable, each trusted only when its last file is there.

Layout of a data set's folder::

    night.json                 specification and the generator's fingerprint
    index.csv                  path,label,split,group of every finished dark clip, for people and other programs
    dark/<Class>/<id>.mp4      H.264, as people have it         dark_mpeg4/<Class>/<id>.avi  the same, MPEG-4 part 2
    bright/<Class>/<id>.avi    the well exposed noise-free twin, MPEG-4 part 2
    truth/<Class>/<id>.npz     masks, joints, light; written last
"""

import ast
import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock

from kdlab.clips.catalogue import Catalogue, ClipRecord
from kdlab.paths import data_dir
from kdlab.processes import available_cores, pool
from kdlab.progress import track

from .body import JOINTS
from .clip import Clip, render_clip
from .codec import write_h264, write_mpeg4
from .spec import SPLITS, Night, NightError, group_of

STREAMS = {"dark": ".mp4", "dark_mpeg4": ".avi", "bright": ".avi"}
_TRUTH = "truth"


@dataclass(frozen=True)
class _Job:
    spec: Night
    split: str
    class_name: str
    index: int

    @property
    def id(self) -> str:
        return f"{self.split}-{self.index:04d}"

    def file(self, root: Path, stream: str) -> Path:
        return root / stream / self.class_name / (self.id + STREAMS.get(stream, ".npz"))


def make_night(
    spec: Night, root: Path | None = None, *, workers: int | None = None, progress: bool = True
) -> Catalogue:
    """Make the clips of ``spec`` that are missing in ``root`` (default ``data_dir()/spec.name``); its dark clips.

    ``workers``: processes, default one per core; the bits do not depend on it. A killed run loses the clips in
    progress only. Clips of another version of the generator are made anew; a folder that holds a different data set
    raises NightError.
    """
    if workers is not None and workers < 1:
        raise NightError(f"workers={workers!r}: give at least 1, or None for one per core")
    root = Path(root) if root is not None else data_dir() / spec.name
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        _claim(spec, root)
        missing = [job for job in _jobs(spec) if not _finished(job, root)]
        if missing:
            for folder in {job.file(root, stream).parent for job in missing for stream in (*STREAMS, _TRUTH)}:
                folder.mkdir(parents=True, exist_ok=True)
            _make_all(missing, root, workers or available_cores(), progress)
            _write_index(root)
    return night_catalogue(spec, root)


def night_catalogue(spec: Night, root: Path | None = None, stream: str = "dark") -> Catalogue:
    """The clips of ``spec`` in one of the streams "dark" (H.264), "dark_mpeg4" and "bright" (MPEG-4 part 2).

    Raises FileNotFoundError when they have not been made, or by another version of the generator.
    """
    if stream not in STREAMS:
        raise NightError(f"stream={stream!r}: the streams are {', '.join(STREAMS)}")
    root = Path(root) if root is not None else data_dir() / spec.name
    jobs = list(_jobs(spec))
    about = _read_about(root)
    lacking = sum(not _finished(job, root) for job in jobs) if about else len(jobs)
    if lacking or about.get("generator") != generator_fingerprint():
        why = f"{lacking} of {len(jobs)} clips are missing" if lacking else "made by another version of the generator"
        raise FileNotFoundError(f"{root}: {why}; make them with `kdlab data night --out {root}` or make_night(spec)")
    records = tuple(
        ClipRecord(
            id=job.file(root, stream).relative_to(root).with_suffix("").as_posix(),
            path=job.file(root, stream),
            label=spec.classes.index(job.class_name),
            split=job.split,
            group=group_of(spec, job.split, job.class_name, job.index)[1],
        )
        for job in jobs
    )
    return Catalogue(spec.name if stream == "dark" else f"{spec.name}-{stream}", root, spec.classes, records)


def truth(record: ClipRecord) -> dict[str, np.ndarray]:
    """Ground truth of a `night` clip of any stream.

    ``masks`` (36, 128, 160) bool, the actor's pixels; ``joints`` (36, 19, 2) float32 pixels, x and y, also outside the
    frame; ``joint_names`` (19,); the camera's ``electrons``, ``read_noise``, ``level``, ``black``, ``tone``, ….
    Raises FileNotFoundError when the record is not of a `night` folder.
    """
    path = record.path.parents[2] / _TRUTH / record.path.parent.name / (record.path.stem + ".npz")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no ground truth there; {record.id} is not a clip made by `kdlab data night`")
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    shape = tuple(found.pop("shape"))
    found["masks"] = np.unpackbits(found["masks"], count=int(np.prod(shape))).reshape(shape).astype(bool)
    return found | {"joint_names": np.array(JOINTS)}


@cache
def generator_fingerprint() -> str:
    """Sixteen hex digits of this package's sources without docstrings and comments."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                value = body[0].value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    value.value = ""
        digest.update(path.name.encode() + ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def _jobs(spec: Night) -> Iterator[_Job]:
    for split in SPLITS:
        for index in range(spec.count(split)):
            for class_name in spec.classes:
                yield _Job(spec, split, class_name, index)


def _finished(job: _Job, root: Path) -> bool:
    return all(job.file(root, stream).is_file() for stream in (_TRUTH, *STREAMS))


def _read_about(root: Path) -> dict:
    try:
        return json.loads((root / "night.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise NightError(f"{root / 'night.json'}: not readable ({error}); remove the folder and make it anew") from None


def _claim(spec: Night, root: Path) -> None:
    """Check that ``root`` may hold this data set, and drop what another version of the generator has left."""
    pixels = {"variety": spec.variety, "context": spec.context, "seed": spec.seed}
    about = _read_about(root)
    if about and any(about.get(name) != value for name, value in pixels.items()):
        held = {name: about.get(name) for name in pixels}
        raise NightError(f"{root}: holds another night data set, {held}, not {pixels}; give another folder")
    if not about and any((root / stream).exists() for stream in STREAMS):
        raise NightError(f"{root}: holds clips but no night.json; give an empty folder")
    if about.get("generator") != generator_fingerprint():
        for stream in (_TRUTH, *STREAMS):
            shutil.rmtree(root / stream, ignore_errors=True)
        text = json.dumps({**pixels, "generator": generator_fingerprint()}, indent=1)
        _replace(root / "night.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))


def _make_all(jobs: list[_Job], root: Path, workers: int, progress: bool) -> None:
    made = _made(jobs, root, workers)
    for _ in track(made, jobs[0].spec.name, total=len(jobs)) if progress else made:
        pass


def _made(jobs: list[_Job], root: Path, workers: int) -> Iterator[None]:
    if workers == 1 or len(jobs) < 4:
        for job in jobs:
            yield _make_one(job, root)
        return
    with pool(min(workers, len(jobs)), preload=[__name__]) as processes:
        futures = [processes.submit(_make_one, job, root) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            processes.shutdown(cancel_futures=True)
            raise


def _make_one(job: _Job, root: Path) -> None:
    cv2.setNumThreads(1)
    clip = render_clip(job.spec, job.split, job.class_name, job.index)
    _replace(job.file(root, "dark"), lambda path: write_h264(path, clip.dark))
    _replace(job.file(root, "dark_mpeg4"), lambda path: write_mpeg4(path, clip.dark))
    _replace(job.file(root, "bright"), lambda path: write_mpeg4(path, clip.bright))
    _replace(job.file(root, _TRUTH), lambda path: _write_truth(path, clip))


def _write_truth(path: Path, clip: Clip) -> None:
    light = {name: np.array(value, np.float32) for name, value in asdict(clip.camera).items()}
    with path.open("wb") as file:  # an open file, because numpy would append .npz to the temporary name
        np.savez_compressed(
            file, masks=np.packbits(clip.masks), shape=np.array(clip.masks.shape), joints=clip.joints, **light
        )


def _replace(path: Path, write) -> None:
    """Write beside ``path`` and rename: a reader sees the whole file or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_index(root: Path) -> None:
    """List every finished clip in the folder, also those of larger specifications."""
    about = _read_about(root)
    spec = Night(variety=about["variety"], context=about["context"], seed=about["seed"])
    rows = []
    for path in sorted((root / _TRUTH).glob("*/*.npz")):
        split, number = path.stem.rsplit("-", 1)
        job = _Job(spec, split, path.parent.name, int(number))
        if _finished(job, root):
            group = group_of(spec, split, job.class_name, job.index)[1]
            rows.append([job.file(root, "dark").relative_to(root).as_posix(), job.class_name, split, group])

    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["path", "label", "split", "group"], *rows])

    _replace(root / "index.csv", write)
