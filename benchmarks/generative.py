"""Ratios of time and memory: a training step of GenKD, of its phase 1 and of competitors to one of cross-entropy.

    python benchmarks/generative.py            # prints a table, writes benchmarks/generative.json

One thread, interleaved repeats in one process, ratios of minima; the tiny networks of the studies at 16 × 32², batches
of 8. Memory is the larger pass's, in fp32: what autograd keeps for the way back, networks, gradients, AdamW's moments.
It is counted, not measured, at this size and at the paper's (I3D, Top-I3D, 64 × 224², batch 1).
"""

import json
import time
from pathlib import Path

import torch
from steps import Made, environment, interleaved, summary

from kdlab.clips.views import Batch
from kdlab.distill.method import CrossEntropy
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.video import build
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.generative.method import FeatureRepresentation, GenerativeDistillation
from kdlab.papers.generative.nets import CVAE, Gated
from kdlab.papers.generative.recipes import STUDENT, STUDY, TEACHER
from kdlab.papers.paper_size import activation_bytes
from kdlab.train.loop import Settings, fit

CLASSES, BATCH, NUMBER, REPEATS = 11, 8, 12, 8
CLIP = (STUDY.window.frames, STUDY.window.crop, STUDY.window.crop)


def step_times() -> dict[str, list[float]]:
    """CPU seconds of one training step of each way, :data:`REPEATS` means over :data:`NUMBER` steps."""
    generator = torch.Generator().manual_seed(0)

    def batch() -> Batch:
        pixels = torch.rand((BATCH, *CLIP, 3), generator=generator).permute(0, 4, 1, 2, 3)
        labels = torch.randint(0, CLASSES, (BATCH,), generator=generator)
        return Batch({"student": pixels, "teacher": pixels}, labels, tuple(map(str, range(BATCH))))

    made = [batch() for _ in range(4)]
    settings = Settings(epochs=1, batch_size=BATCH, lr=1e-4)

    def way(method, spec, teacher=None):
        nets = {"student": build(spec, CLASSES, 0)}
        if teacher:
            nets["teacher"] = build(teacher, CLASSES, 1).eval().requires_grad_(False)
            if getattr(method, "reads_teacher_cvae", False):
                nets["teacher_cvae"] = nets["teacher"].net.new_cvae().eval().requires_grad_(False)
        if hasattr(method, "extra_nets"):
            nets |= method.extra_nets(nets, made, 0)
        return lambda: fit(method, nets, Made(made, range(BATCH * NUMBER)), settings, 0)

    student, teacher = Gated(STUDENT, CLIP), Gated(TEACHER, CLIP)
    times = interleaved({
        "CE, plain student": way(CrossEntropy(), STUDENT),
        "CE, gated student": way(CrossEntropy(), student),
        "KD": way(DualLight(), STUDENT, TEACHER),
        "FR alone": way(FeatureRepresentation(), student),
        "attention distillation alone": way(GenerativeDistillation(generative=False), student, teacher),
        "GenKD": way(GenerativeDistillation(), student, teacher),
        "CE, plain teacher": way(CrossEntropy(), TEACHER),
        "FR, teacher": way(FeatureRepresentation(), teacher),
    }, REPEATS)
    return {name: [second / NUMBER for second in column] for name, column in times.items()}


def memory(teacher: Gated, student: Gated, batch: int) -> dict[str, float]:
    """Bytes of one training step of the student: by CE, and by GenKD with its frozen teacher and both CVAEs."""
    with torch.device("meta"):
        big, small = teacher.make(CLASSES), student.make(CLASSES)
        cvae = CVAE(small.shape[0], small.shape[2:])
        weights = {name: sum(p.numel() for p in net.parameters())
                   for name, net in (("teacher", big), ("student", small), ("cvae", cvae))}
        kept = activation_bytes(small, (batch, 3, *student.clip))
        features = torch.zeros(batch, *small.shape)
        attention = torch.zeros(features.shape[:3], requires_grad=True)
        first = _kept(cvae, lambda: cvae(features, attention.detach()))
        cvae.requires_grad_(False)
        decoded = _kept(cvae, lambda: cvae.decode(cvae.sample(attention, torch.zeros_like(attention)), attention))
    ce = 16 * weights["student"] + kept  # weight, gradient, two moments
    genkd = 16 * (weights["student"] + weights["cvae"]) + 4 * (weights["teacher"] + weights["cvae"])
    return {"CE": float(ce), "GenKD": float(genkd + max(first, kept + decoded))}


def _kept(cvae: CVAE, forward) -> int:
    """Bytes that autograd keeps of ``forward``, the parameters of ``cvae`` left out."""
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    own = {t.untyped_storage()._cdata for t in cvae.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for key, storage in kept.items() if key not in own)


def main() -> None:
    torch.set_num_threads(1)
    start, rows = time.process_time(), step_times()
    best = {name: min(column) for name, column in rows.items()}
    ratios = {f"{name} / CE, {of}": best[name] / best[f"CE, {of}"]
              for of, names in (("plain student", ("CE, gated student", "KD")), ("plain teacher", ("FR, teacher",)),
                                ("gated student", ("FR alone", "attention distillation alone", "GenKD")))
              for name in names}
    sizes = {"tiny, batch 8": (Gated(TEACHER, CLIP), Gated(STUDENT, CLIP), BATCH),
             "paper, batch 1": (Gated(I3D(), (64, 224, 224)), Gated(I3D(TOP), (64, 224, 224)), 1)}
    bytes_of = {size: memory(*nets) for size, nets in sizes.items()}
    ratios |= {f"memory, GenKD / CE, {size}": its["GenKD"] / its["CE"] for size, its in bytes_of.items()}
    table = summary(rows)
    for name, value in ratios.items():
        print(f"{name:62} {value:.2f}")
    for size, its in bytes_of.items():
        print(f"{size}: CE {its['CE'] / 2**20:,.1f} MiB, GenKD {its['GenKD'] / 2**20:,.1f} MiB")
    result = {"ratios": {name: round(value, 3) for name, value in ratios.items()}, "rows": table,
              "memory, MiB": {size: {k: round(v / 2**20, 1) for k, v in its.items()}
                              for size, its in bytes_of.items()}, "environment": environment(start)}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
