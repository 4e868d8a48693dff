"""Recipes of temporal detection on untrimmed `night` at three sizes: a teacher, and its student without and with GenKD.

The `paper` size is in ``kdlab.papers.generative.detection_paper_size``.
"""

from dataclasses import replace

from kdlab.clips.untrimmed import Windows
from kdlab.clips.views import MotionMix
from kdlab.nets.i3d import TinyC3D
from kdlab.night.streams import UntrimmedStream
from kdlab.night.untrimmed import Untrimmed
from kdlab.papers.generative.detection_method import Detection, DetectionDistillation, DetectionRepresentation
from kdlab.papers.generative.detector import Detector
from kdlab.papers.generative.recipes import GENERATION
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import VARIETY, DetectionSize, current

CLASSES = ("Jump", "Sit", "Stand", "Turn", "Walk", "Wave")
#: The layer before time is halved, and the last: as the paper's Mixed_4f and Mixed_5c.
TAPS = ("stages.2.2", "stages.3")
WINDOW = Windows(frames=64, side=28, crop=24, rate=7.5, stride=32)
#: How far the seed of a student's teacher lies from its own: with an equal one both would meet the windows in the same
#: order.
TEACHER_SEED = 100

SMOKE, DEMO, STUDY = (current(word, DetectionSize) for word in ("smoke", "demo", "study"))


def night(size: DetectionSize) -> UntrimmedStream:
    """The bright stream of untrimmed `night`, always of the same data seed."""
    return UntrimmedStream(Untrimmed(CLASSES, size.videos, size.seconds, VARIETY))


def conditions(size: DetectionSize, seed: int, data=None) -> dict[str, Recipe]:
    """The teacher of a seed and its students: of equal steps, but for one with the teacher's.
    ``data`` (default: :func:`night`) may be annotated videos of your own."""
    # At the taps both have the same channels, as GenKD needs; below, the student is half as wide, without time.
    wide, thin = TinyC3D((8, 16, 32, 64)), TinyC3D((4, 8, 32, 64), (False, False, True, True))
    heavy, light = (Detector(net, TAPS, WINDOW.frames, levels=4, width=32) for net in (wide, thin))
    gated = replace(light, gated=WINDOW.crop)
    settings = Settings(epochs=size.epochs, batch_size=8, lr=4e-3)
    longer = replace(settings, epochs=2 * size.epochs)
    student = Recipe("det_student", data or night(size), MotionMix(), Detection(), net=light, window=WINDOW,
                     settings=settings, seed=seed)
    teacher = replace(student, condition="det_teacher", method=DetectionRepresentation(generation=GENERATION),
                      net=replace(heavy, gated=WINDOW.crop), settings=longer, seed=TEACHER_SEED + seed)
    phase_2 = DetectionDistillation(generation=GENERATION)
    taught = replace(student, condition="det_genkd", method=phase_2, net=gated, teacher=teacher)
    return {
        "det_teacher": teacher,
        "det_student": student,
        "det_genkd": taught,
        "det_untrained": replace(taught, condition="det_untrained", method=replace(phase_2, teacher="untrained")),
        "det_student_2x": replace(student, condition="det_student_2x", settings=longer),
    }
