"""The ``paper`` profile of PKD and WISE: UCF-101 and HMDB-51 at the released size, what that costs, and a dry run.

Section 3.6 of docs/methods.md tells, number by number, what is the paper's, the reference code's, ours or unknown.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.compressed import Unsuited, scan
from kdlab.clips.container import DamagedClip
from kdlab.clips.coviar import Compressed
from kdlab.clips.released import HMDB_COUNTS, UCF_COUNTS
from kdlab.clips.segments import PaperSegments
from kdlab.clips.splits import VAL_SHARE
from kdlab.nets.compressed import CHANNELS, CoViARNet
from kdlab.nets.pretrained import Weights, untrained
from kdlab.nets.video import build
from kdlab.night import Night
from kdlab.papers.paper_size import PaperSet, cost, look, placed, present
from kdlab.papers.progressive.anytime import cost_per_exit
from kdlab.papers.progressive.budgets import everything, parts
from kdlab.papers.progressive.exits import ExitRecipe, FrozenView
from kdlab.papers.progressive.method import SettledCrossEntropy, gate
from kdlab.papers.progressive.nets import ORDER, ExitHeads, Trio
from kdlab.papers.progressive.recipes import STUDY, conditions
from kdlab.papers.progressive.wise import FAITHFUL_MIX
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import Run, find, obtain

__all__ = ["CONDITIONS", "SETS", "dry_run", "profile", "recipes", "run", "scores", "suited"]

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
_OTHERWISE = ("Adam with eps 1e-3 and L2 decay (AdamW here); rates of 1, .1 (input) and .01 of the base (.1 for all"
              " layers); rates that fall by steps (a cosine); exits with rates by modality, at 256², on new crops in"
              " each epoch (one rate, 224², kept crops); colour jitter; up to 5 test segments")
#: CPU milliseconds, one core, to read and cut 3 frames of a clip at 340x256: measured on 20 clips of 36 to 89 frames.
_READ_MS = {"residual": 9, "motion": 9, "iframe": 5}


def profile(weights: Mapping[str, Path | str] | None = None, draws: int = 1) -> ExitRecipe:
    """The sizes and settings of everything, as one recipe without clips (its `night` is never read).

    ResNet-50 for I-frames, ResNet-18 for the others, from the checkpoints ``weights`` (by modality) or at random. The
    exits see ``draws`` kept crops of a training clip.
    """
    made = {modality: Weights.of(path) for modality, path in (weights or {}).items()}
    rates = {"residual": 5e-4, "motion": 1e-3, "iframe": 3e-5}
    backbones = tuple(Recipe(
        m, Night(), Compressed(m), SettledCrossEntropy(), net=CoViARNet(m, 50 if m == "iframe" else 18, made.get(m)),
        window=PaperSegments(scales=(1.0, 0.875, 0.75) + (0.66,) * (m == "iframe")),
        settings=Settings(510, 40 if m == "iframe" else 80, rates[m], 1e-4, "cosine", "bf16")) for m in ORDER)
    settings = Settings(300, 32, 1e-3, 0.0, "cosine", "bf16")
    return ExitRecipe("exits", Night(), FrozenView(draws), settings=settings, backbones=backbones)


def recipes(which: PaperSet, root: Path, size: ExitRecipe, seed: int = 0) -> dict[tuple[str, str], ExitRecipe]:
    """(split, condition) → recipe. The exits of all modalities share their crop; its sizes are those of residuals."""
    found = {}
    for split in which.splits:
        clips = UserClips(str(root / which.folder), split)
        made = conditions(STUDY, tuple(replace(net, data=clips, seed=seed) for net in size.backbones))
        found |= {(split, c): replace(made[c], settings=size.settings, view=size.view) for c in CONDITIONS}
    return found


def suited(which: PaperSet, root: Path) -> list[Catalogue] | str:
    """As ``paper.look``; here the clips must be MPEG-4 part 2, of which the first is looked at."""
    there = look(which, root, "progressive")
    try:
        return there if isinstance(there, str) or scan(there[0].records[0].path) else there
    except (DamagedClip, Unsuited) as error:
        return str(error)


def _trio(size: ExitRecipe, classes: int) -> tuple[Trio, dict[str, tuple[int, ...]]]:
    """Networks and heads without weights on the meta device, and the shapes of what they see of a clip."""
    nets = {m: untrained(backbone.net) for m, backbone in size.needs().items()}
    with torch.device("meta"):
        made = {m: build(net, classes, 0, torch.zeros(CHANNELS[m]), torch.ones(CHANNELS[m])) for m, net in nets.items()}
        trio = Trio(made, ExitHeads.on(**nets).make(classes))
    windows = {m: backbone.window for m, backbone in size.needs().items()}
    return trio, {m: (CHANNELS[m], w.frames, w.crop, w.crop) for m, w in windows.items()}


def dry_run(root: Path, size: ExitRecipe, tflops: float = 400, share: float = 0.35) -> str:
    """What :func:`run` would need, do and be compared with; ``tflops`` and ``share`` as in ``paper.dry_run``."""
    lines, listed = [], lambda numbers: ", ".join(f"{n:,}" for n in numbers)
    for which in SETS:
        there, (trio, shapes) = suited(which, root), _trio(size, which.classes)
        every = [sum(_COUNTS[which.folder][split].values()) for split in which.splits]
        train = ([round((1 - VAL_SHARE) * n) for n in which.clips] if isinstance(there, str)
                 else [len(catalogue.split("train")) for catalogue in there])
        lines += [*placed(which, root, there),
                  f"  make       kdlab data transcode FOLDER --out {root / which.folder}; then put the lists there",
                  f"  splits     {', '.join(which.splits)}: {listed(train)} training clips, {VAL_SHARE:.0%} taken off:"
                  " half of them calibrate, half validate"]
        forward, work, read = 0, 0, 0
        for m, backbone in size.needs().items():
            settings = backbone.settings
            macs, kept, parameters = cost(backbone.net, which.classes, *shapes[m][1:3], CHANNELS[m])
            forward, work, read = forward + macs, work + macs * settings.epochs, read + _READ_MS[m] * settings.epochs
            steps = listed(settings.epochs * (n // min(n, settings.batch_size)) for n in train)
            gib = (18 * parameters + settings.batch_size * kept / 2) / 2**30  # as there, without a teacher
            lines.append(f"  {m:10} {settings.epochs} epochs of batch {settings.batch_size}: {steps} steps;"
                         f" {macs / 1e9:.1f} GMACs a clip; {parameters / 1e6:.1f} M parameters; {gib:.1f} GiB")
        heads = int(cost_per_exit(trio, shapes)[-1]) - forward
        work += heads * size.settings.epochs * len(CONDITIONS)
        with torch.device("meta"):
            maps = trio.frozen({m: torch.zeros(1, *shape) for m, shape in shapes.items()})[0].values()
        mib = 2 * sum(stage.numel() for stages in maps for stage in stages) / 2**20
        seen = [n + (size.view.draws - 1) * t for n, t in zip(every, train, strict=True)]
        lines += [
            f"  exits      {', '.join(CONDITIONS)}: {size.settings.epochs} epochs of batch {size.settings.batch_size};"
            f" {heads / 1e9:.1f} GMACs a clip; then WISE, which trains nothing",
            f"  host       {max(seen) * mib / 1024:,.0f} GiB of memory for a split's features ({mib:.1f} MiB a clip,"
            f" draws of a training clip: {size.view.draws}), up to twice that while they are made",
            f"  GPU time   {6 * work * sum(train) / (3.6e15 * tflops * share):,.1f} h a seed = 2 × 3 × MACs × clips ×"
            f" epochs / ({tflops:g} TFLOP/s × {share:g}: both assumed)",
            f"  CPU time   {read * sum(train) / 3.6e6:,.0f} h a seed to read clips, in the loop's own thread, and"
            f" {sum(seen) * forward / 40e9 / 3600:,.0f} h for features (one core, 40 GMACs/s)",
            *(f"  compare    {line}" for line in which.published), ""]
    return "\n".join([*lines, f"Released settings that are not reproduced: {_OTHERWISE}.",
                      "What is the paper's, the reference code's, ours or unknown: docs/methods.md, 3.6."])


def scores(run: Run, mix: tuple[float, float, float], costs: np.ndarray, say=print) -> dict[str, float]:
    """Top-1 in percent on test of each final alone, of the nine trained exits on average, and of every way to combine
    the twelve (``faithful_mix`` weighs the finals by ``mix``), a mean over both halves of the validation clips.

    ``costs`` are ``cost_per_exit``'s. Networks that may not teach (``gate``) are named to ``say``.
    """
    test, train = run.predictions(), run.predictions("train")
    for name, recipe, final in zip(ORDER, run.recipe.backbones, (3, 7, 11), strict=True):
        ce = float(F.cross_entropy(torch.tensor(train.logits[:, final]), torch.tensor(train.labels)))
        if why := gate(ce, float(find(recipe, pretrained=True).history["ce"].iloc[-1])):
            say(f"{recipe.name} ({name}) is no sound teacher: {why}")
    found = {f"{name} alone": test.correct[:, final] for name, final in zip(ORDER, (3, 7, 11), strict=True)}
    found["nine exits"] = np.delete(test.correct, [3, 7, 11], 1)
    alone = np.diff(costs, prepend=0).reshape(3, 4).cumsum(1).ravel()
    both = [everything(some, costs, alone, mix)[0] for some in parts(run)]
    found |= {way: [said[way] == test.labels for said in both] for way in both[0] if not way.endswith("@k")}
    return {way: 100 * float(np.mean(right)) for way, right in found.items()}


def run(root: Path, size: ExitRecipe, seed: int = 0, say=print) -> pd.DataFrame:
    """Train (or find) everything on the data sets in ``root``; mean top-1 in percent over the splits.

    Rows: data set and way to answer; columns: condition. Raises ``FileNotFoundError`` when there is no data set.
    """
    rows = []
    for which in present({which: suited(which, root) for which in SETS}, say):
        costs = cost_per_exit(*_trio(size, which.classes))
        for (split, condition), recipe in recipes(which, root, size, seed).items():
            found = scores(obtain(recipe, say=say), FAITHFUL_MIX[which.folder][int(split) - 1], costs, say)
            rows += [(which.title, way, condition, value) for way, value in found.items()]
    table = pd.DataFrame(rows, columns=["data", "way", "condition", "top1"])
    return table.pivot_table("top1", ["data", "way"], "condition", sort=False)
