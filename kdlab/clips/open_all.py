"""Opening every clip before a training: on all cores, with each bad file named, and with the frame cache filled."""

import os
import pickle
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
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

_CHUNK = 16  # at most so many clips for a worker at once


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
    than ``patience`` seconds, the other cores help. A worker of a pool goes on alone, since its like have the other
    cores, and so does a process whose views no other can import (they stand in a notebook).
    """
    jobs = [(clips, record) for clips in parts
            for record in {(r.path, r.start, r.end): r for r in clips.records}.values()]
    found = dict(track(_opened(jobs, patience), what, len(jobs)))
    return [found[number] for number in range(len(jobs)) if found[number]]


def _opened(jobs: list[tuple[ClipBatches, ClipRecord]], patience: float) -> Iterator[tuple[int, Exception | None]]:
    alone = parent_process() is not None or available_cores() == 1
    for number, job in enumerate(jobs):
        began = time.monotonic()
        error = opened_under(*job)
        left = (time.monotonic() - began) * (len(jobs) - number - 1)
        yield number, error
        if left > patience and not alone:
            yield from _on_all_cores(jobs, number + 1)
            return


def opened_under(clips: ClipBatches, record: ClipRecord) -> Exception | None:
    """Open one clip under every view, and look at it as an evaluation does; what is wrong with it."""
    one = replace(clips, records=(record,))  # with the same cache
    try:
        one.check()
        next(iter(one.evaluation()))
    except (DamagedClip, TooShort, FileNotFoundError) as error:
        return error


def kept(clips: ClipBatches, records: Sequence[ClipRecord]) -> tuple[Exception | None, str]:
    """Read sound clips into the cache of ``clips``: what is wrong with one all the same, and why none can be kept."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RuntimeWarning)
        for record in records:
            if not clips.cache._stopped and (error := opened_under(clips, record)):
                return error, ""
    return None, next((str(warning.message) for warning in told if warning.category is RuntimeWarning), "")


def _on_all_cores(jobs: list[tuple[ClipBatches, ClipRecord]], first: int) -> Iterator[tuple[int, Exception | None]]:
    """The jobs from ``first`` on, in the order in which they end. This process takes the last ones, and begins while
    the others start."""
    others = min(available_cores(), len(jobs) - first) - 1
    size = max(1, min(_CHUNK, (len(jobs) - first) // (256 * (others + 1))))
    todo: deque[list[int]] = deque()  # numbers of jobs of one part
    for number in range(first, len(jobs)):
        if not todo or jobs[todo[-1][0]][0] is not jobs[number][0] or len(todo[-1]) == size:
            todo.append([])
        todo[-1].append(number)
    with ExitStack() as stack:
        stack.enter_context(_one_thread())
        at_work: dict[Future, list[int]] = {}
        try:
            for clips in {id(clips): clips for clips, _ in jobs}.values():
                _packed(clips, ())
            processes = stack.enter_context(pool(others, preload=[__name__])) if others else None
        except (pickle.PicklingError, AttributeError, TypeError, SystemExit):  # the last: a script without a main guard
            processes = None

        def hand_over(chunks: list[list[int]]) -> None:
            for its in chunks:
                packed = _packed(jobs[its[0]][0], [jobs[number][1] for number in its])
                at_work[processes.submit(_open_chunk, packed)] = its

        begun = None
        if processes:  # whoever submits the first waits until a worker has imported all of this: not this thread
            begun = stack.enter_context(ThreadPoolExecutor(1)).submit(
                hand_over, [todo.popleft() for _ in range(min(2 * others, len(todo)))])
        try:
            while todo or at_work or begun:
                if begun and (begun.done() or not todo):
                    begun = begun.result()
                while todo and processes and not begun and len(at_work) < 2 * others:
                    hand_over([todo.popleft()])
                if todo:
                    number = todo[-1].pop()
                    if not todo[-1]:
                        todo.pop()
                    yield number, opened_under(*jobs[number])
                if begun:
                    continue
                for job in wait(at_work, None if not todo else 0, FIRST_COMPLETED).done:
                    found = job.result()
                    its = at_work.pop(job)
                    if found is None:
                        processes = None
                    for number, error in zip(its, found or ["again"] * len(its), strict=True):
                        yield number, opened_under(*jobs[number]) if error == "again" else error
        except BrokenProcessPool as error:
            names = some(str(jobs[number][1].path) for its in at_work.values() for number in its)
            raise ChildProcessError(f"a process was killed while it opened {names or 'clips'} or a clip near them. Out "
                                    "of memory? Then make the clips smaller. The same call goes on from there."
                                    ) from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """The other cores belong to the workers meanwhile."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _packed(clips: ClipBatches, records: Sequence[ClipRecord]) -> bytes:
    """Some clips, with a cache at the same place that does not carry along what is known of all others."""
    place = FrameCache(clips.cache.root, clips.cache.limit_bytes)
    return pickle.dumps(replace(clips, records=tuple(records), cache=place))


def _open_chunk(packed: bytes) -> list | None:
    """For each clip None, an error, or "again" where the owner should see for itself; None when nothing can be said."""
    os.environ["KDLAB_HEADLESS"] = "quiet"  # the owner shows how far it is
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        clips = pickle.loads(packed)
    except Exception:  # a view of the owner's own, which only the owner has
        return None
    clips = replace(clips, cache=_one_cache(clips.cache.root, clips.cache.limit_bytes))
    return [_tried(clips, record) for record in clips.records]


_one_cache = cache(FrameCache)  # which counts the bytes in its folder


def _tried(clips: ClipBatches, record: ClipRecord) -> Exception | str | None:
    try:
        return opened_under(clips, record)
    except Exception:  # not every error survives the way between processes: the owner will have it whole
        return "again"
