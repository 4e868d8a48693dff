"""A recipe says everything a training depends on; from it come the run's name, its JSON and its staleness.

Recipes are trees of frozen dataclasses: a student's recipe holds its teacher's. There is no registry: the JSON of a
recipe names each dataclass by its module. :func:`from_json` finds it there, in kdlab or in a module of somebody else's
that is imported already; nothing else is ever imported because a file names it.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from kdlab import protocols
from kdlab.clips.catalogue import Catalogue, name_of
from kdlab.clips.check import without_damaged
from kdlab.clips.datasets import open_data
from kdlab.clips.files import user_path
from kdlab.clips.splits import own_folds
from kdlab.clips.views import Raw, View
from kdlab.clips.windows import Window
from kdlab.distill.method import CrossEntropy
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.system.contents import once, one_look
from kdlab.system.sources import home, loaded, parts
from kdlab.system.values import whole
from kdlab.train.loop import Settings


class NotImported(ValueError):
    """A recipe of a class that this process has not imported, of the module ``name``, or that another version had."""

    def __init__(self, text: str, name: str = ""):
        super().__init__(text)
        self.name = name


@dataclass(frozen=True)
class UserClips:
    """Clips of your own (a CSV, a folder with ``index.csv``, or one folder per class) or a public data set as released.

    See ``kdlab.clips.datasets.open_data``. ``test_fold`` names the fold or published split to test on. With
    ``own_folds`` their number is given, and kdlab makes them from the clips' groups (``splits.own_folds``). Damaged
    files stop a training, or with ``on_damaged="skip"`` are left out, each named in the catalogue's notes.

    What the clips are (ids, labels, splits, groups, times, contents) is part of a recipe's identity, where they lie is
    not: the same clips elsewhere give the same run, other clips in the same folder another one. They are looked at
    whenever they are asked for, so this holds while a kernel runs; inside one operation
    (``kdlab.system.contents.one_look``) they are looked at once.
    """

    path: str = field(metadata={"identity": False})
    test_fold: str | None = None
    own_folds: int | None = None
    on_damaged: str = "raise"

    def __post_init__(self):
        if self.on_damaged not in ("raise", "skip"):
            raise ValueError(f"on_damaged={self.on_damaged!r}: use 'raise' or 'skip'")
        if self.own_folds is not None:
            whole(2, own_folds=self.own_folds)

    @property
    def name(self) -> str:
        fold = f"-own{self.test_fold or 1}of{self.own_folds}" if self.own_folds else f"-{self.test_fold or ''}"
        return name_of(self._place).lower() + fold.removesuffix("-")

    def catalogue(self) -> Catalogue:
        """The clips as they are now."""
        listed = self._listed()
        if self.on_damaged == "skip":
            return once((self, self._place, "whole"), lambda: without_damaged(listed))
        return listed

    def fingerprint(self) -> str:
        """Of the clips that are trained and tested on. Raises what opening them raises."""
        return once((self, self._place, "fingerprint"), self._fingerprint)

    def lately(self) -> str:
        """As :meth:`fingerprint`, of a look that is not older than twenty times as long as it took: for what is asked
        with every clip. Whoever asks for a run, a name or the catalogue has looked anew."""
        until, found = _lately.get((self, self._place), (0.0, ""))
        return found if time.monotonic() < until else self.fingerprint()

    def contents(self) -> str:
        """The fingerprint that is part of a recipe's identity: of all clips that are listed, sound or not."""
        return self.fingerprint() if self.on_damaged == "raise" else self._listed().fingerprint()

    @property
    def _place(self) -> Path:
        return user_path(self.path).absolute()

    def _fingerprint(self) -> str:
        began = time.monotonic()
        found, now = self.catalogue().fingerprint(), time.monotonic()
        _lately[self, self._place] = now + 20 * (now - began), found
        return found

    def _listed(self) -> Catalogue:
        def read() -> Catalogue:
            clips = open_data(self.path, None if self.own_folds else self.test_fold)
            return own_folds(clips, self.own_folds, self.test_fold) if self.own_folds else clips

        return once((self, self._place, "listed"), read)


_PROTOCOLS = {"data": protocols.Data, "view": protocols.View, "window": protocols.Window, "net": protocols.Net}
#: What was last said of clips: (clips, place) → (until when it holds, fingerprint)
_lately: dict[tuple[UserClips, Path], tuple[float, str]] = {}


@dataclass(frozen=True)
class Recipe:
    """What to train on what, taught by whom, with which seed.

    ``condition`` is the study's word for it (``ce_raw``, ``dlkdd``, …); ``view`` is what the trained network sees;
    ``method`` yields the losses; ``settings`` are the optimiser's; ``window`` is what a clip becomes. The network
    begins as the trained one of ``start``, where there is one, else with random weights.
    """

    condition: str
    data: Night | UserClips
    view: View = Raw()
    method: object = CrossEntropy()
    teacher: "Recipe | None" = None
    start: "Recipe | None" = None
    net: TinyR2Plus1D = TinyR2Plus1D()
    window: Window = Window()
    settings: Settings = Settings()
    seed: int = 0

    def __post_init__(self):
        whole(0, seed=self.seed)

    def views(self) -> dict[str, View]:
        """The views one training batch holds."""
        return {"student": self.view} | ({"teacher": self.teacher.view} if self.teacher else {})

    def needs(self) -> "dict[str, Recipe]":
        """The recipes that must have been run before this one, by what they are to it."""
        return {k: r for k, r in (("teacher", self.teacher), ("start", self.start)) if r}

    def digest(self) -> str:
        """64 hex digits over everything but paths. Your own clips stand in it by what they are, so they have to be
        there: raises ``FileNotFoundError`` where they are not, and what else opening them raises."""
        with one_look():
            try:
                identity = to_json(self, identity=True)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{error} (A run on your own clips is named by what they are.)") from error
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """A folder name for people: ``dlkdd-night-s3-7f3a2c``; raises as :meth:`digest`."""
        return f"{self.stem}-{self.digest()[:6]}"

    @property
    def stem(self) -> str:
        """The name without its digits, for which no clip need be there."""
        data = "night" if isinstance(self.data, Night) else self.data.name
        return f"{portable(f'{self.condition}-{data}')}-s{self.seed}"


@dataclass
class Prepared:
    """What a training begins with: networks by what they are; batches to ``train`` on, and for ``validation`` in
    between, if any; ``answers(student, split, most)``, which gives a split's records and what the student answers to
    them, or to the first ``most`` batches of them; and the ``splits`` whose answers are kept."""

    nets: dict[str, nn.Module]
    train: object
    validation: object | None
    answers: Callable
    splits: tuple[str, ...] = ("val", "test")


def check(recipe: Recipe) -> None:
    """Raise ``ValueError``, in a sentence, for a recipe whose run could not be opened again, or whose parts lack what a
    training asks of them (:mod:`kdlab.protocols`)."""
    for name in ("teacher", "start"):
        other = getattr(recipe, name, None)
        if other is not None and not hasattr(other, "needs"):
            run = type(other).__name__ == "Run"
            raise ValueError(f"the recipe's {name} must be a recipe, not {type(other).__name__}"
                             + f": of a run give its recipe, {name}=run.recipe" * run)
    for part in parts(recipe):
        kind, where = type(part), f"{home(type(part))}:{type(part).__qualname__}"
        if not kind.__dataclass_params__.frozen:
            raise ValueError(f"{where} is not frozen, so a recipe of it could change: write @dataclass(frozen=True)")
        module = home(kind)
        if module == "__main__":
            raise ValueError(f"{kind.__qualname__} stands in a notebook's cell or a script, where no other process "
                             "finds it: put it in a file of its own, and import it from there")
        if not all(word.isidentifier() for word in module.split(".")) or module in sys.stdlib_module_names:
            raise ValueError(f"{where}: no module can be imported by the name {module!r}, or another has it, so its "
                             "runs could not be opened: give the file a name of its own, of letters, digits and _")
        if getattr(loaded(module), kind.__qualname__, None) is not kind:
            raise ValueError(f"{where} cannot be found again under that name, so its runs could not be opened: define "
                             "it at the top level of its module, and make the recipe from the class that is there now")
        for f in dataclasses.fields(part):
            if isinstance(getattr(part, f.name), list):
                raise ValueError(f"{where} has a list in {f.name!r}, which can be changed: give it a tuple")
        if isinstance(part, Recipe) and not hasattr(part, "prepare"):
            for name, protocol in _PROTOCOLS.items():
                _require(getattr(part, name), name, protocol)
        if isinstance(part, Recipe):
            _require(part.method, "method", protocols.Method)
            for name, other in part.needs().items():  # whose networks see one draw of a clip, cut for all of them
                if name != "start" and getattr(other, "window", part.window) != part.window:
                    raise ValueError(f"the {name} of {part.stem}, {other.stem}, was trained through {other.window}, "
                                     f"and would be shown clips through {part.window}: give both one window")
    if not _comes_back(recipe):
        lossy = next(part for part in reversed(list(parts(recipe))) if not _comes_back(part))  # the innermost
        raise ValueError(f"{type(lossy).__qualname__} would come back as another than it is: keep nothing in it but "
                         "fields that __init__ takes: plain values, tuples and frozen dataclasses that can be compared")


def _comes_back(part) -> bool:
    try:
        return from_json(json.loads(json.dumps(to_json(part)))) == part
    except TypeError:  # a field that __init__ does not take
        return False


def _require(value: object, name: str, protocol: type) -> None:
    if isinstance(value, type):
        raise ValueError(f"the recipe's {name} is the class {value.__qualname__}: give an object of it, "
                         f"{value.__qualname__}(…)")
    if missing := protocols.lacking(value, protocol):
        raise ValueError(f"{type(value).__qualname__} cannot be a recipe's {name}: it has no {missing[0]!r}; "
                         f"kdlab.protocols.{protocol.__name__} says what that must give")


def portable(text: str) -> str:
    """``text`` as the beginning of a file name that is valid everywhere and leads nowhere.

    >>> portable("ce_raw-clips-../../x"), portable("con.a"), portable("dlkdd-night_bright-c0.9")
    ('ce_raw-clips-.._.._x', '_con.a', 'dlkdd-night_bright-c0.9')
    """
    plain = re.sub(r"[^A-Za-z0-9_.+=~@-]", "_", text)[:100]
    device = re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", plain, re.IGNORECASE)  # Windows has these in every folder
    return f"_{plain}" if device or plain.startswith((".", "-", "~")) else plain


def own_clips(value) -> tuple[UserClips, ...]:
    """All :class:`UserClips` in a recipe, at any depth: those of teachers, starts and learnt enhancers, too."""
    return tuple(dict.fromkeys(part for part in parts(value) if isinstance(part, UserClips)))


def to_json(value, identity: bool = False):
    """Plain JSON values for a tree of dataclasses; ``identity`` leaves out what does not change the result, and adds
    the ``contents()`` of what lies in files of yours, such as :class:`UserClips`.

    What the environment chooses is written down (``settled()``, such as a clip's decoder). A field that has the value
    ``unsaid`` of its metadata is left out: a name is then that of before there was the field.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = value.settled() if hasattr(value, "settled") else value
        written = [f for f in dataclasses.fields(value)
                   if "unsaid" not in f.metadata or f.metadata["unsaid"] != getattr(value, f.name)]
        kept = [f for f in written if not identity or f.metadata.get("identity", True)]
        named = {"name": value.name} if len(kept) < len(written) else {}
        named |= {"contents": value.contents()} if identity and hasattr(value, "contents") else {}
        fields = {f.name: to_json(getattr(value, f.name), identity) for f in kept}
        return {"type": f"{home(type(value))}:{type(value).__qualname__}"} | named | fields
    if isinstance(value, (list, tuple)):
        return [to_json(v, identity) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"a recipe is made of frozen dataclasses and plain values, got {value!r}; make it a dataclass")


def from_json(value):
    """Rebuild what :func:`to_json` wrote. Raises :class:`NotImported` for a class of a module that is neither kdlab's
    nor imported, ``ValueError`` for what is no frozen dataclass at a module's top level."""
    if isinstance(value, list):
        return tuple(from_json(v) for v in value)
    if not isinstance(value, dict):
        return value
    made = _class(value["type"])
    known = {f.name for f in dataclasses.fields(made)}
    if unknown := sorted(value.keys() - known - {"type"}):
        raise NotImported(f"{value['type']} has no field {unknown[0]!r}: the recipe was written by another version")
    fields = {k: from_json(v) for k, v in value.items() if k != "type"}
    built = made(**fields)
    unsaid = {f.name: f.metadata["unsaid"] for f in dataclasses.fields(made) if "unsaid" in f.metadata}
    if unsaid and to_json(built) != value:  # the environment chooses otherwise now than when it was written
        return made(**unsaid | fields)
    return built


def _class(name: str) -> type:
    module, _, qualname = name.partition(":")
    there, own = loaded(module), module.split(".")[0] == "kdlab"
    if own:
        with contextlib.suppress(ModuleNotFoundError):
            there = importlib.import_module(module)
    found = getattr(there, qualname, None)
    if own and found is None:
        raise NotImported(f"the recipe names {name}, which another version of kdlab had; CHANGELOG.md says what is "
                          "there instead")
    if there is None:
        raise NotImported(f"the recipe names {name}, which is not part of kdlab and not imported here: import {module} "
                          "first", name=module)
    if not isinstance(found, type) or not dataclasses.is_dataclass(found) or not found.__dataclass_params__.frozen:
        raise ValueError(f"the recipe names {name}, which is no frozen dataclass at the top level of its module")
    return found
