"""Profiles: functions that return recipes at three sizes. ``smoke`` tests, ``demo`` shows, ``study`` is quoted.

The papers' own hyper-parameters on their data sets, for a GPU, are not a profile: they stand in ``kdlab.paper``.
"""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass

from kdlab.clips.enhance import Gamma
from kdlab.clips.night import ACTIONS, Night
from kdlab.clips.views import Enhanced, Raw, View, Window
from kdlab.distill.dual_light import DualLight, MatchedSmoothing
from kdlab.nets.video import TinyR2Plus1D
from kdlab.recipe import Recipe, UserClips
from kdlab.train import Settings
from kdlab.values import whole

__all__ = ["DEMO", "SMOKE", "STUDY", "TITLES", "Profile", "among", "current", "dual_light", "sweep"]


@dataclass(frozen=True)
class Profile:
    """The size of an experiment: clips of ``night``, optimiser settings, window, and how many ``seeds``."""

    name: str
    night: Night
    settings: Settings
    window: Window = Window()
    net: TinyR2Plus1D = TinyR2Plus1D()
    seeds: int = 3

    def __post_init__(self):
        whole(1, seeds=self.seeds)


#: The one ``variety`` at which demo and study stand: plain CE on raw clips is neither trivial nor hopeless there.
VARIETY = 0.25

SMOKE = Profile("smoke", Night(ACTIONS, (4, 2, 2), VARIETY), Settings(epochs=2), seeds=2)
DEMO = Profile("demo", Night(ACTIONS, (24, 4, 12), VARIETY), Settings(epochs=40), seeds=3)
STUDY = Profile("study", Night(ACTIONS, (40, 30, 100), VARIETY), Settings(epochs=100), seeds=15)


def current(name: str | None = None) -> Profile:
    """The profile called ``name``, or the one in ``$KDLAB_PROFILE``, or ``demo``."""
    name = name or os.environ.get("KDLAB_PROFILE") or "demo"
    known = {p.name: p for p in (SMOKE, DEMO, STUDY)}
    if name not in known:
        raise ValueError(f"no profile {name!r}; there are {', '.join(known)}")
    return known[name]


def among(*sizes) -> Callable:
    """The function that gives, of the ``sizes`` of another experiment, the one that goes with ``current(name)``."""
    return lambda name=None: {size.name: size for size in sizes}[current(name).name]


def dual_light(profile: Profile, seed: int = 0, data: str | UserClips | None = None, test_fold: str | None = None,
               enhancer=Gamma(), dark: View = Raw()) -> dict[str, Recipe]:
    """The conditions of the DL-KDD study for one seed, by name, on ``data`` (a path, with ``test_fold``) or `night`.

    ``dark`` is what the students see (another view makes bright clips dark), and what ``enhancer`` brightens.
    Every student has the same steps; ``ce_2x`` alone has those of a teacher added. A student's teacher has the seed
    ``seed + 1``: with an equal seed it would also share the student's initial weights and order of clips.
    """
    clips = UserClips(data, test_fold) if isinstance(data, str) else data or profile.night
    base = Recipe("ce_raw", clips, dark, window=profile.window, net=profile.net, settings=profile.settings, seed=seed)
    change = dataclasses.replace
    bright = change(base, condition="ce_enhanced", view=Enhanced(enhancer, of=dark))
    longer = change(profile.settings, epochs=2 * profile.settings.epochs)
    taught_bright = change(bright, seed=seed + 1)
    taught_dark = change(base, seed=seed + 1)
    return {
        "ce_raw": base,
        "ce_enhanced": bright,
        "same_light": change(base, condition="same_light", method=DualLight(), teacher=taught_dark),
        "dlkdd": change(base, condition="dlkdd", method=DualLight(), teacher=taught_bright),
        "label_smoothing": change(base, condition="label_smoothing", method=MatchedSmoothing(), teacher=taught_bright),
        "ce_2x": change(base, condition="ce_2x", settings=longer),
    }


def sweep(profile: Profile, seed: int, temperatures, alphas) -> dict[tuple, Recipe]:
    """DL-KDD at each ``(temperature, alpha)``, for choosing on *validation*."""
    student = dual_light(profile, seed)["dlkdd"]
    return {(t, a): dataclasses.replace(student, method=DualLight(temperature=t, alpha=a))
            for t in temperatures for a in alphas}


#: How the study's words read in figures, in the order of a table.
TITLES = {
    "ce_raw": "CE, raw",
    "ce_enhanced": "CE, enhanced (teacher)",
    "same_light": "same-light KD",
    "dlkdd": "DL-KDD",
    "label_smoothing": "matched smoothing",
    "ce_2x": "CE, raw, twice the steps",
    "two_stream": "two-stream fusion",
}
