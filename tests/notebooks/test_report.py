"""The report of the scoreboard: what is folded in the notebook is folded on its page."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from kdlab.notebooks.folding import FOLDED
from kdlab.notebooks.report import write_report
from kdlab.notebooks.run import executed_dir, run_notebook
from kdlab.system.progress import STILL
from tests.notebooks.test_run import clone, quiet, write  # noqa: F401
from tests.pages import Folds

LEADS = "from IPython.display import Markdown\nMarkdown('[the way](#evidence-d1)')"
EVIDENCE = "from IPython.display import HTML\nHTML('<p id=\"evidence-d1\">in ' + 'deep</p>')"


@pytest.fixture
def folding(clone):  # noqa: F811
    """An executed scoreboard, whose link leads into a fold."""
    file = write(clone, "10_scoreboard", LEADS)
    page = nbformat.read(file, 4)
    page.cells += [new_markdown_cell("## Deep?", metadata={FOLDED: True}), new_code_cell(EVIDENCE),
                   new_markdown_cell("## Open"), new_markdown_cell("in the open")]
    nbformat.write(page, file)
    run_notebook(file, {}, say=quiet)
    return file


def test_a_folded_section_is_folded_in_the_report(folding):
    text = write_report()[0].read_text("utf-8")
    page = Folds(text[text.index("<body"):])
    assert [heading.strip().rstrip("¶") for heading in page.around["in deep"]] == ["Deep?"]
    assert page.around["in the open"] == page.around["Open"] == () and not page.open
    assert text.count("<summary>") == 1 and "function unfold()" in text


def test_where_nothing_is_folded_there_is_nothing_to_open(clone):  # noqa: F811
    run_notebook(write(clone, "10_scoreboard", LEADS), {}, say=quiet)
    text = write_report()[0].read_text("utf-8")
    assert "<details" not in text and "unfold" not in text


def test_the_report_is_of_notebook_10_and_none_of_a_name_that_begins_alike(clone):  # noqa: F811
    run_notebook(write(clone, "10_scoreboard", LEADS), {}, say=quiet)
    run_notebook(write(clone, "10_scoreboard-Copy1", LEADS), {}, say=quiet)
    assert write_report()[1] == [f"made from {executed_dir() / '10_scoreboard-demo.ipynb'}"]


def test_readers_are_not_asked_and_no_dead_slider_is_named(clone):  # noqa: F811
    file = write(clone, "10_scoreboard", LEADS)
    page = nbformat.read(file, 4)
    page.cells += [new_markdown_cell("## Table\n\nA row is a claim.\n\n**Predict.** How many?\nKeep it.\n\nAnd this."),
                   new_markdown_cell("**Predict** before you look: which?"),
                   new_code_cell("from kdlab.show.widgets import explore\nexplore(print)\nprint('a still picture')\n"
                                 "from kdlab.notebooks.results import keep\nkeep(gain=-1.5)")]
    nbformat.write(page, file)
    run_notebook(file, {}, say=quiet)
    text = write_report()[0].read_text("utf-8")
    assert "A row is a claim." in text and "And this." in text and "a still picture" in text
    assert "Predict" not in text and "Keep it" not in text and STILL not in text and "kept: gain" not in text
    assert text.count("jp-Cell jp-MarkdownCell") == 2, "a title and the table: the cell that only asked is gone"


@pytest.mark.slow
def test_a_link_opens_a_folded_section_of_the_report(folding, chromium):
    tab, wrong = chromium.new_page(), []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(write_report()[0].as_uri())
    deep = tab.get_by_text("in deep", exact=True)
    assert not deep.is_visible() and tab.get_by_text("in the open").is_visible()
    tab.get_by_text("the way").click()
    deep.wait_for(timeout=5000)
    assert not wrong
