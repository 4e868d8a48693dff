"""The embedded data set: people who perform ARID's actions in the dark, rendered, exposed and encoded by kdlab."""

from .drawing import ACTIONS, RANGES, Camera, Clip, darken, expose, render_clip
from .make import Night, make_night, truth

__all__ = [
    "ACTIONS", "RANGES", "Camera", "Clip", "Night", "darken", "expose", "make_night",
    "render_clip", "truth",
]  # fmt: skip
