"""Where the pixels of a P-frame come from: one frame back, and over all frames of its group. Pure functions of arrays.

docs/methods.md, section 4.2; CoViAR (arXiv 1712.00636), which does the same pixel by pixel in C.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

#: A block of a P-frame as FFmpeg tells it: ``w`` x ``h`` pixels, with integer centres here (dst) and in the frame
#: before (src), and the exact motion, ``motion_x / motion_scale`` pixels.
BLOCK = np.dtype([("source", "i4"), ("w", "u1"), ("h", "u1"), ("src_x", "i2"), ("src_y", "i2"), ("dst_x", "i2"),
                  ("dst_y", "i2"), ("flags", "u8"), ("motion_x", "i4"), ("motion_y", "i4"), ("motion_scale", "u2")],
                 align=True)
# the same bytes; "src" and "dst" are a centre's x and y in one, to compare them at once
_PAIRS = np.dtype({"names": ["size", "centres", "src", "dst"], "formats": ["2u1", "4i2", "i4", "i4"],
                   "offsets": [4, 6, 6, 10], "itemsize": BLOCK.itemsize})


def nearest(blocks: np.ndarray) -> np.ndarray:
    """The ``blocks`` of H.264, moved by whole pixels: the nearest to its quarters, of two the right or lower one.

    FFmpeg cuts quarters off, as it does halves in MPEG-4. In H.264 most motion is less than a pixel a frame, and over a
    group of pictures what is cut off adds up (docs/methods.md, 4.2).
    """
    for axis in "xy":
        motion, scale = blocks[f"motion_{axis}"], blocks["motion_scale"].astype(int)
        blocks[f"src_{axis}"] = blocks[f"dst_{axis}"] + (2 * motion + scale) // (2 * scale)
    return blocks


@dataclass(frozen=True)
class Moves:
    """What a P-frame copies from the frame before.

    ``whole`` tiles of ``tile`` (width, height) pixels, by their corners (4, n): there x and y, here x and y. Then the
    ``cut`` ones, as rectangles: the same four, and width and height.
    """

    tile: tuple[int, int]
    whole: np.ndarray
    cut: list[list[int]]


def moves(blocks: Sequence[np.ndarray], height: int, width: int, rows: int = 0, columns: int = 0) -> list[Moves]:
    """Which pixels of images of ``height`` x ``width`` are moved by the ``blocks``, (n,) for each of several P-frames.

    docs/methods.md, 4.2: blocks at rest move nothing. Of the others only pixels count that lie inside the image both
    here and there. A later block overwrites an earlier one. ``rows`` and ``columns`` are the size of the arrays that
    :func:`advance` will be given, where those are padded at the right and the bottom: cut blocks are slower than whole
    ones. Several frames at once are faster than one by one.
    """
    pairs = np.concatenate([array.view(np.uint8) for array in blocks]).view(_PAIRS)
    moved = np.flatnonzero(pairs["src"] != pairs["dst"])
    owner = np.repeat(np.arange(len(blocks)), [len(array) for array in blocks])[moved]
    sizes = pairs["size"][moved].astype(int)  # x, y
    corners = pairs["centres"][moved] - np.tile(sizes // 2, 2)  # there x, y; here x, y
    tile = np.gcd.reduce(sizes) if len(sizes) else np.full(2, 16)
    if (sizes != tile).any():  # blocks of several sizes: as more and smaller ones of one size, in the same order
        counts = sizes // tile
        total, across = counts.prod(1), counts[:, 0]
        owner, corners, across = np.repeat(owner, total), np.repeat(corners, total, 0), np.repeat(across, total)
        nth = np.arange(total.sum()) - np.repeat(total.cumsum() - total, total)
        corners += np.tile(np.stack([nth % across, nth // across], 1) * tile, 2)
    there, here, (w, h) = corners[:, :2], corners[:, 2:], tile.tolist()
    # to the right and below, what a tile copies to the padding may come from the padding
    inside = (there <= (width - w, height - h)) | (there <= here)
    whole = (corners >= 0).all(1) & (inside & (here <= ((columns or width) - w, (rows or height) - h))).all(1)
    cut = [[] for _ in blocks]
    if not whole.all():
        places = (owner << 40) + (here[:, 1] << 20) + here[:, 0]
        if (here % tile).any() or not np.diff(np.sort(places)).all():
            whole[:] = False  # overlapping blocks, which no codec has: keep their order
        part = corners[~whole].reshape(-1, 2, 2)
        low = np.maximum(-part.min(1), 0)
        size = np.minimum(tile, (width, height) - part.max(1)) - low
        part = np.concatenate([(part + low[:, None]).reshape(-1, 4), size], 1)
        for frame, rectangle in zip(owner[~whole].tolist(), part.tolist(), strict=True):
            if rectangle[4] > 0 and rectangle[5] > 0:
                cut[frame].append(rectangle)
    corners, ends = corners[whole].T, np.searchsorted(owner[whole], np.arange(len(blocks) + 1))
    return [Moves((w, h), corners[:, ends[i]:ends[i + 1]], rectangles) for i, rectangles in enumerate(cut)]


def advance(field: np.ndarray, by: Moves, out: np.ndarray | None = None) -> np.ndarray:
    """A field of the frame before, (rows, columns, C) and contiguous, carried on to this frame.

    With A_0(p) = p this is the recursion of docs/methods.md, 4.2. The I-frame itself, carried along in the same way, is
    at every step the I-frame warped by A_t. The result is a new array, or ``out=field`` changed.
    """
    (w, h), (rows, columns), pixel = by.tile, field.shape[:2], field.shape[2] * field.itemsize
    u, v, x, y = by.whole

    def tiles(of: np.ndarray) -> np.ndarray:
        # a tile at every pixel, each of its rows one opaque item: that is copied fastest
        return np.ndarray((rows - h + 1, columns - w + 1, h), f"V{w * pixel}", of, 0,
                          (columns * pixel, pixel, columns * pixel))

    # all is read before anything is written: a block never sees what another one wrote
    found = tiles(field)[v, u] if x.size else None
    pieces = [field[v:v + h, u:u + w].copy() for u, v, _, _, w, h in by.cut]
    new = field.copy() if out is None else out
    if x.size:
        tiles(new)[y, x] = found
    for (_, _, x, y, w, h), piece in zip(by.cut, pieces, strict=True):
        new[y:y + h, x:x + w] = piece
    return new


@lru_cache(maxsize=8)
def positions(rows: int, columns: int) -> np.ndarray:
    """int16 (rows, columns, 2): every pixel's own x and y."""
    own = np.stack(np.meshgrid(np.arange(columns, dtype=np.int16), np.arange(rows, dtype=np.int16)), -1)
    own.flags.writeable = False
    return own
