"""The ``paper`` profile of GenKD for recognition: UCF-101 and HMDB-51, RGB and flow.

Section 2.2 of docs/methods.md tells, number by number, what is the reference code's, ours or unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from kdlab.clips.datasets import HMDB_COUNTS, UCF_COUNTS
from kdlab.clips.views import Flow, FlowFiles, Raw
from kdlab.clips.windows import ConsecutiveWindow
from kdlab.distill.method import KD
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.pretrained import Weights
from kdlab.papers.generative.method import FeatureRepresentation, GenerativeDistillation
from kdlab.papers.generative.nets import Gated
from kdlab.papers.paper_size import Paper, PaperSet
from kdlab.train.loop import Settings
from kdlab.train.optimisers import AsReleased, Rule
from kdlab.train.recipe import Recipe, UserClips

_SECOND_HAND = "second-hand, to be checked before it is quoted: RGB / two streams, student {} → GenKD {}"
SETS = (
    PaperSet("UCF-101", "ucf101", 101, tuple(split["train"] for split in UCF_COUNTS.values()),
             (_SECOND_HAND.format("64.1 / 82.1", "66.6 / 84.5"),)),
    PaperSet("HMDB-51", "hmdb51", 51, tuple(split["train"] for split in HMDB_COUNTS.values()),
             (_SECOND_HAND.format("52.0 / 77.6", "54.5 / 79.0"),)),
)
STREAMS = ("rgb", "flow")
_SCALES = (1.0, 0.875, 0.75)
#: The released networks' rates by stream; a CVAE's is 1e-4 in both.
_RATES, _CVAE = (1e-3, 1e-2), 1e-4
_OTHERWISE = ("λ's steps stretched to 1,024; the gate's sums over a batch (over a clip); the cross-entropy of summed"
              " softmaxes; ImageNet's statistics for pixels (those of the checkpoint, or of the clips); one split; fp32"
              " (bf16, but --precision fp32). Its script for teachers is not released")


@dataclass(frozen=True)
class PaperSize:
    """Networks, windows and settings of both streams, by :data:`STREAMS`; epochs count each pass once."""

    teachers: tuple
    students: tuple
    windows: tuple
    settings: tuple[Settings, Settings]
    flow_folder: Path | str | None = None

    def view(self, stream: str, folder: str) -> Raw | Flow | FlowFiles:
        """What networks of a ``stream`` see of the data set in ``folder``."""
        if stream == "rgb":
            return Raw()
        return FlowFiles(str(Path(self.flow_folder) / folder)) if self.flow_folder else Flow()


def networks(weights: Mapping[str, Path | str] | None) -> tuple[tuple[I3D, I3D], tuple[I3D, I3D]]:
    """Teachers and students by stream: I3D teaches Top-I3D. ``weights`` are the teachers' checkpoints by stream;
    students begin at random."""
    made = {stream: Weights.of(path) for stream, path in dict(weights or ()).items()}
    channels = dict(zip(STREAMS, (3, 2), strict=True))
    return (tuple(I3D(channels=n, weights=made.get(stream)) for stream, n in channels.items()),
            tuple(I3D(TOP, channels=n) for n in channels.values()))


def profile(weights: Mapping[str, Path | str] | None = None, flow_folder: Path | str | None = None,
            as_released: bool = False) -> PaperSize:
    """Of :func:`networks` on 64 × 224².

    ``flow_folder`` has a folder of flow pictures for each data set (``clips.views.FlowFiles``); without it, flow is
    computed from the frames. ``as_released``: SGD at 1e-3 (RGB) and 1e-2 (flow), momentum .9, for networks, and Adam at
    1e-4 (betas .8, .999, no decay) for CVAEs; none falls.
    """
    settings = tuple(Settings(200, batch, 1e-4, 5e-4, "one_cycle", "bf16") for batch in (6, 12))
    if as_released:
        settings = tuple(replace(s, lr=lr, as_released=_released(lr)) for s, lr in zip(settings, _RATES, strict=True))
    windows = ConsecutiveWindow(64, 256, 224, (*_SCALES, 0.66)), ConsecutiveWindow(64, 256, 224, _SCALES)
    return PaperSize(*networks(weights), windows, settings, flow_folder)


def _released(lr: float) -> AsReleased:
    return AsReleased((("net", Rule("sgd")), ("cvae", Rule(share=_CVAE / lr, decay=0.0, betas=(0.8, 0.999)))))


def recipes(which: PaperSet, root: Path, size: PaperSize, seed: int = 0) -> dict[tuple[str, str, str], Recipe]:
    """(split, stream, condition) → recipe. GenKD's passes alternate as released: an epoch each, so twice the epochs."""
    found = {}
    for split, (k, stream) in product(which.splits, enumerate(STREAMS)):
        clips, view = UserClips(str(root / which.folder), split), size.view(stream, which.folder)
        window, once = size.windows[k], size.settings[k]
        clip, turns = (window.frames, window.crop, window.crop), 2 * once.epochs
        teacher, student = (Gated(nets[k], clip, dropout=0.5) for nets in (size.teachers, size.students))
        phase_1, phase_2 = FeatureRepresentation(alternating=turns), GenerativeDistillation(alternating=turns)
        base = Recipe("student_ce", clips, view, net=size.students[k], window=window, settings=once, seed=seed)
        plain = replace(base, condition="teacher_ce", net=size.teachers[k], seed=seed + 1)
        kd = replace(base, condition="kd", method=KD(), teacher=plain)
        twice = replace(once, epochs=turns)
        taught = replace(plain, condition="teacher_fr", method=phase_1, net=teacher, settings=twice)
        genkd = replace(base, condition="genkd", method=phase_2, net=student, settings=twice, teacher=taught)
        control = replace(genkd, condition="untrained", method=replace(phase_2, teacher="untrained"))
        found |= {(split, stream, recipe.condition): recipe for recipe in (taught, base, kd, genkd, control)}
    return found


PAPER = Paper("generative", "2.2", SETS, recipes, _OTHERWISE)
