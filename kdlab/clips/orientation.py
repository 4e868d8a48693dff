"""Pictures turned and mirrored as their file says: by the rules of FFmpeg's own tools."""

import math

import cv2
import numpy as np


def upright(picture: np.ndarray, matrix: bytes | None) -> np.ndarray:
    """``(H, W, C)`` as it should be shown; contiguous. ``matrix`` is the frame's display matrix: 9 int32, by rows.

    Quarter turns and mirrorings are exact; at other angles the picture turns on the spot and keeps its size. A matrix
    of zeros, which some writers leave, says nothing.
    """
    if matrix is None:
        return picture
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    if not (math.hypot(a, c) and math.hypot(b, d)):
        return picture
    angle = round(math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))) % 360  # clockwise
    if angle in (0, 1):
        turned = picture[::-1] if d < 0 and not angle else picture
    elif angle == 90:
        turned = picture.swapaxes(0, 1) if c > 0 else np.rot90(picture, -1)
    elif angle == 180:
        turned = picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    elif angle == 270:
        turned = np.rot90(picture, 2).swapaxes(0, 1) if c < 0 else np.rot90(picture)
    else:
        height, width = picture.shape[:2]
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle, 1)
        turned = cv2.warpAffine(picture, turn, (width, height))
    return np.ascontiguousarray(turned)
