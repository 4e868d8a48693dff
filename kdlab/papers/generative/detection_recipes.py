"""Recipes of temporal detection on untrimmed `night` at three sizes: a teacher, and its student without and with GenKD.

The module ends with the recipes of the paper's size on THUMOS14; docs/methods.md, 2.3 explains their numbers.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

from kdlab.clips.untrimmed import Windows
from kdlab.clips.views import MotionMix
from kdlab.datasets.released import THUMOS_VIDEOS
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.i3d import TinyC3D
from kdlab.night.untrimmed import Untrimmed, UntrimmedStream
from kdlab.papers.generative import recipes as recognition
from kdlab.papers.generative.detection import (
    Detection,
    DetectionDistillation,
    DetectionRepresentation,
)
from kdlab.papers.generative.detector import Detector
from kdlab.papers.generative.recipes import GENERATION, StreamSize
from kdlab.papers.paper_size import Paper, PaperSet
from kdlab.train.recipe import Recipe
from kdlab.train.settings import AsReleased, Rule, Settings
from kdlab.train.sizes import VARIETY, DetectionSize, current

CLASSES = ("Jump", "Sit", "Stand", "Turn", "Walk", "Wave")
#: The layer before time is halved, and the last layer, like Mixed_4f and Mixed_5c in the paper.
TAPS = ("stages.2.2", "stages.3")
WINDOW = Windows(frames=64, side=28, crop=24, rate=7.5, stride=32)
#: The teacher's seed minus the student's. With equal seeds, teacher and student would see the windows in the same
#: order.
TEACHER_SEED = 100

SMOKE, DEMO, STUDY = (current(word, DetectionSize) for word in ("smoke", "demo", "study"))


def night(size: DetectionSize) -> UntrimmedStream:
    """The bright stream of untrimmed `night`, always with the same data seed."""
    return UntrimmedStream(Untrimmed(CLASSES, size.videos, size.seconds, VARIETY))


def conditions(size: DetectionSize, seed: int, data=None) -> dict[str, Recipe]:
    """Condition → recipe of one seed: the teacher and its students. All students train for the same number of steps,
    except ``det_student_2x``, which has the teacher's. ``data`` (default: :func:`night`) may be your own annotated
    videos."""
    # GenKD needs the same channels at the taps of both. Below them the student is half as wide and has no kernels in
    # time.
    wide, thin = TinyC3D((8, 16, 32, 64)), TinyC3D((4, 8, 32, 64), (False, False, True, True))
    heavy, light = (Detector(net, TAPS, WINDOW.frames, levels=4, width=32) for net in (wide, thin))
    gated = replace(light, gated=WINDOW.crop)
    settings = Settings(epochs=size.epochs, batch_size=8, lr=4e-3)
    longer = replace(settings, epochs=2 * size.epochs)
    student = Recipe(
        "det_student",
        data or night(size),
        MotionMix(),
        Detection(),
        net=light,
        window=WINDOW,
        settings=settings,
        seed=seed,
    )
    teacher = replace(
        student,
        condition="det_teacher",
        method=DetectionRepresentation(generation=GENERATION),
        net=replace(heavy, gated=WINDOW.crop),
        settings=longer,
        seed=TEACHER_SEED + seed,
    )
    phase_2 = DetectionDistillation(generation=GENERATION)
    taught = replace(student, condition="det_genkd", method=phase_2, net=gated, teacher=teacher)
    return {
        "det_teacher": teacher,
        "det_student": student,
        "det_genkd": taught,
        "det_untrained": replace(
            taught, condition="det_untrained", method=replace(phase_2, teacher="untrained")
        ),
        "det_student_2x": replace(student, condition="det_student_2x", settings=longer),
    }


# --- the paper's size ------------------------------------------------------------------------------------------


def paper_profile(
    weights: Mapping[str, Path | str] | None = None,
    flow_folder: Path | str | None = None,
    as_released: bool = False,
    precision: str = "bf16",
) -> tuple[StreamSize, StreamSize]:
    """The paper's sizes of both streams (RGB, flow): detectors on I3D (teacher) and Top-I3D (student), 256 frames of
    96² at 10 frames a second, six levels of 512 channels, AFSD's refinement and boundary maps. ``weights`` are the
    teacher's checkpoints (Kinetics) by stream; students start from random weights.

    ``flow_folder`` is as for recognition. ``as_released`` uses Adam at constant rates: 1e-6 (RGB) and 1e-5 (flow) for
    networks, 1e-4 for CVAEs.
    """

    def detecting(size: StreamSize, epochs: int, lr: float) -> StreamSize:
        settings = Settings(epochs, 1, 1e-5, 1e-3, "one_cycle", precision)
        if as_released:
            rules = ("net", Rule()), ("cvae", Rule(share=1e-4 / lr))
            settings = replace(settings, lr=lr, as_released=AsReleased(rules))
        how = dict(
            taps=("Mixed_4f", "Mixed_5c"),
            steps=256,
            levels=6,
            width=512,
            refine=True,
            boundaries=True,
        )
        window = Windows(frames=256, side=112, crop=96, rate=10.0, stride=128, dense=30)
        return replace(
            size,
            teacher=Detector(size.teacher, **how),
            student=Detector(size.student, **how),
            window=window,
            settings=settings,
        )

    rgb, flow = recognition.paper_profile(weights, flow_folder)
    return detecting(rgb, 50, 1e-6), detecting(flow, 20, 1e-5)


def paper_recipes(
    which: PaperSet, root: Path, sizes: tuple[StreamSize, ...], seed: int = 0
) -> dict[tuple[str, str, str], Recipe]:
    """(ground truth, stream, condition) → recipe. GenKD's two passes alternate by epochs as released, so GenKD has
    twice the epochs."""
    found, task = {}, Detection(l1=10.0, tiou=10.0, boundary=1.0, splice=0.1)
    for split, size in product(which.splits, sizes):
        turns, crop = 2 * size.settings.epochs, size.window.crop
        both = dict(alternating=turns, detection=task, background=35.0)
        phase_1, phase_2 = DetectionRepresentation(**both), DetectionDistillation(**both)
        base = Recipe(
            "det_student",
            UserClips(str(root / which.folder), split),
            size.view(which.folder),
            task,
            net=size.student,
            window=size.window,
            settings=size.settings,
            seed=seed,
        )
        gated = replace(
            base,
            net=replace(size.student, gated=crop),
            settings=replace(size.settings, epochs=turns),
        )
        taught = replace(
            gated,
            condition="det_teacher",
            method=phase_1,
            net=replace(size.teacher, gated=crop),
            seed=seed + 1,
        )
        genkd = replace(gated, condition="det_genkd", method=phase_2, teacher=taught)
        control = replace(
            genkd, condition="det_untrained", method=replace(phase_2, teacher="untrained")
        )
        found |= {
            (split, size.stream, recipe.condition): recipe
            for recipe in (taught, base, genkd, control)
        }
    return found


THUMOS14 = PaperSet(
    "THUMOS14", "thumos14", 20, (THUMOS_VIDEOS["json"]["train"],), ("json",), windows=6211
)  # AFSD's lists have so many windows (256 steps, every 30) that show a whole action
PAPER = Paper("2.3", (THUMOS14,), paper_recipes)
