# ruff: noqa: F401 - others import these names from here
"""What draws a clip of `night`. The rest of kdlab imports it from here only.

A change in this folder makes stale what is drawn: all clips and videos, or the videos alone (``video.py``).
"""

from .actions import ACTIONS
from .body import JOINTS
from .clip import Clip, render_clip
from .codec import FPS, write_h264, write_mpeg4
from .draws import RANGES, SPLITS, bisected, group_of
from .light import (
    Camera,
    darken,
    draw_camera,
    expose,
    exposed,
    linear_from_srgb,
    luma,
    srgb_from_linear,
)
from .paint import HEIGHT, WIDTH
from .video import Performance, Segment, Video, group_of_video, perform, render_video, staged
