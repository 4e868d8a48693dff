"""Sections that the package names are there; README is short, and the ledger gives the committed numbers."""

import re
from pathlib import Path

import pytest

import kdlab
from kdlab import paths

PACKAGE = Path(kdlab.__file__).parent
_NUMBER = r"\d(?:\.\d+)?[a-z]?\b"
_AFTER = re.compile(rf"docs/methods\.md[,:;]? (?:sections? )?({_NUMBER}(?:(?:, | and ){_NUMBER})*)")
_BEFORE = re.compile(rf"[Ss]ection ({_NUMBER}) of docs/methods\.md")


def named(source: str) -> list[str]:
    """The sections that a module's text names, also across the end of a line."""
    text = re.sub(r"\s+(#:? )?", " ", source)
    return [number for found in _AFTER.findall(text) + _BEFORE.findall(text) for number in re.findall(_NUMBER, found)]


def test_every_section_that_a_module_names_exists():
    text = (paths.project_root() / "docs" / "methods.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^##+ (\d(?:\.\d+)?)\.? ", text, re.MULTILINE))
    found = {path: named(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    assert sum(map(len, found.values())) > 50
    missing = {str(path): [n for n in its if n not in headings] for path, its in found.items()}
    assert not {path: its for path, its in missing.items() if its}


@pytest.mark.parametrize(("source", "numbers"), [
    ("(docs/methods.md, 3.1 and 4.4)", ["3.1", "4.4"]), ("docs/methods.md, 1)", ["1"]), ("docs/methods.md, 3c", ["3c"]),
    ("docs/methods.md,\n#: section 4.2; x", ["4.2"]), ("Section 1.5 of docs/methods.md tells", ["1.5"]),
    ("docs/methods.md. 3 of them", []),
])
def test_the_test_itself(source, numbers):
    assert named(source) == numbers


def test_readme_is_short_and_what_it_links_to_is_there():
    root = paths.project_root()
    text = (root / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 95
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if not target.startswith("http")]
    assert len(targets) > 20 and not [target for target in targets if not (root / target).is_file()]
    chapters = {path.name for path in (root / "notebooks").glob("[0-9][0-9]*_*.ipynb")}
    assert chapters == {Path(target).name for target in targets if target.startswith("notebooks/")}
