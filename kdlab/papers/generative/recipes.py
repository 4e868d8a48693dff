"""Recipes of generative feature distillation for recognition at three sizes: teachers, students, competitors, controls.

Teachers are tiny C3Ds, students their tiny Top-I3D: half the widths below the last stage, kernels in time in the last
two (docs/methods.md, 2). GenKD's networks are gated, those of its competitors are plain, as their papers have them; so
``student_gate`` tells what the gate alone does. Every student has the same steps, clips, order of clips and seed, and
its teacher the seed + 1. The `paper` size is in ``kdlab.papers.generative.paper_size``.
"""

from dataclasses import replace

from kdlab.clips.views import Flow
from kdlab.distill.baselines import AttentionTransfer, DecoupledKD, FeatureNorm, FitNet, SimKD
from kdlab.distill.method import KD
from kdlab.nets.i3d import TinyC3D
from kdlab.night import ACTIONS, Night
from kdlab.night.streams import NightStream
from kdlab.papers.generative.method import FeatureRepresentation, GenerativeDistillation
from kdlab.papers.generative.nets import Gated
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import VARIETY, GenerativeSize, current

#: Weight of the generation term in pass 1, which the released code has not: without it CVAEs do not generate here
#: (docs/log.md); and how many turns pass 1 takes of each batch: with one the teachers' do, the students' barely.
GENERATION, TURNS = 1.0, 3
TEACHER, STUDENT = TinyC3D(), TinyC3D((4, 8, 16, 64), (False, False, True, True))


SMOKE, DEMO, STUDY = (current(word, GenerativeSize) for word in ("smoke", "demo", "study"))


def night(size: GenerativeSize) -> NightStream:
    """The bright twins of `night`, where places tell nothing."""
    return NightStream(Night(ACTIONS, size.per_class, VARIETY, 0.0))


def conditions(size: GenerativeSize, data: NightStream | UserClips, seed: int = 0) -> dict[str, Recipe]:
    """Condition → recipe, all of one seed; :func:`on_flow` makes those of the other stream.

    Teachers: ``teacher_ce`` (labels, plain), ``teacher_fr`` (phase 1), ``teacher_released`` (pass 1 as released).
    Students: ``student_ce``, ``student_2x`` (twice the steps), ``student_gate`` (labels on the gated network),
    ``student_fr`` (phase 1 alone), the competitors by their methods' names, ``genkd``. Controls: ``untrained`` and
    ``permuted`` teachers, ``kd_gate`` (KD between gated networks). Parts: ``generative`` or ``attention`` alone.
    Variants: ``autoencoder`` (no noise), ``alternating`` passes, ``faithful`` (the released gate), ``released``.
    """
    epochs = size.epochs if isinstance(data, NightStream) else size.real_epochs
    settings = Settings(epochs, batch_size=8, lr=1.2e-2)  # chosen on validation clips, at demo size, for the CE student
    clip = size.window.frames, size.window.crop, size.window.crop
    longer = replace(settings, epochs=2 * settings.epochs)
    base = Recipe("student_ce", data, net=STUDENT, window=size.window, settings=settings, seed=seed)
    gated = replace(base, net=Gated(STUDENT, clip))
    teacher = replace(base, condition="teacher_ce", net=TEACHER, seed=seed + 1)
    phase_1 = FeatureRepresentation(generation=GENERATION, turns=TURNS)
    taught = replace(teacher, condition="teacher_fr", method=phase_1, net=Gated(TEACHER, clip))
    encoded = replace(taught, condition="teacher_autoencoder", method=replace(phase_1, deterministic=True))
    faithful = replace(taught, condition="teacher_faithful", net=replace(taught.net, faithful=True))
    released = replace(taught, condition="teacher_released", method=FeatureRepresentation())
    phase_2 = GenerativeDistillation(generation=GENERATION, turns=TURNS)
    genkd = replace(gated, method=phase_2, teacher=taught)
    made = {
        "teacher_ce": teacher,
        "teacher_fr": taught,
        "student_ce": base,
        "student_2x": replace(base, settings=longer),
        "student_gate": gated,
        "student_fr": replace(gated, method=phase_1),
    }
    competitors = {
        "kd": KD(),
        "dkd": DecoupledKD(),
        "fitnets": FitNet(tap="net.stages.2"),
        "attention_transfer": AttentionTransfer(),
        "simkd": SimKD(),
        "feature_norm": FeatureNorm(),
    }
    made |= {name: replace(base, method=method, teacher=teacher) for name, method in competitors.items()}
    made["simkd"] = replace(made["simkd"], net=replace(STUDENT, projector=TEACHER.widths[-1]))
    changes = {
        "genkd": {},
        "untrained": dict(teacher="untrained"),
        "generative": dict(beta=0.0),
        "attention": dict(generative=False, generation=0.0, turns=1),
        "permuted": dict(teacher="permuted"),
        "autoencoder": dict(deterministic=True),
        "alternating": dict(alternating=longer.epochs),
    }
    made |= {name: replace(genkd, method=replace(phase_2, **fields)) for name, fields in changes.items()}
    made["autoencoder"] = replace(made["autoencoder"], teacher=encoded)
    made["alternating"] = replace(made["alternating"], settings=longer)
    made["kd_gate"] = replace(genkd, method=KD())
    made["faithful"] = replace(genkd, net=replace(gated.net, faithful=True), teacher=faithful)
    made |= {"teacher_released": released,
             "released": replace(genkd, method=GenerativeDistillation(), teacher=released)}
    return {name: replace(recipe, condition=name) for name, recipe in made.items()}


def on_flow(recipe: Recipe) -> Recipe:
    """``recipe`` on optical flow, its teacher too: what late fusion adds to the one on pixels."""
    teacher = recipe.teacher and on_flow(recipe.teacher)
    return replace(recipe, condition=f"{recipe.condition}_flow", view=Flow(), net=_of_flow(recipe.net), teacher=teacher)


def _of_flow(net):
    if isinstance(net, Gated):
        return replace(net, backbone=_of_flow(net.backbone))
    return replace(net, channels=2)
