"""How figures reach a reader: sharp where somebody watches, small where they are stored, and with a text for whoever
does not see them.

JupyterLab shows the text of HTML alone; nbconvert also that of a picture's metadata. So a figure is HTML where somebody
watches, and a picture with metadata where it is stored.
"""

import base64
import re
from functools import partial
from html import escape

from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats

from kdlab.system.pool import headless

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
    """The words of ``fig`` in at most :data:`LONGEST` letters: its label, if it was given one (``Figure.set_label``);
    else titles, axes, names of rows, and keys, each once."""
    kind = "Pictures" if any(ax.images for ax in fig.axes) else "Chart"
    words = [fig.get_suptitle(), fig.get_supylabel(), fig.get_supxlabel()]
    for ax in (ax for ax in fig.axes if ax.get_visible()):
        words += [ax.get_title(), ax.get_ylabel(), *_words(ax.get_yticklabels()), ax.get_xlabel()]
        words += _words([*ax.get_xticklabels(), *(ax.get_legend().get_texts() if ax.get_legend() else ())])
    words += _words(text for legend in fig.legends for text in legend.get_texts())
    once = dict.fromkeys(" ".join(text.split()) for text in words if text.strip())
    text = fig.get_label() or f"{kind}: {'; '.join(once)}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


def _words(texts) -> list[str]:
    """Those of ``texts`` that are no mere numbers, such as ticks of a scale."""
    return [text.get_text() for text in texts if re.search(r"[^\W\d_]", re.sub(r"\$.*\$|\d[eE]", "", text.get_text()))]
