"""Real clips, cross-validated: what gains on a hundred clips of one's own?

    export KDLAB_REAL_CLIPS=~/real                   # docs/real-clips.md says how to make this folder
    python studies/real_clips.py budget weizmann     # on validation clips of the first fold: goes into EPOCHS
    python studies/real_clips.py rates weizmann      # likewise: goes into RATES
    python studies/real_clips.py starts weizmann     # trains what is missing, writes rows into figures/real/

A world of these studies is a fold and a seed. Networks are tested on people or sequences that they have not seen. Over
all folds, each seed tests every clip once: intervals are over seeds and over groups of clips.
"""

import sys
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pandas as pd
from worlds import changed, on_validation

from kdlab.clips.views import Raw
from kdlab.clips.windows import Window
from kdlab.datasets.transcode import transcode
from kdlab.datasets.user_clips import UserClips
from kdlab.distill.baselines import DecoupledKD, FitNet
from kdlab.distill.method import KD
from kdlab.distill.relations import StandardisedKD
from kdlab.measure.paired import Effect, effect
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import ACTIONS, Night
from kdlab.night.darkened import Darkened
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.method import MatchedSmoothing
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.generative.recipes import conditions as recognition
from kdlab.papers.paper_size import twice
from kdlab.papers.progressive.networks import TRAINED
from kdlab.papers.progressive.recipes import conditions as internal_classifiers
from kdlab.papers.progressive.recipes import trio, yours
from kdlab.show import plots
from kdlab.show.notebook import style
from kdlab.study import Scores, Study
from kdlab.study.study import accuracies
from kdlab.system import paths
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from kdlab.train.sizes import VARIETY, ExitSize, GenerativeSize, Profile, current

FOLDER = paths.figures_dir() / "real"
#: The folds of each set: numbers for those that kdlab makes from the groups.
FOLDS = {"weizmann": "123", "ut_interaction": "12345", "arid6": "AB"}
#: Epochs after which twice as many gain labels alone less than a point; not sought yet but for weizmann.
EPOCHS = {"weizmann": 200, "ut_interaction": 200, "arid6": 200}
#: Set → condition → the best of five rates, where it is not the usual one.
RATES = {
    "weizmann": {"from bright night": 8e-3, "from dark night": 1.6e-2},
    "ut_interaction": {},
    "arid6": {},
}
#: Clips of `night` for the starts; no other study has this seed.
NIGHT = Night(ACTIONS, (60, 1, 1), VARIETY, seed=300)
_STUDENT = TinyR2Plus1D()
WIDE = TinyR2Plus1D(tuple(4 * width for width in _STUDENT.widths))
SIZE = Profile("real", NIGHT, Settings(epochs=200), Window(12, 38, 34), _STUDENT, seeds=3)


def alone(size: Profile, name: str, world: int) -> Recipe:
    """Labels alone in a world: on one fold of the set ``name``, with one seed."""
    seed, fold = divmod(world, len(FOLDS[name]))
    test = FOLDS[name][fold]
    own = len(FOLDS[name]) if test.isdigit() else None
    clips = UserClips(f"{paths.real_clips() or '$KDLAB_REAL_CLIPS'}/{name}", test, own)
    return dual_light(size, 10 * seed, clips)["ce_raw"]


def starts(size: Profile, nothing: Recipe) -> dict[str, Recipe]:
    """From nothing, and from networks that were trained on `night`."""
    begun = {"from nothing": nothing}
    for light, data in {"bright": NightStream(size.night), "dark": size.night}.items():
        start = replace(
            nothing, condition=f"start_{light}", data=data, settings=Settings(56, lr=8e-3)
        )
        begun[f"from {light} night"] = replace(nothing, condition=f"from_{light}", start=start)
    return begun


def methods(size: Profile, student: Recipe) -> dict[str, Recipe]:
    """Labels alone, its two controls, and distillation from a teacher four times as wide."""
    teacher = replace(student, condition="wide", net=WIDE, seed=student.seed + 1)
    losses = {
        "matched smoothing": MatchedSmoothing(),
        "KD": KD(),
        "DKD": DecoupledKD(),
        "logit standardisation": StandardisedKD(),
        "FitNets": FitNet(),
    }
    made = {"labels alone": student, "twice the steps": twice(student)}
    for name, method in losses.items():
        made[name] = replace(student, condition=name, method=method, teacher=teacher)
    return made | {"teacher": teacher}


def generative(size: Profile, student: Recipe) -> dict[str, Recipe]:
    """GenKD and its controls, on the networks of notebook 05: the student of labels alone has the gate, too."""
    own = GenerativeSize("real", (), 0, size.settings.epochs, size.seeds, size.window)
    made = recognition(own, student.data, student.seed)
    titles = {
        "student_gate": "gated labels alone",
        "gate_2x": "gated twice the steps",
        "kd_gate": "KD of the same teacher",
        "untrained": "an untrained teacher",
        "genkd": "GenKD",
        "teacher_fr": "teacher",
    }
    return {title: made[name] for name, title in titles.items()}


def dark(size: Profile, bright: Recipe) -> dict[str, Recipe]:
    """DL-KDD on darkened clips. The clip itself is the bright twin."""
    made = dual_light(size, bright.seed, bright.data, dark=Darkened())
    dlkdd = made["dlkdd"]
    twin = replace(dlkdd.teacher, condition="bright_twin", view=Raw())
    return {
        "dark labels alone": made["ce_raw"],
        "twice the steps": made["ce_2x"],
        "same-light KD": made["same_light"],
        "matched smoothing": made["label_smoothing"],
        "DL-KDD": dlkdd,
        "DL-KDD, bright twin": replace(dlkdd, condition="dlkdd_twin", teacher=twin),
        "teacher, enhanced": dlkdd.teacher,
        "teacher, bright twin": twin,
    }


def exits(size: Profile, student: Recipe) -> dict[str, Recipe]:
    """Exits on networks of compressed video. Where clips have B-frames, or pictures of several sizes, they are
    transcoded first, into data/."""
    clips = student.data
    if "weizmann" not in clips.name:
        out = paths.data_dir() / f"{Path(clips.path).name}_mpeg4"
        transcode(clips.path, out)
        clips = replace(clips, path=str(out))
    own = current("study", ExitSize)
    made = internal_classifiers(own, trio(own, yours(clips), student.seed))
    titles = {"ce_ic": "labels", "pkd": "PKD", "ce_kd": "labels + PKD", "own_final": "own final"}
    return {title: made[name] for name, title in titles.items()}


def budget(size: Profile, student: Recipe) -> dict[str, Recipe]:
    """Labels alone at several budgets."""
    return {f"{n} epochs": changed(student, {"settings.epochs": n}) for n in (100, 200, 400, 800)}


def rates(size: Profile, student: Recipe) -> dict[str, Recipe]:
    """From nothing, and from `night`, at several rates."""
    return {
        f"{name}, rate {rate:g}": changed(recipe, {"settings.lr": rate})
        for name, recipe in starts(size, student).items()
        for rate in (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
    }


#: What is read on validation clips, of the first fold alone.
ON_VALIDATION = {"budget": budget, "rates": rates}
PARTS = ON_VALIDATION | {
    "starts": starts,
    "methods": methods,
    "generative": generative,
    "dark": dark,
    "exits": exits,
}


def study_of(part: str, name: str) -> Study:
    """The study of a part on the data set ``name``; its worlds are all folds with all seeds."""

    def conditions(size: Profile, world: int) -> dict[str, Recipe]:
        recipes = PARTS[part](size, alone(size, name, world))
        own = {title: {"settings.lr": rate} for title, rate in RATES[name].items()}
        return {title: changed(recipe, own.get(title, {})) for title, recipe in recipes.items()}

    first, folds = part in ON_VALIDATION, len(FOLDS[name])
    return Study(
        f"{part}_{name}",
        conditions,
        size=changed(SIZE, {"settings.epochs": EPOCHS[name]}),
        measure=on_validation if first else accuracies,
        worlds=range(0, folds * SIZE.seeds, folds if first else 1),
    )


def effects(part: str, name: str) -> tuple[pd.DataFrame, dict[str, Effect], dict[str, np.ndarray]]:
    """Each condition's accuracy, and its difference from the first, in points, with the ends of its interval over seeds
    and groups of clips: as a table, by condition, and seed by seed."""
    study, folds = study_of(part, name), len(FOLDS[name])
    group = {clip.id: clip.group for clip in alone(SIZE, name, 0).data.catalogue().records}
    drawn = [Scores.load(FOLDER / f"{study.name}-{world}.npz") for world in study.worlds]
    units = np.concatenate([[group[clip] for clip in each.ids] for each in drawn[:folds]])

    def correct(condition: str) -> np.ndarray:
        row = np.concatenate([each.correct(condition)[0] for each in drawn])
        if row.ndim > 1:
            row = row[:, TRAINED].mean(1)  # the mean of nine exits
        return row.reshape(SIZE.seeds, -1)

    right = {condition: correct(condition) for condition in drawn[0].predicted}
    first, *others = right
    gains = {condition: effect(right[condition], right[first], units) for condition in others}
    rows = {
        condition: (100 * hits.mean(), *astuple(gains.get(condition, Effect(0, 0, 0, 0)))[:3])
        for condition, hits in right.items()
    }
    columns = ["accuracy", f"over {first}", "low", "high"]
    seeds = {condition: 100 * (right[condition] - right[first]).mean(1) for condition in others}
    return pd.DataFrame.from_dict(rows, "index", columns=columns).round(2), gains, seeds


if __name__ == "__main__":
    part, name = sys.argv[1:]
    study = study_of(part, name)
    for world in study.worlds:
        if world not in set(study.rows(FOLDER).world):
            study.draw(world, FOLDER)
    if part in ON_VALIDATION:
        table = (
            study.rows(FOLDER).groupby("condition", sort=False).value.agg(["mean", "min", "max"])
        )
    else:
        table, gains, seeds = effects(part, name)
        table.to_csv(FOLDER / f"{study.name}_effects.csv", index_label="condition")
        style()
        title = f"{name}: minus {table.index[0]}"
        figure = plots.effects(gains, title, "difference, points; a dot a seed", worlds=seeds)
        figure.savefig(FOLDER / f"{study.name}.png", dpi=110, bbox_inches="tight")
    print(table.to_string())
