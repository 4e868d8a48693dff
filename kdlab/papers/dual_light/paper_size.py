"""The ``paper`` profile of DL-KDD: its data sets and hyper-parameters, what they cost, and a dry run that says so.

Section 1.5 of docs/methods.md tells, number by number, what is the paper's, the reference code's, ours or unknown.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from kdlab.clips.enhance import Gamma
from kdlab.clips.paper_window import ConsecutiveWindow
from kdlab.clips.splits import VAL_SHARE
from kdlab.distill.method import KD
from kdlab.nets.attention_head import Attended
from kdlab.nets.pretrained import Weights
from kdlab.nets.r2plus1d import R2Plus1D
from kdlab.night import Night
from kdlab.papers.dual_light.both_lights import BothLights
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.paper_size import PaperSet, cost, look, placed, present, trainings
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import obtain
from kdlab.train.sizes import Profile

__all__ = ["ENHANCERS", "SETS", "dry_run", "gpu_hours", "profile", "recipes", "run"]


_NO_NUMBER = "DL-KDD: unknown; its abstract claims the best result, without a number"
SETS = (
    PaperSet("ARID v1.0", "arid", 11, (2288, 2252, 2259), (
        _NO_NUMBER, "second-hand: DarkLight, R(2+1)D-34 94.04; R(2+1)D-GCN + BERT 96.60; MD-BERT 96.89; DTCM 96.36",
        "ActLumos, its abstract: 96.92", "the data set's page: I3D two-stream 72.78, 3D-ResNet-50 71.08")),
    PaperSet("ARID v1.5", "arid15", 11, (3715, 3715, 3715), (  # two of three own folds of the 5,572 clips reported
        _NO_NUMBER, "second-hand: DarkLight, R(2+1)D-34 84.13; R(2+1)D-GCN + BERT 86.93; MD-BERT 87.43",
        "ActLumos, its abstract: 88.27")),
    PaperSet("Dark-48", "dark48", 48, (7052, 7052, 7052), (
        "DL-KDD: unknown; its abstract tells a gain of up to 4.18 points over the best before",
        "second-hand: DarkLight, R(2+1)D-34 39.08; DTCM 46.68", "ActLumos, its abstract: 48.96")),
)

#: What a teacher sees, from the clips it is trained on. Zero-DCE's width and picture size are its release's.
ENHANCERS = {"gamma1.8": lambda clips: Gamma(1.8), "zerodce": lambda clips: TrainedCurves(clips, width=32, side=256)}


def profile(weights: Path | str | None = None) -> Profile:
    """R(2+1)D-34 with temporal attention on 64 × 112², beginning from a checkpoint at ``weights`` or at random."""
    net = Attended(R2Plus1D(34, Weights.of(weights) if weights else None))
    settings = Settings(epochs=200, batch_size=8, lr=1e-5, weight_decay=1e-3, schedule="one_cycle", precision="bf16")
    return Profile("paper", Night(), settings, ConsecutiveWindow(), net, seeds=3)  # `night` is never read here


def recipes(which: PaperSet, root: Path, size: Profile, seed: int = 0) -> dict[tuple[str, str, str], Recipe]:
    """(split, enhancer, condition) → recipe; the conditions are those of :func:`.recipes.dual_light`.

    A condition that no enhancer enters stands once, under the first.
    """
    found = {}
    for split in which.splits:
        clips = UserClips(str(root / which.folder), split)
        for name, make in ENHANCERS.items():
            for condition, recipe in dual_light(size, seed, clips, enhancer=make(clips)).items():
                if recipe not in found.values():
                    found[split, name, condition] = recipe
    return found


# --- what it costs -------------------------------------------------------------------------------------------------


def gpu_hours(some: Iterable[Recipe], clips: int, clip_macs: int, flops: float) -> float:
    """Hours at ``flops`` per second (2 to a MAC) of ``some`` trainings and their teachers' on ``clips`` clips: forward,
    twice that backwards, once more forward where a teacher runs beside, all twice for both lights.
    Evaluation is left out (under 2 %)."""
    passes = sum((3 + (isinstance(r.method, KD) and not hasattr(r.method, "prepare"))) * r.settings.epochs
                 * (1 + isinstance(r.view, BothLights)) for r in trainings(some))
    return passes * clips * 2 * clip_macs / flops / 3600


def dry_run(root: Path, size: Profile, tflops: float = 400, share: float = 0.35) -> str:
    """What :func:`run` would need, do and be compared with, as text. ``tflops``: dense bf16 rate of the device that
    well-shaped matrix products reach; ``share``: what part of it these 3-D convolutions are assumed to reach."""
    lines, window, settings = [], size.window, size.settings
    listed = lambda numbers: ", ".join(f"{n:,}" for n in numbers)  # noqa: E731
    for which in SETS:
        there = look(which, root)
        counts = ([round((1 - VAL_SHARE) * number) for number in which.clips] if isinstance(there, str)
                  else [len(catalogue.split("train")) for catalogue in there])
        steps = [settings.epochs * (n // min(n, settings.batch_size)) for n in counts]
        forward, kept, parameters = cost(size.net, which.classes, window.frames, window.crop)
        # weights, gradients, AdamW's two moments and the teacher's weights in 4 bytes each, a bf16 copy in 2
        memory = (22 * parameters + settings.batch_size * kept / 2) / 2**30
        todo = recipes(which, root, size)
        hours = sum(gpu_hours([r for key, r in todo.items() if key[0] == split], n, forward, 1e12 * tflops * share)
                    for split, n in zip(which.splits, counts, strict=True))
        lines += [
            *placed(which, root, there),
            f"  splits     {', '.join(which.splits)}: {listed(counts)} training clips, {VAL_SHARE:.0%} taken off for"
            f" validation; {settings.epochs} epochs of batch {settings.batch_size}: {listed(steps)} steps, ce_2x twice",
            f"  trainings  {len(trainings(todo.values()))} for a seed, teachers included:"
            f" {', '.join(dict.fromkeys(condition for *_, condition in todo))}; enhancers {', '.join(ENHANCERS)}",
            f"  a clip     {window.frames} × {window.crop}²: {forward / 1e9:.1f} GMACs forward;"
            f" {parameters / 1e6:.1f} M parameters",
            f"  memory     {memory:.1f} GiB = 22 bytes a parameter (teacher included) + {settings.batch_size} ×"
            f" {kept / 2**31:.2f} GiB of bf16 activations (two_lights: twice that), workspaces not counted",
            f"  GPU time   {hours:,.0f} h a seed = 2 × MACs × clips × epochs × (3, or 4 beside a teacher, or 6 for"
            f" two_lights), summed, /"
            f" ({tflops:g} TFLOP/s × {share:g}: both assumed)",
            *(f"  compare    {line}" for line in which.published), "",
        ]
    return "\n".join([*lines, "What is the paper's, the reference code's, ours or unknown: docs/methods.md, 1.5."])


def run(root: Path, size: Profile, seed: int = 0, say=print) -> pd.DataFrame:
    """Train (or find) everything on the data sets that are in ``root``; mean top-1 in percent over the splits.

    Rows: data set, enhancer, condition. Data sets that are not there are named to ``say``; raises
    ``FileNotFoundError`` when there is none.
    """
    rows = [(which.title, enhancer, condition, obtain(recipe, say=say).predictions().accuracy)
            for which in present({which: look(which, root) for which in SETS}, say)
            for (_, enhancer, condition), recipe in recipes(which, root, size, seed).items()]
    table = pd.DataFrame(rows, columns=["data", "enhancer", "condition", "top1"])
    return table.groupby(["data", "enhancer", "condition"], sort=False).mean()
