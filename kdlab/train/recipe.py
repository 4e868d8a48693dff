"""A recipe states everything that a training depends on; the run's name, its JSON and its staleness derive from it.

Recipes are trees of frozen dataclasses: a student's recipe contains its teacher's. There is no registry: the JSON of a
recipe names each dataclass by its module. :func:`from_json` finds the class there, in kdlab or in another module that
is already imported; a file never causes an import of anything outside kdlab.

What is asked of a recipe and its clips, and what a change of it causes:

=============  ================================================================  ========================
question       what is in it                                                     when it changes
=============  ================================================================  ========================
``digest``     all fields but paths, and ``contents`` of own clips and files     a new run with a new name
``sources``    kdlab's code that decides weights, and the modules of own parts   the run is stale
fingerprint    ids, labels, splits, groups, times and contents of all clips      the run is stale
resume key     networks' shapes, settings, seed and all of the above             a checkpoint counts as none
=============  ================================================================  ========================
"""

import contextlib
import dataclasses
import hashlib
import importlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from kdlab.clips.records import SPLITS, Catalogue, ClipRecord
from kdlab.clips.views import Raw
from kdlab.clips.windows import Window
from kdlab.distill.method import CrossEntropy
from kdlab.nets.video import TinyR2Plus1D
from kdlab.protocols import Data, Method, Net, View
from kdlab.system.sources import dataclasses_in, foreign_modules, is_kdlab, source_hash
from kdlab.system.values import integer
from kdlab.train.settings import Settings

#: The bases of the parts of a recipe on clips.
_BASES = {"data": Data, "view": View, "window": Window, "net": Net}
#: The fields of kdlab's own data sets, views and networks that hold another of their kind.
_INNER = ("of", "backbone")


class NotImported(ValueError):
    """A recipe of a class that this process has not imported, or that existed in another version."""


@dataclass(frozen=True)
class Recipe:
    """The specification of one training: network, data, teacher, method, seed.

    ``condition`` is the study's name for it (``ce_raw``, ``dlkdd``, …). ``view`` is the input of the trained network;
    ``method`` yields the losses; ``settings`` are the optimiser's; ``window`` cuts clips. The network starts from the
    trained network of ``start``, if given, else from random weights.
    """

    condition: str
    data: Data
    view: View = Raw()
    method: Method = CrossEntropy()
    teacher: "Recipe | None" = None
    start: "Recipe | None" = None
    net: Net = TinyR2Plus1D()
    window: Window = Window()
    settings: Settings = Settings()
    seed: int = 0

    #: A recipe that learns from something else than clips, such as features, defines ``inputs(needed, catalogue)``,
    #: which gives the :class:`Inputs`.
    inputs: ClassVar[Callable | None] = None

    def __post_init__(self):
        integer(0, seed=self.seed)

    def fresh(self) -> "Recipe":
        """The same recipe, with a new method: an earlier training may have left something in this one."""
        method: Any = self.method
        return dataclasses.replace(self, method=dataclasses.replace(method))

    @property
    def on_clips(self) -> bool:
        """Whether the networks learn from clips; else :attr:`inputs` says from what."""
        return self.inputs is None

    def views(self) -> dict[str, View]:
        """The views in one training batch, by role: ``student`` and, with a teacher, ``teacher``."""
        return {"student": self.view} | ({"teacher": self.teacher.view} if self.teacher else {})

    def needs(self) -> "dict[str, Recipe]":
        """The recipes that must be trained before this one, by role: ``teacher``, ``start``."""
        every = {"teacher": self.teacher, "start": self.start}
        return {what: recipe for what, recipe in every.items() if recipe is not None}

    def digest(self) -> str:
        """64 hex digits over everything but paths. The content of your own clips is part of it, so the clips must
        exist: raises ``FileNotFoundError`` where they do not, and any other error of opening them."""
        return Snapshot().digest(self)

    @property
    def name(self) -> str:
        """A readable folder name: ``dlkdd-night-s3-7f3a2c``; raises as :meth:`digest`."""
        return Snapshot().name(self)

    @property
    def stem(self) -> str:
        """The name without the digits of the digest; it needs no clips."""
        return f"{portable(f'{self.condition}-{self.data.short_name}')}-s{self.seed}"


class Snapshot:
    """The clips and sources of recipes, each asked once: all that share a snapshot see one state of the files.

    ``catalogue(data)`` gives the clips of ``data``, ``fingerprint(data)`` their fingerprint, and ``contents(data)`` what is
    part of a recipe's identity. ``sources(recipe)`` is the hash of the sources on which a recipe depends, and
    ``digest(recipe)`` is :meth:`Recipe.digest`.
    """

    def __init__(self):
        self.catalogue = cache(catalogue_of)
        self.fingerprint = cache(lambda data: self.catalogue(data) and data.fingerprint())
        self.contents = cache(lambda data: data.contents())
        self.sources, self.digest = cache(source_hash), cache(self._digest)

    def name(self, recipe: Recipe) -> str:
        """See :attr:`Recipe.name`."""
        return f"{recipe.stem}-{self.digest(recipe)[:6]}"

    def _digest(self, recipe: Recipe) -> str:
        try:
            identity = to_json(recipe, self.contents)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error} (A run on your own clips is named by what they are.)"
            ) from error
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def catalogue_of(data: Data) -> Catalogue:
    """The clips of ``data``. Those of a class that is not kdlab's are checked, and stand in the order of their ids, since
    neither folders nor sets have a lasting one. Raises ``ValueError`` where they cannot be trained on."""
    made = data.catalogue()
    if not foreign_modules(data):
        return made
    from kdlab.datasets.splits import shared_groups  # late: only own data needs it

    kind = f"{type(data).__qualname__}.catalogue()"
    if not isinstance(made, Catalogue):
        raise ValueError(f"{kind} gives {type(made).__name__}, where a Catalogue is wanted")
    records, number = tuple(made.records), len(made.classes)
    if len({*made.classes}) < number:
        raise ValueError(f"{kind} names a class twice: {', '.join(made.classes)}")
    for record in records:
        if why := _fault(record, number):
            raise ValueError(f"{kind}: {why} in {record!r}")
    if shared := shared_groups(records):
        raise ValueError(
            f"{kind}: the group {shared[0]!r} has clips in test and in another split: put all of them "
            "into one, or give clips that have nothing in common groups of their own"
        )
    return dataclasses.replace(made, records=tuple(sorted(records, key=attrgetter("id"))))


def _fault(record: ClipRecord, classes: int) -> str:
    """What is wrong with a ``record``; empty if nothing is."""
    if not isinstance(record, ClipRecord):
        return "a ClipRecord is wanted"
    if not isinstance(record.id, str) or not isinstance(record.group, str):
        return "id and group must be texts"
    if not isinstance(record.path, Path):
        return "path must be a pathlib.Path"
    if not isinstance(record.label, Integral) or not 0 <= record.label < classes:
        return f"label must be a whole number from 0 to {classes - 1}"
    if record.split not in SPLITS:
        return f"split must be one of {', '.join(SPLITS)}"
    if not 0 <= (record.start or 0) < (np.inf if record.end is None else record.end):
        return "start and end must be 0 <= start < end, in seconds"
    return ""


@dataclass
class Inputs:
    """The inputs of a training: networks by role; batches to ``train`` on, and batches for ``validation`` during
    training, if any; ``answers(student, split, batch_size=64)``, which returns the records of a split and the student's
    predictions for them; and the ``splits`` whose predictions are saved. Without splits nothing asks for ``answers``."""

    nets: dict[str, nn.Module]
    train: Any
    validation: Any
    answers: Any
    splits: tuple[str, ...] = ("val", "test")


def check(recipe: Recipe) -> None:
    """Raise ``ValueError`` for a recipe whose run could not be opened again, or whose parts lack what a training
    requires (:mod:`kdlab.protocols`)."""
    parts = list(dataclasses_in(recipe))
    for part in parts:
        kind = type(part)
        if kind.__module__ == "__main__":
            raise ValueError(
                f"{kind.__qualname__} stands in a notebook's cell or a script, where no other process "
                "finds it: put it in a file of its own, and import it from there"
            )
        for f in dataclasses.fields(part):
            if isinstance(getattr(part, f.name), list):
                raise ValueError(
                    f"{kind.__qualname__} has a list in {f.name!r}, which can be changed: give it a tuple"
                )
            if f.name in _INNER and is_kdlab(kind.__module__):
                base = next(base for base in (Data, View, Net) if isinstance(part, base))
                _require(getattr(part, f.name), f.name, base)
        if isinstance(part, Recipe):
            _check_parts(part)
    for part in reversed(parts):  # the innermost first
        try:
            again = from_json(json.loads(json.dumps(to_json(part))))
        except TypeError:  # a field that __init__ does not accept
            again = None
        if again != part:
            raise ValueError(
                f"{type(part).__qualname__} cannot be read back as it is: keep nothing in it but "
                "fields that __init__ takes: plain values, tuples and frozen dataclasses that can be "
                "compared; make the recipe from the classes that are imported now"
            )


def _check_parts(recipe: Recipe) -> None:
    for name, other in recipe.needs().items():
        if not isinstance(other, Recipe):
            raise ValueError(
                f"the recipe's {name} must be a recipe, not {type(other).__name__}: of a run give its "
                f"recipe, {name}=run.recipe"
            )
    _require(recipe.method, "method", Method)
    _require(recipe.settings, "settings", Settings)
    if not recipe.on_clips:
        return
    for name, base in _BASES.items():
        _require(getattr(recipe, name), name, base)
    teacher = recipe.teacher
    if teacher and teacher.window != recipe.window:  # they see one draw of a clip
        raise ValueError(
            f"the teacher of {recipe.stem}, {teacher.stem}, was trained through {teacher.window}, "
            f"and would be shown clips through {recipe.window}: give both one window"
        )


def _require(value: Any, name: str, base: type) -> None:
    if isinstance(value, type):
        raise ValueError(
            f"the recipe's {name} is the class {value.__qualname__}: give an object of it, "
            f"{value.__qualname__}(…)"
        )
    kind = type(value).__qualname__
    if isinstance(value, str | Path | None):
        example = f", such as UserClips({str(value)!r})" if base is Data else ""
        raise ValueError(f"the recipe's {name} is {value!r}: give a {base.__name__}{example}")
    if not isinstance(value, base):
        raise ValueError(
            f"{kind} cannot be a recipe's {name}: write class {kind}({base.__name__}), with the base "
            f"of {base.__module__}, which says what is required and has the rest"
        )
    if base in (Data, View) and not hasattr(value, "name"):
        raise ValueError(f"{kind} cannot be a recipe's {name}: it has no 'name'")
    if base is View and {type(value).read, type(value).each_frame} == {View.read, View.each_frame}:
        raise ValueError(
            f"{kind} cannot be a recipe's {name}: it has neither 'read' nor 'each_frame'"
        )


def portable(text: str) -> str:
    """``text`` as the start of a file name that is valid on every system and contains no path.

    >>> portable("ce_raw-clips-../../x"), portable("con.a"), portable("dlkdd-night_bright-c0.9")
    ('ce_raw-clips-.._.._x', '_con.a', 'dlkdd-night_bright-c0.9')
    """
    plain = re.sub(r"[^A-Za-z0-9_.+=~@-]", "_", text)[:100]
    # reserved names on Windows
    device = re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", plain, re.IGNORECASE)
    return f"_{plain}" if device or plain.startswith((".", "-", "~")) else plain


def to_json(value, contents: Callable | None = None):
    """Plain JSON values for a tree of dataclasses. With ``contents`` it is their identity: fields that do not change
    the result are left out, and ``contents(part)`` is added for a class that has ``contents()``, such as
    ``kdlab.datasets.user_clips.UserClips``.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        kept = [f for f in fields if not contents or f.metadata.get("identity", True)]
        described = {"type": f"{type(value).__module__}:{type(value).__qualname__}"}
        if len(kept) < len(fields):
            described["name"] = getattr(value, "name", "")
        if contents and isinstance(value, (Data, View)) and (own := contents(value)):
            described["contents"] = own
        return described | {f.name: to_json(getattr(value, f.name), contents) for f in kept}
    if isinstance(value, (list, tuple)):
        return [to_json(v, contents) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str | int | float | None):
        return value
    raise ValueError(
        f"a recipe is made of frozen dataclasses and plain values, got {value!r}; make it a dataclass"
    )


def from_json(value):
    """Rebuild what :func:`to_json` wrote. Raises :class:`NotImported` for a class that is neither kdlab's nor imported,
    and ``ValueError`` for anything but a frozen dataclass at a module's top level."""
    if isinstance(value, list):
        return tuple(map(from_json, value))
    if not isinstance(value, dict):
        return value
    kind = _class(str(value.get("type")))
    if unknown := sorted(value.keys() - {f.name for f in dataclasses.fields(kind)} - {"type"}):
        raise NotImported(
            f"{value['type']} has no field {unknown[0]!r}: the recipe was written by another version"
        )
    return kind(**{k: from_json(v) for k, v in value.items() if k != "type"})


def _class(name: str) -> type:
    module, _, qualname = name.partition(":")
    if is_kdlab(module):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    elif module not in sys.modules:
        raise NotImported(
            f"the recipe names {name}, which is not part of kdlab and not imported here: import {module} "
            f"first, in a command with --import {module}, in the folder where {module} lies"
        )
    kind = getattr(sys.modules.get(module), qualname, None)
    if kind is None and is_kdlab(module):
        raise NotImported(
            f"the recipe names {name}, which another version of kdlab had; CHANGELOG.md says what is "
            "there instead"
        )
    parameters = getattr(kind, "__dataclass_params__", None)
    if not isinstance(kind, type) or parameters is None or not parameters.frozen:
        raise ValueError(
            f"the recipe names {name}, which is no frozen dataclass at the top level of its module: write "
            "@dataclass(frozen=True) above it there"
        )
    return kind
