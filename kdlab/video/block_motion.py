"""Block motion of P-frames, from one frame to the next and accumulated over a GOP. Pure functions of arrays.

docs/methods.md, section 4.2. CoViAR (arXiv 1712.00636) does the same pixel by pixel in C.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

#: A block of a P-frame as FFmpeg exports it: ``w`` x ``h`` pixels, with integer centres in this frame (dst) and in the
#: previous frame (src), and the exact motion, ``motion_x / motion_scale`` pixels.
BLOCK = np.dtype(
    [
        ("source", "i4"),
        ("w", "u1"),
        ("h", "u1"),
        ("src_x", "i2"),
        ("src_y", "i2"),
        ("dst_x", "i2"),
        ("dst_y", "i2"),
        ("flags", "u8"),
        ("motion_x", "i4"),
        ("motion_y", "i4"),
        ("motion_scale", "u2"),
    ],
    align=True,
)
# the same bytes; "src" and "dst" hold x and y of a centre in one integer, so that one comparison covers both
_PAIRS = np.dtype(
    {
        "names": ["size", "centres", "src", "dst"],
        "formats": ["2u1", "4i2", "i4", "i4"],
        "offsets": [4, 6, 6, 10],
        "itemsize": BLOCK.itemsize,
    }
)


def nearest(blocks: np.ndarray) -> np.ndarray:
    """Round the quarter-pixel motion of ``blocks`` (H.264, or MPEG-4 that has it) to the nearest pixel; ties go right
    or down.

    The blocks are changed in place and returned. FFmpeg truncates quarter pixels, as it truncates half pixels. Most of
    such motion is below one pixel per frame, so the truncated parts add up over a GOP (docs/methods.md, 4.2).
    """
    for axis in "xy":
        motion, scale = blocks[f"motion_{axis}"], blocks["motion_scale"].astype(int)
        blocks[f"src_{axis}"] = blocks[f"dst_{axis}"] + (2 * motion + scale) // (2 * scale)
    return blocks


@dataclass(frozen=True)
class Moves:
    """The pixels that a P-frame copies from the previous frame.

    ``whole`` (4, n) holds the top left corners of the whole tiles: x and y in the previous frame, then x and y in this
    frame. Each tile has ``tile`` (width, height) pixels. ``cut`` holds the tiles that the image border cuts, as
    rectangles: the same four coordinates, then width and height.
    """

    tile: tuple[int, int]
    whole: np.ndarray
    cut: list[list[int]]


def moves(
    blocks: Sequence[np.ndarray], height: int, width: int, rows: int, columns: int
) -> list[Moves]:
    """The pixels that ``blocks``, an array (n,) per P-frame, move in images of ``height`` x ``width``.

    docs/methods.md, 4.2: blocks at rest move nothing. A moving block moves only the pixels that lie inside the image in
    both frames. A later block overwrites an earlier one. ``rows`` and ``columns`` are the size of the fields that
    :func:`advance` receives, which may be padded at the right and the bottom: padding leaves fewer blocks cut, and cut
    blocks are slower. One call for several frames is faster than one call per frame.
    """
    pairs = np.concatenate([array.view(np.uint8) for array in blocks]).view(_PAIRS)
    moved = np.flatnonzero(pairs["src"] != pairs["dst"])
    owner = np.repeat(np.arange(len(blocks)), [len(array) for array in blocks])[moved]
    sizes = pairs["size"][moved].astype(int)  # x, y
    # x, y in the previous frame; x, y in this frame
    corners = pairs["centres"][moved] - np.tile(sizes // 2, 2)
    tile = np.gcd.reduce(sizes) if len(sizes) else np.full(2, 16)
    if (sizes != tile).any():
        owner, corners = _tiles(owner, corners, sizes // tile, tile)
    there, here, size = corners[:, :2], corners[:, 2:], np.array((width, height))
    # at the right and the bottom, a tile may copy padding to padding
    inside = (there <= size - tile) | (there <= here)
    inside &= here <= (columns, rows) - tile
    whole = (corners >= 0).all(1) & inside.all(1)
    cut = [[] for _ in blocks]
    if not whole.all():
        places = (owner << 40) + (here[:, 1] << 20) + here[:, 0]
        # no codec writes overlapping blocks; if some overlap, keep their order
        if (here % tile).any() or not np.diff(np.sort(places)).all():
            whole[:] = False
        rectangles = _within(corners[~whole], tile, size)
        for frame, rectangle in zip(owner[~whole].tolist(), rectangles, strict=True):
            if min(rectangle[4:]) > 0:
                cut[frame].append(rectangle)
    corners, ends = corners[whole].T, np.searchsorted(owner[whole], np.arange(len(blocks) + 1))
    return [
        Moves(tuple(tile.tolist()), corners[:, ends[i] : ends[i + 1]], rectangles)
        for i, rectangles in enumerate(cut)
    ]


def _tiles(
    owner: np.ndarray, corners: np.ndarray, counts: np.ndarray, tile: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Split blocks of several sizes into tiles of one size, in the same order; ``counts`` are tiles along x and y."""
    total = counts.prod(1)
    across = np.repeat(counts[:, 0], total)
    nth = np.arange(total.sum()) - np.repeat(total.cumsum() - total, total)
    steps = np.stack([nth % across, nth // across], 1) * tile
    return np.repeat(owner, total), np.repeat(corners, total, 0) + np.tile(steps, 2)


def _within(corners: np.ndarray, tile: np.ndarray, size: np.ndarray) -> list[list[int]]:
    """The parts of tiles that lie inside the image in both frames, as rectangles of :class:`Moves`."""
    both = corners.reshape(-1, 2, 2)
    low = np.maximum(-both.min(1), 0)
    sides = np.minimum(tile, size - both.max(1)) - low
    return np.concatenate([(both + low[:, None]).reshape(-1, 4), sides], 1).tolist()


def advance(field: np.ndarray, by: Moves) -> None:
    """Move the ``field`` of the previous frame, (rows, columns, C) and contiguous, to this frame, in place.

    Starting from A_0(p) = p, this is the recursion of docs/methods.md, 4.2. Starting from the I-frame's pixels, it
    gives the I-frame warped by A_t at every step. A field is at least as large as a tile.
    """
    (w, h), (rows, columns), pixel = by.tile, field.shape[:2], field.shape[2] * field.itemsize
    u, v, x, y = by.whole
    # a tile at every pixel; each row of a tile is one opaque item, which NumPy copies fastest
    tiles = np.ndarray(
        (rows - h + 1, columns - w + 1, h),
        f"V{w * pixel}",
        field,
        0,
        (columns * pixel, pixel, columns * pixel),
    )
    # read every tile before writing any, so that no block copies what another block wrote
    copied = tiles[v, u]
    pieces = [field[v : v + h, u : u + w].copy() for u, v, _, _, w, h in by.cut]
    tiles[y, x] = copied
    for (_, _, x, y, w, h), piece in zip(by.cut, pieces, strict=True):
        field[y : y + h, x : x + w] = piece


@lru_cache(maxsize=8)
def positions(rows: int, columns: int) -> np.ndarray:
    """Coordinates x and y of every pixel, int16 (rows, columns, 2), read-only."""
    own = np.stack(
        np.meshgrid(np.arange(columns, dtype=np.int16), np.arange(rows, dtype=np.int16)), -1
    )
    own.flags.writeable = False
    return own
