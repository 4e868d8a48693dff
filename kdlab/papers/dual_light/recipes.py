"""Recipes of DL-KDD for one seed, by condition; sizes are in :mod:`kdlab.train.sizes`. The recipes
of the paper's size come last; docs/methods.md, 1.5, explains their numbers."""

from dataclasses import replace
from pathlib import Path

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw, View
from kdlab.clips.windows import ConsecutiveWindow
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.attention_head import Attended
from kdlab.nets.pretrained import Weights
from kdlab.nets.torchvision_video import R2Plus1D
from kdlab.night import Night
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.method import DualLight, MatchedSmoothing
from kdlab.papers.dual_light.networks import BothLights, TwoLights
from kdlab.papers.paper_size import Paper, PaperSet, named, twice
from kdlab.train.recipe import Recipe
from kdlab.train.settings import AsReleased, Rule, Settings
from kdlab.train.sizes import Profile


def dual_light(
    profile: Profile,
    seed: int = 0,
    data: str | UserClips | None = None,
    enhancer=Gamma(),
    dark: View = Raw(),
) -> dict[str, Recipe]:
    """The conditions of the DL-KDD study for one seed, by name, on ``data`` (a path or clips) or `night`.

    ``dark`` is the students' view (``Darkened()`` darkens bright clips), and the input of ``enhancer``. All students
    train for equal steps, except ``ce_2x``, which has the steps of a teacher in addition. ``two_lights`` is one network
    that sees both lights. A student's teacher has the seed ``seed + 1``: with an equal seed it would also share the
    student's initial weights and order of clips.
    """
    clips = UserClips(data) if isinstance(data, str) else data or profile.night
    net = profile.net
    raw = Recipe(
        "ce_raw",
        clips,
        dark,
        net=net,
        window=profile.window,
        settings=profile.settings,
        seed=seed,
    )
    bright = replace(raw, condition="ce_enhanced", view=Enhanced(enhancer, of=dark))
    dark_teacher, bright_teacher = (replace(recipe, seed=seed + 1) for recipe in (raw, bright))
    dlkdd = replace(raw, method=DualLight(), teacher=bright_teacher)
    both = TwoLights(net, dropout=0.0)  # DarkLight's 0.8 is too high for the tiny net (docs/log.md)
    if isinstance(net, Attended):
        both = TwoLights(net.backbone)
    return named(
        {
            "ce_raw": raw,
            "ce_enhanced": bright,
            "same_light": replace(dlkdd, teacher=dark_teacher),
            "dlkdd": dlkdd,
            "label_smoothing": replace(dlkdd, method=MatchedSmoothing()),
            "ce_2x": twice(raw),
            "two_lights": replace(raw, view=BothLights(enhancer, dark), net=both),
        }
    )


# --- the paper's size ------------------------------------------------------------------------------------------

#: The teacher's enhancer, made for its training clips. Width and picture size of Zero-DCE are those of its release.
ENHANCERS = {
    "gamma1.8": lambda clips: Gamma(1.8),
    "zerodce": lambda clips: TrainedCurves(clips, width=32, side=256),
}


def paper_profile(
    weights: Path | str | None = None, as_released: bool = False, precision: str = "bf16"
) -> Profile:
    """R(2+1)D-34 with temporal attention on clips of 64 × 112², from a checkpoint at ``weights`` or from random
    weights.

    ``as_released``: DarkLight's AdamW without warm-up. The gradients of 16 batches of 8 clips are summed for one step;
    the rate is divided by ten after 5 epochs without a lower validation loss.
    """
    net = Attended(R2Plus1D(Weights.of(weights) if weights else None))
    settings = Settings(200, 8, 1e-5, 1e-3, "one_cycle", precision)
    if as_released:
        released = AsReleased((("net", Rule("adamw")),), patience=5)
        settings = replace(settings, batch_size=128, accumulate=16, as_released=released)
    return Profile(
        "paper", Night(), settings, ConsecutiveWindow(), net
    )  # `night` is never read here


def paper_recipes(
    which: PaperSet, root: Path, size: Profile, seed: int = 0
) -> dict[tuple[str, str, str], Recipe]:
    """(split, enhancer, condition) → recipe; the conditions are those of :func:`dual_light`.

    A condition without an enhancer appears once, under the first enhancer.
    """
    keys = {}
    for split, clips in which.by_split(root).items():
        for name, enhancer in ENHANCERS.items():
            for condition, recipe in dual_light(size, seed, clips, enhancer(clips)).items():
                keys.setdefault(recipe, (split, name, condition))
    return {key: recipe for recipe, key in keys.items()}


PAPER = Paper(
    "1.5",
    (
        PaperSet("ARID v1.0", "arid", 11, (2288, 2252, 2259)),
        # two of three own folds of the reported 5,572 clips
        PaperSet("ARID v1.5", "arid15", 11, (3715, 3715, 3715)),
        PaperSet("Dark-48", "dark48", 48, (7052, 7052, 7052)),
    ),
    paper_recipes,
)
