"""Recipes of DL-KDD for one seed, by condition; their sizes are in :mod:`kdlab.train.loop.sizes`."""

import dataclasses

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw, View
from kdlab.nets.attention_head import Attended
from kdlab.papers.dual_light.both_lights import BothLights
from kdlab.papers.dual_light.method import DualLight, MatchedSmoothing
from kdlab.papers.dual_light.two_lights import TwoLights
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import Profile


def dual_light(profile: Profile, seed: int = 0, data: str | UserClips | None = None, test_fold: str | None = None,
               enhancer=Gamma(), dark: View = Raw()) -> dict[str, Recipe]:
    """The conditions of the DL-KDD study for one seed, by name, on ``data`` (a path, with ``test_fold``) or `night`.

    ``dark`` is what the students see (another view makes bright clips dark), and what ``enhancer`` brightens.
    Every student has the same steps; ``ce_2x`` alone has those of a teacher added, and ``two_lights`` alone is one
    network that sees both (late fusion, ``two_stream``, is made of two runs: ``study.fused``). A student's teacher has
    the seed ``seed + 1``: with an equal seed it would also share the student's initial weights and order of clips.
    """
    clips = UserClips(data, test_fold) if isinstance(data, str) else data or profile.night
    base = Recipe("ce_raw", clips, dark, window=profile.window, net=profile.net, settings=profile.settings, seed=seed)
    change = dataclasses.replace
    bright = change(base, condition="ce_enhanced", view=Enhanced(enhancer, of=dark))
    longer = change(profile.settings, epochs=2 * profile.settings.epochs)
    taught_bright = change(bright, seed=seed + 1)
    taught_dark = change(base, seed=seed + 1)
    large = isinstance(profile.net, Attended)  # DarkLight's dropout of 0.8 is too much for the tiny one (docs/log.md)
    both = TwoLights(profile.net.backbone) if large else TwoLights(profile.net, dropout=0.0)
    return {
        "ce_raw": base,
        "ce_enhanced": bright,
        "same_light": change(base, condition="same_light", method=DualLight(), teacher=taught_dark),
        "dlkdd": change(base, condition="dlkdd", method=DualLight(), teacher=taught_bright),
        "label_smoothing": change(base, condition="label_smoothing", method=MatchedSmoothing(), teacher=taught_bright),
        "ce_2x": change(base, condition="ce_2x", settings=longer),
        "two_lights": change(base, condition="two_lights", view=BothLights(enhancer, dark), net=both),
    }


def three_actions(profile: Profile, seed: int = 0, data: str | None = None) -> Recipe:
    """The smallest experiment, of notebook 00: cross-entropy on raw clips of three actions of `night`; on clips of your
    own in ``data``, of all their classes."""
    recipe = dual_light(profile, seed, data)["ce_raw"]
    if data:
        return recipe
    three = dataclasses.replace(profile.night, classes=("Jump", "Walk", "Wave"))
    return dataclasses.replace(recipe, data=three, settings=dataclasses.replace(profile.settings, batch_size=16))


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
    "two_lights": "one network, both lights",
}
