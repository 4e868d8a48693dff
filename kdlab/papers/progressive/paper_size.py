"""The ``paper`` profile of PKD and WISE: UCF-101 and HMDB-51 at the released size.

Section 3.6 of docs/methods.md tells, number by number, what is the paper's, the reference code's, ours or unknown.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from kdlab import paths
from kdlab.clips.catalogue import Catalogue
from kdlab.clips.compressed import scan
from kdlab.clips.coviar import Compressed
from kdlab.clips.released import HMDB_COUNTS, UCF_COUNTS
from kdlab.clips.segments import PaperSegments
from kdlab.clips.splits import VAL_SHARE
from kdlab.clips.transcode import CoviarFormat
from kdlab.measure.crops import ten_crops
from kdlab.nets.compressed import CoViARNet
from kdlab.nets.pretrained import Weights
from kdlab.night import Night
from kdlab.papers.paper_size import Paper, PaperSet, cost, example
from kdlab.papers.progressive.anytime import cost_per_exit
from kdlab.papers.progressive.budgets import everything, parts
from kdlab.papers.progressive.exits import ExitRecipe, FeatureBatch, FrozenView
from kdlab.papers.progressive.method import SettledCrossEntropy, gate
from kdlab.papers.progressive.nets import FINALS, ORDER, ExitHeads, Trio
from kdlab.papers.progressive.recipes import STUDY, conditions
from kdlab.papers.progressive.wise import FAITHFUL_MIX
from kdlab.train.loop import Settings
from kdlab.train.optimisers import AsReleased, Rule
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import Run, find

_COUNTS = {"ucf101": UCF_COUNTS, "hmdb51": HMDB_COUNTS}
SETS = (
    PaperSet("UCF-101", "ucf101", 101, tuple(split["train"] for split in UCF_COUNTS.values()), (
        "PKD + WISE, abstract: exits up to 5.87 points above labels alone; WISE up to 4.28",
        "its notebooks, 3 splits, segments MV/R/I: 92.77 at 45.4 GMACs a video (3/5/3), 92.55 at 39.3 (3/3/3), 88.41 at"
        " 13.1 (1/1/1): a sweep of segments, in which leaving early saves under 1 % of the MACs; ours: 3/3/3, θ swept",
        "quoted there: CoViAR 93.1, TEAM-Net 93.35")),
    PaperSet("HMDB-51", "hmdb51", 51, tuple(split["train"] for split in HMDB_COUNTS.values()), (
        "PKD + WISE, abstract: exits up to 11.42 points above labels alone; WISE up to 9.30",
        "its notebooks, 3 splits, segments MV/R/I: 68.50 at 51.2 GMACs a video (5/5/3), 68.10 at 45.4 (3/5/3), 60.31 at"
        " 12.3 (1/1/1): a sweep of segments, in which leaving early saves 7 % of the MACs at the last, else under 1 %",
        "quoted there: CoViAR 68.0 to 68.1, TEAM-Net 66.06")),
)
#: Of :func:`kdlab.papers.progressive.recipes.conditions`; all have the same steps, which the released baselines do not.
CONDITIONS = ("ce_ic", "pkd", "pkd_iframe", "own_final")
_SWITCHED = ("Adam with eps 1e-3 and L2 decay, none of biases; rates of 1 (the last layer), .1 (the input of MV and R)"
             " and .01 of the base; exits' rates by modality; a tenth at 150, 270, 390 (exits: 150, 200, 250); CoViAR's"
             " own test, 25 segments in ten crops, beside PKD's")
_OTHERWISE = ("exits at 256² on new crops in each epoch (224², kept crops), PKD's without the linear layer's bias, best"
              " epoch on test (the last); batch statistics that move to the end (frozen for the last third); colour"
              " jitter; fp32 (bf16, but --precision fp32); up to 5 test segments")
_LISTS = ("; all of a list to train on, but for its first line, which the reader loses"
          f" ({VAL_SHARE:.0%}, whole groups, validate)")
#: Base rates as released; :func:`profile` says what part of them each layer has, or without the switch all layers.
_RATES = {"residual": 5e-3, "motion": 1e-2, "iframe": 3e-4}
_ADAM = (("net", Rule(eps=1e-3)),)
_INPUT = r"^student\.net\.(conv1|bn1|data_bn)\."
_SCALES = (1.0, 0.875, 0.75)
_COVIAR_SEGMENTS = 25
#: How CoViAR makes clips over, and how many of a data set are looked at: of 13,320 an original or two may slip through,
#: a folder of originals does not.
FORM, _LOOKED_AT = CoviarFormat(), 24
#: CPU milliseconds, one core, to read and cut 3 frames of a clip at 340x256: measured on 20 clips of 36 to 89 frames.
_READ_MS = {"residual": 9, "motion": 9, "iframe": 5}


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


def fits(catalogue: Catalogue, form: CoviarFormat = FORM) -> None:
    """Raise ``ValueError`` where clips, of a sample spread over the catalogue, are not in the paper's ``form``: what
    :func:`kdlab.clips.compressed.scan` refuses, another size, longer groups of pictures, or shorter ones in all."""
    found, mend = [], f"make the clips over: kdlab data transcode {catalogue.root} --out FOLDER"
    for record in catalogue.records[:: ceil(len(catalogue.records) / _LOOKED_AT)]:
        stream = scan(record.path)
        longest = int(np.diff([*stream.keys, len(stream.kinds)]).max())
        found.append((longest, len(stream.kinds), record.path))
        if (stream.info.width, stream.info.height) != (form.width, form.height) or longest > form.gop:
            raise ValueError(f"{record.path} has {stream.info.width}x{stream.info.height} pixels and up to {longest}"
                             f" frames from I-frame to I-frame, where {form.width}x{form.height} and {form.gop} are the"
                             f" paper's; {mend}")
    longest, _, path = max(found)
    if longest < min(form.gop, max(frames for _, frames, _ in found)):  # a cut in a film begins a group
        raise ValueError(f"no clip has more than {longest} frames from I-frame to I-frame ({path}), where {form.gop} "
                         f"are the paper's; {mend}")


def _trio(size: ExitRecipe, classes: int) -> tuple[Trio, dict[str, torch.Tensor]]:
    """Networks and heads without weights, and what they see of an empty clip."""
    nets, views = {}, {}
    for modality, backbone in size.needs().items():
        made, _, views[modality] = example(backbone, classes)
        nets[modality] = made["student"]
    heads = ExitHeads.on(**{modality: backbone.net for modality, backbone in size.needs().items()})
    return Trio(nets, heads.make(classes)), views


def _example(recipe: Recipe, classes: int) -> tuple[dict, object, object]:
    """As :func:`kdlab.papers.paper_size.example`; the exits see what their networks make of an empty clip."""
    if not recipe.needs():
        return example(recipe, classes)
    trio, views = _trio(recipe, classes)
    maps, finals = trio.frozen(views)
    batch = FeatureBatch(maps | {"finals": finals}, torch.zeros(1, dtype=torch.long), ("",))
    return {"student": trio.heads}, batch, batch.views


def _special(which: PaperSet, root: Path, size: ExitRecipe, clips: list[int]) -> list[str]:
    with torch.device("meta"):
        batch = _example(size, which.classes)[1]
    mib = 2 * sum(stage.numel() for m in ORDER for stage in batch.views[m]) / 2**20
    every = [sum(_COUNTS[which.folder][split].values()) for split in which.splits]
    seen = [n + (size.view.draws - 1) * t for n, t in zip(every, clips, strict=True)]
    read = sum(_READ_MS[m] * backbone.settings.epochs for m, backbone in size.needs().items())
    forward = sum(cost(backbone, which.classes).forward for backbone in size.backbones)
    return [
        f"  make       kdlab data transcode FOLDER --out {root / which.folder}; then put the lists there",
        f"  or         as CoViAR leaves them: {which.folder}/mpeg4_videos/<class>/….mp4, and its lists"
        f" datalists/{which.folder}_split{{1,2,3}}_{{train,test}}.txt there or beside {which.folder}",
        "  validation half of its clips calibrate, half validate; WISE trains nothing",
        f"  host       {max(seen) * mib / 1024:,.0f} GiB of features for a split ({mib:.1f} MiB a clip, draws of a"
        f" training clip: {size.view.draws}); where that exceeds KDLAB_MEMORY_GB ({paths.memory_bytes() / 1e9:.3g})"
        f" they lie in {paths.cache_dir()}",
        f"  CPU time   {read * sum(clips) / 3.6e6:,.0f} h a seed to read clips beyond KDLAB_CACHE_GB, by four threads"
        f" ahead of a GPU, and {sum(seen) * forward / 40e9 / 3600:,.0f} h for features (one core, 40 GMACs/s; a"
        " GPU needs no longer than reading takes)"]


def scores(run: Run, mix: tuple[float, float, float], costs: np.ndarray, say=print) -> dict[str, float]:
    """Top-1 in percent on test of each final alone, of the nine trained exits on average, and of every way to combine
    the twelve (``faithful_mix`` weighs the finals by ``mix``), a mean over both halves of the validation clips.

    ``costs`` are ``cost_per_exit``'s. Networks that may not teach (``gate``) are named to ``say``.
    """
    test, train = run.predictions(), run.predictions("train")
    for name, recipe, final in zip(ORDER, run.recipe.backbones, FINALS, strict=True):
        ce = float(F.cross_entropy(torch.tensor(train.logits[:, final]), torch.tensor(train.labels)))
        if why := gate(ce, float(find(recipe, pretrained=True).history["ce"].iloc[-1])):
            say(f"{recipe.name} ({name}) is no sound teacher: {why}")
    found = {f"{name} alone": test.correct[:, final] for name, final in zip(ORDER, FINALS, strict=True)}
    found["nine exits"] = np.delete(test.correct, FINALS, 1)
    alone = np.diff(costs, prepend=0).reshape(3, 4).cumsum(1).ravel()
    both = [everything(some, costs, alone, mix)[0] for some in parts(run)]
    found |= {way: [said[way] == test.labels for said in both] for way in both[0] if not way.endswith("@k")}
    return {way: 100 * float(np.mean(right)) for way, right in found.items()}


def _rows(which: PaperSet, runs: dict[tuple[str, str], Run], size: ExitRecipe, say) -> list[tuple]:
    with torch.device("meta"):
        trio, views = _trio(size, which.classes)
    costs = cost_per_exit(trio, {modality: tuple(x.shape[1:]) for modality, x in views.items()})
    rows = [(way, condition, value) for (split, condition), run in runs.items() for way, value
            in scores(run, FAITHFUL_MIX[which.folder][int(split) - 1], costs, say).items()]
    if size.settings.as_released:
        found = {net: ten_crops(find(net, pretrained=True), frames=_COVIAR_SEGMENTS).accuracy
                 for net in dict.fromkeys(net for run in runs.values() for net in run.recipe.backbones)}
        rows += [(f"{m} alone, {_COVIAR_SEGMENTS} × 10 crops", condition, found[net]) for (_, condition), run
                 in runs.items() for m, net in zip(ORDER, run.recipe.backbones, strict=True)]
    return rows


PAPER = Paper("progressive", "3.6", SETS, recipes, _rows, ("way", "condition"), _OTHERWISE + _LISTS, _SWITCHED,
              fits=fits, special=_special, example=_example)
