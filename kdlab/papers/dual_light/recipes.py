"""Recipes of DL-KDD and of its controls for one seed, by condition; their sizes are in :mod:`kdlab.train.sizes`."""

import dataclasses

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw, Standardised, View
from kdlab.distill.baselines import AttentionTransfer, DecoupledKD, FitNet
from kdlab.nets.attention_head import Attended
from kdlab.nets.video import TinyR2Plus1D
from kdlab.nets.wrappers import WithStatistics
from kdlab.night import Night
from kdlab.night.darkened import Darkened
from kdlab.papers.dual_light.both_lights import BothLights
from kdlab.papers.dual_light.control_methods import RandomGamma, StoredTargets
from kdlab.papers.dual_light.enhancer import TrainedCurves
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


#: Half the widths of the student, a quarter of its multiply–accumulates.
SMALL = TinyR2Plus1D((4, 8, 20, 44))


def controls(profile: Profile, seed: int = 0) -> dict[str, Recipe]:
    """What else could explain a gain of DL-KDD, by condition (docs/methods.md, 1.4); each changes one thing.

    The first four and ``ce_small`` have no teacher. ``reversed`` is DL-KDD with the lights exchanged: a teacher of raw
    clips and a student of enhanced ones. The others have DL-KDD's student and teacher.
    """
    made, change = dual_light(profile, seed), dataclasses.replace
    raw, student = made["ce_raw"], made["dlkdd"]
    found = {
        "from_teacher": change(raw, start=student.teacher),
        "random_gamma": change(raw, method=RandomGamma()),
        "ce_standardised": change(raw, view=Standardised()),
        "ce_imagenet": change(raw, net=WithStatistics(raw.net)),
        "ce_small": change(raw, net=SMALL),
        "dlkdd_small": change(student, net=SMALL),
        "reversed": change(made["ce_enhanced"], method=DualLight(), teacher=made["same_light"].teacher),
        "stored": change(student, method=StoredTargets()),
        "shuffled_within": change(student, method=StoredTargets(shuffled="within")),
        "shuffled_between": change(student, method=StoredTargets(shuffled="between")),
        "dkd": change(student, method=DecoupledKD()),
        "fitnet": change(student, method=FitNet()),
        "at": change(student, method=AttentionTransfer()),
    }
    return {condition: change(recipe, condition=condition) for condition, recipe in found.items()}


def darkened(profile: Profile, clips: UserClips, seed: int = 0) -> dict[str, Recipe]:
    """The conditions on bright ``clips`` of your own that the camera of `night` makes dark. ``ce_bright`` is trained
    and tested on the bright clips: it shows what the dark costs."""
    made = dual_light(profile, seed, clips, dark=Darkened())
    return made | {"ce_bright": dataclasses.replace(made["ce_raw"], condition="ce_bright", view=Raw())}


def demonstrated(profile: Profile, data: Night | UserClips) -> TrainedCurves:
    """Zero-DCE as notebook 01 trains it on ``data``; at smoke size on few clips."""
    curves = TrainedCurves(data)
    return dataclasses.replace(curves, clips=16, steps=8) if profile.name == "smoke" else curves


#: How the conditions read in figures, in the order of a table.
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
