"""Recipes of the compressed domain at three sizes: three networks, and internal classifiers on them by every method.

The `paper` size is in ``kdlab.papers.progressive.paper_size``.
"""

from collections.abc import Callable
from dataclasses import replace

from kdlab.clips.coviar import Compressed, Segments, all_mpeg4
from kdlab.clips.splits import Half, HeldOut, with_halves
from kdlab.nets.compressed import TinyCompressed, tiny
from kdlab.night import ACTIONS, Night
from kdlab.night.streams import NightStream
from kdlab.papers.progressive import method as by
from kdlab.papers.progressive.exits import ExitRecipe, FrozenView
from kdlab.papers.progressive.nets import ORDER, POOLED, ExitHeads
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import VARIETY, ExitSize, current

#: The probability that place and props tell the class, at which the three networks stand in the papers' order.
CONTEXT = 0.9


SMOKE, DEMO, STUDY = (current(word, ExitSize) for word in ("smoke", "demo", "study"))


def night(size: ExitSize, context: float = CONTEXT) -> NightStream:
    """The bright MPEG-4 twins of `night`."""
    return NightStream(Night(ACTIONS, size.per_class, VARIETY, context))


def yours(clips: UserClips) -> UserClips | HeldOut:
    """Your ``clips`` as networks and exits learn from them: all MPEG-4, with two groups or more to calibrate exits on.
    Raises in a sentence what speaks against it, before anything is trained."""
    return all_mpeg4(with_halves(clips))


def trio(size: ExitSize, data: NightStream | UserClips | HeldOut, seed: int = 0, *, residual: str = "residual",
         net: Callable[[str], TinyCompressed] = tiny) -> tuple[Recipe, ...]:
    """The three networks of one seed, in the order of ``ORDER``. ``residual`` may be ``coviar.DIFFERENCE``; ``net`` is
    ``tiny``, as CoViAR divides the work, or ``matched``, where all three are alike."""
    def epochs(modality: str) -> int:
        if not isinstance(data, NightStream):
            return size.real_epochs
        if modality == "iframe":
            return size.iframe_epochs if data.night.context else size.epochs
        return size.epochs if data.night.context else size.plain_epochs

    def recipe(modality: str) -> Recipe:
        made, settings = net("residual" if modality == residual else modality), Settings(epochs=epochs(modality))
        return Recipe(modality, data, Compressed(modality), by.SettledCrossEntropy(), net=made, window=Segments(),
                      settings=settings, seed=seed)

    return tuple(recipe(modality) for modality in (residual, *ORDER[1:]))


#: How a study's words read in figures, in the order of a table.
TITLES = {
    "ce_ic": "CE on labels",
    "pkd": "PKD (motion, residual, own)",
    "pkd_iframe": "PKD ending with the I-frame",
    "own_final": "own final throughout",
    "iframe_kd": "I-frame throughout",
    "reversed": "reversed: own, residual, motion",
    "random_teacher": "a random teacher a batch",
    "mixture": "mean of three teachers",
    "smoothing": "label smoothing, same entropy",
    "ce_kd": "labels and PKD in halves",
    "ce_own": "labels and own final in halves",
}
#: The orders of three teachers that are neither PKD's nor its reverse.
ORDERS = tuple(name for name in by.orders() if name not in ("motion-residual-own", "own-residual-motion"))
#: What the demo profile trains: the method, its baseline, and the control that decides.
HEADLINE = ("ce_ic", "pkd", "own_final")


def conditions(size: ExitSize, backbones: tuple[Recipe, ...]) -> dict[str, ExitRecipe]:
    """Internal classifiers on ``backbones`` by every method, each with the same steps, batches and initial weights."""
    first = backbones[0]
    few = not isinstance(first.data, NightStream)
    epochs, batch_size = (size.real_exit_epochs, 20) if few else (size.exit_epochs, 32)
    settings = Settings(epochs=epochs, batch_size=batch_size, lr=8e-3, schedule="cosine")
    heads = ExitHeads.on(**dict(zip(ORDER, (b.net for b in backbones), strict=True)))
    methods = {
        "ce_ic": by.LabelExits(),
        "pkd": by.Progressive(),
        "pkd_iframe": by.Progressive(schedule=by.orders(strongest="iframe")["motion-residual-iframe"]),
        "own_final": by.Progressive(schedule=by.only("own")),
        "iframe_kd": by.Progressive(schedule=by.only("iframe")),
        "reversed": by.Progressive(schedule=by.orders()["own-residual-motion"]),
        "random_teacher": by.RandomTeacher(),
        "mixture": by.FixedMixture(),
        "smoothing": by.SmoothedExits(),
        "ce_kd": by.Progressive(alpha=0.5),
    }
    methods |= {name: by.Progressive(schedule=by.orders()[name]) for name in ORDERS}
    how = dict(net=heads, window=first.window, settings=settings, seed=first.seed, backbones=backbones)
    view = FrozenView(size.draws, POOLED)
    return {name: ExitRecipe(name, first.data, view, method, **how) for name, method in methods.items()}


def crossed(size: ExitSize, data: NightStream, seed: int = 0) -> dict[str, ExitRecipe]:
    """Exits on networks that have learnt one half of the training scenes (:class:`kdlab.clips.splits.Half`), in twice
    the epochs.

    ``…_unseen`` learn on the other half, so features and targets are of clips that no teacher knows by heart. To all
    methods comes ``ce_own``, labels and the own final in halves. ``…_seen``, the control, learn on the networks' own
    half.
    """
    def twice(recipe: Recipe) -> Recipe:
        return replace(recipe, settings=replace(recipe.settings, epochs=2 * recipe.settings.epochs))

    whole = trio(size, data, seed)
    networks = tuple(replace(twice(network), data=Half(data)) for network in whole)
    every = {name: replace(twice(recipe), backbones=networks) for name, recipe in conditions(size, whole).items()}
    own = every["own_final"]
    every["ce_own"] = replace(own, method=replace(own.method, alpha=0.5))
    made = {f"{name}_unseen": replace(recipe, data=Half(data, first=False)) for name, recipe in every.items()}
    made |= {f"{name}_seen": replace(every[name], data=Half(data))
             for name in ("ce_ic", "pkd", "pkd_iframe", "own_final")}
    return {name: replace(recipe, condition=name) for name, recipe in made.items()}
