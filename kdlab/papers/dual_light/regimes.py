"""The pre-trained regime: DL-KDD among networks that begin as one trained on *bright* clips (docs/methods.md, 1.6).

From nothing a teacher of enhanced clips knows no more than one of raw clips. A network that comes from bright video
does: the dark is new to it. Here are a start, all that can be made of it without a dark label, and all with some.
"""

from dataclasses import dataclass, replace

from kdlab.clips.enhance import Gamma
from kdlab.clips.unbalanced import Unbalanced
from kdlab.clips.views import Enhanced
from kdlab.distill.adaptation import AsItIs, EntropyMinimisation, Passes, PseudoLabels, ReEstimated
from kdlab.distill.method import CrossEntropy
from kdlab.night import Night
from kdlab.night.streams import NightStream
from kdlab.papers.dual_light.both_lights import BothLights
from kdlab.papers.dual_light.control_methods import RandomGamma
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.recipes import demonstrated, dual_light
from kdlab.papers.dual_light.regimes_nets import BatchNormed, OwnStatistics, TwoNets
from kdlab.system.values import fraction, one_of
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import Profile, RegimeSize

#: The first normalisation: batch norm as everywhere else, or kdlab's, which is each clip's own.
NORMS = "bn", "gn"
#: How many dark clips have labels.
LABELS = "none", "few", "many"
ENHANCERS = "gamma", "zerodce"
#: Bright clips are of this data seed, whose actors, places and light are in no dark clip.
BRIGHT = 1
#: At full variety a start takes so many times as many bright clips, in three tenths of the epochs.
FULL = 10
#: Training-mode passes over the clips, in batches of 64, of which re-estimated statistics are the mean.
PASSES = 4
#: Of adaptation and fine-tuning; a start has the usual one.
RATE = 1e-3
#: γ of brightness augmentation in pre-training: below 1 darkens. 0.25 brings a level of 110 to that of real dark clips.
DARKENING = RandomGamma(0.5, 0.25, 1.0)


@dataclass(frozen=True)
class Regime:
    """One cell of the study: first normalisation, labels, enhancer, whether the dark classes are equally frequent, and
    the ``variety`` of all clips."""

    norm: str = "bn"
    labels: str = "none"
    enhancer: str = "gamma"
    unbalanced: bool = False
    variety: float = 0.25

    def __post_init__(self):
        one_of(NORMS, norm=self.norm)
        one_of(LABELS, labels=self.labels)
        one_of(ENHANCERS, enhancer=self.enhancer)
        fraction(variety=self.variety)

    @property
    def name(self) -> str:
        """Such as ``bn_none``, ``gn_few``, ``bn_none_zerodce``."""
        more = ("_zerodce" * (self.enhancer == "zerodce"), "_unbalanced" * self.unbalanced, "_full" * self.full)
        return f"{self.norm}_{self.labels}{''.join(more)}"

    @property
    def full(self) -> bool:
        return self.variety == 1

    def night(self, size: RegimeSize) -> Night:
        """Dark clips of the regime's variety, all classes equally frequent."""
        return replace(size.night, variety=self.variety)

    def dark(self, size: RegimeSize) -> Night | Unbalanced:
        """The clips that are trained on. Unbalanced ones are cut from more, so that there are about as many."""
        night = self.night(size)
        train, *others = night.per_class
        if self.unbalanced:
            return Unbalanced(replace(night, per_class=(train * 5 // 2, *others)))
        return replace(night, per_class=(size.few, *others)) if self.labels == "few" else night


def start(size: RegimeSize, norm: str, seed: int, variety: float = 0.25, augmented: bool = False) -> Recipe:
    """A network of bright clips; ``augmented``: some of them darkened, one γ a clip."""
    train, *others = size.bright
    larger = variety == 1 and size.name != "smoke"
    counts, epochs = ((FULL * train, *others), size.epochs * 3 // FULL) if larger else (size.bright, size.epochs)
    clips = NightStream(Night(size.night.classes, counts, variety, seed=BRIGHT))
    return Recipe("start_augmented" if augmented else "start", clips, net=_network(size, norm), window=size.window,
                  method=DARKENING if augmented else CrossEntropy(), settings=Settings(epochs), seed=seed)


def without_labels(size: RegimeSize, start: Recipe, augmented: Recipe, data: Night | Unbalanced | UserClips,
                   enhancer) -> dict[str, Recipe]:
    """What can be made of ``start`` with dark clips whose labels are not read, by condition.

    Names that end in ``_re`` begin with re-estimated statistics, the student's and the teacher's alike; ``_bright``
    with those of bright clips. A student learns from soft targets alone (α = 1, t = 1). All have fixed steps and last
    weights: nothing chooses.
    """
    light, steps = Enhanced(enhancer), Settings(size.adapted, lr=RATE)

    def made(condition: str, like: Recipe, **changes) -> Recipe:
        return replace(like, condition=condition, **changes)

    raw = Recipe("as_is", data, method=AsItIs(), start=start, net=start.net, window=size.window, settings=Settings(1),
                 seed=start.seed)
    anew = made("re_estimated", raw, method=ReEstimated(), settings=Settings(PASSES, batch_size=64))
    enhanced, enhanced_anew = made("enhanced", raw, view=light), made("enhanced_re", anew, view=light)
    trained, soft = replace(raw, settings=steps), DualLight(temperature=1.0, alpha=1.0)
    found = [
        raw, anew, enhanced, enhanced_anew,
        made("dark_input", raw, net=OwnStatistics(raw.net)),
        made("passes", trained, method=Passes()),
        made("entropy", trained, method=EntropyMinimisation(), start=anew),
        made("pseudo_labels", trained, method=PseudoLabels(), start=anew, teacher=anew),
        made("same_light_bright", trained, method=soft, teacher=raw),
        made("dlkdd_bright", trained, method=soft, teacher=enhanced),
        made("same_light_re", trained, method=soft, start=anew, teacher=anew),
        made("dlkdd_re", trained, method=soft, start=anew, teacher=enhanced_anew),
        made("augmented", raw, start=augmented),
        made("augmented_re", anew, start=augmented),
    ]
    return {recipe.condition: recipe for recipe in found}


def with_labels(size: RegimeSize, start: Recipe, data: Night | UserClips, enhancer, epochs: int) -> dict[str, Recipe]:
    """What can be made of ``start`` with labelled dark clips, by condition: those of :func:`.recipes.dual_light` with
    every network begun there, and a student taught by a network of both lights. Teachers are fine-tuned in training
    mode, which re-estimates their statistics; they stand among the conditions as ``dlkdd:teacher`` and so on."""
    settings = Settings(epochs, lr=RATE)
    profile = Profile(size.name, size.night, settings, size.window, start.net)

    def begun(recipe: Recipe) -> Recipe:
        return replace(recipe, start=start, teacher=recipe.teacher and begun(recipe.teacher))

    made = {c: begun(recipe) for c, recipe in dual_light(profile, start.seed, data, enhancer=enhancer).items()
            if c != "two_lights"}
    both = replace(made["dlkdd"].teacher, condition="ce_both", view=BothLights(enhancer), net=TwoNets(start.net))
    made["both_lights"] = replace(made["dlkdd"], condition="both_lights", teacher=both)
    made |= {f"{c}:teacher": made[c].teacher for c in ("same_light", "dlkdd", "both_lights")}
    kept = without_labels(size, start, start, data, enhancer)
    return {c: kept[c] for c in ("as_is", "re_estimated")} | made


def conditions(size: RegimeSize, regime: Regime, seed: int) -> dict[str, Recipe]:
    """All that is trained in one ``regime`` for one seed, by condition; the start has the same seed."""
    began, augmented = (start(size, regime.norm, seed, regime.variety, more) for more in (False, True))
    data, night = regime.dark(size), regime.night(size)
    enhancer = demonstrated(size, night) if regime.enhancer == "zerodce" else Gamma()
    if regime.labels == "none":
        return without_labels(size, began, augmented, data, enhancer)
    epochs = size.tuned if regime.labels == "few" else max(1, size.tuned // 2)
    return with_labels(size, began, data, enhancer, epochs)


def _network(size: RegimeSize, norm: str):
    return BatchNormed(size.net) if norm == "bn" else size.net
