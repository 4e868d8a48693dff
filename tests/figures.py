"""What makes a figure hard to read on a wall, found by drawing it."""

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from kdlab.show.plots import PAGE
from tests.conftest import words

#: Points of type: what on a page of ``PAGE`` inches is as large as a notebook's own letters.
SMALLEST = 8.5


def contrast(one, other="white") -> float:
    """Of two colours as WCAG defines it, 1 to 21: words want 4.5, lines and marks 3."""

    def light(colour) -> float:
        linear = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)
        ]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def faults(fig: Figure) -> list[str]:
    """One sentence for each: a figure wider than the page, small, pale or overlapping letters, a key over data."""
    fig.canvas.draw()
    found = []
    if fig.get_figwidth() > PAGE:
        found.append(f"it is {fig.get_figwidth():g} inches wide")
    for text in fig.findobj(lambda part: isinstance(part, Text) and part.get_visible()):
        if not text.get_text().strip():
            continue
        if text.get_fontsize() < SMALLEST:
            found.append(f"{text.get_text()!r} has {text.get_fontsize():.1f} points")
        over_colours = text.axes and (text.axes.images or text.axes.collections)
        if not over_colours and contrast(text.get_color()) < 4.5:
            found.append(f"{text.get_text()!r} is pale")
    for ax in (ax for ax in fig.axes if ax.get_visible()):
        for axis, names in (("x", ax.get_xticklabels()), ("y", ax.get_yticklabels())):
            found += _crowded(
                [name for name in names if name.get_visible() and name.get_text()], axis
            )
        keys = [key for key in (ax.get_legend(), *fig.legends) if key]
        found += [f"the key hides {what}" for key in keys for what in _hidden(ax, key)]
    heads = [
        text
        for ax in fig.axes
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label)
        if text.get_text()
    ]
    boxes = [(text.get_text(), text.get_window_extent()) for text in heads if text.get_visible()]
    found += [
        f"{a!r} runs into {b!r}"
        for k, (a, one) in enumerate(boxes)
        for b, two in boxes[:k]
        if one.overlaps(two)
    ]
    for key in fig.legends:
        box = key.get_window_extent()
        if box.x0 < -1 or box.x1 > fig.bbox.width + 1:
            found.append("the key is wider than the figure")
    return list(dict.fromkeys(found))


def legible(fig: Figure) -> str:
    """All texts that a figure shows, a line each; fails where it is hard to read."""
    assert faults(fig) == []
    return words(fig)


def _crowded(names: list[Text], axis: str) -> list[str]:
    """Neighbours among upright tick labels that touch."""
    boxes = [
        (name.get_text(), name.get_window_extent())
        for name in names
        if not name.get_rotation() % 90
    ]
    boxes.sort(key=lambda pair: getattr(pair[1], f"{axis}0"))
    return [
        f"{a!r} runs into {b!r}"
        for (a, one), (b, two) in zip(boxes, boxes[1:], strict=False)
        if getattr(one, f"{axis}1") > getattr(two, f"{axis}0") + 1 and one.overlaps(two)
    ]


def _hidden(ax, key) -> list[str]:
    """What of an axes' lines, bars, dots and pictures lies below the key."""
    box = key.get_window_extent()
    points = {}
    for line in ax.lines:
        places = line.get_transform().transform(line.get_path().vertices)
        places = places[np.isfinite(places).all(1)]
        steps = [np.linspace(a, b, 50) for a, b in zip(places, places[1:], strict=False)]
        if line.get_linestyle() not in ("None", "") and steps:
            places = np.concatenate(steps)
        points[f"line {line.get_label()!r}"] = places[_within(ax, places)]
    for dots in ax.collections:
        if isinstance(dots, PathCollection):
            offsets = np.asarray(dots.get_offsets(), float)
            points["dots"] = dots.get_offset_transform().transform(offsets)
    hidden = [what for what, at in points.items() if len(at) and box.count_contains(at)]
    inside = ax.get_window_extent()
    for bar in ax.patches:
        seen = Bbox.intersection(bar.get_window_extent(), inside)
        if seen and box.overlaps(seen):
            hidden.append(f"bar {bar.get_label()!r}")
    if ax.images and box.overlaps(inside):
        hidden.append("a picture")
    return hidden


def _within(ax, places: np.ndarray) -> np.ndarray:
    area = ax.get_window_extent()
    return ((places >= (area.x0, area.y0)) & (places <= (area.x1, area.y1))).all(1)
