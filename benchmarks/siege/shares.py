"""Of part ``cluster``: a file system that machines share and that is slow, shows late what others wrote, or forgets
locks; and the manifests and memories of such machines. All of it happens in processes whose calls are patched."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from siege.attack import Attack
from siege.camp import answers, recipe, student, undisturbed
from siege.kills import Work, _killed, _runs

#: Seconds until a file is seen by others, where it is shown late.
LATE = 1.0


def forgotten_locks(field: Attack) -> None:
    """Three processes that no lock parts want one student: the bits of one, and what is finished stays sound."""
    from kdlab.train.runs import Run, obtain

    its, right = student(field.camp / "clips"), undisturbed(field, "student")
    _forget_locks()

    def call(delay: float) -> None:
        time.sleep(delay)
        obtain(its, pretrained=False, say=lambda _: None)

    delays = field.rng.uniform(0, 1.5, 3)
    processes, folder = [_forked(partial(call, delay)) for delay in delays], field.root / "runs" / its.name
    while processes:
        processes = [pid for pid in processes if not _ended(field, pid)]
        if (folder / "run.json").is_file() and (said := field.call((its.condition,), answers, Run(folder))) != right:
            field.found("wrong", f"a finished run was damaged by a process that no lock stopped: {said}")
            break
        time.sleep(0.01)
    for pid in processes:
        os.waitpid(pid, 0)
    run = field.call((its.condition,), obtain, its, pretrained=False, say=lambda _: None)
    if run and answers(run) != right:
        field.found("wrong", "other bits where locks are forgotten")
    if (field.root / "runs" / "stale").exists():
        field.found("lost", "a finished run was set aside where locks are forgotten")
    if left := list((field.root / "runs").rglob("checkpoint.safetensors")):
        field.left_over(f"{len(left)} checkpoints of finished runs")


def no_locks(field: Attack) -> None:
    """A file system that refuses locks: a sentence that names the file, and nothing is begun."""
    import errno
    import fcntl

    from kdlab.train.runs import obtain

    code = field.pick((errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO))

    def refuses(handle, how) -> None:
        raise OSError(code, os.strerror(code))

    fcntl.flock = refuses
    its = recipe(field.camp / "clips", 7)
    if field.call((f"{its.name}.lock",), obtain, its, pretrained=False, say=lambda _: None):
        field.found("wrong", "trained where no lock can be had")


def slow_share(field: Attack) -> None:
    """Writing, renaming and reading take long, and the process is killed meanwhile: the bits of an undisturbed run."""
    from kdlab.train.runs import Run, obtain

    its, pause = student(field.camp / "clips"), float(field.rng.uniform(0.01, 0.08))
    for module, name in ((os, "replace"), (os, "fsync"), (os, "unlink"), (Path, "read_bytes"), (Path, "mkdir")):
        setattr(module, name, _slowly(getattr(module, name), pause))
    _killed(field, Work(lambda: obtain(its, pretrained=False, say=lambda _: None), lambda: _runs(field),
                        lambda: answers(Run(field.root / "runs" / its.name))), undisturbed(field, "student"), 4)


def late_share(field: Attack) -> None:
    """What another machine wrote is shown a second later: nothing is trained twice, nothing is called lost."""
    from kdlab.train.many import obtain_all

    its = [student(field.camp / "clips"), recipe(field.camp / "clips", 7)]
    _show_late()
    runs = field.call((), obtain_all, its, pretrained=False, engine=Forks(), say=lambda _: None)
    if runs and [answers(run) for run in runs] != [undisturbed(field, "student"), undisturbed(field, "other seed")]:
        field.found("wrong", "other bits on a file system that shows files late")
    begun_once(field)


def begun_once(field: Attack) -> None:
    """Count what was trained more than once, by the list of trainings."""
    names = [line.rpartition(",")[2] for line in (field.root / "runs" / "tried.csv").read_text().splitlines()[1:]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        field.found("lost", f"trained twice: {', '.join(twice)}")


class Forks:
    """An engine whose machines are forks of this process, one after the other."""

    @contextmanager
    def started(self, workers: int) -> Iterator[Callable]:
        from kdlab.system.engines import Call, _ordered, _probe

        def in_turn(call: Callable, needs: Mapping) -> Iterator[list[tuple]]:
            for item in _ordered(needs):
                yield [(item, _told(Call.of(call(item), probe, 20)))]

        with _probe() as probe:
            yield in_turn


def _told(call: Callable) -> tuple:
    """The folder and the lines that ``call`` gave in a fork."""
    answer = Path(f"answer-{os.getpid()}")
    pid = os.fork()
    if pid == 0:
        try:
            folder, lines = call()
            answer.write_text(json.dumps([str(folder), lines]))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    folder, lines = json.loads(answer.read_text())
    return Path(folder), lines


# --- manifests ----------------------------------------------------------------------------------------------------

def sized(log: str, file: str) -> dict:
    """The work on one file, noted in ``log``."""
    with open(log, "a") as lines:
        lines.write(f"{Path(file).name}\n")
    return {"bytes": Path(file).stat().st_size, "text": Path(file).read_text()}


def manifests(field: Attack) -> None:
    """A manifest cut off at every byte of its last lines, doubled, shuffled, spliced, with lines of others."""
    files, right = _files(field), {}
    manifest, real, os.fsync = field.root / "manifest.jsonl", os.fsync, lambda handle: None
    right = _in_shards(field, files, manifest)
    content = manifest.read_bytes()
    lines = content.splitlines(keepends=True)
    at = [field.number(len(lines)) for _ in range(3)]
    cut = [content[:end] for end in range(len(content) - len(lines[-1]) - len(lines[-2]), len(content))]
    kind = field.number(8)
    wrong = lines[at[0]].replace(b'"bytes": ', b'"bytes": 1')
    end = field.number(len(wrong))
    damaged = {0: cut, 1: [content * 2], 2: [b"".join(lines[k] for k in field.rng.permutation(len(lines)))],
               3: [b"".join(lines[:at[0]]) + wrong + b"".join(lines[at[0] + 1:])],
               4: [lines[at[0]][:end] + lines[at[1]][field.number(end + 1):] + content],
               5: [lines[0] + bytes(field.rng.integers(0, 256, 300, "uint8")) + b"\n" + content],
               6: [lines[0] + other + b"\n" + b"".join(lines[1:at[2]]) for other in (
                   b"[" * 200_000, b'{"file": [], "what": {}, "row": 3}', b"null", b"9" * 9999, b"\0" * 100)],
               7: [content[:n] for n in range(40)]}[kind]
    for text in damaged:
        manifest.write_bytes(text)
        whole = {json.loads(line)["file"] for line in lines if line.strip() in text.splitlines()}
        (field.root / "log").unlink(missing_ok=True)
        found = _in_shards(field, files, manifest)
        if found != right:
            field.found("wrong", f"a damaged manifest (kind {kind}, {len(text)} bytes) gives {found}")
        again = (field.root / "log").read_text().split() if (field.root / "log").exists() else []
        if done := [name for name in again if str(field.root / name) in whole]:
            field.found("lost", f"done again although its line is whole: {done}")
        if kind in (0, 7) and _in_shards(field, files, manifest) != right:
            field.found("wrong", "what was mended is damaged")
    os.fsync = real


def two_writers(field: Attack) -> None:
    """Two calls write one manifest, and no lock parts them: whatever stands there, no row is wrong."""
    files = _files(field, 40)
    manifest = field.root / "manifest.jsonl"
    _forget_locks()
    processes = [_forked(partial(_in_shards, field, files, manifest, size)) for size in (1, 3, 2)]
    for pid in processes:
        os.waitpid(pid, 0)
    found = _in_shards(field, files, manifest)
    if found != {str(file): {"bytes": file.stat().st_size, "text": file.read_text()} for file in files}:
        field.found("wrong", "two writers of one manifest leave a row that is wrong")


def _files(field: Attack, count: int = 6) -> list[Path]:
    files = [field.root / f"{k}.txt" for k in range(count)]
    for file in files:
        file.write_text("x" * field.number(40))
    return files


def _in_shards(field: Attack, files: list[Path], manifest: Path, size: int = 2) -> dict:
    from contextlib import nullcontext

    from kdlab.clips.shards import in_shards

    class Here:
        def started(self, workers: int):
            return nullcontext(lambda call, needs: ([(item, call(item)())] for item in needs))

    work = partial(sized, str(field.root / "log"))
    made = field.call((manifest,), lambda: list(in_shards(work, files, manifest, "sizes", engine=Here(), size=size)))
    return {file: row for file, row, _ in made or ()}


# --- memory -------------------------------------------------------------------------------------------------------

def full_memory(field: Attack) -> None:
    """A device whose memory is full at some step, as torch says it: a sentence, and the training goes on from its last
    checkpoint. Raised by hand; a GPU's own is in tests/train/test_loop.py, for machines that have one."""
    import torch

    from kdlab.distill.method import CrossEntropy
    from kdlab.train.runs import obtain

    its, losses = recipe(field.camp / "clips", 7), CrossEntropy.losses
    calls, last = [], field.number(4)

    def hungry(method, nets, batch, progress):
        calls.append(progress)
        if len(calls) > last:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB.\nMore")
        return losses(method, nets, batch, progress)

    CrossEntropy.losses = hungry
    said = field.call(("batch_size",), obtain, its, pretrained=False, say=lambda _: None)
    CrossEntropy.losses = losses
    epoch = calls[0].steps // its.settings.epochs
    if not said and (last >= epoch) != (field.root / "runs" / its.name / "checkpoint.safetensors").is_file():
        field.found("lost", f"the checkpoint of {last} steps, {epoch} an epoch")
    run = field.call(("batch_size",), obtain, its, pretrained=False, say=lambda _: None)
    if not run or answers(run) != undisturbed(field, "other seed"):
        field.found("wrong", "other bits after a full memory")


# --- patches ------------------------------------------------------------------------------------------------------

def _forget_locks() -> None:
    import fcntl

    fcntl.flock = lambda handle, how: None


def _slowly(function: Callable, pause: float) -> Callable:
    def slow(*given, **how):
        time.sleep(pause)
        result = function(*given, **how)
        time.sleep(pause)
        return result

    return slow


def _show_late() -> None:
    for name in ("stat", "lstat"):
        setattr(os, name, _late(getattr(os, name)))


def _late(function: Callable) -> Callable:
    def late(path, *given, **how):
        about = function(path, *given, **how)
        if isinstance(path, (str, os.PathLike)) and Path(path).name == "run.json" and (
                time.time() - about.st_mtime < LATE):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return about

    return late


def _forked(call: Callable) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            call()
            code = 0
        finally:
            os._exit(code)
    return pid


def _ended(field: Attack, pid: int) -> bool:
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended and status:
        field.found("wrong", "a process failed beside others that no lock parted")
    return bool(ended)


KINDS = (forgotten_locks, manifests, slow_share, full_memory, late_share, two_writers, no_locks)
