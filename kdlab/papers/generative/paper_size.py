"""GenKD's own hyper-parameters for recognition: UCF-101 and HMDB-51, RGB and flow.

Section 2.2 of docs/methods.md tells, number by number, what is the reference code's, ours or unknown.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

from kdlab.clips.flow import Flow, FlowFiles
from kdlab.clips.paper_window import ConsecutiveWindow
from kdlab.clips.views import Raw, View
from kdlab.distill.method import KD
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.pretrained import Weights
from kdlab.papers.generative.method import FeatureRepresentation, GenerativeDistillation
from kdlab.papers.generative.nets import Gated
from kdlab.train.loop import Settings
from kdlab.train.optimisers import AsReleased, Rule
from kdlab.train.recipe import Recipe, UserClips

#: Folder of a data set → its published splits.
SETS = {"ucf101": ("1", "2", "3"), "hmdb51": ("1", "2", "3")}
#: Stream → channels of its clips.
STREAMS = {"rgb": 3, "flow": 2}
_RATES, _CVAE_RATE = {"rgb": 1e-3, "flow": 1e-2}, 1e-4
_BATCHES = {"rgb": 6, "flow": 12}
_SCALES = {"rgb": (1.0, 0.875, 0.75, 0.66), "flow": (1.0, 0.875, 0.75)}
#: What the released code does and these recipes do not.
DEVIATIONS = ("λ's steps stretched to 1,024; the gate's sums over a batch (over a clip); the cross-entropy of summed"
              " softmaxes; ImageNet's statistics for pixels (those of the checkpoint, or of the clips); one split; fp32"
              " (bf16). Its script for teachers is not released")


def recipes(root: Path, weights: Mapping[str, Path | str] | None = None, flow_folder: Path | str | None = None,
            as_released: bool = False, seed: int = 0) -> dict[tuple[str, str, str, str], Recipe]:
    """(data set, split, stream, condition) → recipe, of data sets in ``root``. I3D teaches Top-I3D on 64 × 224².

    ``weights`` are the teacher's checkpoints by stream; students begin at random. ``flow_folder`` has a folder of flow
    pictures for each data set (``clips.flow.FlowFiles``); without it, flow is computed from the frames. GenKD's passes
    alternate as released, an epoch each, so its trainings have twice the epochs. ``as_released``: SGD at 1e-3 (RGB) and
    1e-2 (flow), momentum 0.9, for networks, and Adam at 1e-4 (betas 0.8, 0.999, no decay) for CVAEs.
    """
    found = {}
    for (folder, splits), (stream, channels) in product(SETS.items(), STREAMS.items()):
        settings = Settings(200, _BATCHES[stream], 1e-4, 5e-4, "one_cycle", "bf16")
        if as_released:
            rate = _RATES[stream]
            cvae = Rule(share=_CVAE_RATE / rate, decay=0.0, betas=(0.8, 0.999))
            settings = replace(settings, lr=rate, as_released=AsReleased((("net", Rule("sgd")), ("cvae", cvae))))
        heavy = I3D(channels=channels, weights=Weights.of(weights[stream]) if stream in (weights or ()) else None)
        light, window = I3D(TOP, channels=channels), ConsecutiveWindow(64, 256, 224, _SCALES[stream])
        teacher, student = (Gated(net, (64, 224, 224), dropout=0.5) for net in (heavy, light))
        twice, turns = replace(settings, epochs=2 * settings.epochs), 2 * settings.epochs
        phase_1, phase_2 = FeatureRepresentation(alternating=turns), GenerativeDistillation(alternating=turns)
        for split in splits:
            clips, view = UserClips(str(root / folder), split), view_of(stream, folder, flow_folder)
            base = Recipe("student_ce", clips, view, net=light, window=window, settings=settings, seed=seed)
            plain = replace(base, condition="teacher_ce", net=heavy, seed=seed + 1)
            kd = replace(base, condition="kd", method=KD(), teacher=plain)
            taught = replace(plain, condition="teacher_fr", method=phase_1, net=teacher, settings=twice)
            genkd = replace(base, condition="genkd", method=phase_2, net=student, settings=twice, teacher=taught)
            control = replace(genkd, condition="untrained", method=replace(phase_2, teacher="untrained"))
            found |= {(folder, split, stream, one.condition): one for one in (taught, base, kd, genkd, control)}
    return found


def view_of(stream: str, folder: str, flow_folder: Path | str | None) -> View:
    """What networks of a ``stream`` see of the data set in ``folder``."""
    if stream == "rgb":
        return Raw()
    return FlowFiles(str(Path(flow_folder) / folder)) if flow_folder else Flow()
