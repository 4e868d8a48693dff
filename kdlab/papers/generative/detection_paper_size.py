"""The ``paper`` profile of GenKD for temporal detection: THUMOS14 at the released size, what that costs, and a dry run.

Section 2.3 of docs/methods.md tells, number by number, what is the reference code's, ours or unknown.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from kdlab.clips.catalogue import Catalogue
from kdlab.clips.released import THUMOS_VIDEOS
from kdlab.clips.views import Raw
from kdlab.clips.windows import Windows, windows
from kdlab.measure.detections import seen_by
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.pretrained import Weights
from kdlab.papers.generative.detection_method import Detection, DetectionDistillation, DetectionRepresentation
from kdlab.papers.generative.detector import Detector
from kdlab.papers.paper_size import PaperSet, cost, look, placed, present
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import obtain

__all__ = ["CONDITIONS", "SETS", "PaperSize", "counted", "dry_run", "profile", "recipes", "run"]

SETS = (
    PaperSet("THUMOS14", "thumos14", 20, (THUMOS_VIDEOS["json"]["train"],), (
        "GenKD, average mAP, second-hand, to be checked before it is quoted: student 32.6 → 33.7",
        "AFSD RGB, a rerun by others: mAP at 0.3 to 0.7 57.7, 52.5, 44.6, 35.1, 23.4; mean 42.6 (picked on test)",
        "GenKD's script averages over 0.1 to 0.5, AFSD over 0.3 to 0.7: these means are not comparable"), ("json",)),
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
    found = {}
    for split in which.splits:
        clips = UserClips(str(root / which.folder), split)
        twice = replace(size.settings, epochs=2 * size.settings.epochs)
        student = Recipe("det_student", clips, Raw(), Detection(), net=size.student, window=size.window,
                         settings=size.settings, seed=seed)
        phase_1 = replace(student, condition="det_teacher", method=DetectionRepresentation(alternating=twice.epochs),
                          net=replace(size.teacher, gated=size.window.crop), settings=twice, seed=seed + 1)
        phase_2 = replace(student, condition="det_genkd", method=DetectionDistillation(alternating=twice.epochs),
                          net=replace(size.student, gated=size.window.crop), settings=twice, teacher=phase_1)
        control = replace(phase_2, condition="det_untrained", method=replace(phase_2.method, teacher="untrained"))
        found |= {(split, recipe.condition): recipe for recipe in (phase_1, student, phase_2, control)}
    return found


def counted(there: list[Catalogue] | str, window: Windows) -> int | str:
    """Training windows, or the reason why they cannot be counted."""
    try:
        return there if isinstance(there, str) else len(windows(there[0], "train", window))
    except (FileNotFoundError, ValueError) as error:
        return str(error)


def dry_run(root: Path, size: PaperSize, tflops: float = 400, share: float = 0.35) -> str:
    """What :func:`run` would need, do and be compared with; ``tflops`` and ``share`` as in ``paper.dry_run``."""
    lines, window, settings = [], size.window, size.settings
    for which in SETS:
        there = look(which, root, "detection")
        seen = counted(there, window)
        number = 1000 if isinstance(seen, str) else seen
        nets = (replace(size.teacher, gated=window.crop), replace(size.student, gated=window.crop), size.student)
        teacher, gated, bare = (cost(net, which.classes, window.frames, window.crop) for net in nets)
        # pass 1 walks forward, pass 2 there and back (3), a teacher forward beside it; two GenKDs, a plain student
        work = settings.epochs * ((4 + 1 + 1) * teacher[0] + 2 * 4 * gated[0] + 3 * bare[0])
        gib = (22 * gated[2] + 4 * teacher[2] + settings.batch_size * gated[1] / 2) / 2**30
        hours = 2 * work * number / (3.6e15 * tflops * share)
        per = "a 1,000 windows" if isinstance(seen, str) else "a seed"
        lines += [
            *placed(which, root, there),
            f"  windows    {window.frames} frames at {window.rate:g} a second, one every {window.stride}: "
            + (f"unknown without the videos ({which.clips[0]} to train on)" if isinstance(seen, str)
               else f"{seen:,} to train on"),
            f"  trainings  {', '.join(CONDITIONS)}; ground truth {', '.join(which.splits)}; {settings.epochs} epochs of"
            f" each pass, batch {settings.batch_size}",
            f"  a window   {window.crop}²: teacher {teacher[0] / 1e9:.1f} GMACs, {teacher[2] / 1e6:.1f} M parameters;"
            f" student {bare[0] / 1e9:.1f} GMACs, {bare[2] / 1e6:.1f} M, under attention {gated[0] / 1e9:.1f} GMACs,"
            f" {gated[2] / 1e6:.1f} M",
            f"  memory     {gib:.1f} GiB for GenKD's student, its teacher beside it; CVAEs and workspaces not counted",
            f"  GPU time   {hours:,.1f} h {per}, all conditions ({tflops:g} TFLOP/s × {share:g}: both assumed)",
            *(f"  compare    {line}" for line in which.published), ""]
    return "\n".join([*lines, f"Released settings that are not reproduced: {_OTHERWISE}.",
                      "What is the reference code's, ours or unknown: docs/methods.md, 2.3."])


def run(root: Path, size: PaperSize, seed: int = 0, say=print) -> pd.DataFrame:
    """Train (or find) everything on THUMOS14 in ``root``; mAP in percent at each threshold and average.

    Rows: data set and condition. Raises ``FileNotFoundError`` when the data set is not there.
    """
    rows = {}
    for which in present({which: look(which, root, "detection") for which in SETS}, say):
        for (_, condition), recipe in recipes(which, root, size, seed).items():
            found = seen_by(obtain(recipe, say=say), sigma=0.5, kept=5000).mean_ap()
            rows[which.title, condition] = {name: 100 * value for name, value in found.items()}
    return pd.DataFrame(rows).T.rename_axis(["data", "condition"])
