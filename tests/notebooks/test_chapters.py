"""A chapter is what a class can finish: its core path has few cells and few words, and the rest folds."""

import ast
import builtins
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from kdlab import paths
from kdlab.notebooks.folding import FOLDED, folds, heading_level
from kdlab.notebooks.parameters import number_of
from kdlab.teaching.chapters import core, is_companion, overview, words
from kdlab.teaching.exercises import of_notebook

NOTEBOOKS = sorted((paths.project_root() / "notebooks").glob("*.ipynb"))
FEWEST, MOST = 20, 28  # cells
#: In the core paths of all chapters together.
WORDS = 13_500
SHOWS = "## What it shows"

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="not a clone: there is no folder notebooks/")


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT).cells


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_core_path_can_be_finished(path):
    few = is_companion(path) or number_of(path) == "00"
    assert (1 if few else FEWEST) <= len(core(read(path))) <= MOST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_of_the_core_path_holds_two_sections(path):
    texts = [cell.source for cell in core(read(path)) if cell.cell_type == "markdown"]
    assert not [text for text in texts if len(re.findall("(?m)^## ", text)) > 1]


def test_the_core_paths_of_all_chapters_are_read_in_an_hour_and_a_half():
    found = {path.stem: words(core(read(path))) for path in NOTEBOOKS if not is_companion(path)}
    assert sum(found.values()) <= WORDS, found


def test_the_overview_counts_what_the_limits_are_about(command):
    found = overview().set_index("notebook")
    assert list(found.index) == [number_of(path) for path in NOTEBOOKS] + ["chapters"]
    assert found.loc["03", "core cells"] == len(core(read(NOTEBOOKS[4]))) and found.loc["03b", "companion"]
    assert found.loc["chapters", "core words"] == found[~found.companion].iloc[:-1]["core words"].sum() <= WORDS
    assert number_of(NOTEBOOKS[4]) == "03"
    asked = of_notebook("03")
    assert found.loc["03", ["number", "word", "code"]].sum() == len(asked) and found.loc["03", "guesses"] >= 1
    assert (found.loc[found.index != "chapters", "pictures"] > 0).all()
    code, said, _ = command("exercises", "--chapters")
    assert code == 0 and "core words" in said and "companion" not in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_folded_is_a_question_and_comes_before_what_the_chapter_shows(path):
    cells = read(path)
    folds = [k for k, cell in enumerate(cells) if cell.metadata.get(FOLDED)]
    shows = next(k for k, cell in enumerate(cells) if cell.source.startswith(SHOWS))
    for k in folds:
        assert cells[k].source.startswith("## Going deeper: ") and "\n" not in cells[k].source.strip(), cells[k].source
        assert cells[k].source.rstrip().endswith("?") and k < shows
    assert folds or is_companion(path) or number_of(path) == "00"


def lacking(cells) -> set[str]:
    """Names that the code of ``cells`` reads, and no cell up to there has made or imported."""
    made, found = {*vars(builtins), "display"}, set()
    for cell in (cell for cell in cells if cell.cell_type == "code"):
        tree, read = list(ast.walk(ast.parse(cell.source))), set()
        for node in tree:
            if isinstance(node, ast.Name):
                (read if isinstance(node.ctx, ast.Load) else made).add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                made.add(node.name)
            elif isinstance(node, ast.arg):
                made.add(node.arg)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                made |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ExceptHandler) and node.name:
                made.add(node.name)
        found |= read - made
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_on_the_core_path_needs_what_is_folded(path):
    assert not lacking(core(read(path)))


def test_a_name_that_is_lacking_is_found():
    cells = [new_code_cell("import a.b\nfrom c import d as e\nfor f in a.g(e): print(f)"),
             new_code_cell("def h(i):\n    return [j for j in i if k]\nd, h")]
    assert lacking(cells) == {"d", "k"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_chapter_ends_with_what_it_shows_what_it_does_not_and_exercises(path):
    ends = [cell.source.partition("\n")[0] for cell in core(read(path)) if heading_level(cell) == 2][-3:]
    assert ends == [SHOWS, "## What this does not show", "## Exercises"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_exercises_answer_and_one_asks_for_a_prediction_and_one_for_code(path):
    its = of_notebook(number_of(path))
    assert len(its) >= 3 and any(exercise.guess for exercise in its) and any(e.kind == "code" for e in its)
    asked = "\n".join(cell.source for cell in read(path)).partition("## Exercises")[2]
    assert not [exercise.name for exercise in its if exercise.name not in asked]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_that_it_prints_answers_and_none_twice(path):
    printed = [name for cell in read(path) if cell.cell_type == "markdown"
               for name in re.findall(r"(?m)^\*\*(\d\d[a-z]?\.\d+)\b.*?\*\*", cell.source)]
    assert printed == [exercise.name for exercise in of_notebook(number_of(path))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_begins_with_an_empty_line(path):
    assert not [number for number, cell in enumerate(read(path)) if cell.source.startswith("\n")]


def folded(source: str):
    return new_markdown_cell(source, metadata={FOLDED: True})


def test_a_fold_ends_at_the_next_heading_that_is_as_high():
    cells = [new_markdown_cell("# T"), new_code_cell("a"), folded("## Going deeper: why?"), new_code_cell("b"),
             new_markdown_cell("### Lower"), new_markdown_cell("```\n# no heading\n```"), new_code_cell("# one"),
             new_markdown_cell("Words, then\n\n## Next"), new_code_cell("c"), folded("### Small"), new_code_cell("d"),
             folded("### Small, too"), new_code_cell("e"), new_markdown_cell("## End")]
    assert [cell.source for cell in core(cells)] == ["# T", "a", "Words, then\n\n## Next", "c", "## End"]
    found = [(heading and heading.source, [cell.source for cell in below]) for heading, below in folds(cells)]
    assert found == [(None, ["# T", "a"]),
                     ("## Going deeper: why?", ["b", "### Lower", "```\n# no heading\n```", "# one"]),
                     (None, ["Words, then\n\n## Next", "c"]), ("### Small", ["d"]), ("### Small, too", ["e"]),
                     (None, ["## End"])]


def test_words_are_counted_as_they_are_read():
    text = "Two words, − and |\n\n| a | b |\n|---|---|\n<details><summary>Answer</summary>\nten\n</details> [end](x.md)"
    assert words([new_markdown_cell(text), new_code_cell("not these")]) == 6
