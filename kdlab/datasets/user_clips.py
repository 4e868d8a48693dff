"""The user's own clips as the data of a recipe."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from kdlab.clips.records import Catalogue
from kdlab.datasets.catalogue import name_of
from kdlab.datasets.check import without_damaged
from kdlab.datasets.files import user_path
from kdlab.datasets.released import open_data
from kdlab.datasets.splits import own_folds
from kdlab.protocols import Data
from kdlab.system.values import integer, one_of

#: Recent fingerprints: (clips, place) → (time until which it is valid, fingerprint)
_recent = {}


@dataclass(frozen=True)
class UserClips(Data):
    """Your own clips (a CSV, a folder with ``index.csv``, or one folder per class) or a public data set as released.

    ``kdlab.datasets.released.open_data`` reads them. ``test_fold`` names the fold or published split to test on.
    ``own_folds`` is a number of folds, which kdlab makes from the clips' groups (``splits.own_folds``). Damaged files
    stop a training. With ``on_damaged="skip"`` they are left out, and the catalogue's notes name each of them.

    Ids, labels, splits, groups, times and contents of the clips are part of a recipe's identity; their path is not. The
    same clips elsewhere give the same run, and other clips in the same folder give another run. Every access reads the
    files again; a training reads them once (``kdlab.train.recipe.Snapshot``).
    """

    path: str = field(metadata={"identity": False})
    test_fold: str | None = None
    own_folds: int | None = None
    on_damaged: str = "raise"

    def __post_init__(self):
        one_of(("raise", "skip"), on_damaged=self.on_damaged)
        object.__setattr__(self, "path", str(self.path))  # also of a Path
        if self.test_fold is not None:
            object.__setattr__(self, "test_fold", str(self.test_fold))  # also of a number
        if self.own_folds is not None:
            integer(2, own_folds=self.own_folds)

    @property
    def name(self) -> str:
        name = name_of(self._place).lower()
        if self.own_folds:
            return f"{name}-own{self.test_fold or 1}of{self.own_folds}"
        return f"{name}-{self.test_fold or ''}".removesuffix("-")

    def catalogue(self) -> Catalogue:
        """The catalogue of the clips in their current state."""
        listed = self._listed()
        return without_damaged(listed) if self.on_damaged == "skip" else listed

    def fingerprint(self) -> str:
        """The catalogue's fingerprint, of the clips used for training and test. Raises what opening them raises."""
        began = time.monotonic()
        fingerprint = self.catalogue().fingerprint()
        _recent[self, self._place] = time.monotonic() + 20 * (time.monotonic() - began), fingerprint
        return fingerprint

    def recent_fingerprint(self) -> str:
        """The last :meth:`fingerprint` of this process, for twenty times as long as it took to compute; cheap enough
        for each clip. A training computes it anew before it asks for any clip."""
        until, fingerprint = _recent.get((self, self._place), (0.0, ""))
        return fingerprint if time.monotonic() < until else self.fingerprint()

    def contents(self) -> str:
        """The fingerprint in a recipe's identity, of all listed clips, sound or damaged."""
        return self.fingerprint() if self.on_damaged == "raise" else self._listed().fingerprint()

    @property
    def _place(self) -> Path:
        return user_path(self.path).absolute()

    def _listed(self) -> Catalogue:
        if not self.own_folds:
            return open_data(self.path, self.test_fold)
        return own_folds(open_data(self.path), self.own_folds, self.test_fold)
