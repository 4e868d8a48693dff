"""Slides of all chapters, a file each that needs no network: formulas are MathML, pictures are inside.

    python tools/slides.py     # writes slides/

A heading begins a slide, and so does a cell of the type *slide* or *subslide*, but for code right below a short text. What
follows a *Predict* begins one, too: the question stands before its answer. Text before a heading belongs to the picture
above it. The code of a cell with the tag ``picture`` only draws, and is left out; other code is, where a slide would be too
small to read. A cell's ``notes`` (metadata) are for the speaker.
"""

import re
from copy import deepcopy
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parents[1]
#: So many words stand above code on one slide.
SHORT = 70


def on_slides(cells: list) -> list:
    """The cells that are shown, cut before each heading; ``begins`` tells which ones begin a slide."""
    made, words, asked = [], SHORT, False
    for cell in cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        text = cell.cell_type == "markdown"
        parts = re.split(r"(?m)^(?=## )", cell.source) if text else [cell.source]
        for k, source in enumerate(filter(str.strip, [] if kind == "skip" else parts)):
            part = deepcopy(cell)
            part["id"], part["source"] = f"{cell['id']}-{k}", source
            own = kind != "-" and len(parts) == 1 and (text or words >= SHORT)
            begins = asked or own or text and source.startswith("#")
            part.metadata["begins"], asked = begins, "**Predict" in source
            words = 0 if begins else words
            words += len(source.split()) if text and "![" not in source else SHORT
            if "picture" in cell.metadata.get("tags", []):
                part.metadata["transient"] = {"remove_source": True}
            made.append(part)
    return made


def main() -> None:
    from latex2mathml.converter import convert  # `make slides` installs it

    exporter = HTMLExporter(
        template_name="slides", extra_template_basedirs=[str(ROOT / "tools")], embed_images=True
    )
    (ROOT / "slides").mkdir(exist_ok=True)
    for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        notebook, formulas = nbformat.read(path, nbformat.NO_CONVERT), []

        def token(found: re.Match, formulas=formulas) -> str:
            wide, inline = found.groups()
            formulas.append(convert(wide or inline, display="block" if wide else "inline"))
            return f"⟦{len(formulas) - 1}⟧"

        notebook.cells = on_slides(notebook.cells)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = re.sub(
                    r"(?s)\$\$(.+?)\$\$|\$(.+?)\$",
                    token,
                    cell.source.replace("](../figures/", "](figures/"),  # embeds what lies below
                )
        resources = {"metadata": {"name": path.stem, "path": ROOT}}
        body, _ = exporter.from_notebook_node(notebook, resources)
        body = re.sub(r"⟦(\d+)⟧", lambda found, each=formulas: each[int(found[1])], body)
        (ROOT / "slides" / f"{path.stem}.html").write_text(body, "utf-8")


if __name__ == "__main__":
    main()
