"""The embedded data set: people who perform ARID's actions in the dark, rendered, exposed and encoded by kdlab."""

from .actions import ACTIONS
from .clip import Clip, render_clip
from .draws import RANGES
from .light import Camera, darken, expose
from .make import Night, make_night, truth

__all__ = [
    "ACTIONS", "RANGES", "Camera", "Clip", "Night", "darken", "expose", "make_night",
    "render_clip", "truth",
]  # fmt: skip
