"""Of part ``runs``: what happens around a run: to its clips, to the cache, to the disk; and other writers."""

import os
import shutil
import time
from pathlib import Path

import numpy as np

from siege.asking import Marker, aside, ask, nothing_ran, spoil
from siege.attack import Attack
from siege.camp import answers, make_clips, recipe, student, undisturbed


def cache(field: Attack) -> None:
    """Cached frames zeroed, exchanged, of another shape, cut, with a pickle, behind a link."""
    from kdlab.clips.cache import FrameCache

    shutil.copytree(field.camp / "cache", field.root / "cache")
    files, kind = sorted((field.root / "cache").rglob("*.npy")), field.number(7)
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
            np.save(path, np.array([Marker(field.root / "code-ran")]), allow_pickle=True)
        elif kind == 4:
            np.save(path, np.asfortranarray(frames[::-1]))
        elif kind == 5:
            np.save(path, frames.astype(np.int8))
        else:
            spoil(field, path)
    its = recipe(field.camp / "clips", 7)
    clip = field.camp / "clips" / "left" / "test0.mp4"
    field.call((clip,), lambda: FrameCache().frames(clip, [0, 1], 16))
    ask(field, its, undisturbed(field, "other seed"), ("cache",))
    nothing_ran(field)


def blocked_places(field: Attack) -> None:
    """A file, a folder or a dead link where kdlab wants to write another thing."""
    its, kind = recipe(field.camp / "clips", 7), field.number(9)
    runs = field.root / "runs"
    if kind in (0, 1):
        place = runs if kind == 0 else field.root / "cache"
        place.write_text("a file")
        if kind == 0 and field.number(2):
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
    ask(field, its, undisturbed(field, "other seed"), (place.name, place, str(runs)))


def linked_run(field: Attack) -> None:
    """A run folder that is a link to a folder of somebody else's, with files of the same names."""
    its = recipe(field.camp / "clips", 7)
    theirs = field.root / "theirs"
    theirs.mkdir()
    for name in ("run.json", "weights.safetensors", "checkpoint.safetensors", "begun.json", "notes.txt"):
        (theirs / name).write_text("{}" if field.number(2) else "mine")
    field.keep(theirs)
    (field.root / "runs").mkdir()
    (field.root / "runs" / its.name).symlink_to(theirs)
    ask(field, its, undisturbed(field, "other seed"), ("run.json", "weights.safetensors", "checkpoint.safetensors",
                                                        "begun.json"))


def same_names(field: Attack) -> None:
    """A training on clips in a folder that has the name of another one: its own clips are answered for."""
    from kdlab.train.runs import obtain

    first, second = field.camp / "clips", field.camp / "other" / "clips"
    if field.number(2):
        first, second = first / "index.csv", second / "index.csv"
    obtain(recipe(first), pretrained=False, say=lambda _: None)
    ask(field, recipe(second), undisturbed(field, "other clips"), (second,))


def changed_clips(field: Attack) -> None:
    """Clips added, relabelled, dealt anew or replaced after a training, also with the same size and time."""
    folder, kind = field.root / "mine" / "clips", field.number(6)
    shutil.copytree(field.camp / "clips", folder)
    aside(field, lambda: _trained(recipe(folder)))
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
    elsewhere = dict(KDLAB_RUNS=field.root / "fresh", KDLAB_CACHE=field.root / "fresh-cache")
    if right := aside(field, lambda: _trained(recipe(folder)), **elsewhere):
        ask(field, recipe(folder), right, (folder, "index.csv"))
    else:
        field.call((folder, "index.csv"), _trained, recipe(folder))


def _trained(its) -> dict[str, str]:
    from kdlab.train.runs import obtain

    return answers(obtain(its, pretrained=False, say=lambda _: None))


def full_disk(field: Attack) -> None:
    """No file may grow beyond some kilobytes; later there is room again: the same bits, and nothing lost."""
    import resource

    its, limit = student(field.camp / "clips"), int(field.rng.choice([4096, 10_000, 30_000, 100_000]))
    make_clips(field.root / "spare", (1, 1, 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    from kdlab.train.runs import obtain

    field.call(("runs", its.name, its.teacher.name), obtain, its, pretrained=False, say=lambda _: None)
    field.kdlab("data", "transcode", field.root / "spare", "--out", field.root / "out", "--workers", 1,
                names=("out", ".avi"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    done = {path.parent: path.stat().st_mtime_ns for path in (field.root / "runs").glob("*/run.json")}
    ask(field, its, undisturbed(field, "student"), (its.name,))
    if again := [run.name for run, time_ in done.items() if (run / "run.json").stat().st_mtime_ns != time_]:
        field.found("lost", f"trained again after the disk was full: {again}")
    if drafts := [path.name for path in field.root.rglob("*.tmp")]:
        field.left_over(f"{len(drafts)} drafts: {drafts[0]}")


def two_writers(field: Attack) -> None:
    """Two processes at once want the same run, on the same empty cache: one training, the same bits in both."""
    from kdlab.train.runs import obtain

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
    from kdlab.train.runs import obtain

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
    right = aside(field, lambda: _trained(its), KDLAB_RUNS=field.root / "fresh", KDLAB_CACHE=field.root / "fresh-cache")
    ask(field, its, right or {}, (folder, its.name, ".mp4"))


KINDS = (cache, blocked_places, linked_run, same_names, changed_clips, full_disk, two_writers, replaced_while_training)
