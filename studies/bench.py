"""Which distiller helps a small video network, beyond smoothed labels and beyond twice the steps?

    kdlab study --all          # tunes and trains what is missing, here and in the other studies
    python studies/bench.py    # prints the table of docs/bench.md, and draws its figure

A line of METHODS is a distiller: docs/using.md adds one.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import report
from worlds import CURVES, FOLDER, at_shares, clips, for_share, tuning, with_choices

from kdlab.clips.windows import Window
from kdlab.distill.baselines import AttentionTransfer, DecoupledKD, FitNet, ReviewKD, SimKD
from kdlab.distill.method import KD
from kdlab.distill.relations import DIST, RelationalKD, StandardisedKD
from kdlab.measure.fidelity import agreement, nll
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.method import MatchedSmoothing
from kdlab.papers.generative.method import FeatureRepresentation, GenerativeDistillation
from kdlab.papers.generative.networks import Gated
from kdlab.papers.generative.recipes import GENERATION, TURNS
from kdlab.show.notebook import style
from kdlab.study import Scores, Study
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from kdlab.train.sizes import VARIETY, Profile

STUDENT = TinyC3D((2, 4, 8, 16))
#: Kind → network and rate: of three or four the best in the worlds of the tuning; the equal one has that of labels alone.
TEACHERS = {
    "equal": (STUDENT, 6.4e-2),
    "wide": (TinyC3D(), 1.6e-2),
    "family": (TinyR2Plus1D(), 8e-3),
}
SIZE = Profile(
    "bench",
    Night(("Drink", "Jump", "Pick", "Push", "Turn", "Wave"), (24, 1, 40), VARIETY, 0.0),
    Settings(epochs=80, lr=8e-3),
    Window(8, 32, 28),
    seeds=len(CURVES),
)
#: Distiller → itself, its own setting, and what is tried of that beside its value: two values, and the next where the
#: best was at an edge.
METHODS = {
    "matched smoothing": (MatchedSmoothing(), "alpha", (0.25, 0.9, 1.0)),
    "KD": (KD(), "alpha", (0.25, 0.9, 1.0)),
    "DKD": (DecoupledKD(beta=1.0), "beta", (0.25, 0.5, 2.0, 4.0)),
    "logit standardisation": (StandardisedKD(weight=1.0), "weight", (0.1, 0.3, 3.0)),
    "DIST": (DIST(), "intra", (0.5, 8.0)),
    "FitNets": (FitNet(weight=0.1), "weight", (0.01, 1.0)),
    "AT": (AttentionTransfer(weight=1.0), "weight", (0.1, 10.0, 100.0)),
    "ReviewKD": (ReviewKD(weight=1.0), "weight", (0.3, 3.0)),
    "RKD": (RelationalKD(distance=0.2, angle=0.4), "angle", (0.02, 0.1, 2.0)),
    "SimKD": (SimKD(), "", ()),
    "GenKD": (GenerativeDistillation(generation=GENERATION, turns=TURNS), "beta", (0.1, 10.0)),
}
#: Those that are taught by all three teachers; others by the wide one.
BY_ALL = "KD", "DKD", "SimKD", "matched smoothing"
ALONE, GATED, TWICE = "labels alone", "gated labels alone", "twice the steps"


def taught(student: Recipe, kind: str, name: str) -> Recipe:
    """The student of the distiller ``name`` and of the teacher of one ``kind``."""
    net, rate = TEACHERS[kind]
    settings = replace(student.settings, lr=rate)
    teacher = replace(
        student, condition=f"teacher_{kind}", net=net, settings=settings, seed=student.seed + 1
    )
    made = replace(student, condition=f"{name}, {kind}", method=METHODS[name][0], teacher=teacher)
    if name == "SimKD":  # its student ends with a projector to the teacher's channels
        made = replace(made, net=replace(STUDENT, projector=net.widths[-1]))
    # both networks are gated, with as many channels in the last stage, and the teacher also trains its CVAE
    if name == "GenKD":
        net = replace(net, widths=(*net.widths[:-1], STUDENT.widths[-1]))
        size = student.window.frames, student.window.crop, student.window.crop
        phase_1 = FeatureRepresentation(generation=GENERATION, turns=TURNS)
        teacher = replace(teacher, condition="teacher_gated", net=Gated(net, size), method=phase_1)
        made = replace(made, net=Gated(STUDENT, size), teacher=teacher)
    return made


def base(size: Profile, world: int) -> dict[str, Recipe]:
    """Labels alone and with twice the steps; distillers by name and kind of teacher; the teachers."""
    student = Recipe(
        ALONE,
        NightStream(clips(size.night, world)),
        net=STUDENT,
        window=size.window,
        settings=size.settings,
        seed=1000 * world,
    )
    made = {ALONE: student, TWICE: for_share(student, 2)}
    made |= {f"{name}, {kind}": taught(student, kind, name) for name, kind in TAUGHT}
    teachers = {f"teacher, {kind}": made[f"KD, {kind}"].teacher for kind in TEACHERS}
    genkd = made["GenKD, wide"]
    made[GATED] = replace(student, condition="gated", net=genkd.net)
    return made | teachers | {"teacher, gated": genkd.teacher}


#: Distillers and kinds of teachers.
TAUGHT = [(name, kind) for kind in TEACHERS for name in METHODS if kind == "wide" or name in BY_ALL]
RATES = {"settings.lr": (4e-3, 1.6e-2, 3.2e-2, 6.4e-2)}
CANDIDATES = dict.fromkeys((ALONE, TWICE, GATED), RATES)
for name, kind in TAUGHT:
    _, path, values = METHODS[name]
    CANDIDATES[f"{name}, {kind}"] = RATES | ({f"method.{path}": values} if path else {})
#: Those of whom accuracy against steps is drawn.
DRAWN = ALONE, *(f"{name}, wide" for name in BY_ALL)
tuned = tuning("bench", base, CANDIDATES, SIZE)
study = Study("bench", with_choices("bench", base, CANDIDATES, DRAWN), size=SIZE, worlds=CURVES)


def lines(measured: pd.DataFrame) -> Iterator[str]:
    """The page's table: accuracy in percent; differences from labels alone on the same network, from twice the steps and
    from smoothing matched to the same teacher; agreement with the teacher in percent; NLL in nats."""
    recipes = base(SIZE, CURVES[0])
    drawn = [Scores.load(FOLDER / f"bench-{world}.npz") for world in CURVES]
    titles = {recipe: title for title, recipe in recipes.items()}
    for name, recipe in recipes.items():
        smoothing = f"matched smoothing, {name.rpartition(', ')[2]}"
        others = plain(name), TWICE, "" if plain(name) == GATED else smoothing
        effects = [
            str(report.effect_of(measured[name] - measured[other], len(drawn[0].ids)))
            if other in measured and other != name
            else ""
            for other in others
        ]
        teacher = titles.get(recipe.teacher, "teacher, wide")
        pairs = [[each.logits[of][0].astype(float) for of in (name, teacher)] for each in drawn]
        alike = np.mean([agreement(*pair) for pair in pairs])
        loss = np.mean([nll(own, each.labels) for (own, _), each in zip(pairs, drawn, strict=True)])
        cells = name, f"{measured[name].mean():.1f}", *effects, f"{alike:.1f}", f"{loss:.2f}"
        yield report.typeset(f"| {' | '.join(cells)} |")


def plain(name: str) -> str:
    """Labels alone, on the network of the condition ``name``."""
    return GATED if name.startswith("GenKD") else ALONE


def draw_steps(measured: pd.DataFrame) -> None:
    """Accuracy against steps."""
    style()
    figure, text = report.steps(at_shares(measured, DRAWN), "accuracy, %", np.inf)
    report.save(figure, "bench-steps")
    print(f"KD. {text}")


if __name__ == "__main__":
    measured = study.rows(FOLDER).pivot(index="world", columns="condition", values="value")
    draw_steps(measured)
    print(*lines(measured), sep="\n")
