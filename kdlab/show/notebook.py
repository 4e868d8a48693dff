"""What a notebook begins with, and how figures, tables and code reach its reader.

Figures are sharp where somebody watches, small where they are stored, and have a text for whoever does not see them.
JupyterLab shows the text of HTML alone; nbconvert also that of a picture's metadata. So a figure is HTML where somebody
watches, and a picture with metadata where it is stored.
"""

import base64
import inspect
import re
from functools import partial
from html import escape

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from IPython.display import Code
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats
from pandas.io.formats.style import Styler

from kdlab import __version__
from kdlab.show.plots import PALETTE
from kdlab.system.pool import headless
from kdlab.train.sizes import Profile, current

#: Pixels an inch of what is stored; where somebody watches it is twice as many.
DPI = 110
#: Letters of an alternative text at most; who listens wants the picture's gist.
LONGEST = 600


def start_notebook(profile: str | None = None, data: str | None = None) -> Profile:
    """Set the style of figures and print what makes the numbers below; the profile of sizes called ``profile``."""
    style()
    chosen = current(profile)
    clips = f"your clips in {data}" if data else f"{chosen.night.name}, {chosen.night.fingerprint()[:12]}"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU, one thread a training"
    made = f"torch {torch.__version__} · {device} · {chosen.settings.precision}"
    print(f"kdlab {__version__} · profile {chosen.name} · clips {clips} · {made}")
    return chosen


def style() -> None:
    """Sizes, fonts and colours of all figures, and how notebooks display them; call it once per notebook.

    Letters are never less than "small", which on the page is what a notebook's own letters are.
    """
    plt.style.use("seaborn-v0_8-whitegrid")
    plt.rc("font", **{"size": 10.5, "sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "sans-serif"]})
    plt.rc("axes", prop_cycle=plt.cycler(color=PALETTE), linewidth=1.25, titlesize="medium", titleweight="bold")
    plt.rc(("xtick", "ytick"), labelsize=9.35)
    plt.rc("xtick", bottom=False)
    plt.rc("ytick", left=False)
    plt.rc("grid", linewidth=1)
    plt.rc("legend", frameon=True, fontsize="small")
    plt.rc("patch", edgecolor="w", force_edgecolor=True)
    plt.rc("figure", dpi=DPI, figsize=(7, 3.6), titlesize="medium", titleweight="bold", labelsize="medium")
    plt.rc("figure.constrained_layout", use=True)
    plt.rc("savefig", dpi=DPI, bbox="tight")
    _display_figures()


def table(rows: pd.DataFrame, caption: str = "", precision: int = 1) -> Styler:
    """``rows`` as a notebook display with texts in full (a plain DataFrame cuts them at 50 letters). An index that has
    a name becomes the first column; another is left out."""
    rows = rows.reset_index() if rows.index.name else rows
    left = [{"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: normal"},
            {"selector": "caption", "props": "text-align: left; font-weight: bold; padding: 0.4em 0"}]
    shown = rows.style.format(precision=precision, na_rep="").hide(axis="index").set_table_styles(left)
    return shown.set_caption(caption) if caption else shown


def source(thing) -> Code:
    """The source of a function, class or module of kdlab as a notebook display."""
    return Code(inspect.getsource(thing), language="python")


def _display_figures() -> None:
    """From now on this notebook shows and stores figures as this module says; elsewhere nothing happens."""
    shell = get_ipython()
    if shell is None:
        return
    set_matplotlib_formats()  # forget those of before
    formatters = shell.display_formatter.formatters
    if headless():
        formatters["image/png"].for_type(Figure, partial(_as_picture, frames=False))
        formatters["image/jpeg"].for_type(Figure, partial(_as_picture, frames=True))
    else:
        formatters["text/html"].for_type(Figure, _as_html)


def _as_picture(fig: Figure, frames: bool) -> tuple[str, dict] | None:
    """Figures with ``frames`` of video as JPEG, where they take a fifth of the room; charts as PNG, which stay sharp.
    ``None`` of the other kind."""
    if any(ax.images for ax in fig.axes) != frames:
        return None
    how = dict(fmt="jpeg", pil_kwargs={"quality": 60, "optimize": True, "progressive": True}) if frames else {}
    picture = print_figure(fig, base64=True, **how)
    return picture and (picture, {"alt": alt(fig)})


def _as_html(fig: Figure) -> str | None:
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
