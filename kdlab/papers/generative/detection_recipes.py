"""Recipes of temporal detection on untrimmed `night` at three sizes: a teacher, and its student without and with GenKD.

The `paper` size is in ``kdlab.papers.generative.detection_paper_size``.
"""

from dataclasses import dataclass, replace

from kdlab.clips.views import MotionMix
from kdlab.clips.windows import Windows
from kdlab.nets.i3d import TinyC3D
from kdlab.night.streams import UntrimmedStream
from kdlab.night.untrimmed import Untrimmed
from kdlab.papers.generative.detection_method import Detection, DetectionDistillation, DetectionRepresentation
from kdlab.papers.generative.detector import Detector
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import VARIETY, among
from kdlab.values import positive, whole

CLASSES = ("Jump", "Sit", "Stand", "Turn", "Walk", "Wave")
#: The layer before time is halved, and the last: as the paper's Mixed_4f and Mixed_5c.
TAPS = ("stages.2.2", "stages.3")
WINDOW = Windows(frames=64, side=28, crop=24, rate=7.5, stride=32)
#: No student's: with an equal seed both would also meet the windows in the same order.
TEACHER_SEED = 100
#: How the study's words read in figures, in the order of a table.
TITLES = {
    "det_teacher": "teacher",
    "det_student": "student",
    "det_genkd": "student + GenKD",
    "det_untrained": "student + GenKD, untrained teacher",
    "det_student_2x": "student, twice the steps",
}


@dataclass(frozen=True)
class DetectionSize:
    """Videos of untrimmed `night` to train, choose and test on, their shortest and longest ``seconds``; the students'
    epochs, of which the teacher has twice as many; seeds."""

    name: str
    videos: tuple[int, int, int]
    seconds: tuple[float, float]
    epochs: int
    seeds: int

    def __post_init__(self):
        whole(0, videos=list(self.videos))
        positive(seconds=list(self.seconds))
        whole(1, epochs=self.epochs, seeds=self.seeds)


SMOKE = DetectionSize("smoke", (3, 1, 2), (12.0, 14.0), 2, 1)
DEMO = DetectionSize("demo", (24, 6, 15), (20.0, 30.0), 20, 1)
STUDY = DetectionSize("study", (24, 20, 60), (20.0, 30.0), 160, 5)
sized = among(SMOKE, DEMO, STUDY)


def night(size: DetectionSize) -> UntrimmedStream:
    """The bright stream of untrimmed `night`, always of the same data seed."""
    return UntrimmedStream(Untrimmed(CLASSES, size.videos, size.seconds, VARIETY))


def conditions(size: DetectionSize, seed: int) -> dict[str, Recipe]:
    """The teacher, the same for all seeds, and the students of one: of equal steps, but for one with the teacher's."""
    # At the taps both have the same channels, as GenKD needs; below, the student is half as wide, without time.
    wide, thin = TinyC3D((8, 16, 32, 64)), TinyC3D((4, 8, 32, 64), (False, False, True, True))
    heavy, light = (Detector(net, TAPS, WINDOW.frames, levels=4, width=32) for net in (wide, thin))
    gated = replace(light, gated=WINDOW.crop)
    settings = Settings(epochs=size.epochs, batch_size=8, lr=4e-3)
    longer = replace(settings, epochs=2 * size.epochs)
    student = Recipe("det_student", night(size), MotionMix(), Detection(), net=light, window=WINDOW, settings=settings,
                     seed=seed)
    teacher = replace(student, condition="det_teacher", method=DetectionRepresentation(),
                      net=replace(heavy, gated=WINDOW.crop), settings=longer, seed=TEACHER_SEED)
    taught = replace(student, condition="det_genkd", method=DetectionDistillation(), net=gated, teacher=teacher)
    return {
        "det_teacher": teacher,
        "det_student": student,
        "det_genkd": taught,
        "det_untrained": replace(taught, condition="det_untrained", method=DetectionDistillation(teacher="untrained")),
        "det_student_2x": replace(student, condition="det_student_2x", settings=longer),
    }
