"""The glossary: plain, short, in order, and every word where it says it is first used; every link to it leads there."""

import json
import re
from pathlib import Path

import pytest

from kdlab import paths

ROOT = paths.project_root()
FILE = ROOT / "docs" / "glossary.md"
#: Words that kdlab or a paper has coined, or uses in a sense of its own; the course cannot be read without them.
COINED = {"control", "energy inside", "evidence", "exit", "explained variance", "final", "gap", "gate", "half-width",
          "internal classifier", "nat", "recipe", "registered", "run", "same-light KD", "second reading", "segment",
          "strict level", "tap", "temporal overlap", "test unit", "underpowered", "unit of a map", "variety", "verdict",
          "view", "zero-shot"}
_LINK = re.compile(r"\[Notebook (\d\d[a-z]?)\]\(\.\./notebooks/(\S+\.ipynb)\)$")


def slug(heading: str) -> str:
    """As GitHub and kdlab's site name a heading."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def terms() -> dict[str, str]:
    parts = re.split(r"(?m)^### (.+)$", FILE.read_text("utf-8"))
    return {heading: " ".join(text.split()) for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def prose(notebook: Path) -> str:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def links(text: str) -> list[str]:
    """The terms that a text links to."""
    return re.findall(r"\]\([^)\s]*glossary\.(?:md|html)#([^)\s]*)\)", text)


def test_about_thirty_terms_or_more_in_order_with_a_short_definition():
    found = terms()
    names = [slug(heading) for heading in found]
    assert len(found) >= 30 and names == sorted(set(names))
    for heading, text in found.items():
        said = _LINK.sub("", text).strip()
        sentences = re.findall(r"[.!?](?= |$)", said)
        assert 1 <= len(sentences) <= 3 and said.endswith(".") and len(said.split()) < 60, heading


def test_coined_words_have_an_entry_of_their_own():
    assert not COINED - terms().keys()


def used(heading: str, definition: str, text: str) -> bool:
    """Whether ``text`` has the term, or the abbreviation that its definition gives in brackets, also in the plural."""
    words = [heading.strip("`"), *re.findall(r"\(([A-Za-z]{2,4})\)", definition)]
    plain = " ".join(text.replace("-", " ").split())
    return any(re.search(rf"\b{re.escape(word.replace('-', ' '))}s?\b", plain, re.IGNORECASE if word.islower() else 0)
               for word in words)


@pytest.mark.skipif(not (ROOT / "notebooks").is_dir(), reason="not a clone")
def test_each_is_first_used_where_it_says():
    texts = {path.name: prose(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    for heading, definition in terms().items():
        first = next((name for name, text in texts.items() if used(heading, definition, text)), None)
        assert _LINK.search(definition).groups() == (str(first).partition("_")[0], first), heading


@pytest.mark.skipif(not (ROOT / "notebooks").is_dir(), reason="not a clone")
def test_each_is_linked_where_it_is_first_used():
    texts = {path.name: prose(path) for path in (ROOT / "notebooks").glob("*.ipynb")}
    first = {heading: texts[_LINK.search(definition)[2]] for heading, definition in terms().items()}
    assert not [heading for heading, text in first.items() if slug(heading) not in links(text)]


@pytest.mark.skipif(not (ROOT / "notebooks").is_dir(), reason="not a clone")
def test_every_term_that_a_text_links_to_exists():
    known = {slug(heading) for heading in terms()}
    texts = {path.name: prose(path) for path in (ROOT / "notebooks").glob("*.ipynb")}
    texts |= {path.name: path.read_text("utf-8") for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]}
    missing = {name: [term for term in links(text) if term not in known] for name, text in texts.items()}
    assert not {name: gone for name, gone in missing.items() if gone}


def test_the_test_itself():
    assert links("a [view](../docs/glossary.md#view), [x](methods.md#y) and [z](glossary.md#soft-targets)") == [
        "view", "soft-targets"]
    assert slug("Grad-CAM") == "grad-cam" and slug("`night`") == "night"
    assert used("soft targets", "", "the soft-\ntarget") is False and used("I-frame", "", "of I-frames")
    assert used("cross-entropy", "A loss (CE).", "beats CE") and not used("cross-entropy", "A loss (CE).", "once")
