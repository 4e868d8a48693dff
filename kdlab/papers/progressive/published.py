"""What was published of accuracy against cost, for pictures beside ours: docs/methods.md, 3.8.

Printed in the notebooks of the released code, means over three splits, and divided by the number of test videos. Two
things were varied at once: segments, and a threshold that hardly ever stops a clip (:func:`unstopped`).
"""

from typing import NamedTuple

from kdlab.papers.progressive.wise import PUBLISHED_GMACS, cost


class Point(NamedTuple):
    """Of WISE on the set ``data``: ``segments`` of residual, motion and I-frame, threshold ``theta``, ``accuracy`` in
    percent, ``gmacs`` a video."""

    data: str
    segments: tuple[int, int, int]
    theta: float
    accuracy: float
    gmacs: float


POINTS = (
    Point("UCF-101", (5, 3, 3), 1.0, 92.77, 45.37),
    Point("UCF-101", (3, 3, 3), 0.999995, 92.55, 39.30),
    Point("UCF-101", (2, 1, 2), 0.999999, 91.67, 23.35),
    Point("UCF-101", (2, 1, 1), 0.999999, 90.56, 16.03),
    Point("UCF-101", (1, 1, 1), 0.999999, 88.41, 13.14),
    Point("HMDB-51", (5, 5, 3), 0.999999, 68.50, 51.22),
    Point("HMDB-51", (5, 3, 3), 1.0, 68.10, 45.37),
    Point("HMDB-51", (2, 1, 2), 0.999999, 65.05, 23.40),
    Point("HMDB-51", (1, 1, 1), 0.995, 60.31, 12.27),
)
#: What the released plots draw beside them: name, GMACs a video, accuracy in percent by set. (CoViAR's on HMDB-51
#: stands there as 68.0 and as 68.1.)
OTHERS = (
    ("CoViAR", 48.5, {"UCF-101": 93.1, "HMDB-51": 68.0}),
    ("TEAM-Net", 57.7, {"UCF-101": 93.35, "HMDB-51": 66.06}),
    ("Wu et al.", 42.1, {"UCF-101": 88.5, "HMDB-51": 56.2}),
    ("MIMO", 15.4, {"UCF-101": 85.8, "HMDB-51": 58.6}),
)


def unstopped(point: Point) -> float:
    """GMACs a video of ``point``'s segments if no clip stopped early, by the released costs of one segment."""
    return float(cost(point.segments, PUBLISHED_GMACS)[-1])
