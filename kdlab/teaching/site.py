"""One folder of pages from what is committed: README, docs, executed notebooks, figures, the reference. No network.

Everything that a page shows lies in the folder; every link inside it is followed before the folder is handed over. What
a text says of a file that has no page (``kdlab/protocols.py``) stays a name.
"""

import html
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, normpath, relpath

from kdlab import __version__, paths
from kdlab.notebooks.parameters import all_notebooks
from kdlab.system.files import write_atomically
from kdlab.system.ours import begins_with, may_fill
from kdlab.teaching import offline, reference

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
    pages = _pages()
    pictures = {f"figures/{picture.name}": picture for picture in sorted(paths.figures_dir().glob("*.png"))}
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
        write_atomically(out / name, lambda path, picture=picture: shutil.copyfile(picture, path))
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


def _pages() -> dict[str, tuple[str, str]]:
    """Title and HTML of each page, by its place in the site."""
    import nbformat

    root = paths.project_root()
    texts = {"index.html": root / "README.md"} if (root / "README.md").is_file() else {}
    texts |= {f"docs/{path.stem}.html": path for path in sorted((root / "docs").glob("*.md"))}
    pages = {}
    for name, path in texts.items():
        text = path.read_text("utf-8")
        found = re.search(r"(?m)^# (.+)", text)
        pages[name] = (found[1].replace("`", "") if found else path.stem, offline.markdown(text))
    for notebook in all_notebooks():
        page = nbformat.read(notebook, as_version=4)
        title = page.cells[0].source.partition("\n")[0].lstrip("# ")
        pages[f"notebooks/{notebook.stem}.html"] = (title, offline.cells(page.cells))
    pages["gallery.html"] = ("All figures", _gallery())
    for room in reference.rooms():
        name = room if room == "kdlab" else f"kdlab.{room}"
        pages[f"reference/{name}.html"] = (name, reference.page(room))
    first = ("kdlab", "<h1>kdlab</h1><p>Knowledge distillation in video action recognition.</p>")
    known = {"index.html": first} | pages  # where kdlab is installed there is no README
    return {name: (title, _relinked(name, body, known)) for name, (title, body) in known.items()}


def _gallery() -> str:
    """All committed pictures, which one command redraws."""
    figures = "".join(f'<figure id="{p.stem}"><img src="figures/{p.name}" alt="{p.stem.replace("_", " ")}">'
                      f"<figcaption><code>figures/{p.name}</code></figcaption></figure>"
                      for p in sorted(paths.figures_dir().glob("*.png")))
    return ('<h1>All figures</h1><p>Drawn from the committed tables and predictions by <code>kdlab figures</code>.</p>'
            f'<div class="gallery">{figures}</div>')


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
            f"<main>{body}</main></body></html>\n")


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
