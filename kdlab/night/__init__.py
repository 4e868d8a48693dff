"""The embedded data set: people performing ARID's actions in the dark, rendered, exposed and encoded here."""

from .actions import ACTIONS
from .clip import Clip, render_clip
from .light import Camera, darken, expose
from .make import make_night, night_catalogue, truth
from .ranges import RANGES
from .spec import Night, NightError

__all__ = [
    "ACTIONS", "RANGES", "Camera", "Clip", "Night", "NightError", "darken", "expose", "make_night",
    "night_catalogue", "render_clip", "truth",
]  # fmt: skip
