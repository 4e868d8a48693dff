"""Part ``kills``: SIGKILL at random moments, and the same call again. The end must be that of an undisturbed run.

A piece of work is killed up to three times with its whole session, then called once more and left alone. Finished work
is known by its time of change: what was finished before a kill and has another time in the end was done twice.
"""

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from siege.attack import Attack, end_session
from siege.camp import answers, lessen_profiles, make_clips, recipe, student, undisturbed
from siege.films import encode, film

SIZE = 120


@dataclass(frozen=True)
class Work:
    """What to call; the files that say that a part of it is finished; and what the end is, to be compared."""

    call: Callable[[], object]
    finished: Callable[[], list[Path]]
    outcome: Callable[[], dict]


def _killed(field: Attack, work: Work, right: dict | None = None, alone: float = 1, wanted: str = "") -> None:
    """Kill ``work`` at random moments of the time that it takes, ``alone`` tiny trainings long; go on, and compare."""
    alone *= undisturbed(field, "seconds")["training"]
    for _ in range(int(field.rng.integers(1, 4))):
        pid = _begun(work.call)
        until, ended = time.monotonic() + float(field.rng.uniform(0, 1.1 * alone)), False
        while not ended and time.monotonic() < until:
            time.sleep(0.002)
            ended = bool(os.waitpid(pid, os.WNOHANG)[0])
        if not ended:  # else its number may be another's by now
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if left := end_session(pid, grace=20.0):
            field.found("hang", f"a killed owner left {len(left)} processes behind: {left[0][:100]}")
        before = {path: path.stat().st_mtime_ns for path in work.finished()}
    field.call((wanted,) if wanted else (), work.call)
    again = [path.relative_to(field.root) for path, moment in before.items()
             if not path.exists() or path.stat().st_mtime_ns != moment]
    if again:
        field.found("lost", f"done again after the kill: {', '.join(map(str, again[:3]))} ({len(again)} in all)")
    found = work.outcome()
    if right is None:
        right = _reference(field, work)
    if unlike := [what for what in {**right, **found} if right.get(what) != found.get(what)]:
        field.found("wrong", f"not what an undisturbed call leaves: {', '.join(map(str, unlike[:4]))}")
    if drafts := [path for path in field.root.rglob("*.tmp") if not path.is_relative_to(field.root / "reference")]:
        field.left_over(f"{len(drafts)} drafts: {drafts[0].name}")


def _begun(call: Callable) -> int:
    """``call`` in a session of its own."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        try:
            call()
        finally:
            os._exit(0)
    while os.getpgid(pid) != pid:
        time.sleep(0.001)
    return pid


def _reference(field: Attack, work: Work) -> dict:
    """The outcome of an undisturbed call in empty places; made once for a kind in a siege."""
    kept = field.camp / f"reference-{work.call.__qualname__.split('.')[0]}.json"
    if not kept.is_file():
        for entry in list(field.root.iterdir()):
            if entry.name not in ("set", "notebooks", "data-kept", "home"):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        work.call()
        kept.write_text(json.dumps(work.outcome()))
    return json.loads(kept.read_text())


def _bytes(folder: Path, *patterns: str) -> dict[str, str]:
    """Hashes of files below a folder, by their names there."""
    files = sorted(path for pattern in patterns for path in folder.rglob(pattern) if not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in files}


def _runs(field: Attack) -> list[Path]:
    return list((field.root / "runs").glob("*/run.json"))


def training(field: Attack) -> None:
    """One training, with checkpoints after each epoch."""
    from kdlab.train.runs import Run, obtain

    its = recipe(field.camp / "clips", 7)
    _killed(field, Work(lambda: obtain(its, pretrained=False, say=lambda _: None), lambda: _runs(field),
                        lambda: answers(Run(field.root / "runs" / its.name))), undisturbed(field, "other seed"))


def taught(field: Attack) -> None:
    """A student's training, and its teacher's before."""
    from kdlab.train.runs import Run, obtain

    its = student(field.camp / "clips")
    _killed(field, Work(lambda: obtain(its, pretrained=False, say=lambda _: None), lambda: _runs(field),
                        lambda: answers(Run(field.root / "runs" / its.name))), undisturbed(field, "student"), 2)


def study(field: Attack) -> None:
    """A study in one process: many trainings, then its table and predictions."""
    lessen_profiles()
    shutil.copytree(field.camp / "data", field.root / "data-kept")
    os.environ["KDLAB_DATA"] = str(field.root / "data-kept")

    def call() -> None:
        field.kdlab("study", "night_audit", "--profile", "smoke", "--seeds", 2, "--workers", 1)

    def outcome() -> dict:
        table = next(field.root.rglob("night_audit.csv")).read_text().splitlines()
        return _bytes(field.root, "night_audit*.npz") | {"rows": [row for row in table if "seconds" not in row]}

    _killed(field, Work(call, lambda: _runs(field), outcome), alone=12)


def pooled(field: Attack) -> None:
    """Several trainings in a pool of two processes."""
    from kdlab.train.many import obtain_all
    from kdlab.train.runs import Run

    recipes = [recipe(field.camp / "clips", seed) for seed in (7, 8, 9)]
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    _killed(field, Work(lambda: obtain_all(recipes, pretrained=False, workers=2, say=lambda _: None),
                        lambda: _runs(field), lambda: answers(Run(field.root / "runs" / recipes[0].name))),
            undisturbed(field, "other seed"), 20)


def rendering(field: Attack) -> None:
    """``data night``."""
    out = field.root / "night"

    def call() -> None:
        field.kdlab("data", "night", "--out", out, "--classes", "Run,Walk", "--clips", 6, "--workers", 1, names=(out,))

    _killed(field, Work(call, lambda: list(out.glob("truth/*/*.npz")),
                        lambda: _bytes(out, "*.mp4", "*.avi", "*.npz", "index.csv", "night.json")), alone=4)


def transcoding(field: Attack) -> None:
    """``data transcode``."""
    for n in range(4):
        encode(field.root / "set" / "a" / f"{n}.mp4", film(field.rng, 90, 96, 80))
    out = field.root / "out"

    def call() -> None:
        field.kdlab("data", "transcode", field.root / "set", "--out", out, "--workers", 1, names=(out,))

    def reference() -> dict:
        kept, call_ = dict(_bytes(out, "*.avi")), field.root / "out"
        shutil.rmtree(call_)
        call()
        whole = _bytes(out, "*.avi")
        return {"files": kept == whole, "count": len(whole)}

    _killed(field, Work(call, lambda: [p for p in out.rglob("*.avi") if not p.name.startswith(".")], reference),
            {"files": True, "count": 4})


def checking(field: Attack) -> None:
    """``data check`` of a folder with a bad clip, and the cache that it may fill."""
    from kdlab.clips.cache import FrameCache

    clips = make_clips(field.root / "set", (3, 1, 1))
    (clips / "left" / "train2.mp4").write_bytes((clips / "left" / "train2.mp4").read_bytes()[:900])

    def call() -> None:
        for clip in sorted(clips.glob("right/*.mp4")):
            FrameCache().frames(clip, [0, 3], 20)
        field.kdlab("data", "check", clips, names=("train2.mp4",))

    def outcome() -> dict:
        frames = [hashlib.sha256(FrameCache().frames(clip, range(10), 20).tobytes()).hexdigest()[:12]
                  for clip in sorted(clips.glob("right/*.mp4"))]
        return {"frames": frames, "said": field.kdlab("data", "check", clips).out.replace(str(field.root), "")}

    _killed(field, Work(call, lambda: [], outcome))


def _project(field: Attack) -> None:
    """Let kdlab take ``root`` for the clone: three notebooks of a line or two."""
    import nbformat

    from kdlab import paths

    new = nbformat.v4.new_code_cell
    (field.root / "notebooks").mkdir(exist_ok=True)
    for name in ("00_start", "05_middle", "10_scoreboard"):
        cells = [new("profile = 'smoke'", metadata={"tags": ["parameters"]}), new("import time\ntime.sleep(0.2)"),
                 new(f"print('{name}', 2 ** 100)")]
        for number, cell in enumerate(cells):
            cell.id = f"cell{number}"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), field.root / "notebooks" / f"{name}.ipynb")
    paths.project_root = lambda: field.root


def reproduction(field: Attack) -> None:
    """``reproduce``: what is finished is skipped."""
    import nbformat

    _project(field)
    done = field.root / "runs" / "notebooks"

    def call() -> None:
        field.kdlab("reproduce", "--profile", "smoke", names=("notebook",))

    def outcome() -> dict:
        finished = [path for path in sorted(done.glob("*.ipynb")) if not path.name.endswith(".partial.ipynb")]
        return {path.name: [output.get("text") for cell in nbformat.read(path, 4).cells[1:]
                            for output in cell.get("outputs", [])] for path in finished}

    names = ("00_start-smoke", "05_middle-smoke", "10_scoreboard-smoke")
    right = {f"{name}.ipynb": [f"{name.removesuffix('-smoke')} {2 ** 100}\n"] for name in names}
    _killed(field, Work(call, lambda: list(done.glob("*.json")), outcome), right, alone=15)


def reporting(field: Attack) -> None:
    """``report``: the old page or the new one, never a half."""
    from siege.others import _scoreboard

    _scoreboard(field)
    page = field.root / "runs" / "report.html"

    def call() -> None:
        field.kdlab("report", names=("10_scoreboard",))

    _killed(field, Work(call, lambda: [], lambda: {"whole": page.read_text().rstrip().endswith("</html>")}),
            {"whole": True}, alone=3)


#: In turn; those that start kernels or pools are dear, and come once in forty.
_OFTEN = (training, taught, rendering, transcoding, checking, reporting, study)
KINDS = (*_OFTEN, *_OFTEN[:6], *_OFTEN[:6], reproduction, *_OFTEN[:6], pooled, *_OFTEN[:4], *_OFTEN[:2])
