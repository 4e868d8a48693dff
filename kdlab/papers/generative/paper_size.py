"""The ``paper`` profile of GenKD for recognition: UCF-101 and HMDB-51, RGB and flow, what that costs, and a dry run.

Section 2.2 of docs/methods.md tells, number by number, what is the reference code's, ours or unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from kdlab.clips.flow import Flow, FlowFiles
from kdlab.clips.paper_window import ConsecutiveWindow
from kdlab.clips.released import HMDB_COUNTS, UCF_COUNTS
from kdlab.clips.splits import VAL_SHARE
from kdlab.clips.views import Raw
from kdlab.distill.method import KD
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.pretrained import Weights
from kdlab.papers.generative.method import FeatureRepresentation, GenerativeDistillation
from kdlab.papers.generative.nets import Gated
from kdlab.papers.paper_size import PaperSet, cost, look, placed, present
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import Run, obtain

__all__ = ["CONDITIONS", "SETS", "STREAMS", "PaperSize", "dry_run", "profile", "recipes", "run", "together"]

_SECOND_HAND = "second-hand, to be checked before it is quoted: RGB / two streams, student {} → GenKD {}"
SETS = (
    PaperSet("UCF-101", "ucf101", 101, tuple(split["train"] for split in UCF_COUNTS.values()),
             (_SECOND_HAND.format("64.1 / 82.1", "66.6 / 84.5"),)),
    PaperSet("HMDB-51", "hmdb51", 51, tuple(split["train"] for split in HMDB_COUNTS.values()),
             (_SECOND_HAND.format("52.0 / 77.6", "54.5 / 79.0"),)),
)
STREAMS = ("rgb", "flow")
CONDITIONS = ("teacher_fr", "student_ce", "kd", "genkd", "untrained")
_SCALES = (1.0, 0.875, 0.75)
_OTHERWISE = ("SGD for networks and Adam (betas .8, .999) for CVAEs (one AdamW and one rate here, which falls);"
              " λ's steps stretched to 1,024; the cross-entropy of summed softmaxes; ImageNet's statistics for pixels"
              " (those of the checkpoint, or of the clips)")


@dataclass(frozen=True)
class PaperSize:
    """Networks, windows and settings of both streams, by :data:`STREAMS`; epochs count each pass once."""

    teachers: tuple[I3D, I3D]
    students: tuple[I3D, I3D]
    windows: tuple[ConsecutiveWindow, ConsecutiveWindow]
    settings: tuple[Settings, Settings]
    flow_folder: str | None = None


def profile(weights: Mapping[str, Path | str] | None = None, flow_folder: Path | str | None = None) -> PaperSize:
    """I3D teaches Top-I3D on 64 × 224²; ``weights`` are the teacher's checkpoints by stream, students begin at random.

    ``flow_folder`` has a folder of flow pictures for each data set (``clips.flow.FlowFiles``); without it, flow is
    computed from the frames.
    """
    made = {stream: Weights.of(path) for stream, path in (weights or {}).items()}
    channels = dict(zip(STREAMS, (3, 2), strict=True))
    settings = Settings(200, 6, 1e-4, 5e-4, "one_cycle", "bf16")
    return PaperSize(
        tuple(I3D(channels=n, weights=made.get(stream)) for stream, n in channels.items()),
        tuple(I3D(TOP, channels=n) for n in channels.values()),
        (ConsecutiveWindow(64, 256, 224, (*_SCALES, 0.66)), ConsecutiveWindow(64, 256, 224, _SCALES)),
        (settings, replace(settings, batch_size=12)), str(flow_folder) if flow_folder else None)


def recipes(which: PaperSet, root: Path, size: PaperSize, seed: int = 0) -> dict[tuple[str, str, str], Recipe]:
    """(split, stream, condition) → recipe. GenKD's passes alternate as released: an epoch each, so twice the epochs."""
    found = {}
    for split in which.splits:
        clips = UserClips(str(root / which.folder), split)
        for k, stream in enumerate(STREAMS):
            window, settings = size.windows[k], size.settings[k]
            clip = window.frames, window.crop, window.crop
            flow = FlowFiles(str(Path(size.flow_folder) / which.folder)) if size.flow_folder else Flow()
            twice = replace(settings, epochs=2 * settings.epochs)
            base = Recipe("student_ce", clips, Raw() if stream == "rgb" else flow, net=size.students[k], window=window,
                          settings=settings, seed=seed)
            plain = replace(base, condition="teacher_ce", net=size.teachers[k], seed=seed + 1)
            dropout = 0.5
            phase_1 = replace(plain, condition="teacher_fr", method=FeatureRepresentation(alternating=twice.epochs),
                              net=Gated(size.teachers[k], clip, dropout=dropout), settings=twice)
            phase_2 = replace(base, condition="genkd", net=Gated(size.students[k], clip, dropout=dropout),
                              settings=twice, method=GenerativeDistillation(alternating=twice.epochs), teacher=phase_1)
            every = (phase_1, base, replace(base, condition="kd", method=KD(), teacher=plain), phase_2,
                     replace(phase_2, condition="untrained", method=replace(phase_2.method, teacher="untrained")))
            found |= {(split, stream, recipe.condition): recipe for recipe in every}
    return found


def dry_run(root: Path, size: PaperSize, tflops: float = 400, share: float = 0.35) -> str:
    """What :func:`run` would need, do and be compared with; ``tflops`` and ``share`` as in ``paper.dry_run``."""
    lines, listed = [], lambda numbers: ", ".join(f"{n:,}" for n in numbers)
    for which in SETS:
        there = look(which, root, "generative")
        train = ([round((1 - VAL_SHARE) * n) for n in which.clips] if isinstance(there, str)
                 else [len(catalogue.split("train")) for catalogue in there])
        lines += [*placed(which, root, there),
                  f"  splits     {', '.join(which.splits)}: {listed(train)} training clips, {VAL_SHARE:.0%} taken off"
                  f" for validation; streams {', '.join(STREAMS)}; {', '.join(CONDITIONS)}, KD's teacher"]
        for k, stream in enumerate(STREAMS):
            window, settings = size.windows[k], size.settings[k]
            shape = window.frames, window.crop, size.teachers[k].channels
            teacher, student = (cost(net, which.classes, *shape) for net in (size.teachers[k], size.students[k]))
            # pass 1 walks forward, pass 2 there and back (3), a teacher forward beside it
            work = settings.epochs * ((4 + 3 + 3) * teacher[0] + (3 + 3 + 2 * 4) * student[0])
            steps = listed(2 * settings.epochs * (n // min(n, settings.batch_size)) for n in train)
            gib = (22 * student[2] + 4 * teacher[2] + settings.batch_size * student[1] / 2) / 2**30
            lines += [
                f"  {stream:10} {window.frames} × {window.crop}², batch {settings.batch_size}, {settings.epochs} epochs"
                f" of each pass: {steps} steps of GenKD",
                f"  a clip     teacher {teacher[0] / 1e9:.1f} GMACs, {teacher[2] / 1e6:.1f} M parameters; student"
                f" {student[0] / 1e9:.1f} GMACs, {student[2] / 1e6:.1f} M",
                f"  memory     {gib:.1f} GiB for GenKD's student; CVAEs (112 M parameters each) and workspaces not"
                " counted",
                f"  GPU time   {2 * work * sum(train) / (3.6e15 * tflops * share):,.0f} h a seed, all conditions and"
                f" splits ({tflops:g} TFLOP/s × {share:g}: both assumed)"]
        lines += [*(f"  compare    {line}" for line in which.published), ""]
    return "\n".join([*lines, f"Released settings that are not reproduced: {_OTHERWISE}.",
                      "What is the reference code's, ours or unknown: docs/methods.md, 2.2."])


def together(one: Run, other: Run) -> float:
    """Top-1 in percent on test of the mean probability of two streams' runs."""
    said = [softmax(run.predictions().logits, 1) for run in (one, other)]
    return 100 * float(np.mean((said[0] + said[1]).argmax(1) == one.predictions().labels))


def run(root: Path, size: PaperSize, seed: int = 0, say=print) -> pd.DataFrame:
    """Train (or find) everything on the data sets in ``root``; mean top-1 in percent over the splits.

    Rows: data set, and ``rgb``, ``flow`` or both; columns: condition. Raises ``FileNotFoundError`` for no data set.
    """
    rows = []
    for which in present({which: look(which, root, "generative") for which in SETS}, say):
        done = {key: obtain(recipe, say=say) for key, recipe in recipes(which, root, size, seed).items()}
        rows += [(which.title, stream, name, run.predictions().accuracy) for (_, stream, name), run in done.items()]
        rows += [(which.title, "both", name, together(*(done[split, stream, name] for stream in STREAMS)))
                 for split in which.splits for name in CONDITIONS]
    table = pd.DataFrame(rows, columns=["data", "stream", "condition", "top1"])
    return table.pivot_table("top1", ["data", "stream"], "condition", sort=False)
