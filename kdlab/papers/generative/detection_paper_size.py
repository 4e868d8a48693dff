"""The ``paper`` profile of GenKD for temporal detection: THUMOS14 at the released size.

Section 2.3 of docs/methods.md tells, number by number, what is the reference code's, ours or unknown.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

from kdlab.clips.datasets import THUMOS_VIDEOS
from kdlab.clips.splits import VAL_SHARE
from kdlab.clips.untrimmed import Windows
from kdlab.nets.i3d import I3D
from kdlab.papers.generative.detection_method import Detection, DetectionDistillation, DetectionRepresentation
from kdlab.papers.generative.detector import Detector
from kdlab.papers.generative.paper_size import STREAMS, PaperSize, networks
from kdlab.papers.paper_size import Paper, PaperSet, example
from kdlab.train.loop import Settings
from kdlab.train.optimisers import AsReleased, Rule
from kdlab.train.recipe import Recipe, UserClips

#: Counted in AFSD's lists: windows of 256 steps, every 30, that show a whole action; 192 of the 200 videos have one.
WINDOWS = 6211
SETS = (
    PaperSet("THUMOS14", "thumos14", 20, (THUMOS_VIDEOS["json"]["train"],), (
        "GenKD, average mAP, second-hand, to be checked before it is quoted: student 32.6 → 33.7",
        "AFSD RGB, a rerun by others: mAP at 0.3 to 0.7 57.7, 52.5, 44.6, 35.1, 23.4; mean 42.6 (picked on test)",
        "GenKD's script averages over 0.1 to 0.5, AFSD over 0.3 to 0.7: these means are not comparable"),
             ("json",), WINDOWS),
)
#: The released networks' rates by stream; a CVAE's is 1e-4 in both.
_RATES, _CVAE = (1e-6, 1e-5), 1e-4
_OTHERWISE = ("batch norm that never learns (it learns from one window at a time); softmax classes with a background"
              " class (sigmoids); spatial convolutions before the pyramid (means); a branch each for places and classes"
              " in the second stage (one), whose L1 is in halves of the first stage's segment (of the true one), while"
              " gIoU is the first's alone (both stages'); segments of which less than half is seen as background (left"
              " out); black after a video's end (its last frame); TV-L1 flow from step to step (DIS, or your pictures,"
              " from frame to frame); a class's last detection lost by soft-NMS (kept); fusion with a flow stream"
              f" without attention (with); all 200 videos to train on ({VAL_SHARE:.0%} validate)")


def profile(weights: Mapping[str, Path | str] | None = None, flow_folder: Path | str | None = None,
            as_released: bool = False) -> PaperSize:
    """On I3D and Top-I3D, 256 frames of 96² at 10 a second, six levels of 512 channels, with AFSD's refinement and its
    maps of starts and ends. ``weights`` are the teacher's checkpoints (Kinetics) by stream; students begin at random.

    ``flow_folder`` has a folder of flow pictures for each data set (``clips.views.FlowFiles``); without it, flow is
    computed from the frames. ``as_released``: Adam at 1e-6 (RGB) and 1e-5 (flow) for networks and at 1e-4 for CVAEs,
    none of which falls.
    """
    def detectors(backbones: tuple[I3D, I3D]) -> tuple[Detector, ...]:
        how = dict(levels=6, width=512, refine=True, boundaries=True)
        return tuple(Detector(net, ("Mixed_4f", "Mixed_5c"), 256, **how) for net in backbones)

    rgb = Settings(50, 1, 1e-5, 1e-3, "one_cycle", "bf16")
    settings = rgb, replace(rgb, epochs=20)
    if as_released:
        settings = tuple(replace(s, lr=lr, as_released=_released(lr)) for s, lr in zip(settings, _RATES, strict=True))
    window = Windows(frames=256, side=112, crop=96, rate=10.0, stride=128, dense=30)
    return PaperSize(*map(detectors, networks(weights)), (window, window), settings, flow_folder)


def _released(lr: float) -> AsReleased:
    return AsReleased((("net", Rule()), ("cvae", Rule(share=_CVAE / lr))))


def recipes(which: PaperSet, root: Path, size: PaperSize, seed: int = 0) -> dict[tuple[str, str, str], Recipe]:
    """(ground truth, stream, condition) → recipe. GenKD's passes alternate as released: an epoch each, so twice the
    epochs."""
    found, window = {}, size.windows[0]
    task = Detection(l1=10.0, tiou=10.0, boundary=1.0, splice=0.1)
    for split, (k, stream) in product(which.splits, enumerate(STREAMS)):
        clips, view = UserClips(str(root / which.folder), split), size.view(stream, which.folder)
        turns = 2 * size.settings[k].epochs
        both = dict(alternating=turns, detection=task, background=35.0)
        phase_1, phase_2 = DetectionRepresentation(**both), DetectionDistillation(**both)
        teacher, student = (replace(nets[k], gated=window.crop) for nets in (size.teachers, size.students))
        base = Recipe("det_student", clips, view, task, None, None, size.students[k], window, size.settings[k], seed)
        twice = replace(size.settings[k], epochs=turns)
        taught = replace(base, condition="det_teacher", method=phase_1, net=teacher, settings=twice, seed=seed + 1)
        genkd = replace(base, condition="det_genkd", method=phase_2, net=student, settings=twice, teacher=taught)
        control = replace(genkd, condition="det_untrained", method=replace(phase_2, teacher="untrained"))
        found |= {(split, stream, recipe.condition): recipe for recipe in (taught, base, genkd, control)}
    return found


PAPER = Paper("detection", "2.3", SETS, recipes, _OTHERWISE, partial(example, labels=(1, 3)))
