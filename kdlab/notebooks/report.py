"""The executed scoreboard as one HTML page that needs no network and no other file."""

import re
from collections.abc import Iterator
from pathlib import Path

from kdlab import paths
from kdlab.notebooks.folding import UNFOLD, folds
from kdlab.notebooks.parameters import find_notebook, fingerprint
from kdlab.notebooks.results import MIME
from kdlab.notebooks.run import executed_dir, read_record
from kdlab.system.files import write_atomically
from kdlab.system.ours import begins_with, may_write
from kdlab.system.progress import STILL

# nbconvert's page without the scripts that it loads from the web: RequireJS, MathJax and Mermaid; and with folds.
_OFFLINE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
{{ super() }}
<style>summary { cursor: pointer }
summary > .jp-Cell { display: inline-block; vertical-align: middle; width: calc(100% - 2em) }</style>
{%- endblock -%}
{%- block rawcell -%}{{ cell.source }}{%- endblock -%}
"""
#: The title of the page, by which kdlab knows its own.
TITLE = "kdlab scoreboard"
#: What is for a class, not for readers: cells that ask, the last section, and paragraphs that do.
_ASKS = re.compile(r"(?m)^kdlab\.(guess|check)\(")
_EXERCISES = re.compile(r"(?m)^## (\d+\. )?Exercises$")
_PREDICT = re.compile(r"(?ms)^\*\*Predict\b.*?(?:\n\n|\Z)")
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # its renderer would come from the web


def write_report(output: Path | None = None, *, code: bool = False) -> tuple[Path, list[str]]:
    """Turn the latest finished run of notebook 10 into ``output`` (default ``report.html`` in the runs folder).

    Pictures are embedded, widgets left out (the static picture after each stays), formulas stay LaTeX source, and
    links to other files, which a reader of this one has not, become their words. It is for readers: questions and
    exercises are left out, and code unless ``code`` is asked for. Returns the page and remarks, such as that it was
    made by other sources than today's. Raises ``FileNotFoundError`` when notebook 10 has not been run to its end, and
    before it begins :class:`kdlab.system.ours.NotOurs` for an ``output`` that is there and is no report.
    """
    import nbformat
    from nbconvert import HTMLExporter

    notebook = find_notebook("10")
    record_file, record = _latest(notebook.stem)
    output = may_write(output or paths.runs_dir() / "report.html", is_report, "report")
    executed = record_file.with_suffix(".ipynb")
    try:
        page = nbformat.read(executed, as_version=4)
    except Exception as error:  # of a damaged file nbformat raises anything, from AttributeError to its own
        raise ValueError(f"{executed} cannot be read as a notebook ({type(error).__name__}): delete it, then run "
                         "`kdlab run 10`") from error
    page.metadata.pop("widgets", None)
    page.cells = _for_readers(page.cells)
    drop_unreadable(page.cells)
    with_folds = list(_folded(page.cells))
    page.cells = with_folds + [_raw(UNFOLD)] * (len(with_folds) > len(page.cells))

    exporter = HTMLExporter(
        raw_template=_OFFLINE,
        embed_images=True,
        exclude_input=not code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    resources = {"metadata": {"name": TITLE, "path": str(notebook.parent)}}
    html, _ = exporter.from_notebook_node(page, resources)
    html = without_near_links(html)
    write_atomically(output, lambda path: path.write_text(html, "utf-8"))
    return output, _remarks(record_file, record, notebook)


def without_near_links(html: str) -> str:
    """``html`` in which links to other files, which whoever is given this one has not, are their words alone."""
    return re.sub(r'<a(?=\s)(?![^>]*href="(?:#|[a-z]+:))[^>]*>(.*?)</a>', r"\1", html, flags=re.DOTALL)


def drop_unreadable(cells: list) -> None:
    """Take out of the outputs of ``cells`` (nbformat's) what no reader of a page has a use for: widgets, of which the
    static picture stays, the words for one, and lines of what a notebook keeps for ``kdlab run``."""
    for cell in (cell for cell in cells if cell.cell_type == "code"):
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = output.text.replace(f"{STILL}\n", "")
        cell.outputs = [output for output in cell.outputs if not {_WIDGET_VIEW, MIME} & {*output.get("data", {})}
                        and output.get("text") != ""]


def _for_readers(cells: list) -> list:
    """``cells`` (nbformat's) without questions and exercises: a heading of that name ends them."""
    found = []
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source, *exercises = _EXERCISES.split(_PREDICT.sub("", cell.source))
        elif _ASKS.search(cell.source):
            continue
        else:
            exercises = []
        if cell.source.strip():
            found.append(cell)
        if exercises:
            break
    return found


def _folded(cells: list) -> Iterator:
    """``cells`` (nbformat's), and around each folded heading and what folds below it the marks of ``<details>``."""
    for heading, below in folds(cells):
        if heading is None:
            yield from below
        else:
            yield from (_raw("<details><summary>"), heading, _raw("</summary>"), *_folded(below), _raw("</details>"))


def _raw(html: str):
    from nbformat.v4 import new_raw_cell

    return new_raw_cell(html)


def is_report(page: Path) -> bool:
    """Whether :func:`write_report` wrote ``page``."""
    return begins_with(page, f"<title>{TITLE}</title>")


def _latest(stem: str) -> tuple[Path, dict]:
    records = [(path, read_record(path)) for path in executed_dir().glob(f"{stem}*.json")]
    records = [(path, record) for path, record in records  # another notebook's name may begin alike
               if record and record.get("notebook") == stem and path.with_suffix(".ipynb").is_file()]
    if not records:
        raise FileNotFoundError(f"no finished run of {stem} in {executed_dir()}: run `kdlab run 10` first")
    return max(records, key=lambda pair: pair[1]["finished"])


def _remarks(record_file: Path, record: dict, notebook: Path) -> list[str]:
    today = fingerprint(notebook, record["parameters"])
    words = {"cells": "notebook 10", "kdlab": "kdlab", "evidence": "the evidence", "data": "the data"}
    changed = [word for key, word in words.items() if today[key] != record.get(key)]
    remarks = [f"made from {record_file.with_suffix('.ipynb')}"]
    if changed:
        remarks.append(f"stale: {' and '.join(changed)} changed since that run; `kdlab run 10` makes it anew")
    return remarks
