"""The ``paper`` profile of DL-KDD: its data sets, hyper-parameters and recipes.

Section 1.5 of docs/methods.md tells, number by number, what is the paper's, the reference code's, ours or unknown.
"""

from dataclasses import replace
from pathlib import Path

from kdlab.clips.enhance import Gamma
from kdlab.clips.windows import ConsecutiveWindow
from kdlab.nets.attention_head import Attended
from kdlab.nets.pretrained import Weights
from kdlab.nets.r2plus1d import R2Plus1D
from kdlab.night import Night
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.paper_size import Paper, PaperSet
from kdlab.train.loop import Settings
from kdlab.train.optimisers import AsReleased, Rule
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import Profile

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
#: DarkLight's AdamW: no warm-up, and a tenth of the rate after five epochs without a lower validation loss.
AS_RELEASED = AsReleased((("net", Rule("adamw")),), patience=5)
_OTHERWISE = ("pictures of 170 × 128 whatever their shape (171 × 128); ImageNet's statistics in training (those of the"
              " checkpoint, or of the clips); fp32 (bf16, but --precision fp32); the best epoch on test (the last). All"
              " this is DarkLight's: DL-KDD has no released code")


def profile(weights: Path | str | None = None, as_released: bool = False) -> Profile:
    """R(2+1)D-34 with temporal attention on 64 × 112², beginning from a checkpoint at ``weights`` or at random.

    ``as_released``: gradients of 16 batches of 8 are added up for a step. The rate is constant, but falls to a tenth
    after 5 epochs without a lower validation loss.
    """
    net = Attended(R2Plus1D(34, Weights.of(weights) if weights else None))
    settings = Settings(epochs=200, batch_size=8, lr=1e-5, weight_decay=1e-3, schedule="one_cycle", precision="bf16")
    if as_released:
        settings = replace(settings, batch_size=128, accumulate=16, as_released=AS_RELEASED)
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


PAPER = Paper("dual_light", "1.5", SETS, recipes, _OTHERWISE)
