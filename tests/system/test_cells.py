"""Classes of a notebook's cell: whatever they stand on is part of what a run of theirs is told by."""

import linecache
import os
import shutil
import subprocess
import sys
import threading
from types import ModuleType

import pytest

from kdlab.system.sources import ChangedSource, source_hash

CELL = """from dataclasses import dataclass
@dataclass(frozen=True)
class Cell:
    width: int = 1
    def make(self):
"""


class Notebook:
    """Executes cells in a stand-in for ``__main__``, as a kernel does."""

    def __init__(self, main: ModuleType):
        self.main = main

    def cell(self, text: str) -> None:
        name = f"<cell {len(linecache.cache)}>"
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        exec(compile(text, name, "exec"), vars(self.main))

    def hash(self) -> str:
        return source_hash(self.main.Cell())


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", main := ModuleType("__main__"))
    return Notebook(main)


@pytest.mark.parametrize(("first", "then"), [
    ("X = [1, [2]]", "X[1].append(3)"),
    ("X = {'a': {1, 2}}", "X['a'].add(3)"),
    ("X = (1, 2)", "X = (1, 3)"),
    ("X = None", "X = 0.5"),
    ("import numpy as np\nX = np.zeros(5000)", "X[2500] = 1"),
    ("import torch\nX = {'a': torch.zeros(3, dtype=torch.bfloat16)}", "X['a'][1] = 1"),
    ("X = lambda x: x + 1", "X = lambda x: x + 2"),
    ("X = [lambda x: x + 1]", "X = [lambda x: x + 2]"),
    ("def times(k):\n    return lambda x: k * x\nX = times(2)", "X = times(3)"),
    ("def X(k=[1]): return k", "X.__defaults__[0].append(2)"),
    ("class Held:\n    def __init__(self): self.a = 1\nX = Held()", "X.a = 2"),
    ("class Held:\n    def f(self): return 1\nX = Held()", "class Held:\n    def f(self): return 2\nX = Held()"),
    ("class Held:\n    a = [1]\nX = Held", "X.a.append(2)"),
    ("class Held: pass\nclass Other: pass\nX = Held, Other", "X = Other, Held"),
    ("import functools\n@functools.cache\ndef X(a): return a + 1", "@functools.cache\ndef X(a): return a + 2"),
    ("import functools\ndef f(a, b): return a\nX = functools.partial(f, 1)", "X = functools.partial(f, 2)"),
    ("class Held:\n    @property\n    def f(self): return Y\nY = [1]\nX = Held()", "Y.append(2)"),
    ("class Held:\n    def f(self): return 1\nclass X: f = Held.f",
     "class Held:\n    def f(self): return 2\nclass X: f = Held.f"),
    ("", "Cell.rates = [1]"),
], ids=range(19))
def test_what_a_class_stands_on_is_hashed(notebook, first, then):
    notebook.cell(first)
    notebook.cell(CELL + "        return X" if first else CELL + "        return 1")
    before = notebook.hash()
    assert notebook.hash() == before
    notebook.cell("Y_UNUSED = [1]")
    assert notebook.hash() == before
    notebook.cell(then)
    assert notebook.hash() != before


@pytest.mark.parametrize("imported", ["import helpers", "from helpers import scaled", "from helpers import thing",
                                      "import helpers.deeper"])
def test_modules_beside_the_notebook_are_hashed(notebook, tmp_path, monkeypatch, imported):
    """And one that has changed since it was imported is refused."""
    (tmp_path / "helpers").mkdir()
    file = tmp_path / "helpers" / "deeper.py"
    file.write_text("def scaled(x): return 2 * x\nclass Thing: pass\n")
    (tmp_path / "helpers" / "__init__.py").write_text("" if "deeper" in imported else "from helpers.deeper import "
                                                      "scaled, Thing\nthing = Thing()\n")
    monkeypatch.syspath_prepend(tmp_path)
    hashes = []
    for text in (None, "def scaled(x): return 3 * x\nclass Thing: pass\n"):
        if text:
            file.write_text(text)
            with pytest.raises(ChangedSource, match="deeper.py has changed since it was imported"):
                notebook.hash()
        for name in ("helpers", "helpers.deeper"):
            sys.modules.pop(name, None)
        shutil.rmtree(file.with_name("__pycache__"), ignore_errors=True)  # which tells sources apart by whole seconds
        notebook.cell(imported)
        notebook.cell(CELL + f"        return {imported.split()[-1].split('.')[0]}")
        hashes.append(notebook.hash())
    assert hashes[0] != hashes[1]
    for name in ("helpers", "helpers.deeper"):
        del sys.modules[name]


def test_what_cannot_be_hashed_is_refused_by_name(notebook):
    notebook.cell(CELL + "        return X, math.pi, len(Y)")
    notebook.cell("import math\nY = []")
    notebook.main.X = threading.Lock()
    with pytest.raises(ValueError, match="^X cannot be hashed: put it, and the class, into a file"):
        notebook.hash()
    notebook.main.X, notebook.main.Cell.held = 1, (n for n in ())
    with pytest.raises(ValueError, match="^Cell.held cannot be hashed"):
        notebook.hash()


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from tests.system.test_cells import CELL, Notebook
import types
sys.modules["__main__"] = main = types.ModuleType("__main__")
notebook = Notebook(main)
notebook.cell('''import numpy as np, torch
from torch import nn
class Held(nn.Module):
    kinds = {{"a", "b", "c", frozenset("xyz")}}
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)
torch.manual_seed(0)
X = [Held(), np.arange(3), {{"a", "b", "c"}}, np.random.default_rng(1), torch.ones(2), torch.float32,
     nn.functional.relu]''')
notebook.cell(CELL + "        return X, nn, torch.relu, np.sin, np, len, print")
print(notebook.hash())
"""


def test_the_hash_is_the_same_in_every_process():
    folder = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    found = {subprocess.run([sys.executable, "-c", SCRIPT.format(folder=folder)], capture_output=True, text=True,
                            check=True, env=os.environ | {"PYTHONHASHSEED": seed}).stdout for seed in "12"}
    assert len(found) == 1 and len(found.pop().strip()) == 64
