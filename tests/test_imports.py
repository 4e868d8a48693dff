"""Imports inside kdlab point downwards only, as the layers below say."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kdlab

PACKAGE = Path(kdlab.__file__).parent

# From the ground up. A module may import from the layers below its own and from its own room, never sideways: clips,
# nets and distill know nothing of each other, the ground knows no paper, and no paper knows another.
LAYERS = (
    {"layers", "paths", "protocols"},
    {"system"},
    {"clips", "nets", "distill", "exercises"},
    {"night"},
    {"train"},
    {"measure"},
    {"study"},
    {"show"},
    {"papers"},
    {"papers.dual_light", "papers.generative", "papers.progressive"},
    {"notebooks", "predict"},
    {"cli"},
)
HEIGHT = {unit: height for height, layer in enumerate(LAYERS) for unit in layer}


def room(dotted: list[str]) -> str:
    """The room of a module: a folder or a file of kdlab's, and what has a place of its own in a folder."""
    inner = ".".join(dotted[1:3])
    return inner if inner in HEIGHT else dotted[1]


def imported_units(source: str, module: str, is_package: bool = False) -> set[str]:
    """Which parts of kdlab (``clips``, ``train``, …) the source of ``module`` imports anywhere, also in functions.

    ``module`` is its dotted name. ``import kdlab`` and ``from kdlab import __version__`` name no part.
    """
    package = module.split(".") if is_package else module.split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            found += [[*base, alias.name] for alias in node.names]
    return {room(dotted) for dotted in found if dotted[0] == "kdlab" and len(dotted) > 1 and dotted[1][:2] != "__"}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        dotted = ".".join(["kdlab", *path.relative_to(PACKAGE).with_suffix("").parts])
        yield path, dotted.removesuffix(".__init__"), path.name == "__init__.py"


def wrong_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    """One sentence for each import that does not point downwards."""
    if module == "kdlab":
        return [f"kdlab/__init__.py imports {unit}" for unit in imported_units(source, module, True)]
    own = room(module.split("."))
    others = imported_units(source, module, is_package) - {own}
    return [f"{module} imports kdlab.{unit}, not below it" for unit in sorted(others) if HEIGHT[unit] >= HEIGHT[own]]


def test_every_module_has_a_layer():
    units = {room(module.split(".")) for _, module, _ in modules() if module != "kdlab"}
    assert units <= HEIGHT.keys(), "give these a place in LAYERS"


def test_imports_point_downwards():
    wrong = [sentence for path, module, is_package in modules()
             for sentence in wrong_imports(path.read_text(encoding="utf-8"), module, is_package)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("source", "module", "wrong"), [
    ("from ..nets.video import build", "kdlab.clips.views", True),
    ("def f():\n    import kdlab.train.loop", "kdlab.distill.losses", True),
    ("from kdlab.papers.dual_light import method", "kdlab.papers.generative.method", True),
    ("from kdlab.papers import paper_size", "kdlab.papers.generative.paper_size", False),
    ("from kdlab import __version__, paths", "kdlab.cli.main", False),
])
def test_the_test_itself(source, module, wrong):
    assert bool(wrong_imports(source, module)) == wrong


HEAVY = {"captum", "lightning_fabric", "scipy.optimize", "scipy.stats", "seaborn", "skimage", "sympy", "torch._dynamo",
         "torchvision", "triton"}


def test_what_notebooks_import_of_kdlab_imports_nothing_heavy():
    """Each takes from a fifth of a second to more than one, and is imported where something needs it."""
    lines = {}
    for file in sorted((PACKAGE.parent / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in json.loads(file.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        texts = ["".join(line for line in cell["source"] if line[0] not in "%!") for cell in cells]
        lines |= {ast.unparse(node): None for text in texts for node in ast.parse(text).body
                  if isinstance(node, ast.ImportFrom) and node.module.startswith("kdlab")}
    assert len(lines) > 100
    code = "\n".join([*lines, f"import sys; print(*sorted({HEAVY} & set(sys.modules)))"])
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not said.strip(), "imported for nothing"


@pytest.mark.parametrize("given", [None, "sse42"])
def test_pictures_are_computed_alike_unless_the_user_says_otherwise(given):
    env = {name: value for name, value in os.environ.items() if name != "OPENCV_IPP"}
    env |= {"OPENCV_IPP": given} if given else {}
    code = "import cv2, kdlab, os; print(os.environ.get('OPENCV_IPP'))"
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    cpuinfo = Path("/proc/cpuinfo")
    avx2 = cpuinfo.is_file() and " avx2 " in cpuinfo.read_text()
    assert out.strip() == (given or ("avx2" if avx2 else "None"))
