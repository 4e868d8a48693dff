"""A module of somebody's that is edited between its import and the first look at its source."""

import importlib
import shutil
import sys

import pytest

from kdlab.system.sources import ChangedSource, source_hash

TEXT = """from __future__ import annotations
import functools
from dataclasses import dataclass, field

def twice(function):
    @functools.wraps(function)
    def wrapped(*given, **how):
        return function(*given, **how) * 2
    return wrapped

@functools.cache
def kept(x): return x + 1

@dataclass(frozen=True)
class Net:
    width: int = 1
    pick = lambda self: self.width in {"a", "b", "c"}
    kinds: tuple = field(default_factory=lambda: (1, 2.0))

    @staticmethod
    def still(x): return x
    @classmethod
    def of(cls, x: int = 3): return cls(x)
    @property
    def name(self): return f"{self.width}"
    @functools.cached_property
    def later(self): return [x for x in range(9) if x]
    @twice
    def make(self, x):
        def inner(y): return x + y
        return inner(1)

def helper(x):
    "Doc."
    return 2 * x
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """The module, imported; and its file."""
    monkeypatch.syspath_prepend(tmp_path)
    (file := tmp_path / "theirs_here.py").write_text(TEXT)
    importlib.invalidate_caches()
    yield importlib.import_module("theirs_here"), file
    del sys.modules["theirs_here"]


@pytest.mark.parametrize(("old", "new"), [
    ("return 2 * x", "return 3 * x"), ("return x\n", "return -x\n"), ("return cls(x)", "return cls(-x)"),
    ('f"{self.width}"', "'a'"), ("range(9)", "range(8)"), ("x + y", "x - y"), ("* 2\n", "* 3\n"), ('"b", ', ""),
    ("return 2 * x", "return 2 *"),
], ids=range(9))
def test_an_edit_before_the_first_look_is_noticed(theirs, old, new):
    module, file = theirs
    assert TEXT.count(old) == 1
    file.write_text(TEXT.replace(old, new))
    for _ in range(2):
        with pytest.raises(ChangedSource, match="theirs_here.py has changed since it was imported: restart"):
            source_hash(module.Net())
    if not new.endswith("*"):
        shutil.rmtree(file.with_name("__pycache__"), ignore_errors=True)
        assert source_hash(importlib.reload(module).Net())


def test_what_is_as_imported_is_no_change(theirs):
    """Also from the bytecode on disk, after calls, below a comment, and where a reload left an old name."""
    module, file = theirs
    for _ in range(3000):
        module.helper(1), module.Net(2).make(1), module.Net().later
    first = source_hash(module.Net())
    del sys.modules["theirs_here"]
    module = importlib.import_module("theirs_here")
    file.write_text("# a comment\n" + TEXT)
    assert source_hash(module.Net()) == first
    file.write_text(TEXT.replace("def helper(x)", "def renamed(x)"))
    shutil.rmtree(file.with_name("__pycache__"), ignore_errors=True)
    module = importlib.reload(module)
    assert module.helper and source_hash(module.Net()) != first
