"""One attack: what it may call, what it finds, and the forked process that it runs in."""

import contextlib
import faulthandler
import hashlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

COUNTS = ("hang", "wrong", "traceback", "lost", "touched", "unnamed")

#: Megabytes above those of the parent; a network's input and some frames of 1080p need less.
MEMORY = 500
_STOP_AT = 4 * MEMORY  # before the machine suffers


@dataclass(frozen=True)
class Refused:
    """A named error, which is what bad input should get; false, so that ``if answer`` reads well."""

    message: str

    def __bool__(self) -> bool:
        return False


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


class Attack:
    """What an attack has: an empty folder ``root`` (also the current one), ``clone`` with kdlab, ``camp`` with what all
    attacks share, random numbers, and the six counts."""

    def __init__(self, root: Path, clone: Path, camp: Path, rng: np.random.Generator, log: Path):
        self.root, self.clone, self.camp, self.rng, self._log = root, clone, camp, rng, log

    def pick(self, several: Sequence):
        """One of ``several``."""
        return several[self.number(len(several))]

    def number(self, below: int) -> int:
        """A random number from 0 on."""
        return int(self.rng.integers(below))

    def found(self, count: str, what: str) -> None:
        """Note a finding at once: the process may not live to the end."""
        assert count in COUNTS
        self._note({"count": count, "what": " ".join(what.split())[:400]})

    def left_over(self, what: str) -> None:
        """Note what is no fault but should be known: drafts that nobody will clean."""
        self._note({"left": what[:400]})

    def keep(self, place: Path) -> None:
        """From here on ``place`` is somebody else's: its bytes and times are compared after the attack."""
        self._note({"keep": str(place), "state": state(place)})

    def call(self, names: Sequence[str | Path], function: Callable, *arguments, **options):
        """``function(...)``, or :class:`Refused`, whose message must hold one of the ``names``."""
        try:
            return function(*arguments, **options)
        except (ValueError, OSError) as error:
            if not _named(str(error), names):
                self.found("unnamed", f"{_place(error)}: {type(error).__name__}: {error}")
            return Refused(str(error))
        except BaseException as error:
            self.found("traceback", f"{_place(error)}: {type(error).__name__}: {str(error)[:200]}")
            return Refused(str(error))

    def kdlab(self, *arguments, names: Sequence[str | Path] = ()) -> Ended:
        """The command line in this process; a failure must hold one of the ``names``, if there are any."""
        from kdlab.cli.main import main

        ended = captured(main, [str(argument) for argument in arguments])
        said = ended.out + ended.err
        if "Traceback (most recent call last)" in said:
            self.found("traceback", f"kdlab {' '.join(map(str, arguments))[:100]}: {_last_lines(said)}")
        elif ended.code and names and not _named(said, names):
            self.found("unnamed", f"kdlab {' '.join(map(str, arguments))[:100]}: {_last_lines(said)}")
        return ended

    def _note(self, entry: dict) -> None:
        with open(self._log, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps(entry) + "\n")


def captured(function: Callable, *arguments) -> Ended:
    """Exit code, stdout and stderr of a function that may exit, with what libraries write to the descriptors."""
    files = [os.fdopen(os.memfd_create("said"), "w+b") for _ in range(2)]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept, streams, code = [os.dup(1), os.dup(2)], (sys.stdout, sys.stderr), 0
    for file, descriptor in zip(files, (1, 2), strict=True):
        os.dup2(file.fileno(), descriptor)
    sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8", errors="strict")
    sys.stderr = io.TextIOWrapper(os.fdopen(os.dup(2), "wb"), encoding="utf-8", errors="backslashreplace")
    try:
        function(*arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = streams
        for old, descriptor in zip(kept, (1, 2), strict=True):
            os.dup2(old, descriptor)
            os.close(old)
    texts = []
    for file in files:
        file.seek(0)
        texts.append(file.read().decode("utf-8", "backslashreplace"))
        file.close()
    return Ended(code, *texts)


def state(place: Path) -> dict[str, list]:
    """Path below ``place`` → time of change and a hash of the bytes; links and folders by what they are."""
    found = {}
    for entry in [place, *(sorted(place.rglob("*")) if place.is_dir() and not place.is_symlink() else ())]:
        try:
            status = entry.lstat()
        except OSError:
            continue
        key = os.fsencode(entry.relative_to(place)).decode("utf-8", "backslashreplace")
        if entry.is_symlink():
            found[key] = ["link", os.readlink(entry)]
        elif entry.is_file():
            found[key] = [status.st_mtime_ns, hashlib.blake2b(entry.read_bytes(), digest_size=8).hexdigest()]
        else:
            found[key] = ["folder" if entry.is_dir() else "special"]
    return found


def differences(before: dict[str, list], after: dict[str, list], added: bool = False) -> list[str]:
    """What has become of the files of ``before``; with ``added`` also the new ones."""
    lost = [f"{name} {'changed' if name in after else 'deleted'}" for name in before if after.get(name) != before[name]]
    return lost + [f"{name} added" for name in after if added and name not in before]


# --- the process of an attack --------------------------------------------------------------------------------------

def run_forked(attack: Callable[[Attack], None], field: Attack, seconds: float, environment: dict[str, str],
               grace: float = 20.0) -> None:
    """Run ``attack(field)`` in a new session; what the process cannot tell itself is noted here. Processes that it
    leaves behind have ``grace`` seconds to end by themselves."""
    memory_before = psutil.Process().memory_info().rss
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _besieged(attack, field, environment)
    status, usage = _waited(pid, seconds, memory_before, field)
    grown = (usage.ru_maxrss * 1024 - memory_before) / 1e6
    if grown > MEMORY:
        field.found("hang", f"took {grown:,.0f} MB of memory")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        field.found("traceback", f"crashed: {signal.Signals(os.WTERMSIG(status)).name}")
    if left := end_session(pid, grace):
        field.found("hang", f"left {len(left)} processes behind: {left[0][:120]}")


def _besieged(attack: Callable, field: Attack, environment: dict[str, str]) -> None:
    """In the child: own session, one core, quiet streams; never returns."""
    try:
        os.setsid()
        faulthandler.disable()
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[os.getpid() % len(os.sched_getaffinity(0))]})
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ.update(environment)
        os.chdir(field.root)
        quiet = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(quiet, descriptor)
        attack(field)
    except BaseException as error:
        inside = any("/kdlab/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))
        with contextlib.suppress(BaseException):
            field.found("traceback", f"{'' if inside else 'in the siege itself: '}{_place(error)}: "
                                     f"{type(error).__name__}: {error}")
    os._exit(0)


def _waited(pid: int, seconds: float, memory_before: int, field: Attack):
    """Status and usage of the child; one that sleeps ``seconds``, works three times as long or eats memory is ended."""
    process, pause, killed = psutil.Process(pid), 0.002, False
    now, used, busy_at, look_at, last = 0.0, 0.0, 0.0, 5.0, time.monotonic()
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, usage
        time.sleep(pause)
        pause, why = min(0.2, 1.2 * pause), ""
        now += min(1.0, time.monotonic() - last)  # while the siege itself is stopped, no time passes
        last = time.monotonic()
        with contextlib.suppress(psutil.Error):
            if (grown := process.memory_info().rss - memory_before) > _STOP_AT * 1e6:
                why = f"stopped at {grown / 1e6:,.0f} MB of memory"
            if now > look_at:  # asleep is who has had less than a twentieth of a core
                seen = sum(sum(p.cpu_times()[:2]) for p in (process, *process.children(recursive=True)))
                busy_at = now if abs(seen - used) > 0.25 else busy_at
                used, look_at = seen, now + 5
        if now - busy_at > seconds or used > 3 * seconds or now > 15 * seconds:
            why = f"not ended after {now:.0f} s, {used:.0f} of them at work"
        if why and not killed:
            field.found("hang", why)
            killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # not waited for yet, so the number is still its own


def end_session(session: int, grace: float) -> list[str]:
    """End what is left of a session; the command lines of those that had not ended by themselves in time."""
    until = time.monotonic() + grace
    while left := _members(session):
        if time.monotonic() > until:
            lines = [" ".join(process.info["cmdline"] or [process.info["name"]]) for process in left]
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            return lines
        time.sleep(0.1)
    return []


def _members(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "name", "status"]):
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if process.info["status"] != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session:
                found.append(process)
    return found


# --- helpers -------------------------------------------------------------------------------------------------------

def _named(message: str, names: Sequence[str | Path]) -> bool:
    """Whether one of the names stands in the message, as it is or with its odd characters written out."""
    words = [getattr(name, "name", str(name)) for name in names]
    spelled = {form for word in words for form in (word, repr(word)[1:-1], ascii(word)[1:-1])}
    return any(word.casefold() in message.casefold() for word in spelled if word)


def _place(error: BaseException) -> str:
    """File and line in kdlab, or where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if "/kdlab/" in frame.filename] or frames
    return f"{Path(inside[-1].filename).name}:{inside[-1].lineno}" if inside else "?"


def _last_lines(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-2:]) or "no message"
