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
from kdlab.papers.paper_size import HMDB_51, UCF_101, Paper, PaperSet, example
from kdlab.papers.progressive import method as by
from kdlab.papers.progressive.exits import ExitRecipe, FrozenView
from kdlab.papers.progressive.networks import ORDER, POOLED, ExitHeads, frozen_features
from kdlab.train.recipe import Recipe
from kdlab.train.settings import AsReleased, Rule, Settings
from kdlab.train.sizes import VARIETY, ExitSize, current

#: The probability that place and props belong to the class. At 0.9 the three networks rank as in the papers.
CONTEXT = 0.9


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

    def epochs(modality: str) -> int:
        if not isinstance(data, NightStream):
            return size.real_epochs
        if modality == "iframe":
            return size.iframe_epochs if data.night.context else size.epochs
        return size.epochs if data.night.context else size.plain_epochs

    def recipe(modality: str) -> Recipe:
        made, settings = (
            net("residual" if modality == residual else modality),
            Settings(epochs=epochs(modality)),
        )
        return Recipe(
            modality,
            data,
            Compressed(modality),
            by.SettledCrossEntropy(),
            net=made,
            window=Segments(),
            settings=settings,
            seed=seed,
        )

    return tuple(recipe(modality) for modality in (residual, *ORDER[1:]))


#: The orders of three teachers that are neither PKD's nor its reverse.
ORDERS = tuple(
    name for name in by.orders() if name not in ("motion-residual-own", "own-residual-motion")
)
#: The conditions of the demo profile: the method, its baseline, and the decisive control.
HEADLINE = ("ce_ic", "pkd", "own_final")


def conditions(size: ExitSize, backbones: tuple[Recipe, ...]) -> dict[str, ExitRecipe]:
    """Condition → recipe of internal classifiers on ``backbones``. All have the same steps, batches and initial
    weights."""
    first = backbones[0]
    few = not isinstance(first.data, NightStream)
    epochs, batch_size = (size.real_exit_epochs, 20) if few else (size.exit_epochs, 32)
    settings = Settings(epochs=epochs, batch_size=batch_size, lr=8e-3, schedule="cosine")
    heads = ExitHeads.on(**dict(zip(ORDER, (b.net for b in backbones), strict=True)))
    methods = {
        "ce_ic": by.LabelExits(),
        "pkd": by.Progressive(),
        "pkd_iframe": by.Progressive(
            schedule=by.orders(strongest="iframe")["motion-residual-iframe"]
        ),
        "own_final": by.Progressive(schedule=by.only("own")),
        "iframe_kd": by.Progressive(schedule=by.only("iframe")),
        "reversed": by.Progressive(schedule=by.orders()["own-residual-motion"]),
        "random_teacher": by.RandomTeacher(),
        "mixture": by.FixedMixture(),
        "smoothing": by.SmoothedExits(),
        "ce_kd": by.Progressive(alpha=0.5),
    }
    methods |= {name: by.Progressive(schedule=by.orders()[name]) for name in ORDERS}
    how = dict(
        net=heads, window=first.window, settings=settings, seed=first.seed, backbones=backbones
    )
    view = FrozenView(size.draws, POOLED)
    return {
        name: ExitRecipe(name, first.data, view, method, **how) for name, method in methods.items()
    }


def crossed(size: ExitSize, data: NightStream, seed: int = 0) -> dict[str, ExitRecipe]:
    """Condition → recipe of exits on networks that were trained on one half of the training scenes
    (:class:`kdlab.datasets.splits.Half`), all in twice the epochs.

    ``…_unseen`` train on the other half: no teacher was trained on their clips. ``ce_own`` (labels and the own final
    classifier in halves) joins the other methods. ``…_seen``, the control, train on the networks' own half.
    """

    def twice(recipe: Recipe) -> Recipe:
        return replace(recipe, settings=replace(recipe.settings, epochs=2 * recipe.settings.epochs))

    whole = trio(size, data, seed)
    networks = tuple(replace(twice(network), data=Half(data)) for network in whole)
    every = {
        name: replace(twice(recipe), backbones=networks)
        for name, recipe in conditions(size, whole).items()
    }
    own = every["own_final"]
    every["ce_own"] = replace(own, method=replace(own.method, alpha=0.5))
    made = {
        f"{name}_unseen": replace(recipe, data=Half(data, first=False))
        for name, recipe in every.items()
    }
    made |= {
        f"{name}_seen": replace(every[name], data=Half(data))
        for name in ("ce_ic", "pkd", "pkd_iframe", "own_final")
    }
    return {name: replace(recipe, condition=name) for name, recipe in made.items()}


# --- the paper's size ------------------------------------------------------------------------------------------

#: All have the same steps, unlike the released baselines.
PAPER_CONDITIONS = ("ce_ic", "pkd", "pkd_iframe", "own_final")
#: Base rates as released, of which :func:`paper_profile` gives each layer a share; and a tenth of them, the rates of
#: all layers where ``as_released`` is off.
_RATES = {"residual": 5e-3, "motion": 1e-2, "iframe": 3e-4}
_TENTHS = {"residual": 5e-4, "motion": 1e-3, "iframe": 3e-5}
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
    files, backbones = dict(weights or ()), []
    for m in ORDER:
        large = m == "iframe"
        net = CoViARNet(m, 50 if large else 18, Weights.of(files[m]) if m in files else None)
        window = PaperSegments(scales=(1.0, 0.875, 0.75) + (0.66,) * large)
        settings = Settings(510, 40 if large else 80, _TENTHS[m], 1e-4, "cosine", precision)
        if as_released:
            first = () if large else ((r"^student\.net\.(conv1|bn1|data_bn)\.", 0.1),)
            released = AsReleased(
                _ADAM, (*first, (r"\.fc\.", 1.0), ("", 0.01)), False, (150, 270, 390)
            )
            settings = replace(settings, lr=_RATES[m], as_released=released)
        backbones.append(
            Recipe(
                m,
                Night(),
                Compressed(m),
                by.SettledCrossEntropy(),
                net=net,
                window=window,
                settings=settings,
            )
        )
    settings = Settings(300, 32, 1e-3, 0.0, "cosine", precision)
    if as_released:  # one optimiser for the nine heads, which share no parameters
        most = max(_RATES.values())
        shares = tuple((rf"^student\.{m}\.", rate / most) for m, rate in _RATES.items())
        settings = replace(
            settings, lr=most, as_released=AsReleased(_ADAM, shares, falls=(150, 200, 250))
        )
    return ExitRecipe(
        "exits", Night(), FrozenView(draws), settings=settings, backbones=tuple(backbones)
    )


def paper_recipes(
    which: PaperSet, root: Path, size: ExitRecipe, seed: int = 0
) -> dict[tuple[str, str], ExitRecipe]:
    """(split, condition) → recipe. The exits of all modalities share a crop, whose sizes are those of residuals."""
    found = {}
    for split in which.splits:
        clips = UserClips(str(root / which.folder), split)
        made = conditions(
            STUDY, tuple(replace(net, data=clips, seed=seed) for net in size.backbones)
        )
        found |= {
            (split, c): replace(made[c], settings=size.settings, view=size.view)
            for c in PAPER_CONDITIONS
        }
    return found


def paper_example(recipe: Recipe, classes: int) -> tuple[dict, object, object]:
    """As :func:`kdlab.papers.paper_size.example`. The exits' input are the features that their networks compute from an
    empty clip."""
    if not recipe.needs():
        return example(recipe, classes)
    nets, views = {}, {}
    for modality, backbone in recipe.needs().items():
        made, _, views[modality] = example(backbone, classes)
        nets[modality] = made["student"]
    batch = Batch(frozen_features(nets, views), torch.zeros(1, dtype=torch.long), ("",))
    return {"student": recipe.net.make(classes)}, batch, batch.views


PAPER = Paper("3.6", (UCF_101, HMDB_51), paper_recipes, paper_example)
