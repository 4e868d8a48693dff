"""The ``paper`` profile of PKD and WISE: UCF-101 and HMDB-51 at the released size.

Section 3.6 of docs/methods.md tells, number by number, what is the paper's, the reference code's, ours or unknown.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from kdlab.clips.coviar import Compressed, PaperSegments
from kdlab.clips.datasets import HMDB_COUNTS, UCF_COUNTS
from kdlab.nets.compressed import CoViARNet
from kdlab.nets.pretrained import Weights
from kdlab.night import Night
from kdlab.papers.paper_size import Paper, PaperSet, example
from kdlab.papers.progressive.exits import ExitRecipe, FeatureBatch, FrozenView
from kdlab.papers.progressive.method import SettledCrossEntropy
from kdlab.papers.progressive.nets import ORDER, ExitHeads, Trio
from kdlab.papers.progressive.recipes import STUDY, conditions
from kdlab.train.loop import Settings
from kdlab.train.optimisers import AsReleased, Rule
from kdlab.train.recipe import Recipe, UserClips

SETS = (
    PaperSet("UCF-101", "ucf101", 101, tuple(split["train"] for split in UCF_COUNTS.values()), (
        "PKD + WISE, abstract: exits up to 5.87 points above labels alone; WISE up to 4.28",
        "its notebooks, 3 splits, segments MV/R/I: 92.77 at 45.4 GMACs a video (3/5/3), 88.41 at 13.1 (1/1/1)",
        "quoted there: CoViAR 93.1, TEAM-Net 93.35")),
    PaperSet("HMDB-51", "hmdb51", 51, tuple(split["train"] for split in HMDB_COUNTS.values()), (
        "PKD + WISE, abstract: exits up to 11.42 points above labels alone; WISE up to 9.30",
        "its notebooks, 3 splits, segments MV/R/I: 68.50 at 51.2 GMACs a video (5/5/3), 60.31 at 12.3 (1/1/1)",
        "quoted there: CoViAR 68.0 to 68.1, TEAM-Net 66.06")),
)
#: Of :func:`kdlab.papers.progressive.recipes.conditions`; all have the same steps, which the released baselines do not.
CONDITIONS = ("ce_ic", "pkd", "pkd_iframe", "own_final")
_OTHERWISE = ("exits at 256² on new crops in each epoch (224², kept crops), PKD's without the linear layer's bias, best"
              " epoch on test (the last); batch statistics that move to the end (frozen for the last third); colour"
              " jitter; fp32 (bf16, but --precision fp32); up to 5 test segments; all of a list to train on")
#: Base rates as released; :func:`profile` says what part of them each layer has, or without the switch all layers.
_RATES = {"residual": 5e-3, "motion": 1e-2, "iframe": 3e-4}
_ADAM = (("net", Rule(eps=1e-3)),)
_INPUT = r"^student\.net\.(conv1|bn1|data_bn)\."
_SCALES = (1.0, 0.875, 0.75)


def profile(weights: Mapping[str, Path | str] | None = None, draws: int = 1, as_released: bool = False) -> ExitRecipe:
    """The sizes and settings of everything, as one recipe without clips (its `night` is never read).

    ResNet-50 for I-frames, ResNet-18 for the others, from the checkpoints ``weights`` (by modality) or at random. The
    exits see ``draws`` kept crops of a training clip.
    """
    made = {modality: Weights.of(path) for modality, path in dict(weights or ()).items()}
    rates, backbones = {"residual": 5e-4, "motion": 1e-3, "iframe": 3e-5}, []  # a tenth of the released base
    for m in ORDER:
        large = m == "iframe"
        net, window = CoViARNet(m, 50 if large else 18, made.get(m)), PaperSegments(scales=_SCALES + (0.66,) * large)
        settings = Settings(510, 40 if large else 80, rates[m], 1e-4, "cosine", "bf16")
        if as_released:
            shares = (((_INPUT, 0.1),) if not large else ()) + ((r"\.fc\.", 1.0), ("", 0.01))
            settings = replace(settings, lr=_RATES[m], as_released=AsReleased(_ADAM, shares, False, (150, 270, 390)))
        plain = Recipe(m, Night(), Compressed(m), SettledCrossEntropy(), net=net, window=window, settings=settings)
        backbones.append(plain)
    settings = Settings(300, 32, 1e-3, 0.0, "cosine", "bf16")
    if as_released:  # one optimiser for the nine exits, which share nothing
        most = max(_RATES.values())
        shares = tuple((rf"^student\.{m}\.", rate / most) for m, rate in _RATES.items())
        settings = replace(settings, lr=most, as_released=AsReleased(_ADAM, shares, falls=(150, 200, 250)))
    return ExitRecipe("exits", Night(), FrozenView(draws), settings=settings, backbones=tuple(backbones))


def recipes(which: PaperSet, root: Path, size: ExitRecipe, seed: int = 0) -> dict[tuple[str, str], ExitRecipe]:
    """(split, condition) → recipe. The exits of all modalities share their crop; its sizes are those of residuals."""
    found = {}
    for split in which.splits:
        clips = UserClips(str(root / which.folder), split)
        made = conditions(STUDY, tuple(replace(net, data=clips, seed=seed) for net in size.backbones))
        found |= {(split, c): replace(made[c], settings=size.settings, view=size.view) for c in CONDITIONS}
    return found


def _example(recipe: Recipe, classes: int) -> tuple[dict, object, object]:
    """As :func:`kdlab.papers.paper_size.example`; the exits see what their networks make of an empty clip."""
    if not recipe.needs():
        return example(recipe, classes)
    nets, views = {}, {}
    for modality, backbone in recipe.needs().items():
        made, _, views[modality] = example(backbone, classes)
        nets[modality] = made["student"]
    heads = ExitHeads.on(**{modality: backbone.net for modality, backbone in recipe.needs().items()})
    trio = Trio(nets, heads.make(classes))
    maps, finals = trio.frozen(views)
    batch = FeatureBatch(maps | {"finals": finals}, torch.zeros(1, dtype=torch.long), ("",))
    return {"student": trio.heads}, batch, batch.views


PAPER = Paper("progressive", "3.6", SETS, recipes, otherwise=_OTHERWISE, example=_example)
