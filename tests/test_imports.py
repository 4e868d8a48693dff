"""Imports inside kdlab point downwards only, as the layers below say."""

import ast
import json
import os
import re
from pathlib import Path

import pytest

import kdlab
from tests.conftest import said_by

PACKAGE = Path(kdlab.__file__).parent

# From the ground up. A module may import from the layers below its own and from its own room, never sideways: clips and
# nets know nothing of each other, the ground knows no paper, and no paper knows another.
LAYERS = (
    {"system"},
    {"video"},
    {"protocols"},
    {"clips", "nets"},
    {"distill", "datasets"},
    {"night"},
    {"train"},
    {"measure"},
    {"study"},
    {"show"},
    {"papers", "cli"},
    {"papers.dual_light", "papers.generative", "papers.progressive"},
)
HEIGHT = {unit: height for height, layer in enumerate(LAYERS) for unit in layer}


def room(module):
    """The room of a module: a folder or a file of kdlab's, or what has a place of its own in a folder."""
    _, *inner = module.split(".")
    return ".".join(inner[:2]) if ".".join(inner[:2]) in HEIGHT else inner[0]


def imported(source):
    """The rooms of kdlab from which ``source`` imports anywhere, also in functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level != 1:  # a dot is its own room
            # two dots
            assert node.level == 0
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {
        room(name)
        for name in found
        if name.startswith("kdlab.") and not name.startswith("kdlab.__")
    }


def wrong_imports(source, module):
    """A sentence for each import that does not point downwards; the package itself imports nothing."""
    height = HEIGHT[room(module)] if module != "kdlab" else -1
    others = imported(source) - ({room(module)} if module != "kdlab" else set())
    return [
        f"{module} imports kdlab.{other}, not below it"
        for other in sorted(others)
        if HEIGHT[other] >= height
    ]


def test_imports_point_downwards():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(["kdlab", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
            ".__init__"
        )
        wrong += wrong_imports(path.read_text("utf-8"), module)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source, module, wrong",
    [
        ("from kdlab.nets.video import build", "kdlab.clips.views", True),
        ("def f():\n    import kdlab.train.loop", "kdlab.distill.method", True),
        ("from kdlab.papers.dual_light import method", "kdlab.papers.generative.method", True),
        ("from kdlab.papers import paper_size", "kdlab.papers.generative.recipes", False),
        ("from kdlab import __version__, protocols", "kdlab.cli.main", False),
    ],
)
def test_the_test_itself(source, module, wrong):
    assert bool(wrong_imports(source, module)) == wrong


def test_what_draws_a_clip_is_imported_through_one_door():
    """A change in a drawing file makes clips stale, so nothing else may know those files."""
    drawing = PACKAGE / "night" / "drawing"
    files = "|".join(file.stem for file in drawing.glob("[!_]*.py"))
    inner = re.compile(
        rf"night\.drawing\.({files})\b|from \.drawing\.|night\.drawing import ({files})\b"
    )
    others = [path for path in PACKAGE.rglob("*.py") if path.parent != drawing]
    assert not [
        path for path in others if inner.search(re.sub(r"``.*?``", "", path.read_text("utf-8")))
    ]


HEAVY = {
    "captum",
    "scipy.optimize",
    "scipy.stats",
    "seaborn",
    "sympy",
    "torch._dynamo",
    "torchvision",
    "triton",
}


def test_what_notebooks_import_of_kdlab_imports_nothing_heavy():
    """Each takes from a fifth of a second to more than one, and is imported where something needs it."""
    lines = {}
    for file in sorted((PACKAGE.parent / "notebooks").glob("*.ipynb")):
        cells = [
            cell
            for cell in json.loads(file.read_text("utf-8"))["cells"]
            if cell["cell_type"] == "code"
        ]
        texts = ["".join(line for line in cell["source"] if line[0] not in "%!") for cell in cells]
        lines |= {
            ast.unparse(node): None
            for text in texts
            for node in ast.parse(text).body
            if isinstance(node, ast.ImportFrom) and node.module.startswith("kdlab")
        }
    assert len(lines) > 50
    code = "\n".join([*lines, f"import sys; print(*sorted({HEAVY} & set(sys.modules)))"])
    # imported for nothing
    assert not said_by(code).strip()


@pytest.mark.parametrize("given", [None, "sse42"])
def test_pictures_are_computed_alike_unless_the_user_says_otherwise(given):
    env = {name: value for name, value in os.environ.items() if name != "OPENCV_IPP"}
    env |= {"OPENCV_IPP": given} if given else {}
    code = "import cv2, kdlab, os; print(os.environ.get('OPENCV_IPP'))"
    out = said_by(code, env=env)
    cpuinfo = Path("/proc/cpuinfo")
    avx2 = cpuinfo.is_file() and " avx2 " in cpuinfo.read_text()
    assert out.strip() == (given or ("avx2" if avx2 else "None"))


def test_each_public_name_is_there_and_has_its_type():
    stub = (PACKAGE / "__init__.pyi").read_text("utf-8")
    typed = re.findall(r"import \w+ as (\w+)", stub)
    assert {*typed, "__version__", "check"} == {*kdlab.__all__}
    for name in kdlab.__all__:
        assert getattr(kdlab, name) is not None
