"""Recipes of the compressed domain at three sizes: three networks, and internal classifiers on them by every method.

The `paper` size is in ``kdlab.papers.progressive.paper_size``.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kdlab.clips.coviar import Compressed
from kdlab.clips.held_out import HeldOut
from kdlab.clips.segments import Segments
from kdlab.nets.compressed import TinyCompressed, tiny
from kdlab.night import ACTIONS, Night
from kdlab.night.streams import NightStream
from kdlab.papers.progressive import method as by
from kdlab.papers.progressive.exits import ExitRecipe, FrozenView
from kdlab.papers.progressive.nets import ORDER, POOLED, ExitHeads
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import VARIETY, among
from kdlab.values import whole

#: The probability that place and props tell the class, at which the three networks stand in the papers' order.
CONTEXT = 0.9


#: The exits that are trained, among the twelve of which every fourth is a network's own final classifier.
TRAINED = (0, 1, 2, 4, 5, 6, 8, 9, 10)


@dataclass(frozen=True)
class ExitSize:
    """Clips of `night`; epochs of the three networks and of the internal classifiers, there and on few real clips; and
    how many random ``draws`` of a training clip the classifiers see. Where places tell nothing of the class (context 0)
    residual and motion networks need ``plain_epochs`` before they may teach."""

    name: str
    per_class: tuple[int, int, int]
    epochs: int
    plain_epochs: int
    exit_epochs: int
    real_epochs: int
    real_exit_epochs: int
    draws: int
    seeds: int

    def __post_init__(self):
        whole(0, per_class=list(self.per_class))
        whole(1, epochs=self.epochs, plain_epochs=self.plain_epochs, exit_epochs=self.exit_epochs, draws=self.draws,
              real_epochs=self.real_epochs, real_exit_epochs=self.real_exit_epochs, seeds=self.seeds)


SMOKE = ExitSize("smoke", (4, 2, 2), 2, 2, 2, 2, 2, 2, 2)
DEMO = ExitSize("demo", (16, 6, 10), 80, 80, 15, 250, 100, 4, 2)
STUDY = ExitSize("study", (40, 30, 100), 130, 300, 15, 250, 100, 8, 5)
sized = among(SMOKE, DEMO, STUDY)


def night(size: ExitSize, context: float = CONTEXT) -> NightStream:
    """The bright MPEG-4 twins of `night`."""
    return NightStream(Night(ACTIONS, size.per_class, VARIETY, context))


def trio(size: ExitSize, data: NightStream | HeldOut, seed: int = 0, *, residual: str = "residual",
         net: Callable[[str], TinyCompressed] = tiny) -> tuple[Recipe, ...]:
    """The three networks of one seed, in the order of ``ORDER``. ``residual`` may be ``coviar.DIFFERENCE``; ``net`` is
    ``tiny``, as CoViAR divides the work, or ``matched``, where all three are alike."""
    def epochs(modality: str) -> int:
        if isinstance(data, HeldOut):
            return size.real_epochs
        return size.epochs if data.night.context or modality == "iframe" else size.plain_epochs

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
}
#: The orders of three teachers that are neither PKD's nor its reverse.
ORDERS = tuple(name for name in by.orders() if name not in ("motion-residual-own", "own-residual-motion"))
#: What the demo profile trains: the method, its baseline, and the control that decides.
HEADLINE = ("ce_ic", "pkd", "own_final")


def conditions(size: ExitSize, backbones: tuple[Recipe, ...]) -> dict[str, ExitRecipe]:
    """Internal classifiers on ``backbones`` by every method, each with the same steps, batches and initial weights."""
    first = backbones[0]
    few = isinstance(first.data, HeldOut)
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
