"""Of part ``values``: surroundings that nobody expects: variables, folders, streams, clocks, locales, masks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from siege.attack import Attack
from siege.camp import answers, recipe, undisturbed


def places(field: Attack) -> None:
    """The variables of kdlab's places: empty, relative, with blanks or line ends, one for all, a file, a long name."""
    from kdlab.train.runs import obtain

    home = field.root / "home"
    ways = ({"KDLAB_RUNS": "", "KDLAB_CACHE": ""}, {"KDLAB_RUNS": "relative/runs", "KDLAB_CACHE": "relative/cache"},
            {"KDLAB_RUNS": f"{field.root}/runs ", "KDLAB_CACHE": f" {field.root}/cache"},
            {name: str(field.root / "all") for name in ("KDLAB_RUNS", "KDLAB_CACHE", "KDLAB_DATA", "KDLAB_FIGURES")},
            {"KDLAB_RUNS": "~/runs"}, {"KDLAB_CACHE": "/dev/null"}, {"KDLAB_RUNS": "/proc/kdlab"},
            {"KDLAB_RUNS": "new\nline"}, {"KDLAB_RUNS": "x" * 300}, {"KDLAB_CACHE": "/nowhere\udcff"},
            {"KDLAB_RUNS": "runs\u00e9"})
    chosen = field.pick(ways)
    os.environ |= chosen
    from kdlab import paths

    if not chosen.get("KDLAB_RUNS", "x"):  # then the places are in the clone
        paths.project_root = lambda: field.root
    its = recipe(field.camp / "clips", 7)
    run = field.call((*chosen, *filter(None, chosen.values())), obtain, its, pretrained=False, say=lambda _: None)
    if run and answers(run) != undisturbed(field, "other seed"):
        field.found("wrong", f"with {chosen} other bits than without")
    if (field.root / "~").exists():
        field.found("touched", "a folder called ~ was made")
    field.kdlab("clean", names=tuple(chosen))
    if list(home.rglob("*.csv")) and not (home / "runs").exists():
        field.found("touched", "the home folder was written to")


def streams(field: Attack) -> None:
    """A closed stdin, stdout or stderr, and a reader that has had enough (``| head -1``)."""
    ways = ("exec <&-; {}", "{} >&-", "{} 2>&-", "{} | head -1", "{} | true", "{} > /dev/full")
    command = (("data", "list"), ("data", "check", str(field.camp / "clips")), ("--help",), ("clean",))
    way, chosen = field.pick(ways), field.pick(command)
    line = way.format(f"{sys.executable} -m kdlab.cli.main {' '.join(chosen)}")
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, errors="backslashreplace")
    for word in ("Traceback", "Exception ignored"):
        if word in ended.stderr:
            field.found("traceback", f"{way.format('kdlab ' + chosen[0])}: {ended.stderr.strip().splitlines()[-1]}")
            break


def locales(field: Attack) -> None:
    """LC_ALL=C, an encoding that is not UTF-8, another time zone, names with other scripts."""
    clips = field.root / "走る é"
    shutil.copytree(field.camp / "clips", clips)
    ways = ({"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"TZ": "Pacific/Kiritimati"},
            {"TZ": "nonsense"}, {"LANG": "tr_TR.UTF-8"},
            {"COLUMNS": "1"}, {"COLUMNS": "x", "TERM": "dumb"})
    environment = os.environ | field.pick(ways)
    ended = subprocess.run([sys.executable, "-m", "kdlab.cli.main", "data", "check", str(clips)], capture_output=True,
                           env=environment)
    said = (ended.stdout + ended.stderr).decode("utf-8", "backslashreplace")
    if "Traceback" in said:
        field.found("traceback", f"{environment.get('LC_ALL')}: {said.strip().splitlines()[-1]}")
    elif ended.returncode:
        field.found("wrong", f"sound clips are refused because of the locale: {said[-200:]}")


def folders(field: Attack) -> None:
    """The current folder deleted, a mask that hides files from others, a home that is not there."""
    from kdlab.train.runs import obtain

    kind = field.number(4)
    clips, name = field.camp / "clips", "clips"
    if kind == 0:
        gone = field.root / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()
        if field.number(2):
            clips, name = Path("relative"), "relative"
    elif kind == 1:
        os.umask(0o777 if os.geteuid() == 0 else 0o077)
    elif kind == 2:
        os.environ.pop("HOME")
        os.environ["KDLAB_RUNS"] = str(field.root / "runs")
    else:
        os.chdir("/")
    if name == "relative":
        field.kdlab("data", "list", clips, names=("relative", "current folder", "working"))
        return
    its = recipe(clips, 7)
    run = field.call((name, its.name, "current"), obtain, its, pretrained=False, say=lambda _: None)
    if run and answers(run) != undisturbed(field, "other seed"):
        field.found("wrong", "other bits than in a usual folder")
    if not run:
        field.found("wrong", f"refused for its surroundings: {run.message}")


def clocks(field: Attack) -> None:
    """Clips of the future, of 1970, all of one moment; each change of contents is seen."""
    from kdlab.clips.cache import FrameCache

    clip, other = field.root / "clip.mp4", field.camp / "other" / "clips" / "left" / "train1.mp4"
    shutil.copy2(field.camp / "clips" / "left" / "train0.mp4", clip)
    moment = int(field.rng.choice([0, 10**9, 2**33])) * 10**9
    os.utime(clip, ns=(moment, moment))
    cache = FrameCache(field.root / "cache")
    before = field.call((clip,), cache.frames, clip, [0, 5], 16)
    data = other.read_bytes()
    size = max(clip.stat().st_size, len(data))
    if clip.stat().st_size < size:  # both of one size, so that neither size nor time tells them apart
        clip.write_bytes(clip.read_bytes() + bytes(size - clip.stat().st_size))
        os.utime(clip, ns=(moment, moment))
        before = field.call((clip,), cache.frames, clip, [0, 5], 16)
    clip.write_bytes(data + bytes(size - len(data)))
    os.utime(clip, ns=(moment, moment))
    right = FrameCache(field.root / "fresh").frames(other, [0, 5], 16)
    after = field.call((clip,), FrameCache(field.root / "cache").frames, clip, [0, 5], 16)
    if isinstance(before, type(right)) and isinstance(after, type(right)) and (after != right).any():
        field.found("wrong", "a clip replaced at the same size and time: the old frames come out of the cache")


KINDS = (places, streams, locales, folders, clocks)
