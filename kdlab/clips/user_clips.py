"""Clips of somebody's own as the data of a recipe."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from kdlab.clips.catalogue import Catalogue, name_of
from kdlab.clips.check import without_damaged
from kdlab.clips.datasets import open_data
from kdlab.clips.files import user_path
from kdlab.clips.splits import own_folds
from kdlab.system.files import memoised
from kdlab.system.values import integer

#: What was last found of clips: (clips, place) → (until when it holds, fingerprint)
_recent: dict[tuple, tuple[float, str]] = {}


@dataclass(frozen=True)
class UserClips:
    """Clips of your own (a CSV, a folder with ``index.csv``, or one folder per class) or a public data set as released.

    See ``kdlab.clips.datasets.open_data``. ``test_fold`` names the fold or published split to test on. With
    ``own_folds`` their number is given, and kdlab makes them from the clips' groups (``splits.own_folds``). Damaged
    files stop a training, or with ``on_damaged="skip"`` are left out, each named in the catalogue's notes.

    What the clips are (ids, labels, splits, groups, times, contents) is part of a recipe's identity, where they lie is
    not: the same clips elsewhere give the same run, other clips in the same folder another one. They are looked at
    whenever they are asked for; inside one training (``kdlab.system.files.memo``) they are looked at once.
    """

    path: str = field(metadata={"identity": False})
    test_fold: str | None = None
    own_folds: int | None = None
    on_damaged: str = "raise"

    def __post_init__(self):
        if self.on_damaged not in ("raise", "skip"):
            raise ValueError(f"on_damaged={self.on_damaged!r}: use 'raise' or 'skip'")
        if self.own_folds is not None:
            integer(2, own_folds=self.own_folds)

    @property
    def name(self) -> str:
        fold = f"-own{self.test_fold or 1}of{self.own_folds}" if self.own_folds else f"-{self.test_fold or ''}"
        return name_of(self._place).lower() + fold.removesuffix("-")

    def catalogue(self) -> Catalogue:
        """The clips as they are now."""
        if self.on_damaged == "skip":
            return memoised((self, self._place, "sound"), lambda: without_damaged(self._listed()))
        return self._listed()

    def fingerprint(self) -> str:
        """Of the clips that are trained and tested on. Raises what opening them raises."""
        return memoised((self, self._place, "fingerprint"), lambda: self.catalogue().fingerprint())

    def recent_fingerprint(self) -> str:
        """As :meth:`fingerprint`, found at most twenty times as long ago as it took: for what asks with every clip."""
        until, found = _recent.get((self, self._place), (0.0, ""))
        if time.monotonic() >= until:
            began = time.monotonic()
            found = self.fingerprint()
            _recent[self, self._place] = time.monotonic() + 20 * (time.monotonic() - began), found
        return found

    def contents(self) -> str:
        """The fingerprint that is part of a recipe's identity: of all clips that are listed, sound or not."""
        return self.fingerprint() if self.on_damaged == "raise" else self._listed().fingerprint()

    @property
    def _place(self) -> Path:
        return user_path(self.path).absolute()

    def _listed(self) -> Catalogue:
        def read() -> Catalogue:
            clips = open_data(self.path, None if self.own_folds else self.test_fold)
            return own_folds(clips, self.own_folds, self.test_fold) if self.own_folds else clips

        return memoised((self, self._place, "listed"), read)
