"""Decoders beside PyAV, for a second opinion on a user's files. PyAV alone reads the clips of a training.

They decode in order. When it seeks, decord 0.6.0 silently returns wrong frames of MPEG-4 part 2 with B-frames, of H.264
with open GOPs and of MP4 files with an edit list. docs/setup.md says where decoders disagree.
"""

import importlib
import os
from functools import cache
from pathlib import Path
from types import ModuleType

from kdlab.video.container import Frames, Indices


def _by_decord(module: ModuleType, path: str) -> Frames:
    module.logging.set_level(module.logging.QUIET)
    reader = module.VideoReader(path, num_threads=1)
    for _ in range(len(reader)):
        pixels = reader.next().asnumpy()
        height, width = pixels.shape[:2]
        # if padded rows have as many bytes as four channels (48 wide), decord reports four channels
        yield pixels.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def _by_torchcodec(module: ModuleType, path: str) -> Frames:
    for frame in module.VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1):
        yield frame.numpy()


#: The module of each decoder, and the generator that reads a file by it.
OTHERS = {"decord": ("decord", _by_decord), "torchcodec": ("torchcodec.decoders", _by_torchcodec)}


@cache
def library(name: str) -> ModuleType:
    """The module of a decoder. Raises ValueError for an unknown name, and with its own cause if it does not load."""
    if name not in OTHERS:
        raise ValueError(f"no decoder {name!r}: use pyav or {' or '.join(OTHERS)}")
    try:
        return importlib.import_module(OTHERS[name][0])
    except Exception as error:  # a compiled library may raise anything
        raise ValueError(
            f"the decoder {name} does not load ({_words(error)}): docs/setup.md, Decoders"
        ) from error


def frames_by(name: str, path: Path | str, indices: Indices = None) -> Frames:
    """Yield a file's frames by the decoder ``name``, uint8 (H, W, 3) RGB: all, or those at ``indices``, in order.

    Raises what :func:`library` raises, and ValueError with the decoder's own words if it cannot read the file.
    """
    module = library(name)
    _, read = OTHERS[name]
    try:
        for number, frame in enumerate(read(module, os.path.abspath(path))):
            if indices is None or number in indices:
                yield frame
    except Exception as error:  # each library has its own
        raise ValueError(f"{path}: {name} cannot read it ({_words(error)})") from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
