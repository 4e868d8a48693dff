"""Real clips, cross-validated: what gains on a hundred clips of one's own?

    export KDLAB_REAL_CLIPS=~/real        # docs/real-clips.md says how to make this folder
    python studies/real_clips.py starts weizmann budget 100 200 400     # on validation clips of the first fold
    python studies/real_clips.py starts weizmann rates .004 .008 .016   # likewise
    python studies/real_clips.py starts weizmann

The budget goes into EPOCHS; the best rates count once they are found; the third call writes rows into figures/real/.
To try more values, delete the table of what was tried and name all of them: runs that are there are not trained again.

A world of these studies is a fold and a seed. Networks are tested on people or sequences that they have not seen. Over
all folds, each seed tests every clip once: intervals are over seeds and over groups of clips.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from anytime import ways
from worlds import changed, label, named, on_validation

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw
from kdlab.clips.windows import Window
from kdlab.datasets.transcode import CoviarFormat, transcode
from kdlab.datasets.user_clips import UserClips
from kdlab.distill.adaptation import AsItIs, ReEstimated
from kdlab.distill.baselines import DecoupledKD, FitNet
from kdlab.distill.method import KD
from kdlab.distill.relations import StandardisedKD
from kdlab.measure.paired import Effect, effect
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import ACTIONS, Night
from kdlab.night.darkened import Darkened
from kdlab.night.make import NightStream
from kdlab.papers.dual_light.method import DualLight, MatchedSmoothing
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.dual_light.regimes import PASSES
from kdlab.papers.generative.recipes import conditions as recognition
from kdlab.papers.paper_size import twice
from kdlab.papers.progressive.exits import ExitRecipe
from kdlab.papers.progressive.networks import ORDER, TRAINED
from kdlab.papers.progressive.recipes import conditions as internal_classifiers
from kdlab.papers.progressive.recipes import trio, yours
from kdlab.show import plots
from kdlab.show.notebook import style
from kdlab.study import Scores, Study
from kdlab.study.study import accuracies
from kdlab.system import paths
from kdlab.system.files import write_csv
from kdlab.system.values import one_of
from kdlab.train.obtain import obtain
from kdlab.train.recipe import Recipe
from kdlab.train.settings import Settings
from kdlab.train.sizes import VARIETY, ExitSize, GenerativeSize, Profile, current

FOLDER = paths.figures_dir() / "real"
#: The folds of each set: numbers for those that kdlab makes from the groups.
FOLDS = {"weizmann": "123", "ut_interaction": "12345", "arid6": "AB"}
#: Study → epochs after which twice as many gain labels alone less than a point, where these are not the 200 of SIZE; a
#: study whose epochs were not sought has 200, too.
EPOCHS = {
    **dict.fromkeys(
        (
            "starts_arid6",
            "methods_arid6",
            "dark_arid6",
            "generative_arid6",
            "starts_ut_interaction",
            "methods_ut_interaction",
            "generative_ut_interaction",
        ),
        100,
    ),
    "exits_weizmann": 400,
}
#: Clips of `night` for the starts; no other study has this seed.
NIGHT = Night(ACTIONS, (60, 1, 1), VARIETY, seed=300)
SIZE = Profile("real", NIGHT, Settings(epochs=200), Window(12, 38, 34), seeds=3)
#: The end of names of networks on clips in H.264.
H264 = ", H.264"
#: Condition → the condition whose rate it has, where none is sought for it.
RATE_OF = {
    **{name + H264: name for name in ORDER},
    "gated twice the steps": "gated labels alone",
    "an untrained teacher": "GenKD",
}
WIDE = TinyR2Plus1D(tuple(4 * width for width in SIZE.net.widths))


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
    titles = {
        "student_gate": "gated labels alone",
        "gate_2x": "gated twice the steps",
        "kd_gate": "KD of the same teacher",
        "untrained": "an untrained teacher",
        "genkd": "GenKD",
        "teacher_fr": "teacher",
    }
    return named(recognition(own, student.data, student.seed), titles)


def dark(size: Profile, bright: Recipe) -> dict[str, Recipe]:
    """DL-KDD on darkened clips. The clip itself is the bright twin. `arid6` is dark as it is, and has none."""
    already = "arid6" in bright.data.name
    made = dual_light(size, bright.seed, bright.data, dark=Raw() if already else Darkened())
    dlkdd = made["dlkdd"]
    twin = replace(dlkdd.teacher, condition="bright_twin", view=Raw())
    conditions = {
        "dark labels alone": made["ce_raw"],
        "twice the steps": made["ce_2x"],
        "same-light KD": made["same_light"],
        "matched smoothing": made["label_smoothing"],
        "DL-KDD": dlkdd,
        "teacher, enhanced": dlkdd.teacher,
    }
    twins = {
        "DL-KDD, bright twin": replace(dlkdd, condition="dlkdd_twin", teacher=twin),
        "teacher, bright twin": twin,
    }
    return conditions if already else conditions | twins


def unlabelled(size: Profile, bright: Recipe) -> dict[str, Recipe]:
    """A network of the bright clips meets them darkened, and uses no label of them: soft targets alone teach its
    students. The bright twin's teacher is that network itself."""
    start = replace(bright, condition="bright")
    passes = Settings(PASSES, batch_size=64)
    anew = replace(
        start,
        condition="anew",
        view=Darkened(),
        method=ReEstimated(),
        settings=passes,
        start=start,
    )
    enhanced = replace(anew, condition="enhanced", view=Enhanced(Gamma(), of=Darkened()))
    student = replace(anew, method=DualLight(1.0, 1.0), start=anew, settings=size.settings)
    made = {"re-estimated": anew, "as it is": replace(anew, condition="as_is", method=AsItIs())}
    for title, teacher in zip(
        ("same-light KD", "DL-KDD", "DL-KDD, bright twin"), (anew, enhanced, start), strict=True
    ):
        made[title] = replace(student, condition=title, teacher=teacher)
    return made | {"teacher, enhanced": enhanced, "teacher, bright twin": start}


def exits(size: Profile, student: Recipe) -> dict[str, Recipe]:
    """Exits on networks of compressed video, and these networks. Clips with B-frames, or pictures of several sizes, are
    transcoded first, into data/: by MPEG-4, and for three more networks by H.264."""
    own = replace(current("study", ExitSize), real_epochs=size.settings.epochs)

    def networks(codec: str) -> dict[str, Recipe]:
        clips = student.data
        if codec:
            out = paths.data_dir() / f"{Path(clips.path).name}_{codec}"
            transcode(clips.path, out, CoviarFormat(codec=codec))
            clips = replace(clips, path=str(out))
        return dict(zip(ORDER, trio(own, yours(clips), student.seed), strict=True))

    codecs = [""] if "weizmann" in student.data.name else ["mpeg4", "h264"]
    found, *again = map(networks, codecs)
    titles = {"ce_ic": "labels", "pkd": "PKD", "ce_kd": "labels + PKD", "own_final": "own final"}
    others = {name + H264: net for each in again for name, net in each.items()}
    return found | named(internal_classifiers(own, tuple(found.values())), titles) | others


PARTS = {
    "starts": starts,
    "methods": methods,
    "generative": generative,
    "dark": dark,
    "unlabelled": unlabelled,
    "exits": exits,
}
_RIVALS = (
    "dark labels alone",
    "re-estimated",
    "same-light KD",
    "matched smoothing",
    "twice the steps",
)
#: Condition → what it is compared with, if its part has that, where this is not the first condition of its part.
AGAINST = {
    **dict.fromkeys(
        ("KD", "DKD", "logit standardisation", "FitNets"),
        ("labels alone", "twice the steps", "matched smoothing"),
    ),
    "DL-KDD": _RIVALS,
    "DL-KDD, bright twin": (*_RIVALS, "DL-KDD"),
    "GenKD": ("gated labels alone", "an untrained teacher", "KD of the same teacher"),
    "motion": ("iframe",),
    "residual": ("iframe",),
    "iframe": (),
    **{name + H264: (name,) for name in ORDER},
    "labels": (),
    "PKD": ("labels",),
    "labels + PKD": ("labels", "own final"),
    "own final": ("labels",),
    "the best single exit": ("motion",),
    "mean of exits": ("the best single exit",),
    "late fusion": ("the best single exit",),
    "WISE": ("motion", "the best single exit", "late fusion"),
}


def with_rates(recipes: dict[str, Recipe], rates: dict[str, float]) -> dict[str, Recipe]:
    """The recipes at these rates; their teachers, starts and networks have the rates that are theirs."""
    made = {
        recipe: changed(recipe, {"settings.lr": rate})
        for title, recipe in recipes.items()
        if (rate := rates.get(RATE_OF.get(title, title)))
    }

    def best(recipe: Recipe) -> Recipe:
        own = made.get(recipe, recipe)
        if isinstance(own, ExitRecipe):
            return replace(own, backbones=tuple(made.get(each, each) for each in own.backbones))
        taught, begun = own.teacher, own.start
        return replace(own, teacher=taught and best(taught), start=begun and best(begun))

    return {title: best(recipe) for title, recipe in recipes.items()}


def best_rates(cell: str) -> dict[str, float]:
    """Condition → the best of its rates on validation clips; of several the one nearest to the usual rate, then the
    higher one. Empty where none were sought."""
    file, usual = FOLDER / f"rates_{cell}.csv", SIZE.settings.lr
    if not file.exists():
        return {}
    rows = pd.read_csv(file)
    rows[["title", "rate"]] = rows.condition.str.split(", lr ", expand=True)
    found = rows.astype({"rate": float}).groupby(["title", "rate"]).value.mean().unstack().round(6)
    return {
        title: min(found.columns[row == row.max()], key=lambda r: (max(r / usual, usual / r), -r))
        for title, row in found.iterrows()
    }


def study_of(part: str, name: str, sought: str = "", *tried: str) -> Study:
    """The study of a part on the data set ``name``; its worlds are all folds with all seeds. ``sought`` is ``budget``
    or ``rates``, of which these are ``tried``: they are read on validation clips, of the first fold alone."""
    one_of(PARTS, part=part)
    one_of(FOLDS, name=name)
    one_of(("", "budget", "rates"), sought=sought)
    cell, folds = f"{part}_{name}", len(FOLDS[name])
    size = changed(SIZE, {"settings.epochs": EPOCHS.get(cell, SIZE.settings.epochs)})

    def conditions(size: Profile, world: int) -> dict[str, Recipe]:
        recipes = PARTS[part](size, alone(size, name, world))
        if not sought:
            return with_rates(recipes, best_rates(cell))
        alike = {title: recipe for title, recipe in recipes.items() if title not in RATE_OF}
        path, number = "settings.lr", float
        if sought == "budget":
            # of labels alone, the first condition; of all three networks of compressed video
            alike = dict(list(alike.items())[: 3 if part == "exits" else 1])
            path, number = "settings.epochs", int
        return {
            label(title, path, value): changed(recipe, {path: value})
            for title, recipe in alike.items()
            for value in map(number, tried)
        }

    return Study(
        f"{sought}_{cell}" if sought else cell,
        conditions,
        size=size,
        measure=on_validation if sought else accuracies,
        worlds=range(0, folds * SIZE.seeds, folds if sought else 1),
    )


def with_ways(study: Study, world: int) -> None:
    """Add what all exits of labels answer together to the predictions of a world, as in question 9."""
    file = FOLDER / f"{study.name}-{world}.npz"
    scores = Scores.load(file)
    if "WISE" in scores.predicted:
        return
    run = obtain(study.recipes(world)["labels"])
    together = {name: logits.argmax(1)[None] for name, logits in ways(run).items()}
    replace(scores, predicted=scores.predicted | together).save(file)


def effects(part: str, name: str) -> tuple[pd.DataFrame, dict[str, Effect], dict[str, np.ndarray]]:
    """Each condition's accuracy, and its differences from others, in points, with the ends of their intervals over
    seeds and groups of clips: as a table, by both names, and seed by seed."""
    study, folds = study_of(part, name), len(FOLDS[name])
    group = {
        Path(clip.id).with_suffix(""): clip.group
        for clip in alone(SIZE, name, 0).data.catalogue().records
    }
    drawn = [Scores.load(FOLDER / f"{study.name}-{world}.npz") for world in study.worlds]
    ids = np.concatenate([each.ids for each in drawn[:folds]])
    # transcoded clips have other suffixes
    units = np.array([group[Path(clip).with_suffix("")] for clip in ids])

    def correct(condition: str) -> np.ndarray:
        row = np.concatenate([each.correct(condition)[0] for each in drawn])
        if row.ndim > 1:
            row = row[:, TRAINED].mean(1)  # the mean of nine exits
        return row.reshape(SIZE.seeds, -1)

    right = {condition: correct(condition) for condition in drawn[0].predicted}
    rows, gains, seeds, first = [], {}, {}, next(iter(right))
    for one, hits in right.items():
        rows.append({"condition": one, "accuracy": 100 * hits.mean()})
        for other in AGAINST.get(one, [first]):
            if other == one or other not in right:
                continue
            gain = effect(hits, right[other], units)
            gains[f"{one} − {other}"] = gain
            seeds[f"{one} − {other}"] = 100 * (hits - right[other]).mean(1)
            ends = {"difference": gain.mean, "low": gain.low, "high": gain.high}
            rows.append({"condition": one, "over": other} | ends)
    return pd.DataFrame(rows).round(3), gains, seeds


if __name__ == "__main__":
    part, name, *sought = sys.argv[1:]
    if len(sought) == 1:
        sys.exit(
            f"error: name the values of {sought[0]} to try, as in the first lines of this file"
        )
    study = study_of(part, name, *sought)
    for world in study.worlds:
        if world not in study.rows(FOLDER).world.values:
            # a training also tells its accuracy on test clips, which nobody should read while something is sought
            study.draw(world, FOLDER, say=(lambda *_: None) if sought else print)
        if part == "exits" and not sought:
            with_ways(study, world)
    if sought:
        values = study.rows(FOLDER).groupby("condition", sort=False).value
        table = values.agg(["mean", "min", "max"])
    else:
        table, gains, seeds = effects(part, name)
        write_csv(FOLDER / f"{study.name}_effects.csv", table)
        style()
        figure = plots.effects(gains, name, "difference, points; a dot a seed", worlds=seeds)
        figure.savefig(FOLDER / f"{study.name}.png")
    print(table.to_string())
