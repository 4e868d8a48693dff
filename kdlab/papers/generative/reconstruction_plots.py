"""Pictures of what generated features say, for notebook 04. Each function returns a Figure but the widget."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.special import softmax

from kdlab.papers.generative.generation import ENOUGH
from kdlab.papers.generative.reconstruction import Seen, between, by_channels
from kdlab.show.plots import drawn, key, note
from kdlab.show.plots import rows as in_rows
from kdlab.show.widgets import explore


def code_curves(each: Mapping[str, Seen], title: str = "") -> Figure:
    """R² of features over how many channels of their code tell of the clip, for networks by their titles: from
    generated, on the left, to rebuilt. Dotted: what a gate asks for, and the training clips' mean."""
    fig, ax = plt.subplots(figsize=(7, 3.4))
    for line, (name, its) in enumerate(each.items()):
        found = by_channels(its)
        ax.plot(range(len(found)), list(found.values()), label=name, **drawn(line, markersize=6, linewidth=1.8))
        ax.set_xticks(range(len(found)), [str(count) for count in found])
    left, right = ax.get_xlim()
    for level, what in ((ENOUGH, "what the gate asks for"), (0, "the training clips' mean")):
        ax.axhline(level, color="grey", linestyle=":", linewidth=1.4)
        note(ax, what, (left, level), (4, 3))
    ax.set(xlim=(left, right), xlabel="channels of the code that tell of the clip (0: generated from λ; all: rebuilt)",
           ylabel="R² on test clips (%)", title=title)
    ax.margins(y=0.12)
    key(fig)
    return fig


def between_picture(its: Seen, one: int, other: int, share: float = 0.0, channels: int = 24) -> Figure:
    """Features generated from a λ that is the clip ``one``'s but for the ``share`` of ``other``'s, between the features
    of both clips (mean over space, the ``channels`` that are most active in the first); and what the last layers of
    the network say of the three. Raises ``ValueError`` for a share outside [0, 1]."""
    made, attention = between(its, one, other, share)
    names = [f"{_class(its, one)}, features", f"generated, λ {100 * (1 - share):.0f} : {100 * share:.0f}",
             f"{_class(its, other)}, features"]
    shown = [(its.features[[one]], its.attention[[one]]), (made, attention),
             (its.features[[other]], its.attention[[other]])]
    maps = [features[0].mean((2, 3)).numpy() for features, _ in shown]
    order = np.argsort(-maps[0].mean(1))[:channels]
    top = max(float(values[order].max()) for values in maps)
    fig, axes = plt.subplots(1, 4, figsize=(9, 3.8), width_ratios=(1, 1, 1, 2.6))
    for ax, name, values in zip(axes, names, maps, strict=False):
        ax.pcolormesh(values[order], vmin=0, vmax=top, cmap="cividis")  # a chart, which an image would not be
        ax.invert_yaxis()
        ax.set_title(name.replace(", ", ",\n"), fontsize="small")
        ax.set(xlabel="step", xticks=np.arange(values.shape[1]) + 0.5, yticks=[])
        ax.set_xticklabels(range(values.shape[1]))
        ax.grid(False)
    axes[0].set_ylabel(f"the {len(order)} most active channels")
    right, width = axes[3], 0.27
    for line, (name, (features, where)) in enumerate(zip(names, shown, strict=True)):
        says = 100 * softmax(its.answers(features, where)[0])
        how = dict(color=f"C{line}", hatch=("", "///", "...")[line], edgecolor="white", label=name)
        right.barh(np.arange(len(its.classes)) + width * (line - 1), says, width, **how)
    in_rows(right, its.classes, xlim=(0, 100), xlabel="probability (%)")
    right.grid(axis="y", visible=False)
    right.set_title("what the last layers say of them", fontsize="small")
    key(fig)
    return fig


def between_widget(its: Seen, some: Sequence[int]):
    """Choose two of the clips ``some`` and drag λ from one to the other over :func:`between_picture`; ``None``, with a
    line that says so, when headless."""
    names = {f"{_class(its, place)} ({its.ids[place]})": place for place in some}

    def picture(one: str, other: str, share: float) -> None:
        between_picture(its, names[one], names[other], share)

    first, *more = names
    return explore(picture, one=[first, *more], other=[*more, first], share=(0, 0, 1, 0.05, "share of the other's λ"))


def one_of_each(its: Seen) -> list[int]:
    """Places of the first clip of each class that the network gets right, or of the first where there is none."""
    right = its.answers(its.features, its.attention).argmax(1) == its.labels
    return [int(np.argmax((its.labels == label) * (1.0 + right))) for label in np.unique(its.labels)]


def _class(its: Seen, place: int) -> str:
    return its.classes[its.labels[place]]
