"""The common form of all notebooks, as committed. What their cells do, nbval tests."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import nbformat
import pytest

from kdlab import paths
from kdlab.notebooks.parameters import number_of
from kdlab.teaching.chapters import is_companion

FOLDER = paths.project_root() / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 400_000  # bytes
IMPORTS = 18  # lines of code in the cell of imports, which a reader meets first
#: What a notebook shows only as the value of a cell's last expression (figures show themselves, wherever drawn).
SHOWN_LAST = {"Styler", "DataFrame", "Series", "Code"}
# The first folders of absolute paths on people's machines; (?<!...) spares URLs and relative paths.
MACHINE_PATH = re.compile(r"(?<![\w.:/])(/(home|root|tmp|work|Users|mnt|var)/|[A-Z]:\\\\?Users)")

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="not a clone: there is no folder notebooks/")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def headings(notebook) -> list[tuple[str, str]]:
    """(heading of the second level without its number, text below it), in order."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    parts = re.split(r"^## (?:\d+\. *)?(.+)$", text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def texts(notebook):
    """Everything readable in the outputs; pictures are left out, because base64 may spell anything."""
    for cell in code(notebook):
        for output in cell.outputs:
            if output.output_type == "stream":
                yield output.text
            elif output.output_type == "error":
                yield "\n".join(output.traceback)
            else:
                yield from (str(data) for kind, data in output.data.items() if not kind.startswith("image/"))


def imported(sources: list[str]) -> dict[str, object]:
    """What the cells import from kdlab and pandas, by the name they give it."""
    found = {}
    for node in (node for text in sources for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "kdlab":
            for alias in node.names:
                module = import_module(node.module)
                found[alias.asname or alias.name] = (getattr(module, alias.name) if hasattr(module, alias.name) else
                                                     import_module(f"{node.module}.{alias.name}"))
        elif isinstance(node, ast.Import):
            found |= {a.asname or a.name: import_module(a.name) for a in node.names if a.name == "pandas"}
    return found


def displayable(value: ast.expr, names: dict[str, object]) -> bool:
    """Whether this is a call of something that returns a table or a listing."""
    if not isinstance(value, ast.Call):
        return isinstance(value, ast.Name)
    called = value.func
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        made = getattr(names.get(called.value.id), called.attr, None)
    else:
        made = names.get(called.id) if isinstance(called, ast.Name) else None
    if inspect.isclass(made):
        return made.__name__ in SHOWN_LAST
    returned = inspect.signature(made).return_annotation if callable(made) else None
    return getattr(returned, "__name__", str(returned)).split(".")[-1] in SHOWN_LAST


def lost(source: str, names: dict[str, object]) -> list[str]:
    """Tables and listings that this cell makes and never shows: not its last expression, or hidden by a semicolon."""
    cell = ast.parse(source)
    last = cell.body[-1] if cell.body and not source.rstrip().endswith(";") else None
    return [ast.unparse(node) for node in ast.walk(cell)
            if isinstance(node, ast.Expr) and node is not last and displayable(node.value, names)]


def test_it_is_a_valid_notebook(notebook):
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"


def test_one_cell_holds_the_parameters(notebook):
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert tagged[0] is code(notebook)[0]
    assert 'profile = os.environ.get("KDLAB_PROFILE", "demo")' in tagged[0].source


def test_a_reader_meets_few_imports(notebook):
    """What a deeper section alone needs is imported there; of what gives many names the module is. kdlab itself is
    there for whoever answers exercises."""
    lines = code(notebook)[1].source.splitlines()
    assert "import kdlab" in lines and sum(bool(line.strip()) for line in lines) - 1 <= IMPORTS


def test_parameters_injected_by_a_runner_are_not_committed(notebook):
    assert not any("injected-parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)


def test_at_least_three_results_are_checked_to_the_letter(notebook):
    checked = [cell for cell in code(notebook) if cell.source.startswith("# NBVAL_CHECK_OUTPUT\n")]
    assert len(checked) >= 3
    assert all(cell.outputs for cell in checked), "commit the notebook with its outputs: nbval compares with them"


def test_no_table_is_lost(notebook):
    sources = [cell.source for cell in code(notebook)]
    names = imported(sources)
    assert not [call for text in sources for call in lost(text, names)], "show it with display(…)"


def test_what_measures_returns_its_numbers(path, notebook):
    """To a sweep; 00, 01 and 06 look at clips, and 11 at what a reader brings. A companion may."""
    keeps = any(getattr(node.func, "id", "") == "keep" for cell in code(notebook)
                for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call))
    assert is_companion(path) or keeps == (number_of(path) not in ("00", "01", "06", "11"))


def test_nothing_is_promised_for_later(notebook):
    said = "\n".join(cell.source for cell in notebook.cells)
    assert not re.findall(r"\bto come\b|\bnot yet studied\b|\brows are empty\b", said)


def test_it_ends_with_its_limits_and_exercises(notebook):
    (limits, said), (exercises, asked) = headings(notebook)[-2:]
    assert limits.lower() == "what this does not show" and said.strip()
    assert exercises.lower() == "exercises"
    answers = re.findall(r"<details>\s*<summary>.*?</summary>(.*?)</details>", asked, re.DOTALL)
    assert 3 <= len(answers) <= 5 and all(answer.strip() for answer in answers)
    assert asked.count("<details>") == len(answers), "every fold is closed"
    assert "predict" in asked.lower(), "one exercise asks for a prediction before the run"


def test_it_ran_without_an_error(notebook):
    assert not [output.evalue for cell in code(notebook) for output in cell.outputs if output.output_type == "error"]


def test_it_tells_nothing_about_the_machine_it_ran_on(notebook):
    found = [text[max(0, hit.start() - 40) : hit.end() + 40] for text in texts(notebook)
             for hit in MACHINE_PATH.finditer(text)]
    assert not found


def test_every_picture_says_what_it_shows(notebook):
    pictures = [(kind, output.get("metadata", {}).get(kind, {}).get("alt", "")) for cell in code(notebook)
                for output in cell.outputs for kind in output.get("data", {}) if kind.startswith("image/")]
    assert not [kind for kind, said in pictures if len(said.split()) < 2]


def test_it_is_small(path):
    assert path.stat().st_size <= LARGEST


@pytest.mark.parametrize(("text", "calls"), [
    ("table(x)\nprint(1)", ["table(x)"]), ("if a:\n    table(x)", ["table(x)"]), ("table(x)", []),
    ("table(x);", ["table(x)"]), ("display(table(x))\nprint(1)", []), ("y = table(x)\ny\nprint(1)", ["y"]),
    ("pd.DataFrame(x)\n1", ["pd.DataFrame(x)"]), ("source(f)\nplots.effects(x)", ["source(f)"]),
    ("plots.effects(x)\nprint(1)", []), ("rows.append(x)\n1", []),
])
def test_lost_tables_are_recognised(text, calls):
    head = ("from kdlab.show import plots\nfrom kdlab.show.tables import table\nfrom kdlab.show.source import source\n"
            "import pandas as pd")
    assert lost(text, imported([head])) == calls


@pytest.mark.parametrize(("text", "wrong"), [
    ("clips in /home/ada/clips", True), ("'/tmp/tmp3f/x.mp4'", True), (r"C:\Users\ada", True),
    ("see https://example.org/home/page", False), ("runs/tmp/a", False), ("kg/tmp/", False),
])
def test_paths_of_machines_are_recognised(text, wrong):
    assert bool(MACHINE_PATH.search(text)) is wrong
