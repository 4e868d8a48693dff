"""Recipes of the compressed domain at three sizes: three networks, and internal classifiers on them by every method.

The module ends with the recipes of the paper's size on UCF-101 and HMDB-51; docs/methods.md, 3.6 explains their
numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from kdlab.clips.coviar import Compressed, PaperSegments, Segments, all_mpeg4
from kdlab.clips.windows import Batch
from kdlab.datasets.splits import Half, HeldOut, with_halves
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.compressed import CoViARNet, TinyCompressed, tiny
from kdlab.nets.pretrained import Weights
from kdlab.night import ACTIONS, Night
from kdlab.night.make import NightStream
from kdlab.papers.paper_size import HMDB_51, UCF_101, Paper, PaperSet, example, named, twice
from kdlab.papers.progressive import method as by
from kdlab.papers.progressive.exits import ExitRecipe, FrozenView
from kdlab.papers.progressive.networks import ORDER, POOLED, ExitHeads, frozen_features
from kdlab.train.recipe import Recipe
from kdlab.train.settings import AsReleased, Rule, Settings
from kdlab.train.sizes import VARIETY, ExitSize, current

#: The probability that place and props belong to the class. At 0.5 one I-frame is not enough; at 0.9 it is.
CONTEXT = 0.5


SMOKE, DEMO, STUDY = (current(word, ExitSize) for word in ("smoke", "demo", "study"))


def night(size: ExitSize) -> NightStream:
    """The bright MPEG-4 twins of `night`."""
    return NightStream(Night(ACTIONS, size.per_class, VARIETY, CONTEXT))


def yours(clips: UserClips) -> UserClips | HeldOut:
    """Your ``clips`` for networks and exits: all MPEG-4, with validation clips of two or more groups to calibrate exits
    on. Raises the errors of :func:`kdlab.clips.coviar.all_mpeg4`, before anything is trained."""
    return all_mpeg4(with_halves(clips))


def trio(
    size: ExitSize,
    data: NightStream | UserClips | HeldOut,
    seed: int = 0,
    *,
    residual: str = "residual",
    net: Callable[[str], TinyCompressed] = tiny,
) -> tuple[Recipe, ...]:
    """The recipes of the three networks of one seed, in ``ORDER``. ``residual`` may be ``coviar.DIFFERENCE``. ``net``
    is ``tiny``, with sizes that differ as in CoViAR, or ``matched``, with three equal networks."""
    rate = size.rate
    if not isinstance(data, NightStream):
        iframe = others = size.real_epochs
        rate = Settings.lr
    elif data.night.context:
        iframe, others = size.iframe_epochs, size.epochs
    else:
        iframe, others = size.epochs, size.plain_epochs

    def recipe(modality: str) -> Recipe:
        return Recipe(
            modality,
            data,
            Compressed(modality),
            by.SettledCrossEntropy(),
            net=net("residual" if modality == residual else modality),
            window=Segments(),
            settings=Settings(iframe if modality == "iframe" else others, lr=rate),
            seed=seed,
        )

    return tuple(recipe(modality) for modality in (residual, *ORDER[1:]))


#: The orders of three teachers that are neither PKD's nor its reverse.
ORDERS = tuple(
    name for name in by.orders() if name not in ("motion-residual-own", "own-residual-motion")
)
#: The conditions of the paper's size, which :func:`crossed` also trains on clips that the networks have seen. All have
#: the same steps, unlike the released baselines.
PAPER_CONDITIONS = ("ce_ic", "pkd", "pkd_iframe", "own_final")
#: The conditions of the demo profile: the method, its baseline, and the decisive control.
HEADLINE = ("ce_ic", "pkd", "own_final")


def conditions(size: ExitSize, backbones: tuple[Recipe, ...]) -> dict[str, ExitRecipe]:
    """Condition → recipe of internal classifiers on ``backbones``. All have the same steps, batches and initial
    weights."""
    first, orders = backbones[0], by.orders()
    few = not isinstance(first.data, NightStream)
    epochs, batch_size = (size.real_exit_epochs, 20) if few else (size.exit_epochs, 32)
    exits = ExitRecipe(
        "ce_ic",
        first.data,
        FrozenView(size.draws, POOLED),
        by.LabelExits(),
        net=ExitHeads.on(**{name: b.net for name, b in zip(ORDER, backbones, strict=True)}),
        window=first.window,
        settings=Settings(epochs, batch_size, lr=8e-3, schedule="cosine"),
        seed=first.seed,
        backbones=backbones,
    )
    methods = {
        "ce_ic": exits.method,
        "pkd": by.Progressive(),
        "pkd_iframe": by.Progressive(by.orders("iframe")["motion-residual-iframe"]),
        "own_final": by.Progressive(by.only("own")),
        "iframe_kd": by.Progressive(by.only("iframe")),
        "reversed": by.Progressive(orders["own-residual-motion"]),
        "random_teacher": by.RandomTeacher(),
        "mixture": by.FixedMixture(),
        "smoothing": by.SmoothedExits(),
        "ce_kd": by.Progressive(alpha=0.5),
    }
    methods |= {name: by.Progressive(orders[name]) for name in ORDERS}
    return named({name: replace(exits, method=method) for name, method in methods.items()})


def crossed(size: ExitSize, data: NightStream, seed: int = 0) -> dict[str, ExitRecipe]:
    """Condition → recipe of exits on networks that were trained on one half of the training scenes
    (:class:`kdlab.datasets.splits.Half`), all in twice the epochs.

    ``…_unseen`` train on the other half: no teacher was trained on their clips. ``ce_own`` (labels and the own final
    classifier in halves) joins the other methods. ``…_seen``, the control, train on the networks' own half.
    """

    whole, first, other = trio(size, data, seed), Half(data), Half(data, first=False)
    networks = tuple(replace(twice(network), data=first) for network in whole)
    seen = {
        name: replace(twice(recipe), data=first, backbones=networks)
        for name, recipe in conditions(size, whole).items()
    }
    own = seen["own_final"]
    seen["ce_own"] = replace(own, method=replace(own.method, alpha=0.5))
    unseen = {f"{name}_unseen": replace(recipe, data=other) for name, recipe in seen.items()}
    controls = {f"{name}_seen": seen[name] for name in PAPER_CONDITIONS}
    return named(unseen | controls)


# --- the paper's size ------------------------------------------------------------------------------------------

#: Modality → depth and batch of its network; its base rate as released, of which :func:`paper_profile` gives each layer a
#: share; and a tenth of it, the rate of all layers where ``as_released`` is off.
_NETWORKS = {
    "residual": (18, 80, 5e-3, 5e-4),
    "motion": (18, 80, 1e-2, 1e-3),
    "iframe": (50, 40, 3e-4, 3e-5),
}
_ADAM = (("net", Rule(eps=1e-3)),)


def paper_profile(
    weights: Mapping[str, Path | str] | None = None,
    draws: int = 1,
    as_released: bool = False,
    precision: str = "bf16",
) -> ExitRecipe:
    """The paper's sizes and settings of networks and exits, as one recipe without clips (its `night` is never read).

    The networks are ResNet-50 for I-frames and ResNet-18 for the others, from the checkpoints ``weights`` (by modality)
    or from random weights. The exits train on ``draws`` stored crops of each training clip.
    """
    files = weights or {}
    backbones = tuple(_paper_network(m, files.get(m), as_released, precision) for m in ORDER)
    settings = Settings(300, 32, 1e-3, 0.0, "cosine", precision)
    if as_released:  # one optimiser for the nine heads, which share no parameters
        most = max(rate for *_, rate, _ in _NETWORKS.values())
        shares = tuple((rf"^student\.{m}\.", rate / most) for m, (*_, rate, _) in _NETWORKS.items())
        released = AsReleased(_ADAM, shares, falls=(150, 200, 250))
        settings = replace(settings, lr=most, as_released=released)
    return ExitRecipe("exits", Night(), FrozenView(draws), settings=settings, backbones=backbones)


def _paper_network(modality: str, file, as_released: bool, precision: str) -> Recipe:
    depth, batch_size, rate, tenth = _NETWORKS[modality]
    scales, rates = (1.0, 0.875, 0.75), ((r"\.fc\.", 1.0), ("", 0.01))
    if modality == "iframe":
        scales += (0.66,)
    else:
        rates = ((r"^student\.net\.(conv1|bn1|data_bn)\.", 0.1), *rates)
    settings = Settings(510, batch_size, tenth, 1e-4, "cosine", precision)
    if as_released:
        released = AsReleased(_ADAM, rates, False, (150, 270, 390))
        settings = replace(settings, lr=rate, as_released=released)
    return Recipe(
        modality,
        Night(),
        Compressed(modality),
        by.SettledCrossEntropy(),
        net=CoViARNet(modality, depth, Weights.of(file) if file else None),
        window=PaperSegments(scales=scales),
        settings=settings,
    )


def paper_recipes(
    which: PaperSet, root: Path, size: ExitRecipe, seed: int = 0
) -> dict[tuple[str, str], ExitRecipe]:
    """(split, condition) → recipe. The exits of all modalities share a crop, whose sizes are those of residuals."""
    recipes = {}
    for split, clips in which.by_split(root).items():
        backbones = tuple(replace(net, data=clips, seed=seed) for net in size.backbones)
        exits = conditions(STUDY, backbones)
        for name in PAPER_CONDITIONS:
            recipes[split, name] = replace(exits[name], settings=size.settings, view=size.view)
    return recipes


def paper_example(recipe: Recipe, classes: int) -> tuple[dict, object, object]:
    """As :func:`kdlab.papers.paper_size.example`. The exits' input are the features that their networks compute from an
    empty clip."""
    if not recipe.needs():
        return example(recipe, classes)
    nets, views = {}, {}
    for modality, backbone in recipe.needs().items():
        backbone_nets, _, views[modality] = example(backbone, classes)
        nets[modality] = backbone_nets["student"]
    batch = Batch(frozen_features(nets, views), torch.zeros(1, dtype=torch.long), ("",))
    return {"student": recipe.net.make(classes)}, batch, batch.views


PAPER = Paper("3.6", (UCF_101, HMDB_51), paper_recipes, paper_example)
