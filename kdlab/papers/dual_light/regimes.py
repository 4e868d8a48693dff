"""The pre-trained regime: DL-KDD with networks that start from one trained on *bright* clips (docs/methods.md, 1.6).

Among networks with random initial weights, a teacher of enhanced clips is no better than a teacher of raw clips. Among
networks pre-trained on bright video it is better, because the dark is new to them. This module has the recipes of the
start, of the conditions without dark labels, and of those with some.
"""

from dataclasses import replace

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced
from kdlab.datasets.user_clips import UserClips
from kdlab.distill.adaptation import AsItIs, EntropyMinimisation, ReEstimated
from kdlab.distill.method import CrossEntropy
from kdlab.night import Night
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.controls import RandomGamma
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.networks import BatchNormed
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.paper_size import named
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from kdlab.train.sizes import Profile, RegimeSize

#: The data seed of bright clips; no dark clip shares their actors, places and light.
BRIGHT = 1
#: Training-mode passes over the clips, in batches of 64; re-estimated statistics are the mean over these passes.
PASSES = 4
#: The learning rate of adaptation and fine-tuning; a start has the default rate.
RATE = 1e-3
#: Brightness augmentation in pre-training: γ below 1 darkens. γ = 0.25 maps a level of 110 to that of real dark clips.
DARKENING = RandomGamma(0.5, 0.25, 1.0)


def start(size: RegimeSize, seed: int, augmented: bool = False) -> Recipe:
    """The recipe of a network for bright clips; ``augmented`` darkens some of them, with one γ per clip."""
    clips = NightStream(Night(size.night.classes, size.bright, size.night.variety, seed=BRIGHT))
    return Recipe(
        "start_augmented" if augmented else "start",
        clips,
        net=BatchNormed(),
        window=size.window,
        method=DARKENING if augmented else CrossEntropy(),
        settings=Settings(size.epochs),
        seed=seed,
    )


def without_labels(
    size: RegimeSize, start: Recipe, augmented: Recipe, data: Night | UserClips, enhancer
) -> dict[str, Recipe]:
    """The conditions that start from ``start`` and use dark clips without their labels.

    In conditions whose names end in ``_re``, networks begin with re-estimated statistics. A student learns from soft
    targets alone (α = 1, t = 1). All conditions train for fixed steps and keep the last weights, without any selection.
    """
    raw = replace(start, data=data, method=AsItIs(), start=start, settings=Settings(1))
    passes = Settings(PASSES, batch_size=64)
    anew = replace(raw, condition="re_estimated", method=ReEstimated(), settings=passes)
    enhanced = replace(anew, condition="enhanced_re", view=Enhanced(enhancer))
    trained = replace(raw, settings=Settings(size.adapted, lr=RATE), start=anew)
    taught = replace(trained, method=DualLight(temperature=1.0, alpha=1.0))
    return named(
        {
            "as_is": raw,
            "re_estimated": anew,
            "enhanced_re": enhanced,
            "entropy": replace(trained, method=EntropyMinimisation()),
            "same_light_re": replace(taught, teacher=anew),
            "dlkdd_re": replace(taught, teacher=enhanced),
            "augmented_re": replace(anew, start=augmented),
        }
    )


def with_labels(
    size: RegimeSize, start: Recipe, data: Night | UserClips, enhancer, epochs: int
) -> dict[str, Recipe]:
    """The conditions that start from ``start`` and use labelled dark clips: those of :func:`.recipes.dual_light` but
    ``two_lights``, with every network started there. Teachers are fine-tuned in training mode, which re-estimates their
    statistics; ``dlkdd:teacher`` is DL-KDD's."""
    settings = Settings(epochs, lr=RATE)
    profile = Profile(size.name, size.night, settings, size.window, start.net)

    def begun(recipe: Recipe) -> Recipe:
        return replace(recipe, start=start, teacher=recipe.teacher and begun(recipe.teacher))

    recipes = dual_light(profile, start.seed, data, enhancer)
    del recipes["two_lights"]
    started = {condition: begun(recipe) for condition, recipe in recipes.items()}
    return started | {"dlkdd:teacher": started["dlkdd"].teacher}


def conditions(size: RegimeSize, seed: int) -> dict[str, Recipe]:
    """The conditions without labels for one seed, by gamma; the start has the same seed."""
    starts = (start(size, seed, augmented) for augmented in (False, True))
    return without_labels(size, *starts, size.night, Gamma())
