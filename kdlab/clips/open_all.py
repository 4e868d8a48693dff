"""Opening every clip before a training: on all cores, with each bad file named, and with the frame cache filled."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import torch

from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.decode import DamagedClip
from kdlab.clips.views import ClipBatches, TooShort, UnusableClips
from kdlab.system.pool import available_cores, each, track


def open_all(parts: Sequence[ClipBatches], what: str = "opening clips", patience: float = 5.0) -> None:
    """Open every clip of ``parts`` once, under each of their views, so that a bad file is named before any training.

    Raises :class:`DamagedClip`, :class:`TooShort` or FileNotFoundError for one bad clip, :class:`UnusableClips` for
    several, in the order of the parts. ``what`` names the bar.
    """
    if bad := unusable(parts, what, patience):
        raise bad[0] if len(bad) == 1 else UnusableClips(bad)


def unusable(parts: Sequence[ClipBatches], what: str = "opening clips", patience: float = 5.0) -> list[Exception]:
    """What ``open_all`` would raise, one error a clip. Fills the cache.

    Clips that are in the cache are opened in no time, so this process begins alone; where the rest would take it more
    than ``patience`` seconds, all cores help. A worker of a pool goes on alone, since its like have the other cores.
    """
    jobs = [(clips, record) for clips in parts
            for record in {(r.path, r.start, r.end): r for r in clips.records}.values()]
    return [error for error in track(_opened(jobs, patience), what, len(jobs)) if error]


def _opened(jobs: list[tuple[ClipBatches, ClipRecord]], patience: float) -> Iterator[Exception | None]:
    for number, job in enumerate(jobs, 1):
        began = time.monotonic()
        yield _opened_under(*job)
        if (time.monotonic() - began) * (len(jobs) - number) > patience and available_cores() > 1:
            rest = jobs[number:]
            # not every error survives the way between processes: this one opens a clip again that another could not
            for job, opens in zip(rest, each(_opens, *zip(*rest, strict=True), chunk=8), strict=True):
                yield None if opens else _opened_under(*job)
            return


def _opened_under(clips: ClipBatches, record: ClipRecord) -> Exception | None:
    """Open one clip under every view, and look at it as an evaluation does; what is wrong with it."""
    one = replace(clips, records=(record,))  # with the same cache
    try:
        one.check()
        next(iter(one.evaluation()))
    except (DamagedClip, TooShort, FileNotFoundError) as error:
        return error


def _opens(clips: ClipBatches, record: ClipRecord) -> bool:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return _opened_under(clips, record) is None
