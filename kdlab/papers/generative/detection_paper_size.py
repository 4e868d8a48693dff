"""GenKD's own hyper-parameters for temporal detection: THUMOS14, RGB and flow.

Section 2.3 of docs/methods.md tells, number by number, what is the reference code's, ours or unknown.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kdlab.clips.windows import Windows
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.pretrained import Weights
from kdlab.papers.generative.detection_method import Detection, DetectionDistillation, DetectionRepresentation
from kdlab.papers.generative.detector import Detector
from kdlab.papers.generative.paper_size import STREAMS, view_of
from kdlab.train.loop import Settings
from kdlab.train.optimisers import AsReleased, Rule
from kdlab.train.recipe import Recipe, UserClips

#: Folder of the data set, and which of its ground truths: 210 test videos, as published scores use it.
FOLDER, TRUTH = "thumos14", "json"
#: Windows of 256 steps, every 30, that show a whole action, counted in AFSD's lists: 192 of the 200 videos have one.
WINDOWS = 6211
_EPOCHS = {"rgb": 50, "flow": 20}
_RATES, _CVAE_RATE = {"rgb": 1e-6, "flow": 1e-5}, 1e-4
#: What the released code does and these recipes do not.
DEVIATIONS = ("batch norm that never learns (it learns from one window at a time); softmax classes with a background"
              " class (sigmoids); spatial convolutions before the pyramid (means); a branch each for places and classes"
              " in the second stage (one), whose L1 is in halves of the first stage's segment (of the true one), while"
              " gIoU is the first's alone (both stages'); segments of which less than half is seen as background (left"
              " out); black after a video's end (its last frame); TV-L1 flow from step to step (DIS, or your pictures,"
              " from frame to frame); a class's last detection lost by soft-NMS (kept); fusion with a flow stream"
              " without attention (with); all 200 videos to train on (some of them validate)")


def recipes(root: Path, weights: Mapping[str, Path | str] | None = None, flow_folder: Path | str | None = None,
            as_released: bool = False, seed: int = 0) -> dict[tuple[str, str, str, str], Recipe]:
    """(data set, ground truth, stream, condition) → recipe, of the data set in ``root``; the options are those of
    :func:`kdlab.papers.generative.paper_size.recipes`.

    I3D teaches Top-I3D on 256 frames of 96² at 10 a second, with six levels of 512 channels, AFSD's refinement and its
    maps of starts and ends. ``as_released``: Adam at 1e-6 (RGB) and 1e-5 (flow) for networks and at 1e-4 for CVAEs.
    """
    found, window = {}, Windows(frames=256, side=112, crop=96, rate=10.0, stride=128, dense=30)
    task = Detection(l1=10.0, tiou=10.0, boundary=1.0, splice=0.1)
    for stream, channels in STREAMS.items():
        settings = Settings(_EPOCHS[stream], 1, 1e-5, 1e-3, "one_cycle", "bf16")
        if as_released:
            rate = _RATES[stream]
            rules = AsReleased((("net", Rule()), ("cvae", Rule(share=_CVAE_RATE / rate))))
            settings = replace(settings, lr=rate, as_released=rules)
        heavy = I3D(channels=channels, weights=Weights.of(weights[stream]) if stream in (weights or ()) else None)
        light = Detector(I3D(TOP, channels=channels), ("Mixed_4f", "Mixed_5c"), window.frames, levels=6, width=512,
                         refine=True, boundaries=True)
        twice, turns = replace(settings, epochs=2 * settings.epochs), 2 * settings.epochs
        both = dict(alternating=turns, detection=task, background=35.0)
        phase_1, phase_2 = DetectionRepresentation(**both), DetectionDistillation(**both)
        clips, view = UserClips(str(root / FOLDER), TRUTH), view_of(stream, FOLDER, flow_folder)
        base = Recipe("det_student", clips, view, task, None, None, light, window, settings, seed)
        taught = replace(base, condition="det_teacher", method=phase_1, settings=twice, seed=seed + 1,
                         net=replace(light, of=heavy, gated=window.crop))
        genkd = replace(base, condition="det_genkd", method=phase_2, net=replace(light, gated=window.crop),
                        settings=twice, teacher=taught)
        control = replace(genkd, condition="det_untrained", method=replace(phase_2, teacher="untrained"))
        found |= {(FOLDER, TRUTH, stream, one.condition): one for one in (taught, base, genkd, control)}
    return found
