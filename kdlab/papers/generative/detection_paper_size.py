"""The ``paper`` profile of GenKD for temporal detection: THUMOS14 at the released size.

Section 2.3 of docs/methods.md tells, number by number, what is the reference code's, ours or unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from kdlab.clips.flow import Flow, FlowFiles
from kdlab.clips.released import THUMOS_VIDEOS
from kdlab.clips.splits import VAL_SHARE
from kdlab.clips.views import Raw
from kdlab.clips.windows import Windows, windows
from kdlab.measure.detection import annotated, decode, evaluate, fused
from kdlab.measure.detections import of_split
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.pretrained import Weights
from kdlab.papers.generative.detection_method import Detection, DetectionDistillation, DetectionRepresentation
from kdlab.papers.generative.detector import Detector
from kdlab.papers.paper_size import Paper, PaperSet, example
from kdlab.train.loop import Settings
from kdlab.train.optimisers import AsReleased, Rule
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import Run

#: Counted in AFSD's lists: windows of 256 steps, every 30, that show a whole action; 192 of the 200 videos have one.
WINDOWS = 6211
SETS = (
    PaperSet("THUMOS14", "thumos14", 20, (THUMOS_VIDEOS["json"]["train"],), (
        "GenKD, average mAP, second-hand, to be checked before it is quoted: student 32.6 → 33.7",
        "AFSD RGB, a rerun by others: mAP at 0.3 to 0.7 57.7, 52.5, 44.6, 35.1, 23.4; mean 42.6 (picked on test)",
        "GenKD's script averages over 0.1 to 0.5, AFSD over 0.3 to 0.7: these means are not comparable"),
             ("json",), WINDOWS),
)
STREAMS = ("rgb", "flow")
CONDITIONS = ("det_teacher", "det_student", "det_genkd", "det_untrained")
#: Width of soft-NMS in GenKD's settings; its fusion is run with those of RGB.
SIGMA = {"rgb": 0.1, "flow": 0.5, "both": 0.1}
#: The released networks' rates by stream; a CVAE's is 1e-4 in both.
_RATES, _CVAE = (1e-6, 1e-5), 1e-4
_SWITCHED = "Adam at 1e-6 (RGB) and 1e-5 (flow) for networks and at 1e-4 for CVAEs, none of which falls"
_OTHERWISE = ("batch norm that never learns (it learns from one window at a time); softmax classes with a background"
              " class (sigmoids); spatial convolutions before the pyramid (means); a branch each for places and classes"
              " in the second stage (one), whose L1 is in halves of the first stage's segment (of the true one), while"
              " gIoU is the first's alone (both stages'); segments of which less than half is seen as background (left"
              " out); black after a video's end (its last frame); TV-L1 flow from step to step (DIS, or your pictures,"
              " from frame to frame); a class's last detection lost by soft-NMS (kept); fusion with a flow stream"
              f" without attention (with); all 200 videos to train on ({VAL_SHARE:.0%} validate)")


@dataclass(frozen=True)
class PaperSize:
    """Detectors and settings of both streams, by :data:`STREAMS`, and their window; epochs count each pass once."""

    teachers: tuple[Detector, Detector]
    students: tuple[Detector, Detector]
    window: Windows
    settings: tuple[Settings, Settings]
    flow_folder: str | None = None


def profile(weights: Mapping[str, Path | str] | None = None, flow_folder: Path | str | None = None,
            as_released: bool = False) -> PaperSize:
    """On I3D and Top-I3D, 256 frames of 96² at 10 a second, six levels of 512 channels, with AFSD's refinement and its
    maps of starts and ends. ``weights`` are the teacher's checkpoints (Kinetics) by stream; students begin at random.

    ``flow_folder`` has a folder of flow pictures for each data set (``clips.flow.FlowFiles``); without it, flow is
    computed from the frames.
    """
    made = {stream: Weights.of(path) for stream, path in dict(weights or ()).items()}
    channels = dict(zip(STREAMS, (3, 2), strict=True))

    def detector(backbone: I3D) -> Detector:
        taps = "Mixed_4f", "Mixed_5c"
        return Detector(backbone, taps, 256, levels=6, width=512, refine=True, boundaries=True)

    rgb = Settings(50, 1, 1e-5, 1e-3, "one_cycle", "bf16")
    settings = rgb, replace(rgb, epochs=20)
    if as_released:
        settings = tuple(replace(s, lr=lr, as_released=_released(lr)) for s, lr in zip(settings, _RATES, strict=True))
    return PaperSize(
        tuple(detector(I3D(channels=n, weights=made.get(stream))) for stream, n in channels.items()),
        tuple(detector(I3D(TOP, channels=n)) for n in channels.values()),
        Windows(frames=256, side=112, crop=96, rate=10.0, stride=128, dense=30),
        settings, str(flow_folder) if flow_folder else None)


def _released(lr: float) -> AsReleased:
    return AsReleased((("net", Rule()), ("cvae", Rule(share=_CVAE / lr))))


def recipes(which: PaperSet, root: Path, size: PaperSize, seed: int = 0) -> dict[tuple[str, str, str], Recipe]:
    """(ground truth, stream, condition) → recipe. GenKD's passes alternate as released: an epoch each, so twice the
    epochs."""
    found, window, folder = {}, size.window, size.flow_folder
    flow = FlowFiles(str(Path(folder) / which.folder)) if folder else Flow()
    task = Detection(l1=10.0, tiou=10.0, boundary=1.0, splice=0.1)
    for split, (k, stream) in product(which.splits, enumerate(STREAMS)):
        clips, view = UserClips(str(root / which.folder), split), Raw() if stream == "rgb" else flow
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


def mean_ap(runs: Sequence[Run], sigma: float) -> dict[str, float]:
    """mAP on test of a run, or of two :func:`kdlab.measure.detection.fused`, by the released steps: segments are cut to
    their window, and all above 0.01 come to soft-NMS, which keeps a class's 5,000 surest down to 0.001."""
    selected, window = [of_split(run) for run in runs][0], runs[0].recipe.window
    answers = [np.array(run.predictions().logits) for run in runs]
    answers = fused(*answers) if len(runs) > 1 else answers[0]
    np.clip(answers[..., -3:-1], 0, window.frames, out=answers[..., -3:-1])
    found = decode(answers, selected, window.rate, sigma, most=None, least=0.001, each=5000)
    return evaluate(annotated(selected), found, len(runs[0].provenance["classes"])).mean_ap()


def _rows(which: PaperSet, runs: dict[tuple[str, str, str], Run], size: PaperSize, say) -> list[tuple]:
    streams = {(stream, name): [run] for (_, stream, name), run in runs.items()}
    streams |= {("both", name): [*one, *streams["flow", name]] for (stream, name), one in streams.items()
                if stream == "rgb"}
    return [(stream, name, tiou, 100 * value) for (stream, name), its in streams.items()
            for tiou, value in mean_ap(its, SIGMA[stream]).items()]


def _special(which: PaperSet, root: Path, size: PaperSize, clips: list[int]) -> list[str]:
    window = size.window
    return [f"  windows    a clip is a window at {window.rate:g} frames a second, one every {window.dense} that shows a"
            f" whole action ({window.stride} at test); AFSD's lists name {WINDOWS:,} in {which.clips[0]} videos, of"
            f" which {1 - VAL_SHARE:.0%} are assumed where the videos are not there"]


PAPER = Paper("detection", "2.3", SETS, recipes, _rows, ("stream", "condition", "tIoU"), _OTHERWISE, _SWITCHED,
              fits=lambda catalogue: windows(catalogue, "train", Windows()), special=_special,
              example=partial(example, labels=(1, 3)))
