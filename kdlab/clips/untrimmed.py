"""A data set for detection: one stream of untrimmed `night`."""

import hashlib
from dataclasses import dataclass

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.night.untrimmed import Untrimmed, untrimmed_catalogue


@dataclass(frozen=True)
class UntrimmedStream:
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

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.night.fingerprint()} {self.stream}".encode()).hexdigest()[:16]
