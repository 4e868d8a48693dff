"""How figures reach a reader: sharp where somebody watches, small where they are stored, and with a text for whoever
does not see them.

JupyterLab shows the text of HTML alone; nbconvert, and with it kdlab's site and slides, also that of a picture's
metadata. So a figure is HTML where somebody watches, and a picture with metadata where it is stored.
"""

import base64
import re
from collections.abc import Sequence
from functools import partial
from html import escape

import numpy as np
from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib_inline.backend_inline import set_matplotlib_formats

from kdlab.system.progress import headless

#: Letters of an alternative text at most; who listens wants the picture's gist.
LONGEST = 600


def in_notebooks() -> None:
    """From now on this notebook's figures are displayed and stored as this module says; elsewhere nothing happens."""
    shell = get_ipython()
    if shell is None:
        return
    set_matplotlib_formats()  # forget those of before
    formatters = shell.display_formatter.formatters
    if headless():
        formatters["image/png"].for_type(Figure, partial(_stored, frames=False))
        formatters["image/jpeg"].for_type(Figure, partial(_stored, frames=True))
    else:
        formatters["text/html"].for_type(Figure, _watched)


def _stored(fig: Figure, frames: bool) -> tuple[str, dict] | None:
    """Figures with ``frames`` of video as JPEG, where they take a fifth of the room; charts as PNG, which stay sharp.
    ``None`` of the other kind."""
    if any(ax.images for ax in fig.axes) != frames:
        return None
    how = dict(fmt="jpeg", pil_kwargs={"quality": 60, "optimize": True, "progressive": True}) if frames else {}
    picture = print_figure(fig, base64=True, **how)
    return picture and (picture, {"alt": alt(fig)})


def _watched(fig: Figure) -> str | None:
    """Two pixels for each of the screen's, which many screens have."""
    picture = print_figure(fig, fmt="retina")
    if picture is None:
        return None
    width = int.from_bytes(picture[16:20], "big") // 2  # of a PNG
    source = base64.b64encode(picture).decode()
    return f'<img src="data:image/png;base64,{source}" width="{width}" alt="{escape(alt(fig))}">'


def alt(fig: Figure) -> str:
    """What ``fig`` says in at most :data:`LONGEST` letters: its label, if it was given one (``Figure.set_label``);
    else titles, axes, rows with the notes beside them, and keys, with the ends of their lines, each once."""
    kind = "Pictures" if any(ax.images for ax in fig.axes) else "Chart"
    said = [fig.get_suptitle(), fig.get_supylabel(), fig.get_supxlabel()]
    for ax in (ax for ax in fig.axes if ax.get_visible()):
        said += [ax.get_title(), ax.get_ylabel(), *_rows(ax), ax.get_xlabel(), *_words(ax.get_xticklabels())]
        said += _keys(ax.get_legend(), ax.lines) if ax.get_legend() else []
    lines = [line for ax in fig.axes for line in ax.lines]
    said += [text for legend in fig.legends for text in _keys(legend, lines if len(fig.axes) == 1 else [])]
    once = dict.fromkeys(" ".join(text.split()) for text in said if text.strip())
    text = fig.get_label() or f"{kind}: {'; '.join(once)}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


def _keys(legend: Legend, lines: Sequence[Line2D]) -> list[str]:
    """The words of ``legend``, and beside each where its line begins and ends, if one of ``lines`` alone looks so."""
    drawn: dict[tuple, list[Line2D]] = {}
    for line in lines:
        if len(line.get_xdata()) > 2:
            drawn.setdefault(_look(line), []).append(line)
    said = []
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=False):
        its = drawn.get(_look(handle), []) if isinstance(handle, Line2D) else []
        heights = np.asarray(its[0].get_ydata(), float) if len(its) == 1 else np.empty(0)
        heights = heights[np.isfinite(heights)]
        ends = f" ({heights[0]:.3g} to {heights[-1]:.3g})" if len(heights) else ""
        said += [f"{word}{ends}" for word in _words([text])]
    return said


def _look(line: Line2D) -> tuple:
    return to_hex(line.get_color()), line.get_linestyle(), line.get_marker()


def _words(texts) -> list[str]:
    """Those of ``texts`` that are no mere numbers, such as ticks of a scale."""
    return [text.get_text() for text in texts if re.search(r"[^\W\d_]", re.sub(r"\$.*\$|\d[eE]", "", text.get_text()))]


def _rows(ax: Axes) -> list[str]:
    """Rows that have a name or notes at their height: the name, and the notes."""
    labels = ax.get_yticklabels()
    beside: dict[str, list[str]] = {name: [] for name in _words(labels)}
    at = {round(float(y), 6): name.get_text() for y, name in zip(ax.get_yticks(), labels, strict=False)
          if name.get_text() in beside}  # a number of a scale is no row
    for text in ax.texts:
        kind = getattr(text, "xycoords", "data")  # of a bar's label a function
        down = kind[-1] if isinstance(kind, tuple) else kind
        y = getattr(text, "xy", text.get_position())[1] if down == "data" else float("nan")
        if (name := at.get(round(float(y), 6))) and text.get_text():
            beside[name].append(text.get_text())
    return [f"{name}: {', '.join(notes)}" if notes else name for name, notes in beside.items()]
