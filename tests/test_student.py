"""Copies for students: methods and answers are gone, what they take and give stays, and chapters still run up to them.
On slides, a question stands before its answer."""

import ast

import nbformat
import pytest

from kdlab.show.writing import functions
from kdlab.system import paths
from tools.slides import on_slides
from tools.student import blanked, student_copy

CHAPTERS = sorted((paths.project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def test_a_body_that_is_gone_leaves_its_signature_and_says_what_to_write(monkeypatch):
    monkeypatch.setitem(functions(), "99.f", {"ask": "Two numbers → their sum."})
    monkeypatch.setitem(functions(), "99.A.g", {"ask": "Two."})
    source = (
        "%pip list\nx = 1\n\n\ndef f(a, b=2):  # adds\n    c = a + b\n    return c\n\n\ny = f(1)"
    )
    made, gone, rest = blanked(source, "99")
    assert gone == ["f"] and rest == "y = f(1)" and "c = a + b" not in made
    scope = {}
    exec(made.removeprefix("%pip list"), scope)
    assert scope["f"].__doc__ == "Two numbers → their sum." and scope["f"].__defaults__ == (2,)
    with pytest.raises(NotImplementedError, match="write f"):
        scope["f"](1)
    method = "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2"
    made, gone, rest = blanked(method, "99")
    assert gone == ["A.g"] and not rest and "return 1" in made and "return 2" not in made


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_of_each_chapter_what_is_listed_is_gone_and_no_answer_is_left(path):
    chapter, notebook = path.name[:2], nbformat.read(path, nbformat.NO_CONVERT)
    write = [name[3:] for name in functions() if name.startswith(f"{chapter}.")]
    assert sorted(student_copy(notebook, chapter)) == sorted(write)
    text = "".join(cell.source for cell in notebook.cells)
    assert "details>" not in text
    assert all(f'kdlab.check("{chapter}.{name}", {name})' in text for name in write)
    for cell in notebook.cells:
        if cell.cell_type == "code" and not cell.source.startswith("%"):
            ast.parse(cell.source)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_slide_has_a_note_and_no_question_beside_its_answer(path):
    asked = False
    for cell in on_slides(nbformat.read(path, nbformat.NO_CONVERT).cells):
        assert not asked or cell.metadata["begins"]
        asked = "**Predict" in cell.source
        assert "notes" in cell.metadata or not cell.metadata["begins"]
