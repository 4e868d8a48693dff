"""A recipe says everything a training depends on; from it come the run's name, its JSON and its staleness.

Recipes are trees of frozen dataclasses: a student's recipe holds its teacher's. There is no registry: the JSON of a
recipe names each dataclass by its module, and :func:`from_json` imports it from ``kdlab``.
"""

import ast
import dataclasses
import hashlib
import importlib
import json
import re
import time
from dataclasses import dataclass, field
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

import numpy as np

import kdlab
from kdlab.clips.catalogue import Catalogue, own_folds
from kdlab.clips.check import without_damaged
from kdlab.clips.datasets import open_data
from kdlab.clips.night import Night
from kdlab.clips.outline import outline
from kdlab.clips.tree import named
from kdlab.clips.views import Raw, View, Window
from kdlab.contents import once, one_look, settled
from kdlab.distill.dual_light import CrossEntropy
from kdlab.nets.video import R2Plus1D18, TinyR2Plus1D
from kdlab.train import Settings
from kdlab.values import whole

__all__ = ["Recipe", "UserClips", "from_json", "own_clips", "portable", "source_hash", "syntax", "to_json"]

#: Training imports from these only; a change elsewhere (measure, show, cli) cannot change a weight.
TRAINING_SOURCES = ("kdlab.clips", "kdlab.nets", "kdlab.distill", "kdlab.train", "kdlab.enhancer", "kdlab.exits")


@dataclass(frozen=True)
class UserClips:
    """Clips of your own (a CSV, a folder with ``index.csv``, or one folder per class) or a public data set as released.

    See ``kdlab.clips.datasets.open_data``. ``test_fold`` names the fold or published split to test on. With
    ``own_folds`` their number is given, and kdlab makes them from the clips' groups (``catalogue.own_folds``). Damaged
    files stop a training, or with ``on_damaged="skip"`` are left out, each named in the catalogue's notes.

    What the clips are (ids, labels, splits, groups, times, contents) is part of a recipe's identity, where they lie is
    not: the same clips elsewhere give the same run, other clips in the same folder another one. They are looked at
    whenever they are asked for, so this holds while a kernel runs; inside one operation (``kdlab.contents.one_look``)
    they are looked at once.
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
        return self._place.resolve().stem.lower() + fold.removesuffix("-")

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
        return named(self.path).absolute()

    def _fingerprint(self) -> str:
        began = time.monotonic()
        found, now = self.catalogue().fingerprint(), time.monotonic()
        _lately[self, self._place] = now + 20 * (now - began), found
        return found

    def _listed(self) -> Catalogue:
        return once((self, self._place, "listed"), self._open)

    def _open(self) -> Catalogue:
        """The catalogue, read again only when its :func:`outline` differs from when it was read."""
        now, seen = time.time_ns(), outline(self._place)
        known = _opened.get((self, self._place))
        if known is None or known[0] != seen:
            clips = open_data(self.path, None if self.own_folds else self.test_fold)
            known = seen, own_folds(clips, self.own_folds, self.test_fold) if self.own_folds else clips
            _opened.pop((self, self._place), None)
            if all(settled(its, now) for its in seen[1].values()):
                _opened[self, self._place] = known
        return known[1]


#: What was last read of clips, and said of them: (clips, place) → …
_opened: dict[tuple[UserClips, Path], tuple[tuple, Catalogue]] = {}
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
    net: TinyR2Plus1D | R2Plus1D18 = TinyR2Plus1D()
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
    if isinstance(value, UserClips):
        return (value,)
    inner = value if isinstance(value, tuple) else vars(value).values() if dataclasses.is_dataclass(value) else ()
    return tuple(dict.fromkeys(clips for part in inner for clips in own_clips(part)))


def to_json(value, identity: bool = False):
    """Plain JSON values for a tree of dataclasses; ``identity`` leaves out what does not change the result, and adds
    the ``contents()`` of what lies in files of yours, such as :class:`UserClips`.

    What the environment chooses is written down (``settled()``, such as a clip's decoder). A field that has the value
    ``unsaid`` of its metadata is left out: a name is then that of before there was the field.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = value.settled() if hasattr(value, "settled") else value
        said = [f for f in dataclasses.fields(value)
                if "unsaid" not in f.metadata or f.metadata["unsaid"] != getattr(value, f.name)]
        kept = [f for f in said if not identity or f.metadata.get("identity", True)]
        named = {"name": value.name} if len(kept) < len(said) else {}
        named |= {"contents": value.contents()} if identity and hasattr(value, "contents") else {}
        fields = {f.name: to_json(getattr(value, f.name), identity) for f in kept}
        return {"type": f"{type(value).__module__}:{type(value).__qualname__}"} | named | fields
    if isinstance(value, (list, tuple)):
        return [to_json(v, identity) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"a recipe is made of frozen dataclasses and plain values, got {value!r}; make it a dataclass")


def from_json(value):
    """Rebuild what :func:`to_json` wrote. Raises ``ValueError`` for a type that is not kdlab's."""
    if isinstance(value, list):
        return tuple(from_json(v) for v in value)
    if not isinstance(value, dict):
        return value
    module, _, name = value["type"].partition(":")
    if module.split(".")[0] != "kdlab":
        raise ValueError(f"the recipe names {value['type']}, which is not part of kdlab; build that recipe by hand")
    made = getattr(importlib.import_module(module), name)
    known = {f.name for f in dataclasses.fields(made)}
    fields = {k: from_json(v) for k, v in value.items() if k != "type"}
    if unknown := sorted(fields.keys() - known):
        raise ValueError(f"{value['type']} has no field {unknown[0]!r}: the recipe was written by another kdlab")
    built = made(**fields)
    unsaid = {f.name: f.metadata["unsaid"] for f in dataclasses.fields(made) if "unsaid" in f.metadata}
    if unsaid and to_json(built) != value:  # the environment chooses otherwise now than when it was written
        return made(**unsaid | fields)
    return built


# --- the sources a training depends on -------------------------------------------------------------------------


@cache
def _module_file(module: str) -> Path | None:
    base = Path(kdlab.__file__).parent.joinpath(*module.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def syntax(path: Path) -> str:
    """A module's syntax tree without docstrings and comments, as text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(getattr(body[0], "value", None), ast.Constant) and isinstance(body[0].value.value, str):
                body.pop(0)
    return ast.dump(tree)


@cache
def _stripped(module: str) -> tuple[str, tuple[str, ...]]:
    """The syntax of a module and the kdlab modules it imports that training can depend on."""
    path, imported = _module_file(module), set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            imported |= {origin} | {f"{origin}.{a.name}" for a in node.names}
    kept = sorted(m for m in imported if m.startswith(TRAINING_SOURCES) and _module_file(m))
    return syntax(path), tuple(kept)


def _types(value) -> set[str]:
    """Modules of all dataclasses in a recipe."""
    if dataclasses.is_dataclass(value):
        inner = (_types(getattr(value, f.name)) for f in dataclasses.fields(value))
        return {type(value).__module__}.union(*inner)
    return set()


def source_hash(recipe: Recipe) -> str:
    """SHA-256 over the modules that training ``recipe`` uses, docstrings and comments stripped.

    Only :data:`TRAINING_SOURCES` count, and of those only what this recipe's own types and the loop import: a new
    method does not make old runs stale, a changed comment neither.
    """
    todo = {m for m in _types(recipe) if m.startswith(TRAINING_SOURCES)} | {"kdlab.train"}
    seen: dict[str, str] = {}
    while todo:
        module = todo.pop()
        if module not in seen:
            seen[module], imports = _stripped(module)
            todo |= set(imports)
    return hashlib.sha256("\n".join(f"{m} {seen[m]}" for m in sorted(seen)).encode()).hexdigest()
