"""The study of generative feature distillation for recognition: competitors, ablations, two sets, verdicts G1 to G3.

On ``night_bright`` (places tell nothing) all of GenKD's competitors and the ablations that decide, with one seed the
others; on the real ten-class set, in three folds of people, the conditions that decide.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kdlab import paths
from kdlab.clips.mpeg4_sets import NightStream
from kdlab.clips.night import ACTIONS
from kdlab.evidence import Evidence, asked_for
from kdlab.generative_profiles import (
    ABLATIONS,
    HEADLINE,
    ONCE,
    REAL,
    STUDIED,
    STUDY,
    WINDOW,
    GenerativeSize,
    conditions,
    night,
    sized,
    streams,
)
from kdlab.many import obtain_all
from kdlab.measure.cost import cpu_times, macs, parameters
from kdlab.measure.gradients import shares
from kdlab.measure.paired import Effect, together, verdict
from kdlab.nets.video import build
from kdlab.recipe import Recipe, UserClips
from kdlab.runs import Run
from kdlab.studies.looking import ATTENTIVE, alignment_rows, watched
from kdlab.study import Scores, beside, collect, convergence, flat, fused, pooled, rows, tested

__all__ = ["BESIDE", "COMPETITORS", "PROFILE", "SETS", "columns", "committed", "convergence_line", "converged",
           "data_sets", "files", "g2", "gathered", "ledger", "run", "scores_of_study", "sized", "test_clips",
           "trainings", "two_streams"]

PROFILE = STUDY
FOLDS = ("1", "2", "3")
#: What GenKD is compared with in row G2, at the same steps.
COMPETITORS = ("student_ce", "kd", "dkd", "fitnets", "attention_transfer", "simkd", "feature_norm")
#: Test clips a class on `night`, more than a training is tested on at its end: trainings cost, clips do not.
TESTED = 300
#: Whose cost is measured; the student of all conditions without a gate costs the same, and of all with one.
COSTED = ("teacher_ce", "teacher_fr", "student_ce", "genkd")


def data_sets(size: GenerativeSize) -> dict[str, list[NightStream | UserClips]]:
    """Name → its folds; recipes can be made where the real clips are not."""
    real = str((paths.real_clips() or Path()) / "weizmann")
    bright = [night(size)]
    return {"night_bright": bright, "night_bright_ablations": bright, "night_bright_once": bright,
            "weizmann": [UserClips(real, fold, own_folds=len(FOLDS)) for fold in FOLDS]}


#: Set → its conditions. The released gate (‡) is among those compared once.
SETS = {"night_bright": STUDIED, "night_bright_ablations": ABLATIONS, "night_bright_once": ONCE, "weizmann": REAL}
#: What else the study writes rows of: what networks cost, λ over untrimmed video, and demo-size runs.
BESIDE = ("cost", "night_untrimmed", "night_bright_demo")


def _seeds(size: GenerativeSize, name: str, seeds: int | None) -> int:
    own = {"night_bright_once": 1, "weizmann": size.real_seeds}
    return min(seeds, own.get(name, seeds)) if seeds else own.get(name, size.seeds)


def columns(size: GenerativeSize, seeds: int, data: NightStream | UserClips,
            names: Sequence[str] = HEADLINE) -> dict[str, list[Recipe]]:
    """Condition → one recipe a seed."""
    per_seed = [conditions(size, data, seed) for seed in range(seeds)]
    return {name: [recipes[name] for recipes in per_seed] for name in names}


def test_clips(size: GenerativeSize) -> NightStream:
    """The first :data:`TESTED` test clips of each class; those that trainings are tested on are among them."""
    clips = size.per_class[2]
    return NightStream(replace(night(size).night, per_class=(0, 0, clips if size.name == "smoke" else TESTED)))


def files() -> dict[str, list[str]]:
    """Set → the names of its predictions files, one a fold."""
    return {name: [f"generative-{name}" + (f"-fold{fold}" if name == "weizmann" else "")
                   for fold in (FOLDS if name == "weizmann" else "1")] for name in SETS}


def trainings(profile: GenerativeSize, seeds: int | None = None, only: Sequence[str] = tuple(SETS)) -> list[Recipe]:
    """All that :func:`run` trains on the sets ``only``, set after set."""
    return flat(*(columns(profile, _seeds(profile, name, seeds), data, SETS[name])
                  for name, folds in data_sets(profile).items() if name in only for data in folds))


def committed() -> dict[str, dict[str, list[Recipe]]]:
    """What :func:`kdlab.study.stale_studies` compares: committed predictions → condition → today's recipes."""
    return {file: columns(PROFILE, 1, data, SETS[name]) for name, folds in data_sets(PROFILE).items()
            for file, data in zip(files()[name], folds, strict=True)}


def gathered(recipes: dict[str, list[Recipe]], **how) -> tuple[Scores, dict[str, list[Run]]]:
    """:func:`kdlab.study.collect` where teachers are among the conditions: row s is the teacher of the students of seed
    s, whose own seed is s + 1."""
    parts = [collect({name: column for name, column in recipes.items() if name.startswith("teacher") == taught}, **how)
             for taught in (True, False) if any(name.startswith("teacher") == taught for name in recipes)]
    scores, runs = parts[-1]
    for more, column in parts[:-1]:
        runs = column | runs
        scores = replace(scores, **{field: getattr(more, field) | getattr(scores, field)
                                    for field in ("predicted", "logits", "recipes", "sources")})
    return scores, runs


# --- verdicts --------------------------------------------------------------------------------------------------


def g2(scores: Scores) -> dict[str, Effect]:
    """GenKD − each of its :data:`COMPETITORS` in ``scores``."""
    return {name: scores.effect("genkd", name) for name in COMPETITORS if name in scores.predicted}


def ledger(scores: Scores, ablations: Scores | None = None) -> pd.DataFrame:
    """Rows G1 and G2 of docs/ledger.md for one set, and G3 from its ``ablations``.

    Of one or two seeds an interval knows hardly more than the clips: the verdict then begins with their number.
    """
    listed = lambda each: "; ".join(f"{name} {e}" for name, e in each.items())  # noqa: E731
    phase_1, longer = (scores.effect("student_fr", other) for other in ("student_ce", "student_2x"))
    table = [("G1", "the feature-representation phase improves a network by itself",
              "student: FR − CE; control CE with equal passes", f"{phase_1}; control {longer}",
              verdict(phase_1, {"equal passes": longer}))]
    each, control = g2(scores), scores.effect("genkd", "untrained")
    table.append(("G2", "GenKD beats CE and the usual KD methods", "GenKD − each; control untrained teacher",
                  f"{listed(each)}; control {control}", together(each, {"an untrained teacher": control})))
    if ablations:
        each = {name: ablations.effect("genkd", name) for name in ("generative", "attention")}
        control = ablations.effect("genkd", "permuted")
        table.append(("G3", "generative and attention distillation each add",
                      "both − one alone; control permuted channels", f"{listed(each)}; control {control}",
                      together(each, {"permuted channels": control})))
    found = pd.DataFrame(table, columns=["claim", "says", "comparison", "effect", "verdict"])
    for claim, its in (("G1", scores), ("G2", scores), ("G3", ablations)):
        if its and len(its.seeds) < 3:
            of = found.claim == claim
            found.loc[of, "verdict"] = f"too few seeds ({len(its.seeds)}); so far: " + found.verdict[of]
    return found


def converged(table: pd.DataFrame, data: str) -> tuple[float, float, str]:
    """As :func:`kdlab.study.convergence`, of the CE student: points gained by twice the steps, half-width, word."""
    names = {"student_ce": "ce_raw", "student_2x": "ce_2x"}
    return convergence(table.replace({"condition": names}), data)


def convergence_line(table: pd.DataFrame, data: str = "night_bright") -> str:
    """:func:`converged` in words; of one seed without interval and word."""
    if table[(table.data == data) & (table.condition == "student_2x")].seed.nunique() > 1:
        gain, half, word = converged(table, data)
        return f"twice the steps of CE: {gain:+.1f} ± {half:.1f} points on validation clips: {word}"
    some = table[(table.data == data) & (table.metric == "val_accuracy")].set_index("condition").value.astype(float)
    gain = some["student_2x"] - some["student_ce"]
    return (f"twice the steps of CE: {gain:+.1f} points on validation clips; one "
            "seed, no interval: undecided")


# --- the study -------------------------------------------------------------------------------------------------


def run(profile: GenerativeSize, seeds: int | None = None, *, only: Sequence[str] = (), demo_seeds: int = 3,
        workers: int | None = None, say=print) -> dict[str, Scores]:
    """Run (or resume) the study; write its evidence, ``generative.csv`` and predictions for every set and fold.

    ``only`` names some of :data:`SETS` or :data:`BESIDE`: nothing else is trained, and the rows of the others stay.
    ``demo_seeds`` runs of demo size are what ``kdlab reproduce`` compares a user's own numbers with.
    Raises ``FileNotFoundError`` where ``$KDLAB_REAL_CLIPS`` has no folder ``weizmann``.
    """
    sets = data_sets(profile) | dict.fromkeys(BESIDE, [])
    asked_for("generative", sets, only)
    if "weizmann" in (only or sets):
        paths.real_set("weizmann")
    counts = {name: _seeds(profile, name, seeds) for name in only or sets} | (
        {"night_bright_demo": demo_seeds} if "night_bright_demo" in (only or sets) else {})
    evidence = Evidence.of("generative", profile, counts, whole=profile == PROFILE, say=say)
    sets, table = evidence.chosen(sets, only)
    obtain_all(trainings(profile, seeds, tuple(sets)), pretrained=False, stale="refuse", workers=workers, say=say)
    found, quiet = {}, dict(workers=workers, say=lambda _: None)
    for name, folds in sets.items():
        parts = []
        for fold, data in enumerate(folds):
            scores, runs = gathered(columns(profile, _seeds(profile, name, seeds), data, SETS[name]),
                                    unit="group" if name == "weizmann" else "clip", **quiet)
            if name != "weizmann":
                scores = replace(tested(runs, test_clips(profile)), seeds=scores.seeds)
            scores.save(evidence.file(files()[name][fold]))
            table += rows("generative", name, scores, runs, str(fold + 1) if len(folds) > 1 else "")
            table += gradient_rows(runs["genkd"], say) if name == "night_bright" else []
            parts.append(scores)
        if parts:
            found[name] = pooled(parts)
    for name in found.keys() & {"night_bright", "weizmann"}:
        say(f"{name}:\n{ledger(found[name], found.get(f'{name}_ablations')).to_string(index=False)}")
    if "cost" in sets:
        table += cost_rows(conditions(profile, night(profile)), say)
    if "night_untrimmed" in sets:
        attentive = columns(profile, _seeds(profile, "night_untrimmed", seeds), night(profile), ATTENTIVE)
        every = dict(zip(flat(attentive), obtain_all(flat(attentive), pretrained=False, stale="refuse", **quiet),
                         strict=True))
        watching = {name: [every[recipe] for recipe in column] for name, column in attentive.items()}
        table += alignment_rows(evidence, watching, watched(profile), say)
    if "night_bright_demo" in sets:
        small = sized(beside(profile))
        scores, runs = gathered(columns(small, demo_seeds, night(small)), workers=workers, say=say)
        table += [row for row in rows("generative", "night_bright_demo", scores, runs) if row["metric"] == "accuracy"]
    say(str(evidence.save_rows(table)))
    return found


def scores_of_study() -> dict[str, Scores]:
    """Set → what its runs said, of the committed predictions; sets that are not all there are left out."""
    folder = paths.figures_dir() / "predictions"
    return {name: pooled([Scores.load(folder / f"{file}.npz") for file in its]) for name, its in files().items()
            if all((folder / f"{file}.npz").is_file() for file in its)}


def cost_rows(recipes: dict[str, Recipe], say=print) -> list[dict]:
    """Tidy rows of each network's parameters, multiply-accumulates and CPU milliseconds a clip (one thread, batch 1,
    median of interleaved repeats; this machine's)."""
    clip = torch.zeros(1, 3, WINDOW.frames, WINDOW.crop, WINDOW.crop)
    nets = {name: build(recipes[name].net, len(ACTIONS), 0).eval() for name in COSTED}
    taken = cpu_times({name: (lambda net=net: net(clip)) for name, net in nets.items()}, 30)
    table = []
    for name, net in nets.items():
        about = dict(study="generative", data="cost", condition=name, seed="", fold="", recipe="")
        numbers = [("parameters", parameters(net), "1"), ("macs", macs(net, tuple(clip.shape)), "1"),
                   ("cpu_ms", 1000 * float(np.median(taken[name])), "ms")]
        say(f"{name}: {numbers[0][1]:,} parameters, {numbers[1][1] / 1e6:.1f} MMAC, {numbers[2][1]:.2f} CPU ms a clip")
        table += [about | dict(metric=metric, value=round(float(value), 4), unit=unit)
                  for metric, value, unit in numbers]
    return table


def gradient_rows(runs: Sequence[Run], say=print) -> list[dict]:
    """Tidy rows of how much of pass 2 the backbone feels at the end of training: ``kdlab.measure.gradients``."""
    table = []
    for run in runs:
        for term, share in shares(run).items():
            say(f"{run.folder.name}: gradient of {term} in the backbone is {share:.3g} of that of the class loss")
            table.append(dict(study="generative", data="night_bright", condition="genkd", fold="",
                              seed=run.recipe.seed, metric=f"gradient:{term}", value=round(share, 6), unit="1",
                              recipe=run.folder.name))
    return table


# --- two streams -----------------------------------------------------------------------------------------------


def two_streams(size: GenerativeSize, data: NightStream | UserClips, seeds: int = 1, *, workers: int | None = None,
                say=print) -> Scores:
    """GenKD on pixels, on optical flow, and the mean of their probabilities: ``genkd``, ``genkd_flow``, ``fused``."""
    both = [streams(size, data, seed) for seed in range(seeds)]
    scores, runs = collect({name: [pair[k] for pair in both] for k, name in enumerate(("genkd", "genkd_flow"))},
                           workers=workers, say=say)
    return fused(scores, "fused", *runs.values())
