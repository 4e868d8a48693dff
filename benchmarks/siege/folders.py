"""Part ``runs``: run folders, caches and checkpoints that are damaged, exchanged or somebody else's.

After each attack the same recipe is asked for again: its answers must be those of the undisturbed run, found or
trained anew, or be refused by the name of the file.
"""

import json
import os
import pickle
import shutil
import signal
import struct
import time
from pathlib import Path

import numpy as np

from siege import others
from siege.attack import Attack
from siege.camp import answers, make_clips, recipe, student, undisturbed

SIZE = 168


def _ask(field: Attack, its, right: dict[str, str], names: tuple) -> None:
    """Obtain the run of a recipe and compare what it says with ``right``."""
    from kdlab.runs import obtain

    names = (*names, its.name)
    run = field.call(names, obtain, its, pretrained=False, say=lambda _: None)
    said = run and field.call(names, answers, run)
    if said and (unlike := [what for what in right if said[what] != right[what]]):
        field.found("wrong", f"{names[0]}: other {', '.join(unlike)} than the undisturbed run's, without a word")


def _attacked_run(field: Attack):
    """The shared runs copied, a student's recipe, and the folder of it or of its teacher."""
    shutil.copytree(field.camp / "runs", field.root / "runs")
    its = student(field.camp / "clips")
    its_teacher = bool(field.rng.integers(3) == 0)
    return its, field.root / "runs" / (its.teacher.name if its_teacher else its.name)


def _spoil(field: Attack, path: Path) -> None:
    """Damage a file as disks and copies do."""
    data, kind = bytearray(path.read_bytes()), int(field.rng.integers(7))
    at = int(field.rng.integers(len(data)))
    if kind == 0:
        data = b""
    elif kind == 1:
        data = data[:at]
    elif kind == 2:
        data = bytes(len(data))
    elif kind == 3:
        data[at] ^= 1 << int(field.rng.integers(8))
    elif kind == 4:
        data[at: at + 512] = bytes(len(data[at: at + 512]))
    elif kind == 5:
        data = bytes(field.rng.integers(0, 256, len(data), np.uint8))
    else:
        data += b"garbage"
    path.write_bytes(data)


def damaged_files(field: Attack) -> None:
    """Any file of a run empty, cut, zeroed, with one bit flipped, overwritten, longer."""
    its, folder = _attacked_run(field)
    name = ("weights.safetensors", "run.json", "predictions.npz", "history.csv")[int(field.rng.integers(4))]
    _spoil(field, folder / name)
    _ask(field, its, undisturbed(field, "student"), (name,))


def exchanged_files(field: Attack) -> None:
    """A sound file of another run in the place of this one's."""
    its, folder = _attacked_run(field)
    name = ("weights.safetensors", "predictions.npz", "history.csv", "run.json")[int(field.rng.integers(4))]
    other = [run for run in sorted((field.root / "runs").iterdir()) if (run / name).is_file() and run != folder]
    shutil.copy2(other[int(field.rng.integers(len(other)))] / name, folder / name)
    _ask(field, its, undisturbed(field, "student"), (name,))


def exchanged_run(field: Attack) -> None:
    """A whole run folder, sound in itself, under another run's name: another seed's, other clips'."""
    its, _ = _attacked_run(field)
    folder = field.root / "runs" / its.name
    others_ = [run for run in sorted((field.root / "runs").glob("*/run.json")) if run.parent != folder]
    shutil.rmtree(folder)
    shutil.copytree(others_[int(field.rng.integers(len(others_)))].parent, folder)
    _ask(field, its, undisturbed(field, "student"), ("run.json",))


def strange_weights(field: Attack) -> None:
    """Headers of absurd length or depth, NaN, another type, tensors too many or too few, a pickle."""
    from safetensors.torch import load_file, save_file

    its, folder = _attacked_run(field)
    path, kind = folder / "weights.safetensors", int(field.rng.integers(9))
    state = load_file(path)
    first = sorted(key for key, value in state.items() if value.is_floating_point())[0]
    body = path.read_bytes()
    length = struct.unpack("<Q", body[:8])[0]
    if kind == 0:
        path.write_bytes(struct.pack("<Q", 2**int(field.rng.integers(28, 63))) + body[8:])
    elif kind == 1:
        header = b"[" * 90_000
        path.write_bytes(struct.pack("<Q", len(header)) + header + body[8 + length:])
    elif kind == 2:
        header = body[8: 8 + length].rstrip()[:-1] + b"," + body[9: 8 + length]  # every key twice
        path.write_bytes(struct.pack("<Q", len(header)) + header + body[8 + length:])
    elif kind == 3:
        save_file(state | {first: state[first] * float("nan")}, path)
    elif kind == 4:
        save_file({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, path)
    elif kind == 5:
        save_file(state | {"student.extra": state[first]}, path)
    elif kind == 6:
        save_file({key: value for key, value in state.items() if key != first}, path)
    elif kind == 7:
        path.write_bytes(pickle.dumps(_Marker(field.root / "code-ran")))
    else:
        save_file({key: value.flip(0).contiguous() if value.dim() else value for key, value in state.items()}, path)
    _ask(field, its, undisturbed(field, "student"), ("weights.safetensors",))
    _nothing_ran(field)


class _Marker:
    """Whose pickle makes a file when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def _nothing_ran(field: Attack) -> None:
    if (field.root / "code-ran").exists():
        field.found("touched", "code that stood in a file was run")


def strange_notes(field: Attack) -> None:
    """A run.json that is JSON, and lies: keys twice or missing, depth, huge numbers, other types, other classes."""
    its, folder = _attacked_run(field)
    path, kind = folder / "run.json", int(field.rng.integers(11))
    note = json.loads(path.read_text())
    if kind == 0:
        path.write_text("[" * 100_000 + "]" * 100_000)
    elif kind == 1:
        path.write_text(path.read_text().rstrip()[:-1] + ', "classes": ["up", "down"]}')
    elif kind == 2:
        path.write_text(path.read_text().replace('"steps": ', '"steps": ' + "9" * 5000))
    elif kind == 3:
        note["recipe"]["type"] = ("os:system", "kdlab.nothing:X", "kdlab.cli:main", "kdlab.recipe", 7)[int(
            field.rng.integers(5))]
    elif kind == 4:
        del note[sorted(note)[int(field.rng.integers(len(note)))]]
    elif kind == 5:
        note["classes"] = note["classes"][::-1]
    elif kind == 6:
        note = [None, [], "x", 3][int(field.rng.integers(4))]
    elif kind == 7:
        path.write_bytes(path.read_text().encode("utf-16"))
    elif kind == 8:
        note["weights"] = "0" * 64
    elif kind == 9:
        note[sorted(note)[int(field.rng.integers(len(note)))]] = [None, -1, float("nan"), {}][int(field.rng.integers(4))]
    else:
        note["recipe"]["seed"] = "0; import os"
    if kind not in (0, 1, 2, 7):
        path.write_text(json.dumps(note, indent=1))
    _ask(field, its, undisturbed(field, "student"), ("run.json",))


def strange_predictions(field: Attack) -> None:
    """An npz with pickles, other shapes, other orders, nothing, or a bomb."""
    its, folder = _attacked_run(field)
    path, kind = folder / "predictions.npz", int(field.rng.integers(6))
    arrays = dict(np.load(path, allow_pickle=False))
    if kind == 0:
        arrays["test_ids"] = np.array([_Marker(field.root / "code-ran")] * len(arrays["test_ids"]), object)
    elif kind == 1:
        arrays["test_logits"] = arrays["test_logits"][:-1]
    elif kind == 2:
        arrays["test_labels"] = arrays["test_labels"][::-1]
    elif kind == 3:
        arrays.pop("test_groups")
    elif kind == 4:
        arrays["test_logits"] = np.full_like(arrays["test_logits"], np.nan)
    else:
        arrays["test_logits"] = np.zeros((2, 30_000_000), np.float32)
    np.savez_compressed(path, **arrays)
    _ask(field, its, undisturbed(field, "student"), ("predictions.npz",))
    _nothing_ran(field)


def _interrupted(field: Attack, its) -> Path | None:
    """Begin a training in another process, kill it once a checkpoint is there; the checkpoint."""
    from kdlab.runs import obtain

    checkpoint = field.root / "runs" / its.name / "checkpoint.safetensors"
    pid = os.fork()
    if pid == 0:
        obtain(its, pretrained=False, say=lambda _: None)
        os._exit(0)
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if checkpoint.is_file():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    return checkpoint if checkpoint.is_file() else None


def checkpoints(field: Attack) -> None:
    """An unfinished training whose checkpoint, or the note beside it, is damaged, exchanged or lies."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    its = recipe(field.camp / "clips", 7)
    checkpoint = _interrupted(field, its)
    if checkpoint is None:
        return
    kind, names = int(field.rng.integers(5)), ("checkpoint.safetensors", "begun.json")
    if kind == 0:
        _spoil(field, checkpoint.with_name("begun.json"))
    elif kind == 1:
        with safe_open(checkpoint, "pt") as file:
            flat, note = {key: file.get_tensor(key) for key in list(file.keys())}, json.loads(file.metadata()["note"])
        change = ({"step": -1}, {"step": 10**9}, {"step": "3"}, {"history": "x"}, {"step": float("nan")}, {})
        note |= (chosen := change[int(field.rng.integers(6))])
        save_file(flat, checkpoint, metadata={"note": json.dumps(note)} if chosen else {})
    elif kind == 2:
        other = next((field.camp / "runs").glob("*/weights.safetensors"))
        shutil.copy2(other, checkpoint)
    else:
        _spoil(field, checkpoint)
    _ask(field, its, undisturbed(field, "other seed"), names)


def cache(field: Attack) -> None:
    """Cached frames zeroed, exchanged, of another shape, cut, with a pickle, behind a link."""
    from kdlab.clips.cache import FrameCache

    shutil.copytree(field.camp / "cache", field.root / "cache")
    files, kind = sorted((field.root / "cache").rglob("*.npy")), int(field.rng.integers(7))
    for n, path in enumerate(files):
        frames = np.load(path)
        if kind == 0:
            data = path.read_bytes()
            path.write_bytes(data[:128] + bytes(len(data) - 128))
        elif kind == 1:
            shutil.copy2(files[n - 1], path)
        elif kind == 2:
            np.save(path, frames.reshape(frames.shape[0] // 2, -1, *frames.shape[2:]))
        elif kind == 3:
            np.save(path, np.array([_Marker(field.root / "code-ran")]), allow_pickle=True)
        elif kind == 4:
            np.save(path, np.asfortranarray(frames[::-1]))
        elif kind == 5:
            np.save(path, frames.astype(np.int8))
        else:
            _spoil(field, path)
    its = recipe(field.camp / "clips", 7)
    clip = field.camp / "clips" / "left" / "test0.mp4"
    field.call((clip,), lambda: FrameCache().frames(clip, [0, 1], 16))
    _ask(field, its, undisturbed(field, "other seed"), ("cache",))
    _nothing_ran(field)


def blocked_places(field: Attack) -> None:
    """A file, a folder or a dead link where kdlab wants to write another thing."""
    its, kind = recipe(field.camp / "clips", 7), int(field.rng.integers(9))
    runs = field.root / "runs"
    if kind in (0, 1):
        place = runs if kind == 0 else field.root / "cache"
        place.write_text("a file")
        if kind == 0 and field.rng.integers(2):
            os.environ["KDLAB_RUNS"] = str(runs / "below")
    elif kind == 8:
        os.environ["KDLAB_CACHE"] = "/dev/null/cache"
        place = Path("/dev/null")
    else:
        runs.mkdir()
        name, whole = (("", True), (".lock", True), ("/run.json", True), ("/checkpoint.safetensors", True), ("", False),
                       ("tried.csv", True))[kind - 2]
        place = runs / (name if name == "tried.csv" else its.name + name)
        place.mkdir(parents=True) if whole and kind != 2 else place.write_text("a file") if whole else \
            place.symlink_to("nowhere")
    _ask(field, its, undisturbed(field, "other seed"), (place.name, place, str(runs)))


def linked_run(field: Attack) -> None:
    """A run folder that is a link to a folder of somebody else's, with files of the same names."""
    its = recipe(field.camp / "clips", 7)
    theirs = field.root / "theirs"
    theirs.mkdir()
    for name in ("run.json", "weights.safetensors", "checkpoint.safetensors", "begun.json", "notes.txt"):
        (theirs / name).write_text("{}" if field.rng.integers(2) else "mine")
    field.keep(theirs)
    (field.root / "runs").mkdir()
    (field.root / "runs" / its.name).symlink_to(theirs)
    _ask(field, its, undisturbed(field, "other seed"), ("run.json", "weights.safetensors", "checkpoint.safetensors",
                                                        "begun.json"))


def same_names(field: Attack) -> None:
    """A training on clips in a folder that has the name of another one: its own clips are answered for."""
    from kdlab.runs import obtain

    first, second = field.camp / "clips", field.camp / "other" / "clips"
    if field.rng.integers(2):
        first, second = first / "index.csv", second / "index.csv"
    obtain(recipe(first), pretrained=False, say=lambda _: None)
    _ask(field, recipe(second), undisturbed(field, "other clips"), (second,))


def changed_clips(field: Attack) -> None:
    """Clips added, relabelled, dealt anew or replaced after a training, also with the same size and time."""
    from kdlab.runs import obtain

    folder, kind = field.root / "mine" / "clips", int(field.rng.integers(6))
    shutil.copytree(field.camp / "clips", folder)
    obtain(recipe(folder), pretrained=False, say=lambda _: None)
    index = folder / "index.csv"
    if kind == 0:
        shutil.copy2(folder / "left" / "train0.mp4", folder / "left" / "train9.mp4")
        index.write_text(index.read_text() + "left/train9.mp4,left,train,train9\n")
    elif kind == 1:
        index.write_text(index.read_text().replace("left/train0.mp4,left", "left/train0.mp4,right"))
    elif kind == 2:
        index.write_text(index.read_text().replace("train3", "test3").replace("/test3", "/train3").replace(
            ",train,test3", ",test,test3"))
    else:
        for old in sorted(folder.rglob("*.mp4")):
            new = field.camp / "other" / "clips" / old.relative_to(folder)
            status, data = old.stat(), new.read_bytes()
            if kind > 3:  # of the same size: what lies behind the end of an MP4 file is nobody's
                size = max(status.st_size, len(data)) if kind == 4 else len(data)
                data += bytes(max(0, size - len(data)))
            old.write_bytes(data)
            os.utime(old, ns=(status.st_atime_ns, (status.st_mtime_ns, 0, 2**61)[kind - 3]))
    fresh = os.fork()
    if fresh == 0:  # as a new process sees it, and as one sees it that has never trained before
        before, os.environ["KDLAB_RUNS"] = os.environ["KDLAB_RUNS"], str(field.root / "fresh")
        from kdlab.recipe import _open_user_clips

        getattr(_open_user_clips, "cache_clear", lambda: None)()
        cached, os.environ["KDLAB_CACHE"] = os.environ["KDLAB_CACHE"], str(field.root / "fresh-cache")
        right = answers(obtain(recipe(folder), pretrained=False, say=lambda _: None))
        os.environ |= {"KDLAB_RUNS": before, "KDLAB_CACHE": cached}
        _ask(field, recipe(folder), right, (folder, "index.csv"))
        os._exit(0)
    os.waitpid(fresh, 0)


def full_disk(field: Attack) -> None:
    """No file may grow beyond some kilobytes; later there is room again: the same bits, and nothing lost."""
    import resource

    its, limit = student(field.camp / "clips"), int(field.rng.choice([4096, 10_000, 30_000, 100_000]))
    make_clips(field.root / "spare", (1, 1, 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    from kdlab.runs import obtain

    field.call(("runs", its.name, its.teacher.name), obtain, its, pretrained=False, say=lambda _: None)
    field.kdlab("data", "transcode", field.root / "spare", "--out", field.root / "out", "--workers", 1,
                names=("out", ".avi"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    done = {path.parent: path.stat().st_mtime_ns for path in (field.root / "runs").glob("*/run.json")}
    _ask(field, its, undisturbed(field, "student"), (its.name,))
    if again := [run.name for run, time_ in done.items() if (run / "run.json").stat().st_mtime_ns != time_]:
        field.found("lost", f"trained again after the disk was full: {again}")
    if drafts := [path.name for path in field.root.rglob("*.tmp")]:
        field.left_over(f"{len(drafts)} drafts: {drafts[0]}")


def two_writers(field: Attack) -> None:
    """Two processes at once want the same run, on the same empty cache: one training, the same bits in both."""
    from kdlab.runs import obtain

    its, pids = student(field.camp / "clips"), []
    for n in range(2):
        pids.append(os.fork())
        if pids[-1] == 0:
            run = field.call((its.name,), obtain, its, pretrained=False, say=lambda _: None)
            said = run and field.call((its.name,), answers, run)
            if said and said != undisturbed(field, "student"):
                field.found("wrong", f"writer {n} has other bits than one that is alone")
            os._exit(0)
    for pid in pids:
        os.waitpid(pid, 0)
    begun = (field.root / "runs" / "tried.csv").read_text().count(its.name)
    if begun != 1:
        field.found("lost", f"two writers began {begun} trainings of one recipe")


def replaced_while_training(field: Attack) -> None:
    """Clips that are replaced while a training reads them: it says so, or answers for what it has read."""
    from kdlab.runs import obtain

    folder = field.root / "mine" / "clips"
    shutil.copytree(field.camp / "clips", folder)
    its = recipe(folder, 7, epochs=12)
    pid = os.fork()
    if pid == 0:
        field.call((folder, its.name, ".mp4"), obtain, its, pretrained=False, say=lambda _: None)
        os._exit(0)
    time.sleep(float(field.rng.uniform(0.02, 0.5)))
    for old in folder.rglob("*.mp4"):
        shutil.copy2(field.camp / "other" / "clips" / old.relative_to(folder), old)
    os.waitpid(pid, 0)
    os.environ["KDLAB_RUNS"] = str(field.root / "fresh")
    right = answers(obtain(its, pretrained=False, say=lambda _: None))
    os.environ["KDLAB_RUNS"] = str(field.root / "runs")
    _ask(field, its, right, (folder, its.name, ".mp4"))


KINDS = (damaged_files, exchanged_files, exchanged_run, strange_weights, strange_notes, strange_predictions, checkpoints,
         cache, blocked_places, linked_run, same_names, changed_clips, full_disk, two_writers, replaced_while_training,
         *others.KINDS)
