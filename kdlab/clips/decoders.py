"""Which decoder reads videos: PyAV, or decord where one chooses it; and what decord is asked.

decord 0.6.0 gives PyAV's frames, in nearly all files bit for bit, where it reads them in order. Asked for single ones
it returns others, without a word, of MPEG-4 part 2 with B-frames, of open groups of pictures in H.264 and of MP4 files
with an edit list; so it is asked in order only. It is no faster (benchmarks/decode.json), mirrors nothing, shortens
truncated AVI files and fills damaged frames in: ``kdlab.clips.decode`` lets PyAV look at a file first.
"""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from kdlab.clips.container import DamagedClip, probe

DECODERS = ("pyav", "decord")
_LEVELS = 1.0  # of 255; a frame whose mean difference is larger is another one. Conversions of colours differ by 0.2.


def chosen(decoder: str = "") -> str:
    """``decoder``, else ``$KDLAB_DECODER``, else ``pyav``. Raises ValueError for one that is unknown or not here."""
    name = decoder or os.environ.get("KDLAB_DECODER") or "pyav"
    if name not in DECODERS:
        where = "" if decoder else " in KDLAB_DECODER"
        raise ValueError(f"no decoder {name!r}{where}: use {' or '.join(DECODERS)}")
    if name == "decord":
        _decord()
    return name


def raw_name(decoder: str = "") -> str:
    """What frames as they were recorded are called in a frame cache: those of two decoders may differ."""
    return "raw" if (name := chosen(decoder)) == "pyav" else f"raw-{name}"


@cache
def _decord():
    try:
        import decord
    except (ImportError, OSError, RuntimeError) as error:  # the last two: its library does not load
        raise ValueError(f"the decoder decord cannot be used here ({error}): install it (there are wheels for x86-64 "
                         "Linux and Windows; eva-decord for Macs on ARM with Python 3.11), or use pyav") from None
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def decord_reader(path: Path | str):
    """decord's reader of a file, in one thread, to be asked by number. PyAV opens the file before, so that decord gets
    no list of other files. Raises DamagedClip, and ValueError where there is no decord."""
    decord = _decord()
    probe(path)
    try:
        return decord.VideoReader(os.path.abspath(path), num_threads=1)
    except (decord.DECORDError, RuntimeError) as error:
        raise _refused(path, error) from None


def in_order(path: Path | str) -> Iterator[np.ndarray]:
    """All frames that decord finds, uint8 (H, W, 3). Raises DamagedClip where it refuses the file or a frame."""
    reader = decord_reader(path)
    for _ in range(len(reader)):
        try:
            frame = rgb(reader.next())
        except StopIteration:
            return
        except (_decord().DECORDError, RuntimeError) as error:
            raise _refused(path, error) from None
        yield frame


def rgb(frame) -> np.ndarray:
    """A frame of decord's as uint8 (H, W, 3). Where a row of pixels is padded to as many bytes as four channels would
    have (pictures 48 wide), it says that there are four."""
    pixels = frame.asnumpy()
    height, width = pixels.shape[:2]
    return pixels.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures (H, W, C) are the same frame: of one shape, and nearly of the same levels."""
    return one.shape == other.shape and distance(one, other) <= _LEVELS


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of two pictures of one shape, in levels of 255."""
    return float(np.abs(np.subtract(one, other, dtype=np.int16)).mean())


def _refused(path: Path | str, error: Exception) -> DamagedClip:
    why = re.sub(r"^(\[[\d:]+\] \S+ )+", "", str(error).strip().partition("\n")[0]).partition(str(path))[0].strip(" .")
    return DamagedClip(path, f"refused by decord: {why or 'it cannot open the file'}")
