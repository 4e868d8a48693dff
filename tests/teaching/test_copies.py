"""Copies for students and slides: nothing that tells an answer, nothing from a network, nobody's file written over."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kdlab import paths
from kdlab.notebooks.folding import FOLDED
from kdlab.notebooks.parameters import NotebookError, all_notebooks, number_of
from kdlab.system.ours import NotOurs
from kdlab.teaching import offline
from kdlab.teaching.chapters import core
from kdlab.teaching.copies import columns_of, is_slides, slides, student
from kdlab.teaching.exercises import of_notebook
from kdlab.teaching.offline import cells, fetched

FOLD = "<details><summary>Answer</summary>\n\nIt is {}.\n\n</details>"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def shown(text: str):
    return new_output("display_data", data={"image/png": PICTURE, "text/plain": text})


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A project whose notebook 03 has answers of every kind; this folder is another one."""
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "clone")
    for name in ("RUNS", "FIGURES"):
        monkeypatch.delenv(f"KDLAB_{name}", raising=False)
    (tmp_path / "clone" / "notebooks").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "slider"}
    page = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                                  "widgets": {"a": 1}, "kdlab": {"sources": "abc"}}, cells=[
        new_markdown_cell("# 03 · A chapter\n\nWords."),
        new_markdown_cell('**Predict.** `kdlab.guess("03.1", …)` keeps it.'),
        new_code_cell("profile = 'demo'", metadata={"tags": ["parameters"]}, outputs=[shown("parameters shown")]),
        new_markdown_cell("## 1. A loss\n\n$$L = t^2\\,\\mathrm{KL}$$\n\nof $t$ and more."),
        new_code_cell("draw()", execution_count=3, outputs=[shown("a figure"), new_output("display_data", data=view)]),
        new_code_cell("silent()"),
        new_code_cell("secret = 0.7167", metadata={"tags": ["answer"]}, outputs=[new_output("stream", text="0.7167")]),
        new_markdown_cell("Tell them to wait.", metadata={"tags": ["lecturer"]}),
        new_markdown_cell("## Going deeper: is it so?", metadata={FOLDED: True}),
        new_code_cell("deeper()", outputs=[new_output("stream", text="what is deeper")]),
        new_markdown_cell("## Exercises\n\n**1.** How?\n\n" + FOLD.format("0.7167") + "\n\n**2.** Why?\n\n"
                          + FOLD.format("so") + "\n\n<details><summary>More</summary>\n\nstays\n\n</details>"),
    ])
    nbformat.write(page, file := tmp_path / "clone" / "notebooks" / "03_chapter.ipynb")
    return file


def test_a_students_copy_has_no_answers_and_no_outputs(chapter, command):
    code, said, _ = command("student", "3")
    copy = nbformat.read(said.strip(), 4)
    nbformat.validate(copy)
    assert code == 0 and said.strip() == "03_chapter_student.ipynb"
    text = "\n".join(cell.source for cell in copy.cells)
    assert "0.7167" not in text and "wait" not in text and "Answer<" not in text
    assert "**2.** Why?" in text and "stays" in text
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in copy.cells)
    assert "widgets" not in copy.metadata
    assert [cell.source for cell in copy.cells if cell.metadata.get(FOLDED)] == ["## Going deeper: is it so?"]
    assert "deeper()" in text and "deeper()" not in [cell.source for cell in core(copy.cells)]
    for exercise in of_notebook("03"):
        assert f'kdlab.check("{exercise.name}"' in text and exercise.ask in text
        assert (f'kdlab.guess("{exercise.name}"' in text) == exercise.guess
    names, last = {}, copy.cells[-2 * len(of_notebook("03")):]
    assert "kdlab.guess(" not in "".join(cell.source for cell in last)
    mine = 'import kdlab\n\nkdlab.guess("03.1", ...)'
    guesses = [k for k, cell in enumerate(copy.cells) if cell.source.startswith(mine)]
    assert [copy.cells[k - 1].source[:12] for k in guesses] == ["**Predict.**"]
    for cell in [copy.cells[guesses[0]], *last]:  # they run before anything is filled in, too
        exec(cell.source if cell.cell_type == "code" else "", names)
    assert not paths.runs_dir().exists(), "and no try is counted"


def test_a_guess_takes_the_place_of_a_cell_that_reads_the_exercise_out(chapter):
    page = nbformat.read(chapter, 4)
    page.cells.insert(3, new_code_cell('\nkdlab.guess("03.1")'))
    nbformat.write(page, chapter)
    found = [cell.source for cell in nbformat.read(student("03"), 4).cells if cell.cell_type == "code"]
    assert ['kdlab.guess("03.1", ...)' in source for source in found[:3]] == [False, True, False]
    assert not [source for source in found if 'kdlab.guess("03.1")' in source]


@pytest.mark.skipif(not (paths.project_root() / "notebooks").is_dir(), reason="not a clone")
def test_every_guess_is_asked_for_once_and_before_what_was_found(tmp_path):
    asked = [notebook for notebook in all_notebooks() if any(e.guess for e in of_notebook(number_of(notebook)))]
    assert len(asked) > 10
    for notebook in asked:
        cells = nbformat.read(student(notebook.stem, tmp_path / notebook.name), 4).cells
        for exercise in (e for e in of_notebook(number_of(notebook)) if e.guess):
            call, code = f'kdlab.guess("{exercise.name}"', [c.cell_type == "code" for c in cells]
            (place,) = [k for k, cell in enumerate(cells) if code[k] and call in cell.source]
            (found,) = [k for k, cell in enumerate(cells) if code[k] and "kdlab.guessed(" in cell.source]
            first = next(k for k, cell in enumerate(cells) if call in cell.source)
            assert place - first <= 1 and place < found and cells[place].source.startswith("import kdlab\n"), notebook


@pytest.mark.skipif(not (paths.project_root() / "notebooks").is_dir(), reason="not a clone")
def test_no_answer_of_a_chapter_is_left_in_its_copy_or_on_its_slides(tmp_path):
    folds = re.compile(r"(?is)<summary>.{0,40}answer")
    for notebook in all_notebooks():
        page, copy = nbformat.read(notebook, 4), nbformat.read(student(notebook.stem, tmp_path / notebook.name), 4)
        slides = [cell for column in columns_of(page, code=True) for slide in column for cell in slide]
        assert any(folds.search(cell.source) for cell in page.cells), notebook.stem
        assert not [cell.source for cell in (*copy.cells, *slides) if folds.search(cell.source)], notebook.stem


def test_links_to_near_files_lead_there_from_wherever_the_copy_lies(chapter, tmp_path):
    page, home = nbformat.read(chapter, 4), chapter.parent.parent
    (home / "docs").mkdir()
    (home / "docs" / "glossary.md").touch()
    others = "[far](https://a.b), [none](../docs/none.md) and [down](#down)"
    page.cells.append(new_markdown_cell(f"A [clip](../docs/glossary.md#clip), [here](03_chapter.ipynb), {others}."))
    nbformat.write(page, chapter)
    for out, glossary, here in ((home / "a.ipynb", "docs/glossary.md#clip", "notebooks/03_chapter.ipynb"),
                                (chapter.parent / "b.ipynb", "../docs/glossary.md#clip", "03_chapter.ipynb")):
        student("03", out)
        text = "\n".join(cell.source for cell in nbformat.read(out, 4).cells)
        assert f"A [clip]({glossary}), [here]({here}), {others}." in text


def test_a_copy_is_made_again_but_not_over_somebodys_work(chapter, tmp_path):
    out = student("3")
    first = out.read_bytes()
    assert student("3", out).read_bytes() == first
    page = nbformat.read(out, 4)
    page.cells[-1].source += "\nanswer = 5"
    nbformat.write(page, out)
    with pytest.raises(NotOurs, match="is no untouched copy for students of kdlab's, so it stays"):
        student("3")
    assert "answer = 5" in out.read_text()
    with pytest.raises(NotOurs):
        student("3", chapter)
    (tmp_path / "here" / "notes.ipynb").write_text("mine")
    with pytest.raises(NotOurs, match="notes.ipynb"):
        student("3", tmp_path / "here" / "notes.ipynb")


def test_an_unknown_notebook_and_a_missing_folder_are_one_sentence(chapter, command):
    for words in (("student", "7"), ("slides", "7")):
        code, _, said = command(*words)
        assert code == 2 and "no notebook '7'" in said and "Traceback" not in said
    code, _, said = command("slides", "3", "--out", "nowhere/x.html")
    assert code == 2 and "there is no folder" in said


def test_slides_are_one_file_that_fetches_nothing(chapter, command, tmp_path):
    code, said, _ = command("slides", "03")
    html = (tmp_path / "here" / said.splitlines()[0]).read_text("utf-8")
    assert code == 0 and is_slides(tmp_path / "here" / "03_chapter_slides.html") and not fetched(html)
    assert "Reveal.initialize" in html and PICTURE in html and "unpkg" not in html and "cdnjs" not in html
    shown = html.partition('<div class="slides">')[2].partition("<script>")[0]
    for secret in ("0.7167", "wait", "parameters shown", "draw()", "slider"):
        assert secret not in shown
    assert "draw" in cells(nbformat.read(chapter, 4).cells)
    command("slides", "03", "--code")
    assert "draw" in (tmp_path / "here" / "03_chapter_slides.html").read_text("utf-8")
    (tmp_path / "here" / "mine.html").write_text("<html>mine</html>")
    with pytest.raises(NotOurs, match="no slides of kdlab's"):
        slides("3", tmp_path / "here" / "mine.html")


def test_slides_are_the_core_path_unless_more_is_asked_for(chapter, command, tmp_path):
    page = tmp_path / "here" / "03_chapter_slides.html"
    command("slides", "03")
    core_path = page.read_text("utf-8").partition('<div class="slides">')[2]
    assert "is it so?" not in core_path and "what is deeper" not in core_path
    assert "<strong>2.</strong> Why?" in core_path, "the fold ends at the next heading"
    command("slides", "03", "--deeper")
    whole = page.read_text("utf-8").partition('<div class="slides">')[2]
    assert whole.index("is it so?") < whole.index("what is deeper") < whole.index("<strong>2.</strong> Why?")


def test_slides_of_a_notebook_that_never_ran_are_refused(chapter):
    page = nbformat.read(chapter, 4)
    for cell in page.cells:
        cell.pop("outputs", None) if cell.cell_type == "markdown" else cell.update(outputs=[])
    nbformat.write(page, chapter)
    with pytest.raises(NotebookError, match="03_chapter.ipynb has no outputs to show"):
        slides("3")


def test_sections_begin_columns_and_what_is_long_goes_on_below():
    long = [f"{k} " + "word " * 60 for k in range(5)]
    text = "\n\n".join(["## One", "short", *long, "### Sub", "```\na\n\nb\n```"])
    page = new_notebook(cells=[new_markdown_cell("# Title"), new_markdown_cell(text),
                               new_code_cell("x", outputs=[shown("one"), shown("two")])])
    (title,), column = columns_of(page)
    assert len(title) == 1 and len(column) >= 4
    assert all(sum(len(c.source.split()) for c in slide if c.cell_type == "markdown") <= 160 for slide in column)
    (sub,) = [slide for slide in column if slide[0].source.startswith("### Sub")]
    assert sub[1].source == "```\na\n\nb\n```"
    assert [c.cell_type for c in column[-1]] == ["code"] and len(column[-1][0].outputs) == 1


def test_what_follows_a_prediction_stands_on_the_next_slide():
    page = new_notebook(cells=[new_markdown_cell("## One\n\n**Predict.** How many?"),
                               new_code_cell("x", outputs=[shown("seven")])])
    (column,) = columns_of(page)
    assert [[c.cell_type for c in slide] for slide in column] == [["markdown", "markdown"], ["code"]]


def test_links_to_files_beside_the_notebook_are_words_on_slides(chapter, tmp_path):
    page = nbformat.read(chapter, 4)
    page.cells.append(new_markdown_cell("A [word](../docs/glossary.md#word), [out](https://example.org/), [here](#x)."))
    nbformat.write(page, chapter)
    text = slides("3", tmp_path / "linked.html").read_text("utf-8")
    assert "A word," in text and 'href="https://example.org/"' in text and 'href="#x"' in text
    assert "glossary.md" not in text


def test_a_copy_for_students_is_no_chapter(chapter):
    copy = student("3", chapter.parent / f"{chapter.stem}_student.ipynb")
    assert copy.is_file() and all_notebooks() == [chapter]


@pytest.mark.parametrize(("html", "places"), [
    ('<script src="https://a/x.js"></script>', ["https://a/x.js"]), ('<img src="//a/x.png">', ["//a/x.png"]),
    ('<link rel="stylesheet" href="http://a/x.css">', ["http://a/x.css"]),
    ("<style>@import url(https://a/f.css); b { background: url('https://a/b.png') }</style>",
     ["https://a/f.css", "https://a/b.png"]), ('<p style="background: url(https://a/c.png)">', ["https://a/c.png"]),
    ('<img srcset="https://a/1.png 1x, b.png 2x">', ["https://a/1.png"]), ('<a href="https://a/">follow</a>', []),
    ('<img src="data:image/png;base64,AA"><script>"https://a"</script>', []), ('<img src="figures/night.png">', []),
])
def test_what_a_browser_would_fetch_is_found(html, places):
    assert fetched(html) == places


def test_formulas_are_drawn_by_the_browser_itself():
    html = cells([new_markdown_cell(r"$$\mathrm{KL}\Big(p\;\Big\|\;q\Big)$$ and $\alpha_i$, but `$PATH$` is code")])
    assert html.count("<math") == 2 and "&#x02016;" in html.replace("‖", "&#x02016;") and "$PATH$" in html
    assert "\\alpha" not in html


def test_every_formula_of_the_chapters_and_pages_is_known(monkeypatch):
    made = {}
    monkeypatch.setattr(offline, "_formula", lambda latex, display, convert=offline._formula: made.setdefault(
        latex, convert(latex, display)))
    found = [c for path in all_notebooks() for c in nbformat.read(path, 4).cells
             if c.cell_type == "markdown" and "$" in c.source]
    found += [new_markdown_cell(path.read_text("utf-8")) for path in (paths.project_root() / "docs").glob("*.md")]
    cells(found)
    assert len(made) > 80 and all(made.values()), [latex for latex, mathml in made.items() if not mathml]


def test_a_formula_that_is_not_known_stays_latex():
    assert r"$\alpha_{$" in cells([new_markdown_cell(r"$\alpha_{$")])


@pytest.mark.slow
def test_slides_in_a_browser_ask_nobody_for_anything(tmp_path, chromium):
    page = slides("3", tmp_path / "slides.html")
    asked, wrong = [], []
    tab = chromium.new_page(viewport={"width": 1280, "height": 800})
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(page.as_uri())
    tab.wait_for_function("() => window.Reveal && Reveal.isReady()")
    heading = tab.locator("section.present section.present").inner_text()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("() => Reveal.getSlidePastCount() === 1")
    assert tab.locator("section.present section.present").inner_text() != heading
    total = tab.evaluate("Reveal.getTotalSlides()")
    for _ in range(total):  # one key leads through all
        tab.keyboard.press("ArrowRight")
    assert total > 10 and tab.evaluate("Reveal.getSlidePastCount()") == total - 1
    assert not wrong and [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
