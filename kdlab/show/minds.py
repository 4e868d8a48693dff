"""One clip in more and in less light, and what trained networks say of it: :func:`minds_widget` drags the light."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from kdlab.clips.cache import resize
from kdlab.clips.views import Enhanced, Raw, Window
from kdlab.night import Camera, darken
from kdlab.show.plots import drawn, image
from kdlab.show.said import minus
from kdlab.show.widgets import explore
from kdlab.train.loop import one_thread
from kdlab.train.runs import Run


@dataclass(frozen=True)
class Mind:
    """A trained ``net`` that is asked about frames which lie in no file: ``seen`` is what its view makes of them (they
    stay as they are, or are brightened), ``window`` cuts them as in its tests."""

    net: torch.nn.Module
    window: Window
    seen: Callable[[np.ndarray], np.ndarray] = np.asarray

    @classmethod
    def of(cls, run: Run) -> "Mind":
        """The network of ``run``, which sees raw clips or those of one enhancer; ``ValueError`` for another view."""
        view = run.recipe.view
        if not isinstance(view, (Raw, Enhanced)):
            raise ValueError(f"{run.folder.name} sees {view.name}: give a run on raw clips or on those of an enhancer")
        return cls(run.net(), run.recipe.window, view.by if isinstance(view, Enhanced) else np.asarray)

    def answer(self, frames: np.ndarray) -> np.ndarray:
        """Probabilities ``(K,)`` of the classes for frames ``uint8 (T, H, W, 3)``."""
        draw = self.window.centre(len(frames))
        pixels = self.window.cut(draw, resize(self.seen(frames)[draw.frames], self.window.side))
        x = torch.from_numpy(np.divide(pixels, np.float32(255), dtype=np.float32)).permute(3, 0, 1, 2)[None]
        with torch.no_grad(), one_thread():
            return self.net(x)[0].softmax(0).numpy()


def relit(bright: np.ndarray, stops: float, camera: Camera = Camera(), seed: int = 0) -> np.ndarray:
    """The well exposed clip ``bright uint8 (T, H, W, 3)`` as ``camera`` records it with 2^``stops`` times the light of
    a typical dark clip; its gain stays, so that the picture grows darker with the light."""
    return darken(bright, 2.0**stops, np.random.default_rng(seed), replace(camera, steps=()))


def minds_picture(bright: np.ndarray, minds: Mapping[str, Mind], classes: Sequence[str], stops: float = 0.0,
                  camera: Camera = Camera(), label: int | None = None) -> Figure:
    """The middle frame of a clip with 2^``stops`` times the usual light (:func:`relit`), and beside it what each of the
    ``minds`` (by name) says of the clip: a bar for each class in percent; above stand the first answers."""
    frames = relit(bright, stops, camera)
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=(1, 2.4))
    image(left, frames[len(frames) // 2], minus(f"light {stops:+g} stops"))
    said, places, width = [], np.arange(len(classes)), 0.8 / len(minds)
    for k, (name, mind) in enumerate(minds.items()):
        shares = mind.answer(frames)
        said.append(f"{name}: {classes[shares.argmax()]} {100 * shares.max():.0f} %")
        right.bar(places + (k - (len(minds) - 1) / 2) * width, 100 * shares, width, color=f"C{k}", label=name)
    names = [f"{name} (label)" if k == label else name for k, name in enumerate(classes)]
    right.set_xticks(places, names, rotation=30, ha="right")
    right.set(ylim=(0, 100), ylabel="probability (%)")
    right.set_title("\n".join(said), loc="left")
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=len(minds))
    return fig


def minds_widget(bright: np.ndarray, minds: Mapping[str, Mind], classes: Sequence[str], camera: Camera = Camera(),
                 label: int | None = None):
    """Drag the light over :func:`minds_picture`; ``None``, with a line that says so, when headless."""
    light = 0, -4, 4, 1, "light (stops)"
    return explore(lambda stops: minds_picture(bright, minds, classes, stops, camera, label), stops=light)


def minds_along(bright: np.ndarray, minds: Mapping[str, Mind], label: int, stops: Sequence[float] = range(-4, 5),
                camera: Camera = Camera()) -> dict[str, np.ndarray]:
    """What each of the ``minds`` gives to the class ``label`` of a clip at each of the ``stops``: name → percent."""
    clips = [relit(bright, each, camera) for each in stops]
    return {name: np.array([100 * mind.answer(clip)[label] for clip in clips]) for name, mind in minds.items()}


def minds_lines(found: Mapping[str, np.ndarray], stops: Sequence[float] = range(-4, 5), name: str = "") -> Figure:
    """:func:`minds_along` as lines over the light; ``name`` is the class that was asked for."""
    fig, ax = plt.subplots(figsize=(7, 3))
    for k, (mind, shares) in enumerate(found.items()):
        ax.plot(list(stops), shares, label=mind, **drawn(k))
    ax.axvline(0, color="grey", linestyle=":", linewidth=1.2)
    ax.set(xlabel="light (stops; 0, dotted: as recorded)", ylabel=f"probability of {name or 'the label'} (%)",
           ylim=(-3, 103), title="The same clip in more and in less light")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(found))
    return fig
