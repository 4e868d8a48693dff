"""The study of PKD: internal classifiers by every method, on three sets in two regimes, and verdicts P3 and P4.

PKD assumes networks that get stronger from motion over residual to I-frame. On ``night_context`` they stand so; on
``night_bright`` (places tell nothing) and on the real ten-class set in three folds of people the order is reversed, and
the teacher that should be the best is the worst. So every figure goes with the three networks' accuracies.

The headline is the mean over the nine trained exits. Cells that are one training by construction (for the motion
network PKD *is* its reverse) are left out of a comparison, not counted as a tie.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from kdlab import paths
from kdlab.clips.coviar import DIFFERENCE
from kdlab.clips.mpeg4_sets import HeldOut, NightStream
from kdlab.distill.progressive import PAPER, Progressive, coinciding, gate
from kdlab.evidence import Evidence, asked_for
from kdlab.exit_profiles import CONTEXT, HEADLINE, STUDY, TRAINED, ExitSize, conditions, night, sized, trio
from kdlab.exits import ExitRecipe
from kdlab.many import obtain_all
from kdlab.measure.exits import teaching_losses
from kdlab.measure.paired import Effect, effect, together, verdict
from kdlab.nets.exits import ORDER
from kdlab.recipe import Recipe, UserClips
from kdlab.runs import Run, find
from kdlab.study import Scores, beside, collect, pooled

__all__ = ["CONTEXTS", "PROFILE", "SETS", "columns", "committed", "differing", "exit_effect", "files", "gate_line",
           "ledger", "regime", "run", "sized", "teachers", "trainings"]

PROFILE = STUDY
FOLDS = ("1", "2", "3")
#: Where the three networks' order is looked at before the study: probabilities that the place tells the class.
CONTEXTS = (0.0, 0.6, CONTEXT)


def data_sets(size: ExitSize) -> dict[str, list[NightStream | HeldOut]]:
    """Name → its folds; recipes can be made where the real clips are not."""
    real = str((paths.real_clips() or Path()) / "weizmann")
    return {"night_context": [night(size)], "night_bright": [night(size, 0.0)],
            "weizmann": [HeldOut(UserClips(real, fold, own_folds=len(FOLDS))) for fold in FOLDS]}


SETS = ("night_context", "night_bright", "weizmann")


def columns(size: ExitSize, seeds: int, data: NightStream | HeldOut, every: bool = True) -> dict[str, list[ExitRecipe]]:
    """Condition → one recipe a seed; only the headline's without ``every``."""
    per_seed = [_recipes(size, data, seed) if every else _headline(size, data, seed) for seed in range(seeds)]
    return {condition: [recipes[condition] for recipes in per_seed] for condition in per_seed[0]}


def _headline(size: ExitSize, data, seed: int) -> dict[str, ExitRecipe]:
    found = conditions(size, trio(size, data, seed))
    return {name: found[name] for name in HEADLINE}


def _recipes(size: ExitSize, data, seed: int) -> dict[str, ExitRecipe]:
    found = conditions(size, trio(size, data, seed))
    other = conditions(size, trio(size, data, seed, residual=DIFFERENCE))
    for name in ("ce_ic", "pkd"):
        found[f"{name}_difference"] = replace(other[name], condition=f"{name}_difference")
    times = lambda r, factor: replace(r.settings, epochs=max(1, round(factor * r.settings.epochs)))  # noqa: E731
    found["ce_2x"] = replace(found["ce_ic"], condition="ce_2x", settings=times(found["ce_ic"], 2))
    found["pkd_2x"] = replace(found["pkd"], condition="pkd_2x", settings=times(found["pkd"], 2))
    found["ce_half"] = replace(found["ce_ic"], condition="ce_half", settings=times(found["ce_ic"], 0.5))
    found["pkd_batch_statistics"] = replace(found["pkd"], condition="pkd_batch_statistics",
                                            view=replace(found["pkd"].view, batch_statistics=True))
    return found


def trainings(profile: ExitSize, seeds: int | None = None, only: Sequence[str] = SETS) -> list[Recipe]:
    """All that :func:`run` trains on the sets ``only``, seed after seed, and all on the same three networks together:
    their features are made once for those that follow each other."""
    sets = [columns(profile, seeds or profile.seeds, data)
            for name, folds in data_sets(profile).items() if name in only for data in folds]
    return [column[seed] for seed in range(seeds or profile.seeds) for each in sets for column in each.values()]


def committed() -> dict[str, dict[str, list[Recipe]]]:
    """What :func:`kdlab.study.stale_studies` compares: committed predictions → condition → today's recipes."""
    return {file: columns(PROFILE, 1, data) for name, folds in data_sets(PROFILE).items()
            for file, data in zip(files()[name], folds, strict=True)}


def files() -> dict[str, list[str]]:
    """Set → the names of its predictions files, one a fold."""
    return {name: [f"progressive-{name}" + (f"-fold{fold}" if name == "weizmann" else "")
                   for fold in (FOLDS if name == "weizmann" else "1")] for name in SETS}


# --- effects ---------------------------------------------------------------------------------------------------


def places(modalities: Sequence[str]) -> list[int]:
    """The trained exits of ``modalities`` among the twelve, from 0."""
    return [4 * ORDER.index(m) + k for m in modalities for k in range(3)]


def exit_effect(scores: Scores, condition: str, baseline: str, exits: list[int] | None = None) -> Effect:
    """Paired difference in points of the mean over ``exits`` (default: the nine trained ones)."""
    some = list(TRAINED) if exits is None else exits
    means = [scores.correct(name)[:, :, some].mean(2) for name in (condition, baseline)]
    return effect(*means, scores.units)


def regime(table: pd.DataFrame, data: str) -> str:
    """The three networks of ``data`` by mean *validation* accuracy, best first: ``iframe 88.1 > residual 87.4 > …``."""
    some = table[(table.data == data) & (table.metric == "val_accuracy") & table.condition.str.startswith("final:")]
    means = some.groupby("condition").value.mean().sort_values(ascending=False)
    return " > ".join(f"{name.split(':')[1]} {value:.1f}" for name, value in means.items())


#: Of a network on its training clips: as it is used, and with the statistics of each batch.
TRAIN_CE = ("train_ce", "train_ce_batch_statistics")


def teachers(table: pd.DataFrame, data: str) -> pd.DataFrame:
    """May the three networks of ``data`` teach (``distill.progressive.gate``)? A row for each modality, seed and fold
    with both cross-entropies in nats, and why not; no rows where the study did not write them."""
    some = table[(table.data == data) & table.metric.isin(TRAIN_CE)]
    wide = some.pivot_table(index=["condition", "seed", "fold"], columns="metric", values="value").reset_index()
    wide["condition"] = wide.condition.str.split(":").str[1]
    wide["gate"] = [gate(*losses) or "may teach" for losses in wide.reindex(columns=TRAIN_CE).to_numpy(float)]
    return wide.rename(columns={"condition": "modality"})


def gate_line(table: pd.DataFrame, data: str) -> str:
    """:func:`teachers` in a line: each network's largest training loss over seeds and folds, and who may not teach."""
    found = teachers(table, data)
    if found.empty:
        return "gate: not among the rows of this set (docs/log.md has its first seed's)"
    worst = found.groupby("modality").train_ce.max()
    stopped = found[found.gate != "may teach"]
    word = "all may teach" if stopped.empty else f"{len(stopped)} of {len(found)} may not teach"
    return f"gate: largest training CE {', '.join(f'{m} {worst[m]:.2f}' for m in ORDER)} nats; {word}"


def differing(condition: str, baseline: str) -> list[str]:
    """The modalities on whose network the two conditions are not one and the same training."""
    recipes = conditions(STUDY, trio(STUDY, night(STUDY)))
    one, other = (recipes[name].method for name in (condition, baseline))
    if not type(one) is type(other) is Progressive or replace(one, schedule=PAPER) != replace(other, schedule=PAPER):
        return list(ORDER)
    return [m for m in ORDER if len(coinciding({"one": one.schedule, "other": other.schedule}, m)) == 2]


def orders_against(scores: Scores) -> list[str]:
    """The conditions that P4 compares PKD with: each other order of the same three teachers, and a random one."""
    return [c for c in scores.predicted if c == "reversed" or c == "random_teacher" or c.count("-") == 2]


def ledger(scores: Scores) -> pd.DataFrame:
    """Rows P3 and P4 of docs/ledger.md for one set."""
    p3 = exit_effect(scores, "pkd", "ce_ic")
    control = exit_effect(scores, "pkd", "own_final", places(differing("pkd", "own_final")))
    table = [("P3", "PKD makes better internal classifiers than labels do", "PKD − CE, mean of nine exits", str(p3),
              verdict(p3, {"own-final KD": control}))]
    each = {other: exit_effect(scores, "pkd", other, places(differing("pkd", other)))
            for other in orders_against(scores)}
    if each:
        table.append(("P4", "the order motion, residual, own matters", "PKD − each other order, − random",
                      "; ".join(f"{name} {e}" for name, e in each.items()), together(each)))
    return pd.DataFrame(table, columns=["claim", "says", "comparison", "effect", "verdict"])


# --- the study -------------------------------------------------------------------------------------------------


def run(profile: ExitSize, seeds: int | None = None, *, only: Sequence[str] = (), demo_seeds: int = 4,
        workers: int | None = None, say=print) -> dict[str, Scores]:
    """Run (or resume) the study; write its evidence, ``progressive.csv`` and predictions for every set and fold.

    ``only`` names some of :data:`SETS`: nothing else is trained, and the rows of the others stay. The seed-0 runs of
    demo size become the committed weights; ``demo_seeds`` of them are what ``kdlab reproduce`` compares a user's own
    numbers with. Raises ``FileNotFoundError`` where ``$KDLAB_REAL_CLIPS`` has no folder ``weizmann``.
    """
    asked_for("progressive", SETS, only)
    if "weizmann" in (only or SETS):
        paths.real_set("weizmann")
    seeds = seeds or profile.seeds
    counts = dict.fromkeys(only, seeds) or dict.fromkeys(SETS, seeds) | {"night_context_demo": demo_seeds}
    evidence = Evidence.of("progressive", profile, counts, whole=profile == PROFILE, say=say)
    (sets, table), found = evidence.chosen(data_sets(profile), only), {}
    obtain_all(trainings(profile, seeds, tuple(sets)), pretrained=False, stale="refuse", workers=workers, say=say)
    for name, folds in sets.items():
        parts = []
        for fold, data in enumerate(folds):
            unit = "group" if name == "weizmann" else "clip"
            scores, runs = collect(columns(profile, seeds, data), unit=unit, workers=workers, say=say)
            scores = replace(scores, logits={})
            scores.save(evidence.file(files()[name][fold]))
            table += _validated(name, str(fold + 1) if len(folds) > 1 else "", runs, scores.seeds)
            parts.append(scores)
        found[name] = pooled(parts)
        table += test_rows(name, found[name])
        say(f"{name}: networks {', '.join(f'{m} {a:.1f} %' for m, a in finals(found[name]).items())}")
        say(ledger(found[name]).to_string(index=False))
    if not only:
        table += _audited(profile, workers, say) + _demo(evidence, sized(beside(profile)), demo_seeds, workers, say)
    say(str(evidence.save_rows(table)))
    return found


def _audited(size: ExitSize, workers: int | None, say) -> list[dict]:
    """Validation accuracy of one trio at every context that the study does not train at anyway."""
    table = []
    for context in CONTEXTS[1:-1]:
        data = night(size, context)
        data = replace(data, night=replace(data.night, per_class=(*size.per_class[:2], 1)))
        runs = obtain_all(trio(size, data), pretrained=False, stale="refuse", workers=workers, say=say)
        about = dict(study="progressive", data=data.name, seed=0, fold="", metric="val_accuracy", unit="%")
        table += [about | dict(condition=f"final:{m}:4", value=round(run.predictions("val").accuracy, 4),
                               recipe=run.folder.name) for m, run in zip(ORDER, runs, strict=True)]
    return table


def _demo(evidence: Evidence, small: ExitSize, seeds: int, workers: int | None, say) -> list[dict]:
    """Rows of the headline's conditions at demo size; the first seed's become the committed weights."""
    demo = columns(small, seeds, night(small), every=False)
    scores, runs = collect(demo, workers=workers, say=say)
    evidence.publish(column[0] for column in runs.values())
    return [row for row in test_rows("night_context_demo", scores) if row["condition"] in HEADLINE]


def finals(scores: Scores) -> dict[str, float]:
    """Mean test accuracy in percent of the three networks' own final classifiers."""
    right = 100 * scores.correct("ce_ic").mean((0, 1))
    return {modality: float(right[4 * i + 3]) for i, modality in enumerate(ORDER)}


def test_rows(name: str, scores: Scores) -> list[dict]:
    """Tidy rows: test accuracy of every exit, of each seed, and the mean over the nine trained ones."""
    table = []
    for condition in scores.predicted:
        right = 100 * scores.correct(condition).mean(1)
        for s, seed in enumerate(scores.seeds):
            about = dict(study="progressive", data=name, seed=seed, fold="", metric="accuracy", unit="%",
                         recipe=scores.recipes[condition][s])
            table.append(about | dict(condition=condition, value=round(float(right[s, list(TRAINED)].mean()), 4)))
            for place in range(12) if condition == "ce_ic" else TRAINED:
                where = f"{ORDER[place // 4]}:{place % 4 + 1}"
                who = "final" if place % 4 == 3 else condition
                table.append(about | dict(condition=f"{who}:{where}", value=round(float(right[s, place]), 4)))
    return table


def _validated(name: str, fold: str, runs: dict[str, list[Run]], seeds: tuple[int, ...]) -> list[dict]:
    """Tidy rows of validation accuracy (mean of nine exits, and each final's), CPU seconds, and what :func:`teachers`
    reads: the networks' cross-entropies on training clips."""
    table = []
    for condition, column in runs.items():
        for seed, run in zip(seeds, column, strict=True):
            right = 100 * run.predictions("val").correct.mean(0)
            about = dict(study="progressive", data=name, seed=seed, fold=fold, recipe=run.folder.name)
            numbers = [(condition, "val_accuracy", right[list(TRAINED)].mean(), "%"),
                       (condition, "cpu_seconds", run.provenance["cpu_seconds"], "s")]
            if condition == "ce_ic":
                numbers += [(f"final:{m}:4", "val_accuracy", right[4 * i + 3], "%") for i, m in enumerate(ORDER)]
                for modality, needed in run.recipe.needs().items():
                    losses = zip(TRAIN_CE, teaching_losses(find(needed, pretrained=False)), strict=True)
                    numbers += [(f"final:{modality}:4", metric, value, "nats") for metric, value in losses]
            table += [about | dict(condition=c, metric=m, value=round(float(v), 4), unit=u) for c, m, v, u in numbers]
    return table
