"""Other data sets that `night` makes: the MPEG-4 twins of its clips, and streams of untrimmed `night`."""

import hashlib
from dataclasses import dataclass

from kdlab.clips.catalogue import Catalogue
from kdlab.night.make import make_night
from kdlab.night.spec import Night
from kdlab.night.untrimmed import Untrimmed, untrimmed_catalogue


class _Stream:
    def fingerprint(self) -> str:
        """Of the clips that it is made of, and of which stream it is."""
        return hashlib.sha256(f"{self.night.fingerprint()} {self.stream}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class NightStream(_Stream):
    """The ``bright`` or the ``dark_mpeg4`` twins of the clips of ``night``: MPEG-4 part 2, groups of 12."""

    night: Night
    stream: str = "bright"

    @property
    def name(self) -> str:
        """``night_bright``, and where place and props tell the class, how often: ``night_bright-c0.9``."""
        return f"night_{self.stream}" + (f"-c{self.night.context:g}" if self.night.context else "")

    def catalogue(self) -> Catalogue:
        """The clips of the stream; makes those that are missing."""
        return make_night(self.night, stream=self.stream)


@dataclass(frozen=True)
class UntrimmedStream(_Stream):
    """The labelled segments of the ``bright`` (or ``dark``, ``dark_mpeg4``) videos of untrimmed ``night``."""

    night: Untrimmed
    stream: str = "bright"

    @property
    def name(self) -> str:
        return "night_untrimmed" + ("" if self.stream == "bright" else f"_{self.stream}")

    def catalogue(self) -> Catalogue:
        """One record for each segment; makes the videos that are missing."""
        self.night.catalogue()
        return untrimmed_catalogue(self.night, stream=self.stream)
