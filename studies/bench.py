"""Which distiller helps a small video network, beyond smoothed labels and beyond twice the steps?

    kdlab study studies/bench.py

First every condition is tuned on validation clips, by the same number of trainings of one seed that is not reported.
``figures/bench/tuning.json`` keeps what was tried and chosen; where it exists, nothing is tuned again. Then every
condition is trained with five other seeds. A seed decides the student and its teacher. After each condition the table,
the figure and docs/bench.md are written anew, with what is complete so far. A killed study goes on where it stopped.
"""

import json
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from kdlab.clips.windows import Window
from kdlab.distill.baselines import AttentionTransfer, DecoupledKD, FitNet, ReviewKD, SimKD
from kdlab.distill.method import KD, CrossEntropy
from kdlab.distill.relations import DIST, RelationalKD, StandardisedKD
from kdlab.measure.paired import Effect
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.transformer import TinyTransformer
from kdlab.night import Night
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.method import MatchedSmoothing
from kdlab.papers.generative.method import FeatureRepresentation, GenerativeDistillation
from kdlab.papers.generative.networks import Gated
from kdlab.papers.generative.recipes import GENERATION, TURNS
from kdlab.study import Scores, Study
from kdlab.study.scores import collect
from kdlab.system import paths
from kdlab.system.files import read_json, write_atomically, write_content, write_csv
from kdlab.train.many import obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from kdlab.train.sizes import VARIETY, Profile

# --- conditions ------------------------------------------------------------------------------------------------

CLASSES = ("Drink", "Jump", "Pick", "Push", "Turn", "Wave")
DATA = NightStream(
    Night(CLASSES, (24, 20, 50), VARIETY, 0.0)
)  # the bright twins; places tell nothing of the class
SIZE = Profile("bench", DATA, Settings(epochs=20), Window(8, 32, 28), seeds=5)
TUNING_SEED, OF_TEACHERS = 100, 1000  # a teacher's seed is its student's and this number

STUDENT = TinyC3D((4, 8, 16, 64))
TEACHERS = {"equal": STUDENT, "wide": TinyC3D(), "family": TinyTransformer()}
RATES = 2e-3, 4e-3, 8e-3, 1.6e-2


def at_rates(method) -> dict[str, tuple]:
    return {f"rate {rate:g}": (method, rate) for rate in RATES}


def own(words: str, values, make) -> dict[str, tuple]:
    """The four values of a method's own weight. The rate is that chosen for labels alone."""
    return {words.format(*(v if isinstance(v, tuple) else (v,))): (make(v), None) for v in values}


#: The layers by name: the committed runs are named by them.
LAYERS = tuple(f"net.stages.{k}" for k in range(4))
#: Method → what is tried: a word for it → (method, rate). A first tuning, on validation clips alone, ended at the least
#: weight for FitNets, AT, RKD and DKD with most teachers. So the values go further down from the authors' weights.
TRIED = {
    "ce": at_rates(CrossEntropy()),
    "ce_2x": at_rates(CrossEntropy()),
    "smoothing": at_rates(MatchedSmoothing()),
    "kd": own("t {}, α {}", [(t, a) for t in (2.0, 4.0) for a in (0.5, 0.9)], lambda v: KD(*v)),
    "dkd": own("β {}", (0.5, 1.0, 2.0, 4.0), lambda beta: DecoupledKD(beta=beta)),
    "logit_std": own("w {}", (0.3, 1.0, 3.0, 9.0), lambda w: StandardisedKD(weight=w)),
    "dist": own("β = γ = {}", (0.5, 1.0, 2.0, 4.0), lambda w: DIST(inter=w, intra=w)),
    "fitnets": own("w {}", (0.01, 0.1, 1.0, 10.0), lambda w: FitNet(LAYERS[2], w)),
    "at": own("w {}", (0.1, 1.0, 10.0, 100.0), lambda w: AttentionTransfer(LAYERS[1:], w)),
    "reviewkd": own("w {}", (0.1, 0.3, 1.0, 3.0), lambda w: ReviewKD(LAYERS, weight=w)),
    "rkd": own(
        "w_D {0}, w_A {1}",
        [(w, 2 * w) for w in (0.04, 0.2, 1.0, 5.0)],
        lambda v: RelationalKD("net.stages", *v),
    ),
    "simkd": at_rates(SimKD("net.stages")),
    "genkd": own(
        "β {}",
        (0.01, 0.1, 1.0, 10.0),
        lambda beta: GenerativeDistillation(beta=beta, generation=GENERATION, turns=TURNS),
    ),
}
TITLES = {
    "ce": "labels alone (CE)",
    "ce_2x": "CE, twice the steps",
    "smoothing": "matched smoothing",
    "kd": "KD",
    "dkd": "DKD",
    "logit_std": "logit standardisation",
    "dist": "DIST",
    "fitnets": "FitNets",
    "at": "AT",
    "reviewkd": "ReviewKD",
    "rkd": "RKD",
    "simkd": "SimKD",
    "genkd": "GenKD",
}
CONTROLS = "ce_2x", "smoothing"


def names(methods=TRIED, teachers=TEACHERS) -> list[str]:
    """The conditions, such as ``kd-wide``; labels alone have no teacher."""
    return [
        f"{name}-{kind}".rstrip("-")
        for name in methods
        for kind in ([""] if name.startswith("ce") else teachers)
    ]


def recipe(
    size: Profile, seed: int, condition: str, rates: dict[str, float], method, rate: float | None
) -> Recipe:
    """The recipe of a condition. ``rates`` are those of ``ce`` and of each kind of teacher."""
    name, _, kind = condition.partition("-")
    settings = replace(size.settings, lr=rate or rates["ce"])
    base = Recipe(
        condition,
        size.night,
        method=method,
        net=STUDENT,
        window=size.window,
        settings=settings,
        seed=seed,
    )
    longer = replace(settings, epochs=2 * settings.epochs)
    if name == "ce_2x":
        return replace(base, settings=longer)
    if not kind:
        return base
    taught = replace(
        base,
        condition=f"teacher_{kind}",
        method=CrossEntropy(),
        net=TEACHERS[kind],
        settings=replace(longer, lr=rates[kind]),
        seed=seed + OF_TEACHERS,
    )
    if name == "simkd":
        base = replace(base, net=replace(STUDENT, projector=TinyC3D().widths[-1]))
    if name == "genkd":  # both networks are gated, and the teacher also trains its CVAE
        clip = size.window.frames, size.window.crop, size.window.crop
        taught = replace(
            taught,
            condition=f"teacher_fr_{kind}",
            net=Gated(taught.net, clip),
            method=FeatureRepresentation(generation=GENERATION, turns=TURNS),
        )
        base = replace(base, net=Gated(STUDENT, clip))
    return replace(base, teacher=taught)


def place() -> Path:
    return paths.figures_dir() / "bench"


def tuning() -> dict:
    return read_json(place() / "tuning.json")


def conditions(size: Profile, seed: int) -> dict[str, Recipe]:
    """The tuned conditions, by name."""
    tuned = tuning()
    return {
        condition: recipe(
            size, seed, condition, tuned["rates"], *TRIED[condition.partition("-")[0]][word]
        )
        for condition, word in tuned["chosen"].items()
    }


def quiet(line: str) -> None:
    """Validation decides; a training also reports its accuracy on test clips, which nobody should read yet."""


# --- tuning ----------------------------------------------------------------------------------------------------


def tune(size: Profile, every: list[str], workers: int | None, say) -> None:
    """Choose a rate for each kind of network, then a value for each condition, and write ``tuning.json``."""
    tried, chosen, rates = {}, {}, {}

    def best(name: str, recipes: dict[str, Recipe]) -> str:
        runs = obtain_all(
            list(recipes.values()), pretrained=False, stale="retrain", workers=workers, say=quiet
        )
        tried[name] = {
            word: round(run.predictions("val").accuracy, 2)
            for word, run in zip(recipes, runs, strict=True)
        }
        word = max(tried[name], key=tried[name].get)
        say(f"tuned {name}: {word} of {tried[name]}")
        return word

    for kind in sorted({condition.partition("-")[2] for condition in every}):
        name, net = kind or "ce", TEACHERS.get(kind, STUDENT)
        like = "ce_2x" if kind else "ce"  # a teacher has twice the epochs
        of = {
            word: replace(recipe(size, TUNING_SEED, like, {}, *value), net=net)
            for word, value in TRIED[like].items()
        }
        rates[name] = TRIED[like][best(f"teacher {kind}" if kind else name, of)][1]
    for condition in every:
        chosen[condition] = best(
            condition,
            {
                word: recipe(size, TUNING_SEED, condition, rates, *value)
                for word, value in TRIED[condition.partition("-")[0]].items()
            },
        )
    note = json.dumps(
        {"seed": TUNING_SEED, "rates": rates, "chosen": chosen, "validation": tried},
        indent=1,
        ensure_ascii=False,
    )
    write_content(place() / "tuning.json", note + "\n")


# --- rows ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench(Study):
    """The study of ``methods`` under ``teachers``; ``page`` is the text that it writes."""

    methods: tuple[str, ...] = tuple(TRIED)
    teachers: tuple[str, ...] = tuple(TEACHERS)
    page: Path = paths.project_root() / "docs" / "bench.md"

    def run(self, worlds=(), size=None, workers=None, say=print) -> Scores:
        """Tune where nothing is tuned yet, then train and report condition by condition."""
        if worlds or size not in (None, self.size):
            raise ValueError(f"{place()} holds the bench of one size and seeds: draw no other")
        size, every = self.size, names(self.methods, self.teachers)
        if not (place() / "tuning.json").exists():
            tune(size, every, workers, say)
        drawn, done = [self.recipes(seed, size) for seed in range(size.seeds)], {}
        for condition in every:
            done[condition] = [recipes[condition] for recipes in drawn]
            scores, runs = collect(done, stale="retrain", workers=workers, say=quiet)
            if len(done) > 1:
                self.write(size, scores, runs, [name for name in every if name not in done])
            say(
                f"complete: {condition} ({len(done)} of {len(every)} conditions, {len(scores.seeds)} seeds each)"
            )
        return scores

    def write(self, size, scores: Scores, runs: dict, missing: list[str]) -> None:
        """Rows, effects, predictions, figure and page."""
        rows = pd.DataFrame(
            dict(
                condition=condition,
                seed=run.recipe.seed,
                accuracy=round(run.predictions().accuracy, 3),
                teacher=teacher and round(teacher.predictions().accuracy, 3),
                run=run.folder.name,
                cpu_seconds=run.provenance["cpu_seconds"],
            )
            for condition, column in runs.items()
            for run in column
            for teacher in [teacher_of(run)]
        )
        table = effects(scores, rows)
        scores.save(place() / "predictions.npz")
        for name, frame in (("rows", rows), ("effects", table)):
            write_csv(place() / f"{name}.csv", frame)
        write_atomically(
            place() / "bench.png",
            lambda path: figure(table, scores).savefig(path, format="png", dpi=110),
        )
        plt.close("all")
        write_content(self.page, page(size, scores, rows, table, missing))


def teacher_of(run):
    if run.recipe.teacher is None:
        return None
    return obtain_all([run.recipe.teacher], pretrained=False, say=quiet)[0]


# --- one table, one figure, one page ---------------------------------------------------------------------------


def effects(scores: Scores, rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition but CE: the paired difference from CE in points; ``half``, half of the 95 % t-interval
    over seeds; and the ends of kdlab's interval over seeds and test clips, from CE and from both controls."""
    found = []
    for condition in [name for name in scores.predicted if name != "ce"]:
        method, _, kind = condition.partition("-")
        gaps = scores.accuracy(condition) - scores.accuracy("ce")
        row = dict(
            method=method,
            teacher=kind,
            accuracy=scores.accuracy(condition).mean(),
            points=gaps.mean(),
            half=Effect.of(gaps).half_width,
            teachers_accuracy=rows.teacher[rows.condition == condition].mean(),
        )
        for name, rival in {"ce": "ce", "ce_2x": "ce_2x", "smoothing": f"smoothing-{kind}"}.items():
            if rival in scores.predicted and rival != condition:
                effect = scores.effect(condition, rival)
                row |= {
                    f"over_{name}": effect.mean,
                    f"over_{name}_low": effect.low,
                    f"over_{name}_high": effect.high,
                }
        found.append(row)
    return pd.DataFrame(found).round(2)


def figure(table: pd.DataFrame, scores: Scores) -> plt.Figure:
    """The difference from CE of each condition: a mark for each seed, and the mean with its interval over seeds."""
    fig, axes = plt.subplots(
        1, len(TEACHERS), figsize=(9, 4.2), sharex=True, sharey=True, layout="constrained"
    )
    order = [name for name in TITLES if name != "ce"]
    for ax, kind in zip(axes, TEACHERS, strict=True):
        for row in table[table.teacher.isin(["", kind])].itertuples():
            y, condition = order.index(row.method), f"{row.method}-{row.teacher}".rstrip("-")
            gaps = scores.accuracy(condition) - scores.accuracy("ce")
            ax.plot(gaps, np.full(len(gaps), y), "|", color="0.5", markersize=7)
            ax.errorbar(
                row.points,
                y,
                xerr=row.half,
                fmt="o",
                markersize=4,
                color="C0" if row.method in CONTROLS else "C3",
            )
        ax.axvline(0, color="0.6", linewidth=0.8)
        ax.set(
            title=f"teacher: {kind}",
            yticks=range(len(order)),
            yticklabels=[TITLES[name] for name in order],
            ylim=(len(order) - 0.5, -0.5),
        )
    axes[1].set_xlabel("points over labels alone (blue: no distiller)")
    return fig


PAGE = """# A bench of distillers for video

Written by `studies/bench.py`; `kdlab study studies/bench.py` makes it again.
{state}
**Question.** Does a distiller help a small video network, beyond what smoothed labels and twice the training give?

**Design.** {classes} actions of `night`'s bright twins; {train} clips to train on, {val} for validation, {test} for
the test; {frames} frames of {crop}². The student is a C3D of {widths} channels, trained for {epochs} epochs. Three
teachers learn from the same clips for twice the epochs: *equal*, the student's own architecture; *wide*, twice the
channels; *family*, a small video transformer with convolutions before its patches. A seed decides the student and its
teacher. Labels alone reach {mean:.1f} % ({least:.1f} to {most:.1f} over {seeds} seeds; chance is {chance:.1f} %).

**Controls.** *Matched smoothing* has the loss of KD, and fixed targets with the mean entropy of the teacher's.
*Twice the steps* is labels alone for twice the epochs; it has no teacher, so its row has one number.

**What was tuned.** Each condition tried four values, with one seed that is not reported, and kept the best on
validation clips ({trials} trainings, `figures/bench/tuning.json`). CE, twice the steps, smoothing and SimKD (whose
loss has no weight) tried four learning rates; so did each kind of teacher. All other methods have CE's rate and
tried their own weight. One seed and {val} clips choose roughly. Test clips were read after that.

**The table.** Points over labels alone, paired by seed; ± is half of a 95 % t-interval over {seeds} seeds. Bold:
kdlab's interval over seeds *and* test clips excludes zero, too.

{table}

![Each seed's difference from labels alone](../figures/bench/bench.png)

**What shows.** {shows}

**What does not show.** An order of methods here is no order elsewhere: one student, few clips of one synthetic set.
All seeds share the training clips, whose spread is in no interval. GenKD's networks have gates, and its pass 1
takes {turns} more steps on each batch; SimKD's student has a projector and
keeps the teacher's classifier, so it is as poor as a poor teacher. ReviewKD stands for methods of many layers.
CRD is left out: it contrasts a clip with 16,384 others, and here there are {train}.

`effects.csv` has the intervals from CE and from both controls, `rows.csv` each training with its teacher's accuracy
and its CPU seconds, `predictions.npz` each prediction.
"""


def markdown(table: pd.DataFrame, rows: pd.DataFrame, enough: bool) -> str:
    def cell(row) -> str:
        text = f"{row.points:+.1f}" + f" ± {row.half:.1f}" * enough
        return f"**{text}**" if enough and (row.over_ce_low > 0 or row.over_ce_high < 0) else text

    cells = {(row.method, row.teacher): cell(row) for row in table.itertuples()}
    lines = [["method", *TEACHERS], ["---"] * (1 + len(TEACHERS))]
    lines += [
        [
            TITLES[method],
            *(cells.get((method, kind), cells.get((method, ""), "–")) for kind in TEACHERS),
        ]
        for method in TITLES
        if method in set(table.method)
    ]
    of = [rows.teacher[rows.condition == f"smoothing-{kind}"].mean() for kind in TEACHERS]
    lines.append(["*accuracy of the teacher*", *(f"*{accuracy:.1f} %*" for accuracy in of)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(
    size: Profile, scores: Scores, rows: pd.DataFrame, table: pd.DataFrame, missing: list[str]
) -> str:
    """The text with its numbers. Fewer than five seeds have no interval and no verdict."""
    seeds, ce, clips = len(scores.seeds), scores.accuracy("ce"), size.night.catalogue()
    taught = table[~table.method.isin(CONTROLS)]
    title = [f"{TITLES[row.method]} ({row.teacher})" for row in taught.itertuples()]
    above = {
        name: taught.get(f"over_{name}_low", pd.Series(np.nan, taught.index)) > 0
        for name in ("ce", *CONTROLS)
    }

    def listed(*rivals: str) -> str:
        mask = np.logical_and.reduce([above[name] for name in rivals])
        return (
            ", ".join(name for name, is_above in zip(title, mask, strict=True) if is_above)
            or "none"
        )

    shows = (
        f"Above labels alone: {listed('ce')}. Of these, above matched smoothing, too: "
        f"{listed('ce', 'smoothing')}; above twice the steps, too: {listed('ce', 'ce_2x')}; above all three: "
        f"{listed('ce', *CONTROLS)}. By chance, {0.05 * len(taught):.1f} of {len(taught)} intervals would exclude "
        "zero."
    )
    if "ce_2x" in scores.predicted and (longer := scores.effect("ce_2x", "ce")).low > 0:
        shows += (
            f" Twice the steps gain {longer.mean:.1f} points. So {size.settings.epochs} epochs do not train the "
            "student to the end, and a distiller may gain speed alone."
        )

    text = PAGE.format(
        state=f"\n**Not complete.** Still to train: {', '.join(missing)}.\n" if missing else "",
        classes=len(scores.classes),
        **{split: len(clips.split(split)) for split in ("train", "val", "test")},
        frames=size.window.frames,
        crop=size.window.crop,
        widths=", ".join(map(str, STUDENT.widths)),
        epochs=size.settings.epochs,
        mean=ce.mean(),
        least=ce.min(),
        most=ce.max(),
        seeds=seeds,
        chance=100 / len(scores.classes),
        trials=sum(map(len, tuning()["validation"].values())),
        table=markdown(table, rows, seeds >= 5),
        shows=shows if seeds >= 5 else f"Nothing: {seeds} seeds are too few for a verdict.",
        turns=TURNS,
    )
    return (
        "\n\n".join(
            part if part[0] in "#|!" else textwrap.fill(part, 120) for part in text.split("\n\n")
        )
        + "\n"
    )


study = Bench("bench", conditions, size=SIZE)
