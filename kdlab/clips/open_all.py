"""Opening every clip before a training: on all cores, with each bad file named, and with the frame cache filled."""

import os
import pickle
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import parent_process

import cv2
import torch

from kdlab.clips.cache import FrameCache
from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.decode import DamagedClip
from kdlab.clips.splits import some
from kdlab.clips.views import ClipBatches, TooShort, UnusableClips
from kdlab.processes import available_cores, pool
from kdlab.progress import track

__all__ = ["open_all", "unusable"]

_CHUNK = 16  # clips for a worker at once: the cache counts its folder anew for each chunk


def open_all(parts: Sequence[ClipBatches], what: str = "opening clips", patience: float = 2.0) -> None:
    """Open every clip of ``parts`` once, under each of their views, so that a bad file is named before any training.

    Raises :class:`DamagedClip`, :class:`TooShort` or FileNotFoundError for one bad clip, :class:`UnusableClips` for
    several, in the order of the parts. ``what`` names the bar.
    """
    if bad := unusable(parts, what, patience):
        raise bad[0] if len(bad) == 1 else UnusableClips(bad)


def unusable(parts: Sequence[ClipBatches], what: str = "opening clips", patience: float = 2.0) -> list[Exception]:
    """What ``open_all`` would raise, one error a clip. Fills the cache.

    Clips that are in the cache are opened in no time, so this process begins alone; after ``patience`` seconds all
    cores go on. A worker of a pool goes on alone, since its like have the other cores, and so does a process whose
    views no other can import (they stand in a notebook).
    """
    jobs = [(clips, record) for clips in parts
            for record in {(r.path, r.start, r.end): r for r in clips.records}.values()]
    return [error for error in track(_opened_in_order(jobs, patience), what, len(jobs)) if error]


def _opened_in_order(jobs: list[tuple[ClipBatches, ClipRecord]], patience: float) -> Iterator[Exception | None]:
    began, alone = time.monotonic(), parent_process() is not None or available_cores() == 1
    for number, job in enumerate(jobs):
        if number and not alone and time.monotonic() - began >= patience and len(jobs) - number > 1:
            yield from _on_all_cores(jobs[number:])
            return
        yield _opened(*job)


def _opened(clips: ClipBatches, record: ClipRecord) -> Exception | None:
    try:
        clips.length(record)
        for view in {view.name: view for view in clips.views.values()}.values():
            clips.cache.length(record.path, clips.window.side, view.read, view.name)
    except (DamagedClip, TooShort, FileNotFoundError) as error:
        return error


def _on_all_cores(jobs: list[tuple[ClipBatches, ClipRecord]]) -> Iterator[Exception | None]:
    workers = min(available_cores(), len(jobs))
    size = max(1, min(_CHUNK, len(jobs) // (4 * workers)))
    chunks: list[tuple[ClipBatches, list[ClipRecord]]] = []
    for clips, record in jobs:
        if not chunks or chunks[-1][0] is not clips or len(chunks[-1][1]) == size:
            chunks.append((clips, []))
        chunks[-1][1].append(record)
    with ExitStack() as stack:
        try:
            packed = [pickle.dumps(replace(clips, records=tuple(its), cache=_like(clips.cache)))
                      for clips, its in chunks]
            answers = stack.enter_context(pool(workers, preload=[__name__])).map(_open_chunk, packed)
        except (pickle.PicklingError, AttributeError, TypeError, SystemExit):  # the last: a script without a main guard
            answers = [None] * len(chunks)
        answers = iter(answers)
        for clips, its in chunks:
            try:
                found = next(answers) or ["again"] * len(its)
            except BrokenProcessPool as error:
                raise ChildProcessError(f"a process was killed while it opened {some(str(r.path) for r in its)} or one "
                                        "of the next clips. Out of memory? Then make the clips smaller, or give more "
                                        "memory; what was opened is kept.") from error
            for record, error in zip(its, found, strict=True):
                yield _opened(clips, record) if error == "again" else error


def _open_chunk(packed: bytes) -> list | None:
    """For each clip None, an error, or "again" where the owner should see for itself; None when nothing can be said."""
    os.environ["KDLAB_HEADLESS"] = "quiet"  # the owner shows how far it is
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        clips = pickle.loads(packed)
    except Exception:  # a view of the owner's own, which only the owner has
        return None
    return [_tried(clips, record) for record in clips.records]


def _tried(clips: ClipBatches, record: ClipRecord) -> Exception | str | None:
    try:
        return _opened(clips, record)
    except Exception:  # not every error survives the way between processes: the owner will have it whole
        return "again"


def _like(cache: FrameCache) -> FrameCache:
    """The same place without what is known of it, which may be much to hand over."""
    return FrameCache(cache.root, cache.limit_bytes)
