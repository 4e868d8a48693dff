"""The weights of one tiny training for each network, method, view and window: recorded, so that a change shows.

``witness.json`` keeps, for every recipe of :func:`recipes`, the hash of its weights and its first losses, with the kind
of CPU and the versions that gave them. ``python -m tests.witness FILE`` writes what today's sources give;
``python -m tests.witness tests/witness.json`` records it anew. Do that only for a change of bits that is meant, and say
in the commit which rows changed and why.
"""

import json
import os
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from kdlab.clips.coviar import DIFFERENCE, Compressed, PaperSegments, Segments
from kdlab.clips.enhance import Clahe, Gamma, HistogramEqualisation
from kdlab.clips.views import Enhanced, Flow, MotionMix
from kdlab.clips.windows import ConsecutiveWindow
from kdlab.distill.baselines import AttentionTransfer, DecoupledKD, FeatureNorm, FitNet
from kdlab.nets.attention_head import Attended
from kdlab.nets.compressed import CoViARNet, matched
from kdlab.nets.i3d import I3D, TOP
from kdlab.nets.torchvision_video import R2Plus1D, TorchvisionVideo
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.night.darkened import Darkened
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.controls import RandomGamma
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.generative import detection_recipes
from kdlab.papers.generative import recipes as generative_recipes
from kdlab.papers.generative.detection import DetectionDistillation, DetectionRepresentation
from kdlab.papers.generative.method import GenerativeDistillation
from kdlab.papers.generative.networks import Gated
from kdlab.papers.progressive import recipes as progressive_recipes
from kdlab.papers.progressive.method import SettledCrossEntropy
from kdlab.papers.progressive.networks import ORDER
from kdlab.train.device import cpu_features
from kdlab.train.many import in_training_order, obtain_all
from kdlab.train.recipe import Recipe, Snapshot
from kdlab.train.rehearsal import _marker
from kdlab.train.runs import DECIDING_PACKAGES, Run
from kdlab.train.settings import Settings
from kdlab.train.sizes import SMOKE

#: Three classes: enough for what a hash can tell.
NIGHT = Night(("Jump", "Sit", "Wave"), (4, 2, 2), 0.25)
SHORT = Settings(epochs=2, batch_size=4)
#: A large network takes two steps on few, small frames.
PAIR = ConsecutiveWindow(16, 40, 36)  # of a student and its teacher
LARGE = dict(settings=Settings(epochs=1, batch_size=6), window=ConsecutiveWindow(8, 40, 32))


def recipes() -> dict[str, Recipe]:
    """What is witnessed, by a word for people."""
    found = dual_lights() | classifiers() | generative() | detectors() | compressed()
    return {name: found[name] for name in sorted(found)}


def dual_lights() -> dict[str, Recipe]:
    """DL-KDD with its controls and competitors, and each enhancer's view."""
    made = dual_light(replace(SMOKE, night=NIGHT, settings=SHORT))
    raw, student = made["ce_raw"], made["dlkdd"]
    taught = {
        "dkd": DecoupledKD(),
        "fitnet": FitNet(),
        "attention_transfer": AttentionTransfer(),
        "sharp": DualLight(temperature=1.0, alpha=1.0),
    }
    views = {
        "he": Enhanced(HistogramEqualisation()),
        "he_steady": Enhanced(HistogramEqualisation(steady=True)),
        "clahe": Enhanced(Clahe()),
        "clahe_steady": Enhanced(Clahe(steady=True)),
        "motion_mix": MotionMix(),
        "motion_mix_gamma": MotionMix(Enhanced(Gamma())),
        "darkened": Darkened(of=Enhanced(Gamma())),
    }
    curves = TrainedCurves(NIGHT, width=4, side=32, clips=8, batch=4, steps=4)
    views |= {"zerodce": Enhanced(curves), "zerodce_steady": Enhanced(replace(curves, steady=True))}
    found = made | {name: replace(student, method=method) for name, method in taught.items()}
    found |= {name: replace(raw, view=view) for name, view in views.items()}
    found |= {
        "random_gamma": replace(raw, method=RandomGamma()),
        "from_teacher": replace(raw, start=student.teacher),
        "cosine": replace(raw, settings=replace(SHORT, schedule="cosine")),
        "small": replace(student, net=TinyR2Plus1D((4, 8, 20, 44), dropout=0.2)),
        "attended": replace(student, net=Attended(TinyR2Plus1D())),
        "consecutive": replace(student, window=PAIR, teacher=replace(student.teacher, window=PAIR)),
    }
    return {f"light/{name}": recipe for name, recipe in found.items()}


def classifiers() -> dict[str, Recipe]:
    """Networks of the papers' size, by cross-entropy on small frames."""
    nets = {
        "r2plus1d_18": TorchvisionVideo("r2plus1d_18"),
        "r2plus1d_34": R2Plus1D(),
        "attended_18": Attended(TorchvisionVideo("r2plus1d_18"), heads=4),
        "i3d": I3D(),
        "i3d_top": I3D(TOP),
    }
    wide = ConsecutiveWindow(16, 72, 64)  # I3D halves its frames five times
    return {
        f"large/{name}": Recipe(
            "ce_raw", NIGHT, net=net, **(LARGE | ({"window": wide} if isinstance(net, I3D) else {}))
        )
        for name, net in nets.items()
    }


def generative() -> dict[str, Recipe]:
    """Generative feature distillation and its competitors, on pixels and on flow."""
    size, data = generative_recipes.SMOKE, NightStream(NIGHT)
    made = generative_recipes.conditions(replace(size, epochs=2), data)
    consecutive = Recipe(
        "student_ce",
        data,
        Flow(),
        settings=SHORT,
        window=ConsecutiveWindow(16, 40, 36),
        net=replace(generative_recipes.STUDENT, channels=2),
    )
    # the paper's backbone under the gate, teacher and student, in both passes
    window, clip = ConsecutiveWindow(16, 72, 64), (16, 64, 64)
    teacher = replace(
        made["teacher_fr"],
        net=Gated(I3D(), clip, dropout=0.5),
        window=window,
        settings=LARGE["settings"],
    )
    taught = replace(
        teacher,
        condition="genkd",
        net=Gated(I3D(TOP), clip, dropout=0.5),
        teacher=teacher,
        method=GenerativeDistillation(),
    )
    made["feature_norm"] = replace(made["kd"], condition="feature_norm", method=FeatureNorm())
    made |= {"flow_consecutive": consecutive, "i3d_teacher": teacher, "i3d_student": taught}
    return {f"generative/{name}": recipe for name, recipe in made.items()}


def detectors() -> dict[str, Recipe]:
    """Detectors on untrimmed `night`, without and with refinement, begun at random and as a classifier."""
    made = detection_recipes.conditions(detection_recipes.SMOKE, 0)
    student, taught = made["det_student"], made["det_genkd"]
    made["det_refined"] = replace(student, net=replace(student.net, refine=True))
    phase_1 = replace(
        taught.teacher, method=DetectionRepresentation(alternating=taught.teacher.settings.epochs)
    )
    made["det_alternating"] = replace(
        taught, teacher=phase_1, method=DetectionDistillation(alternating=taught.settings.epochs)
    )
    return {f"detection/{name}": recipe for name, recipe in made.items()}


def compressed() -> dict[str, Recipe]:
    """Networks of the compressed domain, and internal classifiers on them by every method."""
    size, data = progressive_recipes.SMOKE, NightStream(replace(NIGHT, context=0.9))
    trio = progressive_recipes.trio(size, data)
    found = {f"trio_{r.condition}": r for r in trio}
    found |= {
        f"matched_{r.condition}": r for r in progressive_recipes.trio(size, data, net=matched)
    }
    found["difference"] = progressive_recipes.trio(size, data, residual=DIFFERENCE)[0]
    found |= progressive_recipes.conditions(size, trio)
    found["plain_ce"] = replace(trio[0], method=replace(SettledCrossEntropy(), freeze_after=1.0))
    found |= {
        f"coviar_{m}": Recipe(
            m,
            data,
            Compressed(m),
            SettledCrossEntropy(),
            net=CoViARNet(m, 18),
            window=PaperSegments(3, 72, 64),
            settings=LARGE["settings"],
        )
        for m in ORDER
    }
    assert all(isinstance(recipe.window, Segments) for recipe in found.values())
    return {f"compressed/{name}": recipe for name, recipe in found.items()}


def witnessed(runs: dict[str, Run]) -> dict:
    """What is recorded of finished runs."""
    rows = {
        name: {
            "weights": run.provenance["weights"],
            "first_losses": [round(loss, 6) for loss in run.provenance["first_losses"]],
        }
        for name, run in runs.items()
    }
    return {
        "cpu": cpu_features(),
        "versions": {name: version(name) for name in DECIDING_PACKAGES},
        "rows": rows,
    }


def train(places: Path) -> dict[str, Run]:
    """Train everything below ``places``, on all cores; what is finished there is found again."""
    os.environ |= {
        f"KDLAB_{name.upper()}": str(places / name) for name in ("runs", "data", "cache")
    }
    wanted = recipes()
    wanted |= {
        f"needed/{r.name.rpartition('-')[0]}-{n}": r
        for n, r in enumerate(
            r for r in in_training_order(wanted.values()) if r not in wanted.values()
        )
    }
    for recipe in wanted.values():
        # a rehearsal decides no weight, and of these would take as long as their trainings
        marker = _marker(recipe, Snapshot())
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    lines: list[str] = []
    runs = obtain_all(list(wanted.values()), pretrained=False, stale="retrain", say=lines.append)
    return dict(zip(wanted, runs, strict=True))


def main() -> None:
    """Train everything in a temporary folder, or in the one given second, and write the file given first."""
    file = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        found = witnessed(train(Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder)))
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found['rows'])} rows in {file}")


if __name__ == "__main__":
    main()
