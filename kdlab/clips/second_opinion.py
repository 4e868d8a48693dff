"""What PyAV and decord make of one file: how many frames, how many of them differ, and damage that one does not tell.

Both read the file in order, frame by frame; decord is also asked for single frames, which is where it errs most.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdlab.clips.container import DamagedClip
from kdlab.clips.decode import each_frame
from kdlab.clips.decoders import alike, chosen, decord_reader, distance, in_order, rgb

if TYPE_CHECKING:
    import pandas as pd

_EVERY = 4  # of the frames, asked of decord by number


@dataclass(frozen=True)
class Opinions:
    """``pyav`` and ``decord`` frames came out of a file, ``reasons`` say why not more, each empty where there is none.

    Of the frames that both gave, ``differing`` are others, by up to ``worst`` levels of 255 on average (infinite for
    another shape), and of ``single`` ones that decord was asked for by number, ``wrong``.
    """

    pyav: int
    decord: int
    reasons: tuple[str, str]
    differing: int
    worst: float
    single: int
    wrong: int

    @property
    def disagreement(self) -> str:
        """On what the two disagree, PyAV's damage included of which decord says nothing; empty where they agree."""
        damage, refusal = self.reasons
        if damage and refusal:
            return ""
        if damage:
            return f"PyAV finds it {damage}; decord gives {self.decord} frames and says nothing"
        said = [refusal] if refusal else []
        if not refusal and self.pyav != self.decord:
            said.append(f"decord gives {self.decord} frames, PyAV {self.pyav}")
        if self.differing:
            by = f"up to {self.worst:.0f} levels" if np.isfinite(self.worst) else "their shape"
            said.append(f"{self.differing} of {min(self.pyav, self.decord)} frames differ, by {by}")
        if self.wrong:
            said.append(f"{self.wrong} of {self.single} frames that decord is asked for by number are others")
        return "; ".join(said)


def opinions(path: Path | str) -> Opinions:
    """Read a file by both. Raises FileNotFoundError, ValueError where decord is not installed."""
    path, asked = Path(path), _by_number(Path(path))
    reasons, counts = ["", ""], [0, 0]
    differing = single = wrong = 0
    worst, readers = 0.0, (each_frame(path, decoder="pyav"), in_order(path))
    while True:
        pair = []
        for which, frames in enumerate(readers):
            try:
                frame = next(frames, None)
            except DamagedClip as error:
                frame, reasons[which] = None, error.reason
            counts[which] += frame is not None
            pair.append(frame)
        ours, theirs = pair
        if ours is None and theirs is None:
            break
        if ours is None or theirs is None:
            continue
        if not alike(ours, theirs):
            differing += 1
            worst = max(worst, distance(ours, theirs) if ours.shape == theirs.shape else np.inf)
        elif (counts[0] - 1) % _EVERY == 0:  # that it is another in any case has been said
            again = asked(counts[0] - 1)
            single, wrong = single + 1, wrong + (again is None or not alike(ours, again))
    return Opinions(*counts, tuple(reasons), differing, float(worst), single, wrong)


def seconds(path: Path | str, repeats: int = 3) -> dict[str, float]:
    """CPU seconds in which each reads the whole of a sound file: the least of interleaved ``repeats``."""
    ways = {"pyav": lambda: each_frame(path, decoder="pyav"), "decord": lambda: in_order(path)}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.process_time()
            _drop(way())
            found[name].append(time.process_time() - began)
    return {name: min(times) for name, times in found.items()}


def side_by_side(files: dict[str, Path]) -> "pd.DataFrame":
    """A row a file: what each decoder makes of it, in CPU milliseconds where both read it whole, and how many of the
    frames that both give are the same. Where decord is not installed its columns say so."""
    import pandas as pd

    try:
        chosen("decord")
    except ValueError:
        found = [(title, _say(*_alone(path)), "not installed here", "") for title, path in files.items()]
    else:
        found = []
        for title, path in files.items():
            its = opinions(path)
            both, spent = min(its.pyav, its.decord), {} if any(its.reasons) else seconds(path)
            found.append((title, _say(its.pyav, its.reasons[0], spent.get("pyav")),
                          _say(its.decord, its.reasons[1], spent.get("decord")), f"{both - its.differing} of {both}"))
    return pd.DataFrame(found, columns=["file", "PyAV", "decord", "same frames"])


def _alone(path: Path) -> tuple[int, str, float]:
    """Frames by PyAV, the reason why not more, and CPU seconds."""
    began, count = time.process_time(), 0
    try:
        for _ in each_frame(path, decoder="pyav"):
            count += 1
    except DamagedClip as error:
        return count, error.reason, 0.0
    return count, "", time.process_time() - began


def _say(frames: int, reason: str, seconds: float | None = None) -> str:
    return reason or f"{frames} frames" + (f", {1000 * seconds:.0f} ms" if seconds else "")


def _drop(frames: Iterator[np.ndarray]) -> None:
    for _ in frames:
        pass


def _by_number(path: Path):
    """A function of a frame's number: decord's frame, None where it has none; the file is opened when it is needed."""
    reader = []

    def asked(number: int) -> np.ndarray | None:
        try:
            reader[:] = reader or [decord_reader(path)]
            return rgb(reader[0][number])
        except Exception:  # its own error, or an index beyond the end
            return None

    return asked
