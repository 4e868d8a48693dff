"""Recipes of temporal detection on untrimmed `night` at three sizes: a teacher, and its student without and with GenKD.

The module ends with the recipes of the paper's size on THUMOS14; docs/methods.md, 2.3 explains their numbers.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from kdlab.clips.untrimmed import Windows
from kdlab.clips.views import MotionMix
from kdlab.datasets.released import THUMOS_VIDEOS
from kdlab.nets.i3d import TinyC3D
from kdlab.night.untrimmed import Untrimmed, UntrimmedStream
from kdlab.papers.generative import recipes as recognition
from kdlab.papers.generative.detection import (
    Detection,
    DetectionDistillation,
    DetectionRepresentation,
)
from kdlab.papers.generative.detector import Detector
from kdlab.papers.generative.recipes import GENERATION, StreamSize, untaught
from kdlab.papers.paper_size import Paper, PaperSet, named, twice
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
    student = Recipe(
        "det_student",
        data or night(size),
        MotionMix(),
        Detection(),
        net=light,
        window=WINDOW,
        settings=Settings(epochs=size.epochs, batch_size=8, lr=4e-3),
        seed=seed,
    )
    teacher = replace(twice(student), net=heavy, seed=TEACHER_SEED + seed)
    taught = _taught(student, student, teacher, generation=GENERATION)
    return named({**taught, "det_student_2x": twice(student)})


def _taught(plain: Recipe, student: Recipe, teacher: Recipe, **terms) -> dict[str, Recipe]:
    """Condition → recipe: the ``plain`` student beside the gated networks of ``student`` and ``teacher``, which learn
    with the ``terms`` of GenKD, and a control with an untrained teacher."""
    gate = plain.window.crop
    teacher = replace(
        teacher,
        condition="det_teacher",
        method=DetectionRepresentation(**terms),
        net=replace(teacher.net, gated=gate),
    )
    genkd = replace(
        student,
        method=DetectionDistillation(**terms),
        net=replace(student.net, gated=gate),
        teacher=teacher,
    )
    return {
        "det_teacher": teacher,
        "det_student": plain,
        "det_genkd": genkd,
        "det_untrained": untaught(genkd),
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

    window = Windows(frames=256, side=112, crop=96, rate=10.0, stride=128, dense=30)
    sizes = []
    for size, epochs, lr in zip(
        recognition.paper_profile(weights, flow_folder), (50, 20), (1e-6, 1e-5), strict=True
    ):
        settings = Settings(epochs, 1, 1e-5, 1e-3, "one_cycle", precision)
        if as_released:
            rules = ("net", Rule()), ("cvae", Rule(share=1e-4 / lr))
            settings = replace(settings, lr=lr, as_released=AsReleased(rules))
        teacher, student = (
            Detector(
                net,
                ("Mixed_4f", "Mixed_5c"),
                256,
                levels=6,
                width=512,
                refine=True,
                boundaries=True,
            )
            for net in (size.teacher, size.student)
        )
        sizes.append(
            replace(size, teacher=teacher, student=student, window=window, settings=settings)
        )
    return tuple(sizes)


def _paper_conditions(student: Recipe, size: StreamSize) -> dict[str, Recipe]:
    task, longer = Detection(l1=10.0, tiou=10.0, boundary=1.0, splice=0.1), twice(student)
    teacher = replace(longer, net=size.teacher, seed=student.seed + 1)
    terms = dict(alternating=longer.settings.epochs, detection=task, background=35.0)
    return _taught(replace(student, method=task), longer, teacher, **terms)


#: AFSD's lists have so many windows (256 steps, every 30) that show a whole action.
THUMOS14 = PaperSet(
    "THUMOS14", "thumos14", 20, (THUMOS_VIDEOS["json"]["train"],), ("json",), windows=6211
)
#: The recipes by ground truth, stream and condition: :func:`.recipes.by_stream`.
paper_recipes = partial(recognition.by_stream, _paper_conditions)
PAPER = Paper("2.3", (THUMOS14,), paper_recipes)
