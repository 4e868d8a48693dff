"""Notebooks and Markdown as HTML that loads nothing: no script, style, font or picture from another place.

Cells are rendered by nbconvert, whose own pages fetch RequireJS, MathJax and a widget manager from the web; the pages
around them are written here. Formulas become MathML, which browsers draw by themselves. Widgets are left out: the
picture after each stays.
"""

import re
from functools import cache
from html.parser import HTMLParser

from kdlab.notebooks.report import drop_unreadable

#: Elements that make a browser fetch what the attribute names.
_FETCHED = {"src": {"script", "img", "iframe", "source", "video", "audio", "embed", "input", "track"},
            "href": {"link", "image", "use"}, "data": {"object"}, "srcset": {"img", "source"}, "poster": {"video"}}
#: For pages and slides alike.
STYLE = """
:root { color-scheme: light; --ink: #1f2933; --faint: #66727f; --line: #d8dee4; --link: #0b5cad; --code: #f4f6f8; }
body { color: var(--ink); font: 17px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
a { color: var(--link); } img, svg { max-width: 100%; height: auto; }
pre, code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .86em; }
pre { background: var(--code); padding: .6em .8em; border-radius: 4px; overflow-x: auto; line-height: 1.4; }
code { background: var(--code); padding: .1em .25em; border-radius: 3px; } pre code { padding: 0; }
table { border-collapse: collapse; margin: 1em 0; font-size: .92em; }
th, td { border-bottom: 1px solid var(--line); padding: .3em .7em; text-align: left; vertical-align: top; }
blockquote { border-left: 4px solid var(--line); margin: 1em 0; padding: 0 1em; color: var(--faint); }
.prompt { display: none; } .output_stderr { color: var(--faint); } math { font-size: 1.08em; }
"""


@cache
def _exporter(code: bool):
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body):
            return _formula(body, "block") or super().block_math(body)

        def inline_math(self, body):
            return _formula(body, "inline") or super().inline_math(body)

    class Exporter(HTMLExporter):
        def default_filters(self):
            yield from super().default_filters()
            yield "markdown2html", lambda source: MarkdownWithMath(
                renderer=Renderer(escape=False, anchor_link_text="")).render(source)

    return Exporter(template_name="basic", exclude_input=not code, exclude_input_prompt=True,
                    exclude_output_prompt=True)


def _formula(latex: str, display: str) -> str:
    """MathML; empty for a formula that it does not know, which stays LaTeX."""
    from latex2mathml.converter import convert

    try:
        one_size = re.sub(r"\\[bB]igg?\s*\\\|", r"\\Vert ", latex.strip())  # of ‖ it knows no larger one
        return convert(one_size, display=display)
    except Exception:  # of what it does not know it raises anything
        return ""


def cells(found, *, code: bool = True) -> str:
    """The ``found`` cells (nbformat's) with their outputs as HTML, without code where ``code`` is false. Headings have
    the ids that links to them name: ``#what-came-out``."""
    from nbformat.v4 import new_notebook

    page = new_notebook(cells=[cell.copy() for cell in found])
    page.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    drop_unreadable(page.cells)
    made = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", _exporter(code).from_notebook_node(page)[0])
    return re.sub(r'(?<=<)(h[1-6] id=)"([^"]*)"', lambda found: f'{found[1]}"{_anchor(found[2])}"', made)


def _anchor(slug: str) -> str:
    """A heading's id as links in Markdown name it, everywhere but in Jupyter: small letters, digits and hyphens."""
    return re.sub(r"[^\w-]", "", slug.lower())


def markdown(text: str) -> str:
    """Markdown as HTML."""
    from nbformat.v4 import new_markdown_cell

    return cells([new_markdown_cell(text)])


def code_style() -> str:
    """The colours of code."""
    from pygments.formatters import HtmlFormatter

    return HtmlFormatter(style="default").get_style_defs(".highlight")


def fetched(html: str) -> list[str]:
    """What a browser that opens ``html`` would fetch from elsewhere than beside it; links to follow are no fetching."""
    page = _Page()
    page.feed(html)
    styles = re.findall(r"""(?:@import\s+(?:url\()?|url\()\s*["']?([^"')\s]+)""", "\n".join(page.styles))
    return [place for place in [*page.fetched, *styles] if re.match(r"(?:[a-z][a-z0-9+.-]*:)?//", place, re.IGNORECASE)]


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.fetched, self.styles, self._in_style = [], [], False

    def handle_starttag(self, tag, attrs):
        self._in_style = tag == "style"
        for name, value in attrs:
            if tag in _FETCHED.get(name, ()) and value:
                self.fetched += [part.split()[0] for part in value.split(",")] if name == "srcset" else [value.strip()]
            self.styles += [value] if name == "style" and value else []

    def handle_data(self, data):
        if self._in_style:
            self.styles.append(data)

    def handle_endtag(self, tag):
        self._in_style = False
