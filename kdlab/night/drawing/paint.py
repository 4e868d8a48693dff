"""Drawing of parts: perspective, painter's algorithm, two-tone shading, and the actor's mask."""

from dataclasses import dataclass

import cv2
import numpy as np

from .body import Part
from .scene import CANVAS, Lamps, Place

WIDTH, HEIGHT = 160, 128
_ANGLES = np.arange(10) * 2 * np.pi / 10
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1).astype(np.float32)
_HEADROOM = 4.0  # the highest radiance in the 8-bit drawing
_SHIFT = 4  # fractional bits of cv2's coordinates
_LINEAR = (_HEADROOM * (np.arange(256) / 255) ** 2.2).astype(np.float32)
_SHARE = np.arange(256, dtype=np.float32) / 255  # of a part in a pixel
# what undoes the mixing of a part's colour with black
_UNMIXED = 255 / np.maximum(np.arange(256, dtype=np.float32), 1)
_NEAREST = 0.3  # metres; nearer points are drawn at this distance


@dataclass(frozen=True)
class View:
    """A camera over T frames.

    ``focal``: focal length in pixels; ``eye``: height in metres; ``offset`` (T, 2): displacement to the right and down
    in pixels; ``roll`` (T,): radians; ``aim`` (2,): the point of the canvas at the centre of the view by default.
    """

    focal: float
    eye: float
    offset: np.ndarray
    roll: np.ndarray
    aim: np.ndarray

    def plane(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project (T, n, 3) metres to (T, n, 2) pixels right and down of the level optical axis; also pixels per metre."""
        scale = self.focal / np.maximum(points[..., 2], _NEAREST)
        return np.stack([points[..., 0] * scale, (self.eye - points[..., 1]) * scale], -1), scale

    def screen(self, plane: np.ndarray) -> np.ndarray:
        """Pixels (T, n, 2) in the frame, from the result of :meth:`plane`."""
        c, s = np.cos(self.roll)[:, None], np.sin(self.roll)[:, None]
        d = plane - self.offset[:, None]
        x, y = d[..., 0] * c - d[..., 1] * s, d[..., 0] * s + d[..., 1] * c
        return np.stack([x, y], -1) + (WIDTH / 2, HEIGHT / 2)

    def backdrop(self, radiance: np.ndarray) -> np.ndarray:
        """The moving camera's view of the canvas, float32 (T, 128, 160, 3)."""
        out = np.empty((len(self.roll), HEIGHT, WIDTH, 3), np.float32)
        for index, (offset, roll) in enumerate(zip(self.offset, self.roll, strict=True)):
            c, s = np.cos(roll), np.sin(roll)
            back = np.array([[c, s], [-s, c]])
            canvas = offset + self.aim + (CANVAS[1] / 2, CANVAS[0] / 2)
            at = canvas - (back * (WIDTH / 2, HEIGHT / 2)).sum(1)
            matrix = np.column_stack([back, at])
            cv2.warpAffine(
                radiance, matrix, (WIDTH, HEIGHT), dst=out[index],
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT,
            )  # fmt: skip
        return out


def paint(
    frames: np.ndarray, parts: list[Part], view: View, place: Place, fill: float
) -> np.ndarray:
    """Draw ``parts`` into radiance ``frames`` (T, H, W, 3) in place; return the actor's masks (T, H, W) bool.

    ``fill`` is the ratio of the light on the parts to that on the backdrop, since the actor may be nearer to the lamp.
    """
    masks = np.zeros(frames.shape[:3], np.uint8)
    if not parts:
        return masks.astype(bool)
    outline, inner, first = _outlines(parts, view, place.lamps)
    colours = _colours(parts, view, place.lamps, fill)
    order = np.argsort([-(part.points[..., 2].mean(1) - part.nearer) for part in parts], axis=0).T
    rounded = [part.radius.max() > 0.01 for part in parts]
    for t in range(len(frames)):
        layer = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        for k in order[t]:
            span = slice(first[k], first[k + 1])
            hull = cv2.convexHull(outline[t, span].reshape(-1, 2))
            cv2.fillConvexPoly(layer, hull, colours[t][k][0], cv2.LINE_AA, _SHIFT)
            cv2.fillConvexPoly(masks[t], hull, 255 if parts[k].actor else 0, cv2.LINE_8, _SHIFT)
            if rounded[k]:
                hull = cv2.convexHull(inner[t, span].reshape(-1, 2))
                cv2.fillConvexPoly(layer, hull, colours[t][k][1], cv2.LINE_AA, _SHIFT)
        _blend(frames[t], layer)
    return masks > 0


def _outlines(
    parts: list[Part], view: View, lamps: Lamps
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fixed-point circles (T, N, 10, 2) around all points; smaller circles, shifted towards the strongest lamp; and the
    index of each part's first point."""
    points = np.concatenate([part.points for part in parts], 1)
    plane, scale = view.plane(points)
    centre = view.screen(plane).astype(np.float32)
    radius = scale * np.concatenate([part.radius for part in parts])
    radius = radius.astype(np.float32)[..., None, None]
    strongest = lamps.at[np.argmax(lamps.power.sum(1) * lamps.reach)]
    aim = strongest - plane.mean((0, 1))
    aim = (aim / max(np.linalg.norm(aim), 1e-6)).astype(np.float32)
    outline = centre[:, :, None] + radius * _CIRCLE
    inner = centre[:, :, None] + radius * (0.58 * _CIRCLE + 0.32 * aim)
    first = np.cumsum([0, *(part.points.shape[1] for part in parts)])

    def fixed(values: np.ndarray) -> np.ndarray:
        # cv2 overflows beyond this.
        return np.clip(values * 2**_SHIFT, -20000, 20000).astype(np.int32)

    return fixed(outline), fixed(inner), first


def _colours(parts: list[Part], view: View, lamps: Lamps, fill: float) -> list:
    """The shaded and the lit colour (r, g, b, 255) per frame and part, encoded for the 8-bit drawing."""
    centres = np.stack([part.points.mean(1) for part in parts], 1)
    plane = view.plane(centres)[0] + view.aim
    light = lamps(plane[..., 0], plane[..., 1]) * fill
    radiance = light * np.stack([part.albedo for part in parts])
    both = np.stack([0.55 * radiance, 1.1 * radiance], 2)
    coded = 255 * np.minimum(both / _HEADROOM, 1) ** (1 / 2.2)
    return np.concatenate([coded, np.full((*coded.shape[:3], 1), 255.0)], -1).tolist()


def _blend(frame: np.ndarray, layer: np.ndarray) -> None:
    alpha = layer[..., 3]
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if not len(rows):
        return
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cover = cv2.merge(3 * [alpha[box]])
    colour = cv2.LUT(cover, _UNMIXED)
    colour *= layer[box][..., :3]
    light = cv2.LUT(np.minimum(colour, 255, out=colour).astype(np.uint8), _LINEAR)
    light -= frame[box]
    light *= cv2.LUT(cover, _SHARE)
    frame[box] += light
