"""The first lines of a notebook, and its display of figures and tables.

Figures are sharp on screen, small in stored notebooks, and have an alternative text. JupyterLab shows the alternative
text of HTML only; nbconvert also shows that of a picture's metadata. A figure is therefore HTML in a live notebook, and
a picture with metadata in a stored one.
"""

import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from textwrap import shorten

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython import get_ipython
from IPython.core.pylabtools import print_figure, retina_figure
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib_inline.backend_inline import set_matplotlib_formats
from pandas.io.formats.style import Styler

from kdlab import __version__
from kdlab.show.compare import fault_of, short
from kdlab.system.files import write_atomically
from kdlab.system.pool import headless
from kdlab.train.device import keep_freed_memory
from kdlab.train.sizes import Profile, current

#: The most letters of an alternative text, which gives a listener only the gist.
LONGEST = 600
_LEFT = [
    {"selector": "th, td", "props": "vertical-align: top; white-space: normal"},
    {"selector": ".col0", "props": "text-align: left"},
    {"selector": "caption", "props": "text-align: left; font-weight: bold; padding: 0.4em 0"},
]


def start_notebook(profile: str | None = None, data: str | None = None) -> Profile:
    """The profile of sizes called ``profile``. Also sets the style of figures and tables, and prints the versions, the
    profile, your clips if ``data`` names them, and the device behind the notebook's numbers.

    Without a GPU, torch uses one thread from here on: sums have the bits of kdlab's trainings, and notebooks that run
    side by side do not wait for each other's threads, which can take twenty times as long (docs/log.md).
    """
    style()
    pd.set_option("display.max_colwidth", None)  # no text of a table is cut off
    chosen = current(profile)
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = "CPU, one thread"
        torch.set_num_threads(1)
    keep_freed_memory()
    clips = f" · your clips in {data}" if data else ""
    print(
        f"kdlab {__version__} · profile {chosen.name}{clips} · torch {torch.__version__} · {device} · "
        f"{chosen.settings.precision}"
    )
    return chosen


def style() -> None:
    """Set sizes, fonts and colours of all figures, and their display in notebooks. Call it once per notebook.

    ``kdlab.mplstyle`` holds them. Letters are at least "small", the size of a notebook's own letters on the page.
    """
    plt.style.use(["seaborn-v0_8-whitegrid", Path(__file__).with_name("kdlab.mplstyle")])
    _display_figures()


def write_picture(file: Path, mark: str, make: Callable[[], Figure]) -> None:
    """Write the figure that ``make`` draws in kdlab's style as the PNG ``file``, with the text ``mark`` in its header."""
    with plt.rc_context():
        style()
        figure = make()
        how = {"format": "png", "metadata": {"Software": mark}}
        write_atomically(file, lambda path: figure.savefig(path, **how))
    plt.close(figure)


def table(rows: pd.DataFrame, caption: str = "", precision: int = 1) -> Styler:
    """``rows`` as a notebook display with a caption. A named index becomes the first column; an unnamed one is left
    out."""
    rows = rows.reset_index() if rows.index.name else rows
    shown = rows.style.format(precision=precision, thousands=",", na_rep="").hide(axis="index")
    return shown.set_caption(caption).set_table_styles(_LEFT)


def same(what: str, yours, kdlabs, within: float = 1e-6) -> None:
    """Print that two numbers, arrays or tensors are the same to ``within`` of kdlab's largest absolute value (of 1 if
    that is smaller). Dicts of them, such as the weights of networks, are compared name by name.

    Raises ``AssertionError``, which tells what differs, where, and what the difference looks like: an edited cell of a
    chapter cannot part from the package unseen. nan and infinity differ from everything, and from themselves.
    """
    pairs = {what: (yours, kdlabs)}
    if isinstance(yours, dict) and isinstance(kdlabs, dict):
        if yours.keys() != kdlabs.keys():
            raise AssertionError(
                f"{what}: yours has the names {short([*yours])}, kdlab's {short([*kdlabs])}"
            )
        pairs = {f"{what}, {name}": (yours[name], kdlabs[name]) for name in kdlabs}
    for name, (one, other) in pairs.items():
        look = ": look in the cells above, whose numbers both use"
        for whose, value, advice in (("kdlab's", other, look), ("yours", one, "")):
            if fault := fault_of(value, other, within):
                raise AssertionError(f"{name}: {whose} {fault}{advice}")
    print(f"{what}: yours and kdlab's are the same")


def _display_figures() -> None:
    """Make this notebook show and store figures as the module's docstring says. Does nothing outside notebooks."""
    shell = get_ipython()
    if shell is None:
        return
    set_matplotlib_formats()  # clears earlier formats
    form = _as_picture if headless() else _as_html
    shell.display_formatter.mimebundle_formatter.for_type(Figure, form)


def _as_picture(fig: Figure) -> tuple[dict, dict]:
    """``fig`` as a picture with metadata, by their type; nothing if empty. A figure with images is a JPEG, a fifth of
    the size of PNG; a chart is a PNG, which stays sharp."""
    kind, how = "png", {}
    if any(ax.images for ax in fig.axes):
        kind, how = "jpeg", {"quality": 60, "optimize": True, "progressive": True}
    picture = print_figure(fig, kind, base64=True, pil_kwargs=how)
    if picture is None:
        return {}, {}
    return {f"image/{kind}": picture}, {f"image/{kind}": {"alt": alt(fig)}}


def _as_html(fig: Figure) -> dict:
    """``fig`` as an HTML image with two pixels per screen pixel, for screens of high density; nothing if empty."""
    if (picture := retina_figure(fig, base64=True)) is None:
        return {}
    source, size = picture
    image = f'<img src="data:image/png;base64,{source}" width="{size["width"]}" alt="{escape(alt(fig))}">'
    return {"text/html": image}


def alt(fig: Figure) -> str:
    """The alternative text of ``fig``, at most :data:`LONGEST` letters: its label (``Figure.set_label``), or else its
    titles, axes, names of rows, and keys, each once."""
    kind = "Pictures" if any(ax.images for ax in fig.axes) else "Chart"
    words = [fig.get_suptitle(), fig.get_supylabel(), fig.get_supxlabel()]
    for ax in fig.axes:
        if ax.get_visible():
            words += [ax.get_title(), ax.get_ylabel(), *_words(ax.get_yticklabels())]
            words += [ax.get_xlabel(), *_words(ax.get_xticklabels())]
    for legend in fig.findobj(Legend):
        words += _words(legend.get_texts())
    once = dict.fromkeys(" ".join(text.split()) for text in words if text.strip())
    return shorten(fig.get_label() or f"{kind}: {'; '.join(once)}", LONGEST, placeholder="…")


def _words(texts) -> list[str]:
    """The ``texts`` with words; plain numbers, such as ticks of a scale, are left out."""
    return [
        text.get_text()
        for text in texts
        if re.search(r"[^\W\d_]", re.sub(r"\$.*\$|\d[eE]", "", text.get_text()))
    ]
