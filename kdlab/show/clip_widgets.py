"""The clips on which two conditions of a study differ, as moving pictures where somebody can choose, else as strips of
frames."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure

from kdlab.clips.enhance import Gamma
from kdlab.night import Night, render_clip
from kdlab.show.plots import filmstrip
from kdlab.show.widgets import explore
from kdlab.study import Scores
from kdlab.system.values import whole

#: What the camera saw is dark for people, too. This makes it brighter than teachers see it.
_ENHANCER = Gamma(2.6)


@dataclass(frozen=True)
class Differs:
    """A test clip ``id`` of the class ``label``: in how many of ``seeds`` the one condition is right, in how many the
    other, and what the other says most often where it is wrong."""

    id: str
    label: str
    one: int
    other: int
    seeds: int
    mistaken: str


def differing(scores: Scores, one: str, other: str) -> list[Differs]:
    """The clips that ``one`` gets right in more seeds than ``other``, the largest difference first; equal ones in the
    order of the clips. Raises ``ValueError`` for a condition that ``scores`` lack."""
    for condition in (one, other):
        if condition not in scores.predicted:
            raise ValueError(f"no condition {condition!r}; there are {', '.join(scores.predicted)}")
    right = {name: scores.correct(name).sum(0).astype(int).tolist() for name in (one, other)}
    gain = np.subtract(right[one], right[other])
    order = np.argsort(-gain, kind="stable")
    return [Differs(str(scores.ids[k]), scores.classes[scores.labels[k]], right[one][k], right[other][k],
                    len(scores.seeds), scores.classes[_said(scores.predicted[other][:, k], scores.labels[k])])
            for k in order[: (gain > 0).sum()]]


def _said(predicted: np.ndarray, label: int) -> int:
    wrong = predicted[predicted != label]
    return int(np.bincount(wrong).argmax())


def of_night(night: Night) -> Callable[[str], np.ndarray]:
    """How a test clip of ``night`` is had by its id: rendered anew, as the camera saw it, uint8 ``(T, H, W, 3)``."""
    def clip(name: str) -> np.ndarray:
        _, action, place = name.split("/")
        split, _, index = place.partition("-")
        return render_clip(night, split, action, int(index)).dark

    return clip


def differing_picture(scores: Scores, one: str, other: str, clip: Callable[[str], np.ndarray],
                      titles: Mapping[str, str] | None = None, count: int = 3) -> Figure:
    """Strips of the ``count`` clips that ``one`` gets right in the most seeds more than ``other``, brightened to be
    seen. ``clip`` gives the frames of an id. Raises ``ValueError`` as :func:`differing`, and where there is no such
    clip."""
    whole(1, count=count)
    titles = titles or {}
    if not (found := differing(scores, one, other)[:count]):
        raise ValueError(f"{one} gets no clip right in more seeds than {other}: ask the other way round")
    rows = {f"{k}. {each.label}\n{each.one} : {each.other}\nof {each.seeds} seeds": _ENHANCER(clip(each.id))
            for k, each in enumerate(found, 1)}
    title = f"Seeds in which {titles.get(one, one)} : {titles.get(other, other)} are right"
    return filmstrip(rows, columns=6, title=title, seconds=2.4)


def moving(frames: np.ndarray, fps: float = 15) -> bytes:
    """``frames``, uint8 ``(T, H, W, 3)``, as an animated GIF that begins again."""
    from PIL import Image

    pictures, file = [Image.fromarray(frame) for frame in frames], BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=1000 / fps, loop=0)
    return file.getvalue()


def differing_widget(scores: Scores, one: str, other: str, clip: Callable[[str], np.ndarray],
                     titles: Mapping[str, str] | None = None):
    """Choose two conditions, at first ``one`` and ``other``, and step through the clips that the first gets right in
    more seeds, as moving pictures: as the camera saw it, and brightened. ``None``, with a line that says so, when
    headless. Raises as :func:`differing`."""
    differing(scores, one, other)
    titles = titles or {}
    names = {titles.get(c, c): c for c in scores.predicted}

    def picture(right: str, wrong: str, place: int) -> None:
        from IPython.display import Image, display

        found = differing(scores, names[right], names[wrong])
        if not found:
            return print(f"{right} gets no clip right in more seeds than {wrong}.")
        number = min(place, len(found))
        each = found[number - 1]
        print(f"clip {number} of {len(found)}, {each.id}: {each.label}\n{right}: right in {each.one} of {each.seeds} "
              f"seeds; {wrong}: in {each.other}, else mostly {each.mistaken}")
        dark = clip(each.id)
        display(Image(moving(np.concatenate([dark, _ENHANCER(dark)], axis=2)), format="gif", width=640))

    right, wrong = (sorted(names, key=lambda name: names[name] != first) for first in (one, other))
    return explore(picture, right=right, wrong=wrong, place=(1, 1, 50, 1, "clip"))
