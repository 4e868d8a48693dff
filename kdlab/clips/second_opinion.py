"""What PyAV and decord make of one file: how many frames, how many of them differ, and damage that one does not tell.

Both read the file in order, frame by frame; decord is also asked for single frames, which is where it errs most.
"""

import time
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdlab.clips.container import DamagedClip
from kdlab.clips.decode import each_frame
from kdlab.clips.decoders import DECODERS, alike, chosen, decord_reader, distance, in_order, rgb

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
        messages = [refusal] if refusal else []
        if not refusal and self.pyav != self.decord:
            messages.append(f"decord gives {self.decord} frames, PyAV {self.pyav}")
        if self.differing:
            by = f"up to {self.worst:.0f} levels" if np.isfinite(self.worst) else "their shape"
            messages.append(f"{self.differing} of {min(self.pyav, self.decord)} frames differ, by {by}")
        if self.wrong:
            messages.append(f"{self.wrong} of {self.single} frames that decord is asked for by number are others")
        return "; ".join(messages)


def opinions(path: Path | str, alone: bool = False) -> Opinions:
    """Read a file by both, or by PyAV ``alone``. Raises FileNotFoundError, ValueError where decord is not installed."""
    path, reader, reasons, counts = Path(path), None, ["", ""], [0, 0]
    differing = single = wrong = 0
    worst, readers = 0.0, (each_frame(path, decoder="pyav"), iter(()) if alone else in_order(path))
    while True:
        pair = []
        for which, frames in enumerate(readers):
            try:
                frame = next(frames, None)
            except DamagedClip as error:
                frame, reasons[which] = None, error.reason
            counts[which] += frame is not None
            pair.append(frame)
        pyav, decord = pair
        if pyav is None and decord is None:
            return Opinions(*counts, tuple(reasons), differing, float(worst), single, wrong)
        if pyav is None or decord is None:
            continue
        if not alike(pyav, decord):
            differing += 1
            worst = max(worst, distance(pyav, decord) if pyav.shape == decord.shape else np.inf)
        elif (counts[0] - 1) % _EVERY == 0:  # that it is another in any case has been said
            single += 1
            try:
                reader = reader or decord_reader(path)
                wrong += not np.array_equal(decord, rgb(reader[counts[0] - 1]))
            except Exception:  # its own error, or an index beyond the end
                wrong += 1


def seconds(path: Path | str, repeats: int = 3, alone: bool = False) -> dict[str, float]:
    """CPU seconds in which each, or PyAV ``alone``, reads the whole of a sound file: the least of interleaved
    ``repeats``."""
    ways = {"pyav": lambda: each_frame(path, decoder="pyav"), "decord": lambda: in_order(path)}
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        for name in ("pyav",) if alone else ways:
            began = time.process_time()
            deque(ways[name](), maxlen=0)
            found[name].append(time.process_time() - began)
    return {name: min(times) for name, times in found.items()}


def side_by_side(files: dict[str, Path]) -> "pd.DataFrame":
    """A row a file: what each decoder makes of it, in CPU milliseconds where both read it whole, and how many of the
    frames that both give are the same. Where decord is not installed its columns say so."""
    import pandas as pd

    try:
        alone = not chosen("decord")
    except ValueError:
        alone = True
    rows = []
    for title, path in files.items():
        read = opinions(path, alone)
        spent = {} if any(read.reasons) else seconds(path, alone=alone)
        pyav, decord = (reason or f"{count} frames" + (f", {1000 * spent[name]:.0f} ms" if name in spent else "")
                        for name, reason, count in zip(DECODERS, read.reasons, (read.pyav, read.decord), strict=True))
        both = min(read.pyav, read.decord)
        same = ("not installed here", "") if alone else (decord, f"{both - read.differing} of {both}")
        rows.append((title, pyav, *same))
    return pd.DataFrame(rows, columns=["file", "PyAV", "decord", "same frames"])
