"""Somebody's module is hashed as it was imported, and every Python reads the same syntax."""

import ast
import importlib
import sys

import pytest

from kdlab.system.sources import source_hash, syntax

TEXT = """from dataclasses import dataclass

@dataclass(frozen=True)
class Net:
    width: int = 1

def helper(x):
    "Doc."
    return 2 * x
"""


def test_what_changed_since_its_import_is_noticed_until_it_is_reloaded(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (file := tmp_path / "theirs_here.py").write_text(TEXT)
    importlib.invalidate_caches()
    module = importlib.import_module("theirs_here")
    first = source_hash(module.Net())
    for text, same in (
        ("# a comment\n" + TEXT.replace("Doc", "Docs"), True),
        (TEXT.replace("2 * x", "3 * x"), False),
    ):
        file.write_text(text)
        with pytest.raises(
            ValueError, match=r"theirs_here.py has changed .*importlib.reload\(theirs_here\)"
        ):
            source_hash(module.Net())
        module = importlib.reload(module)
        assert (source_hash(module.Net()) == first) == same
    del sys.modules["theirs_here"]


def test_every_python_reads_the_same_syntax(monkeypatch):
    """Else whoever has another Python than the committed runs is told that all of them are stale."""
    text = "def f(x=[]): return f'{x:<{9}}'\nclass C: pass"
    tree = ast.parse(text)
    plain = syntax(text)
    assert plain.startswith(
        "Module(body=[FunctionDef(name='f', args=arguments(posonlyargs=[], args=[arg(arg='x')], "
    )
    for kind in (ast.FunctionDef, ast.ClassDef):  # as Python 3.12 has it, in this one
        monkeypatch.setattr(kind, "_fields", tuple(dict.fromkeys((*kind._fields, "type_params"))))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.type_params = []
        if isinstance(node, ast.JoinedStr):
            node.values.append(ast.Constant(""))
    monkeypatch.setattr(ast, "parse", lambda _: tree)
    assert "''" in ast.dump(tree) and syntax(text) == plain


def test_a_package_is_followed_as_far_as_it_imports_itself(tmp_path, monkeypatch):
    """Through a folder, through a helper's helper, by absolute and relative names; not where nothing imports."""
    files = {
        "farside/__init__.py": "",
        "farside/nets.py": "from farside.layers.blocks import BLOCK\n" + TEXT,
        "farside/layers/__init__.py": "",
        "farside/layers/blocks.py": "from ..tools import deep\nBLOCK = deep.X\n",
        "farside/tools/__init__.py": "",
        "farside/tools/deep.py": "X = 1\n",
        "farside/tools/unused.py": "X = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    net = importlib.import_module("farside.nets").Net()
    first = source_hash(net)
    (tmp_path / "farside/tools/unused.py").write_text("X = 2\n")
    assert source_hash(net) == first
    for name in ("farside/layers/blocks.py", "farside/tools/deep.py"):
        (tmp_path / name).write_text(files[name] + "Y = 2\n")
        with pytest.raises(ValueError, match="has changed since it was imported"):
            source_hash(net)
        (tmp_path / name).write_text(files[name])
    assert source_hash(net) == first
