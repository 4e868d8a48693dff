"""A module of somebody's that is edited between its import and the first look at its source."""

import ast
import importlib
import shutil
import sys

import pytest

from kdlab.system.sources import source_hash, syntax

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


def test_every_python_reads_the_same_syntax(monkeypatch):
    """Else whoever has another Python than the committed runs is told that all of them are stale."""
    text = "def f[T](x): ..." if sys.version_info >= (3, 12) else ""
    assert not text or "type_params=[T" in syntax(ast.parse(text)), "a parameter that is there counts"
    tree = ast.parse("def f(x=[]): return f'{x:<{9}}'\nclass C: pass")
    plain = syntax(tree)
    assert plain == (
        "Module(body=[FunctionDef(name='f', args=arguments(posonlyargs=[], args=[arg(arg='x')], kwonlyargs=[], "
        "kw_defaults=[], defaults=[List(elts=[], ctx=Load())]), body=[Return(value=JoinedStr(values=[FormattedValue("
        "value=Name(id='x', ctx=Load()), conversion=-1, format_spec=JoinedStr(values=[Constant(value='<'), "
        "FormattedValue(value=Constant(value=9), conversion=-1)]))]))], decorator_list=[]), ClassDef(name='C', "
        "bases=[], keywords=[], body=[Pass()], decorator_list=[])], type_ignores=[])")
    # as Python 3.12 has it, in this one
    for kind in (ast.FunctionDef, ast.ClassDef):
        monkeypatch.setattr(kind, "_fields", tuple(dict.fromkeys((*kind._fields, "type_params"))))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.type_params = []
        if isinstance(node, ast.JoinedStr):
            node.values.append(ast.Constant(""))
    assert "''" in ast.dump(tree) and syntax(tree) == plain
