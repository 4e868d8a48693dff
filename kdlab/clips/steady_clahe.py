"""CLAHE of a whole clip as one tall picture, for clips too long to be one: the tables first, then frame by frame.

OpenCV's own computation, step by step and in its precision (single): a histogram for each tile, clipped, what was
clipped spread over all values; its running sum is the tile's table; a pixel gets the blend of the four nearest tiles'.
The tall picture has row y of frame t at y T + t.
"""

from collections.abc import Callable, Iterator

import cv2
import numpy as np


def fitted_tables(clip: Callable[[], Iterator[np.ndarray]], clip_limit: float,
                  tiles: int) -> Callable[[int, np.ndarray], np.ndarray]:
    """How to equalise the luma (H, W) of frame number t of a ``clip`` of RGB frames (H, W, 3), which is read once, or
    twice where its sides are no multiples of ``tiles``."""
    first = next(clip())
    height, width = first.shape[:2]
    even = not (height % tiles or width % tiles)
    # how many frames there are decides only which of them begin a tile in the middle of a row
    count = 2**31 if even else sum(1 for _ in clip())
    rows = height * count
    below, beside = (tiles - rows % tiles, tiles - width % tiles) if rows % tiles or width % tiles else (0, 0)
    tile = (rows + below) // tiles, (width + beside) // tiles
    # rows mirrored under the last one: their tile, and of which row of which frame they are a copy
    mirrored = [((rows + k) // tile[0], *divmod(rows - 2 - k, count)) for k in range(below)]
    histograms = np.zeros((tiles, tiles, 256), np.int64)
    number = -1
    for number, frame in enumerate(clip()):
        luma = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)[..., 0]
        luma = cv2.copyMakeBorder(luma, 0, 0, 0, beside, cv2.BORDER_REFLECT_101)
        edges = [min(max(-(-(k * tile[0] - number) // count), 0), height) for k in range(tiles + 1)]
        for k in range(tiles):
            histograms[k] += _counts(luma[edges[k]:edges[k + 1]], tiles)
        for at, row in ((at, row) for at, row, when in mirrored if when == number):
            histograms[at] += _counts(luma[row:row + 1], tiles)
    if even:
        count, tile = number + 1, (height // tiles * (number + 1), tile[1])
    tables = _tables(histograms, clip_limit, tile[0] * tile[1])
    columns, first_rows = _blend(np.arange(width), tile[1], tiles), np.arange(height) * count
    return lambda number, luma: _blended(luma, tables, _blend(first_rows + number, tile[0], tiles), columns)


def _counts(strip: np.ndarray, tiles: int) -> np.ndarray:
    """How often each value occurs in each of ``tiles`` equal pieces of a strip, side by side: (tiles, 256)."""
    if not len(strip):
        return np.zeros((tiles, 256), np.int64)
    return np.stack([cv2.calcHist([np.ascontiguousarray(piece)], [0], None, [256], [0, 256]).ravel().astype(np.int64)
                     for piece in np.split(strip, tiles, axis=1)])


def _tables(histograms: np.ndarray, clip_limit: float, area: int) -> np.ndarray:
    """uint8 (tiles, tiles, 256)."""
    limit = max(int(clip_limit * area / 256), 1)
    clipped = np.maximum(histograms - limit, 0).sum(-1)
    spread = np.minimum(histograms, limit) + (clipped // 256)[..., None]
    for at, left in np.ndenumerate(clipped % 256):
        if left:
            step = max(256 // left, 1)
            spread[at][: step * left : step] += 1
    sums = spread.cumsum(-1).astype(np.float32) * (np.float32(255) / np.float32(area))
    return np.rint(sums).clip(0, 255).astype(np.uint8)


def _blend(places: np.ndarray, tile: int, tiles: int) -> tuple[np.ndarray, ...]:
    """Of pixels at ``places`` along one side: the tile before and behind, and the share of the one behind."""
    at = places.astype(np.float32) * (np.float32(1) / np.float32(tile)) - np.float32(0.5)
    before = np.floor(at).astype(int)
    return before.clip(0), (before + 1).clip(max=tiles - 1), at - before.astype(np.float32)


def _blended(luma: np.ndarray, tables: np.ndarray, rows: tuple, columns: tuple) -> np.ndarray:
    """The blend of four tables at each pixel, a rectangle of pixels with the same four at a time."""
    out = np.empty_like(luma)
    for y, (above, below) in _runs(*rows[:2]):
        lower = rows[2][y, None]
        for x, (left, right) in _runs(*columns[:2]):
            share, piece = columns[2][None, x], np.ascontiguousarray(luma[y, x])
            upper_left, upper_right, lower_left, lower_right = (
                cv2.LUT(piece, tables[k, m]).astype(np.float32) for k in (above, below) for m in (left, right))
            rest = np.float32(1) - share
            mixed = ((upper_left * rest + upper_right * share) * (np.float32(1) - lower)
                     + (lower_left * rest + lower_right * share) * lower)
            out[y, x] = np.rint(mixed).clip(0, 255)
    return out


def _runs(before: np.ndarray, behind: np.ndarray) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Where neighbours lie between the same two tiles."""
    edges = [0, *(np.flatnonzero(np.diff(before) | np.diff(behind)) + 1).tolist(), len(before)]
    for start, end in zip(edges, edges[1:], strict=False):
        yield slice(start, end), (before[start], behind[start])
