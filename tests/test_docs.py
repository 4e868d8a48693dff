"""README is short, what it links to is there, and so are chapters short."""

import json
import re
from pathlib import Path

import pytest

from kdlab.system import paths


def test_readme_is_short_and_what_it_links_to_is_there():
    root = paths.project_root()
    text = (root / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    targets = [
        target for target in re.findall(r"\]\(([^)#\s]+)", text) if not target.startswith("http")
    ]
    assert len(targets) > 20 and not [target for target in targets if not (root / target).is_file()]
    chapters = {path.name for path in (root / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    assert chapters == {Path(target).name for target in targets if target.startswith("notebooks/")}


CHAPTERS = pytest.mark.parametrize(
    "path",
    sorted((paths.project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb")),
    ids=lambda path: path.stem,
)


@CHAPTERS
def test_a_chapter_can_be_finished_in_a_class(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    *core, exercises = cells
    assert "".join(exercises["source"]).startswith("## Exercises")
    assert len(re.findall(r"^\*\*\d\d\.\d", "".join(exercises["source"]), re.MULTILINE)) == 3
    assert len(core) <= 24
    assert (
        sum(
            len("".join(cell["source"]).split()) for cell in core if cell["cell_type"] == "markdown"
        )
        <= 750
    )


@CHAPTERS
def test_committed_outputs_are_of_no_stale_run(path):
    assert "STALE" not in path.read_text("utf-8")
