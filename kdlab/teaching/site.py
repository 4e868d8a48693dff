"""One folder of pages from what is committed: README, docs, executed notebooks, figures, the reference. No network.

Everything that a page shows lies in the folder; every link inside it is followed before the folder is handed over. What
a text says of a file that has no page (``kdlab/protocols.py``) stays a name.
"""

import base64
import html
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import TYPE_CHECKING

from kdlab import __version__, paths
from kdlab.notebooks.folding import UNFOLD, folds
from kdlab.notebooks.parameters import all_notebooks, number_of
from kdlab.system.files import write_atomically
from kdlab.system.ours import begins_with, may_fill
from kdlab.teaching import offline, reference
from kdlab.teaching.uses import uses

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: By this a page of kdlab's is known.
MARK = '<meta name="generator" content="kdlab site">'
#: Every file that a build wrote, a line each: the next build takes away what it no longer makes.
LIST = "kdlab-site.txt"
_STYLE = """
body { margin: 0; display: grid; grid-template-columns: 15em minmax(0, 1fr); }
nav { border-right: 1px solid var(--line); padding: 1.2em; font-size: .88em; height: 100vh; overflow-y: auto;
  position: sticky; top: 0; box-sizing: border-box; } nav a { display: block; text-decoration: none; padding: .12em 0; }
nav b { display: block; margin-top: 1em; } nav a[aria-current] { font-weight: 700; color: var(--ink); }
main { padding: 1.5em 2.5em 4em; max-width: 60em; min-width: 0; } dt { margin-top: .8em; } dd { margin-left: 1.5em; }
.gallery figure { margin: 2em 0; } main table { display: block; overflow-x: auto; }
summary { cursor: pointer; } summary :is(h1, h2, h3, h4, h5, h6) { display: inline; }
details.section { margin: 1.2em 0; }
@media (max-width: 50em) { body { display: block; } nav { height: auto; position: static; border: 0; } }
"""


class SiteError(ValueError):
    """A page that leads nowhere, or would fetch something."""


def build(out: Path | None = None) -> tuple[Path, int]:
    """Write the site into ``out``, by default ``site/`` in the runs folder; its first page, and how many pages.

    Raises :class:`kdlab.system.ours.NotOurs` for a folder with anything else in it, and :class:`SiteError`, before
    anything is written, naming each page with a link that leads nowhere or something that would be fetched.
    """
    out = out or paths.runs_dir() / "site"
    may_fill(out, is_site, "site")
    pages, pictures = _pages()
    pictures |= {f"figures/{file.name}": file.read_bytes() for file in sorted(paths.figures_dir().glob("*.png"))}
    written = {name: _wrapped(name, body, pages) for name, (_, body) in pages.items()}
    if wrong := check(written, {*pictures, "style.css"}):
        more = [f"and {len(wrong) - 10} more"] if len(wrong) > 10 else []
        raise SiteError("the site was not written:\n  " + "\n  ".join(wrong[:10] + more))
    before = files(out)
    written["style.css"] = "\n".join([offline.STYLE, offline.code_style(), _STYLE])
    written[LIST] = "\n".join([*written, *pictures, LIST])
    for old in set(before) - {out / name for name in (*written, *pictures)}:
        old.unlink(missing_ok=True)
    for name, text in written.items():
        write_atomically(out / name, lambda path, text=text: path.write_text(text, "utf-8"))
    for name, picture in pictures.items():
        write_atomically(out / name, lambda path, picture=picture: path.write_bytes(picture))
    return out / "index.html", len(pages)


def is_site(folder: Path) -> bool:
    """Whether :func:`build` wrote into ``folder``."""
    first = folder / "index.html"
    return (folder / LIST).is_file() and first.is_file() and begins_with(first, MARK)


def files(folder: Path) -> list[Path]:
    """What :func:`build` wrote into ``folder`` and is still there; none where it holds no site."""
    if not is_site(folder):
        return []
    named = [folder / name for name in (folder / LIST).read_text("utf-8").splitlines()]
    return [file for file in named if file.is_file() and file.resolve().is_relative_to(folder.resolve())]


def _pages() -> tuple[dict[str, tuple[str, str]], dict[str, bytes]]:
    """Title and HTML of each page, by its place in the site; and the gallery's files of pictures from notebooks."""
    import nbformat

    root = paths.project_root()
    texts = {"index.html": root / "README.md"} if (root / "README.md").is_file() else {}
    texts |= {f"docs/{path.stem}.html": path for path in sorted((root / "docs").glob("*.md"))}
    pages = {}
    for name, path in texts.items():
        text = path.read_text("utf-8")
        found = re.search(r"(?m)^# (.+)", text)
        pages[name] = (found[1].replace("`", "") if found else path.stem, offline.markdown(text))
    notebooks = {path: nbformat.read(path, as_version=4) for path in all_notebooks()}
    for path, page in notebooks.items():
        pages[f"notebooks/{path.stem}.html"] = (_title(page), _folding(page.cells))
    figures, files = _gallery(notebooks)
    pages["gallery.html"] = ("All figures", figures)
    examples = uses()
    for room in reference.rooms():
        name = room if room == "kdlab" else f"kdlab.{room}"
        pages[f"reference/{name}.html"] = (name, reference.page(room, examples))
    first = ("kdlab", "<h1>kdlab</h1><p>Knowledge distillation in video action recognition.</p>")
    known = {"index.html": first} | pages  # where kdlab is installed there is no README
    return {name: (title, _relinked(name, body, known)) for name, (title, body) in known.items()}, files


def _folding(cells: list) -> str:
    """The ``cells`` (nbformat's) of a notebook, where a folded heading is the summary of a closed ``<details>`` with
    what folds below it: a click opens it, or Tab and Enter, or a link to something in it (:data:`UNFOLD`)."""
    made = []
    for heading, below in folds(cells):
        if heading is None:
            made.append(offline.cells(below))
            continue
        text = offline.cells([heading])
        title = re.search(r"<h[1-6].*?</h[1-6]>", text, re.DOTALL)[0]
        rest = text.replace(title, "", 1) + _folding(below)
        made.append(f'<details class="section"><summary>{title}</summary>{rest}</details>')
    return "".join(made)


def _gallery(notebooks: Mapping[Path, "NotebookNode"]) -> tuple[str, dict[str, bytes]]:
    """All figures, each with what it shows and the command that draws it: the committed pictures, then those of each
    executed notebook; and the latter's files, by their places in the site."""
    from kdlab.studies import gallery  # with all studies, which takes seconds

    parts, files = ["<h1>All figures</h1><h2>Committed</h2>"], {}
    for picture in sorted(paths.figures_dir().glob("*.png")):
        command = f"kdlab figures {picture.stem}" if picture.stem in gallery.PICTURES else ""
        shows = gallery.shows(picture.stem) or picture.stem.replace("_", " ")
        parts.append(_figure(f"figures/{picture.name}", shows, command, picture.stem))
    for path, page in notebooks.items():
        chapter, found = path.stem, []
        for kind, data, shows in _drawn(page):
            place = f"figures/{chapter}-{len(found) + 1:02}.{kind}"
            files[place] = base64.b64decode(data)
            found.append(_figure(place, shows, f"kdlab run {number_of(path)}", Path(place).stem))
        if found:
            parts += [f'<h2><a href="notebooks/{chapter}.html">{html.escape(_title(page))}</a></h2>', *found]
    return f'<div class="gallery">{"".join(parts)}</div>', files


def _drawn(page: "NotebookNode") -> Iterator[tuple[str, str, str]]:
    """Of each picture in a notebook's outputs its kind, its data in base64, and what it shows."""
    for output in (output for cell in page.cells for output in cell.get("outputs", ())):
        for kind, data in output.get("data", {}).items():
            if kind in ("image/png", "image/jpeg"):
                yield kind.partition("/")[2], data, output.get("metadata", {}).get(kind, {}).get("alt", "")


def _figure(place: str, shows: str, command: str, name: str) -> str:
    words = html.escape(shows, quote=True)
    drawn = f"<br><code>{command}</code>" * bool(command)
    return f'<figure id="{name}"><img src="{place}" alt="{words}" loading="lazy">' \
           f"<figcaption>{words}{drawn}</figcaption></figure>"


def _title(page: "NotebookNode") -> str:
    return page.cells[0].source.partition("\n")[0].lstrip("# ")


def _relinked(name: str, body: str, pages) -> str:
    """Links of Markdown and notebooks, ``ledger.md`` or ``../notebooks/x.ipynb``, to the pages made of them; a link to
    a file that has no page becomes its words."""
    def changed(found: re.Match) -> str:
        before, target, after, words = found[1], html.unescape(found[2]), found[3], found[4]
        place, _, anchor = target.partition("#")
        if not place or re.match(r"[a-z]+:", target):
            return found[0]
        page = normpath(f"{dirname(name)}/{re.sub(r'(?:[.]md|[.]ipynb)$', '.html', place)}").lstrip("/")
        page = "index.html" if page == "README.html" else page
        if page not in pages:
            file = paths.project_root() / normpath(f"{dirname(name)}/{place}").lstrip("/")
            return words if file.exists() else found[0]
        return f'<a{before}href="{relpath(page, dirname(name) or ".")}{"#" * bool(anchor)}{anchor}"{after}>{words}</a>'

    return re.sub(r'<a([^>]*?)href="([^"]*)"([^>]*)>(.*?)</a>', changed, body, flags=re.DOTALL)


def _wrapped(name: str, body: str, pages) -> str:
    """A whole page with the way to all others."""
    groups = {"": "", "notebooks": "Chapters", "docs": "Documents", "reference": "Reference"}
    links = []
    for folder, heading in groups.items():
        links += [f"<b>{heading}</b>"] if heading else []
        for other, (title, _) in pages.items():
            if dirname(other) == folder:
                here = ' aria-current="page"' if other == name else ""
                links.append(f'<a href="{relpath(other, dirname(name) or ".")}"{here}>{html.escape(title)}</a>')
    style = relpath("style.css", dirname(name) or ".")
    way = "".join(links)
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{MARK}'
            f'<meta name="viewport" content="width=device-width"><title>{html.escape(pages[name][0])} · kdlab</title>'
            f'<link rel="stylesheet" href="{style}"></head>\n<body><nav>{way}<p>kdlab {__version__}</p></nav>'
            f"<main>{body}</main>{UNFOLD * ('<details' in body)}</body></html>\n")


# --- links ---------------------------------------------------------------------------------------------------------


def check(pages: dict[str, str], others: set[str] = frozenset()) -> list[str]:
    """One sentence for each link or picture of the ``pages`` (HTML by place) that leads to none of them, nor to one of
    the ``others``, and for each thing that would be fetched from elsewhere. Other sites are not asked."""
    found = {}
    for name, text in pages.items():
        found[name] = _Links()
        found[name].feed(text)
    wrong = [f"{name} would fetch {place}" for name, text in pages.items() for place in offline.fetched(text)]
    for name, links in found.items():
        for target in dict.fromkeys(links.targets):
            if re.match(r"[a-z]+:|//", target):
                continue
            place, _, anchor = target.partition("#")
            page = normpath(f"{dirname(name)}/{place}").lstrip("/") if place else name
            if page not in pages and page not in others:
                wrong.append(f"{name} leads to {target}, which is not there")
            elif anchor and page in found and anchor not in found[page].ids:
                wrong.append(f"{name} leads to {target}, and no heading there has that name")
    return wrong


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.targets, self.ids = [], set()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if value and (name == "href" or name == "src"):
                self.targets.append(value)
            elif value and name == "id":
                self.ids.add(value)
