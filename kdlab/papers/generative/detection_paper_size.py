"""The ``paper`` profile of GenKD for temporal detection: THUMOS14 at the released size.

Section 2.3 of docs/methods.md tells, number by number, what is the reference code's, ours or unknown.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kdlab.clips.released import THUMOS_VIDEOS
from kdlab.clips.views import Raw
from kdlab.clips.windows import Windows, windows
from kdlab.measure.detections import seen_by
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.pretrained import Weights
from kdlab.papers.generative.detection_method import Detection, DetectionDistillation, DetectionRepresentation
from kdlab.papers.generative.detector import Detector
from kdlab.papers.paper_size import Paper, PaperSet, example
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import Run

SETS = (
    PaperSet("THUMOS14", "thumos14", 20, (THUMOS_VIDEOS["json"]["train"],), (
        "GenKD, average mAP, second-hand, to be checked before it is quoted: student 32.6 → 33.7",
        "AFSD RGB, a rerun by others: mAP at 0.3 to 0.7 57.7, 52.5, 44.6, 35.1, 23.4; mean 42.6 (picked on test)",
        "GenKD's script averages over 0.1 to 0.5, AFSD over 0.3 to 0.7: these means are not comparable"),
             ("json",), untrimmed=True),
)
CONDITIONS = ("det_teacher", "det_student", "det_genkd", "det_untrained")
_OTHERWISE = ("Adam 1e-6 (RGB) for networks and 1e-4 for CVAEs (one AdamW and one rate here, which falls); losses of"
              " starts, ends and spliced windows; localisation weighted by 10; softmax classes with a background class"
              " (sigmoids here); spatial convolutions before the pyramid (means here); the flow stream")


@dataclass(frozen=True)
class PaperSize:
    """Detectors, window and settings; epochs count each pass once."""

    teacher: Detector
    student: Detector
    window: Windows
    settings: Settings


def profile(weights: Path | str | None = None) -> PaperSize:
    """On I3D and Top-I3D, 256 frames of 96² at 10 a second, six levels of 512 channels, with AFSD's refinement.
    ``weights`` is the teacher's checkpoint (Kinetics); the student begins at random."""
    def detector(backbone: I3D) -> Detector:
        return Detector(backbone, ("Mixed_4f", "Mixed_5c"), 256, levels=6, width=512, refine=True)

    return PaperSize(detector(I3D(weights=Weights.of(weights) if weights else None)), detector(I3D(TOP)),
                     Windows(frames=256, side=112, crop=96, rate=10.0, stride=128),
                     Settings(50, 1, 1e-5, 1e-3, "one_cycle", "bf16"))


def recipes(which: PaperSet, root: Path, size: PaperSize, seed: int = 0) -> dict[tuple[str, str], Recipe]:
    """(ground truth, condition) → recipe. GenKD's passes alternate as released: an epoch each, so twice the epochs."""
    found, window, once = {}, size.window, size.settings
    turns = 2 * once.epochs
    phase_1, phase_2 = DetectionRepresentation(alternating=turns), DetectionDistillation(alternating=turns)
    teacher, student = (replace(net, gated=window.crop) for net in (size.teacher, size.student))
    for split in which.splits:
        clips, twice = UserClips(str(root / which.folder), split), replace(once, epochs=turns)
        base = Recipe("det_student", clips, Raw(), Detection(), None, None, size.student, window, once, seed)
        taught = replace(base, condition="det_teacher", method=phase_1, net=teacher, settings=twice, seed=seed + 1)
        genkd = replace(base, condition="det_genkd", method=phase_2, net=student, settings=twice, teacher=taught)
        control = replace(genkd, condition="det_untrained", method=replace(phase_2, teacher="untrained"))
        found |= {(split, recipe.condition): recipe for recipe in (taught, base, genkd, control)}
    return found


def _rows(which: PaperSet, runs: dict[tuple[str, str], Run], size: PaperSize, say) -> list[tuple]:
    return [(name, tiou, 100 * value) for (_, name), run in runs.items()
            for tiou, value in seen_by(run, sigma=0.5, kept=5000).mean_ap().items()]


def _special(which: PaperSet, root: Path, size: PaperSize, clips: list[int]) -> list[str]:
    rate, stride = size.window.rate, size.window.stride
    return [f"  windows    a clip is a window at {rate:g} frames a second, one every {stride}; their number is unknown"
            f" without the videos ({which.clips[0]} to train on): 1,000 are assumed"]


PAPER = Paper("detection", "2.3", SETS, recipes, _rows, ("condition", "tIoU"), _OTHERWISE,
              fits=lambda catalogue: windows(catalogue, "train", Windows()), special=_special,
              example=partial(example, labels=(1, 3)))
