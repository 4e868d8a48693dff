"""The study of generative feature distillation for recognition: competitors, ablations, two sets, verdicts G1 to G3.

On ``night_bright`` (places tell nothing) all of GenKD's competitors and, with fewer seeds, its ablations; on the real
ten-class set, in three folds of people, the conditions that decide. A row of figures/generative.csv is what a run
scored, what a network costs, how well λ finds the actions of untrimmed video, or a share of gradient.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.clips.mpeg4_sets import NightStream
from kdlab.clips.night.untrimmed import Untrimmed, untrimmed_catalogue
from kdlab.generative_profiles import (
    ABLATIONS,
    DEMO,
    HEADLINE,
    REAL,
    SMOKE,
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
from kdlab.measure.alignment import ENERGY, SLIDING, areas, random_twin, traces
from kdlab.measure.cost import cpu_times, macs, parameters
from kdlab.measure.gradients import shares
from kdlab.measure.paired import Effect, effect, together, verdict
from kdlab.recipe import Recipe, UserClips
from kdlab.runs import Run, save_arrays
from kdlab.study import Scores, collect, convergence, flat, fused, pooled, rows, save_rows

__all__ = ["COMPETITORS", "PROFILE", "SETS", "UNTRIMMED", "aligned", "alignment", "alignment_effects", "columns",
           "committed", "converged", "data_sets", "files", "g2", "gathered", "ledger", "run", "sized", "trainings",
           "two_streams", "watched"]

PROFILE = STUDY
FOLDS = ("1", "2", "3")
#: What GenKD is compared with in row G2, at the same steps.
COMPETITORS = ("student_ce", "kd", "dkd", "fitnets", "attention_transfer", "simkd", "feature_norm")
#: The untrimmed videos on which λ is read; their spec is the detection study's, whose videos these are.
UNTRIMMED = Untrimmed(("Jump", "Sit", "Stand", "Turn", "Walk", "Wave"), (60, 20, 60), (20.0, 30.0), 0.25, 0)
#: Whose λ is read.
ATTENTIVE = ("teacher_fr", "student_gate", "student_fr", "genkd")
#: Whose cost is measured; the student of all conditions without a gate costs the same, and of all with one.
COSTED = ("teacher_ce", "teacher_fr", "student_ce", "genkd")


def data_sets(size: GenerativeSize) -> dict[str, list[NightStream | UserClips]]:
    """Name → its folds; recipes can be made where the real clips are not."""
    real = str((paths.real_clips() or Path()) / "weizmann")
    bright = [night(size)]
    return {"night_bright": bright, "night_bright_ablations": bright, "night_bright_released": bright,
            "weizmann": [UserClips(real, fold, own_folds=len(FOLDS)) for fold in FOLDS]}


#: Set → its conditions. Ablations have seeds of their own; the released gate (‡) is compared once.
SETS = {"night_bright": STUDIED, "night_bright_ablations": ABLATIONS,
        "night_bright_released": ("genkd", "faithful"), "weizmann": REAL}


def _seeds(size: GenerativeSize, name: str, seeds: int | None) -> int:
    own = {"night_bright_ablations": size.ablation_seeds, "night_bright_released": 1, "weizmann": size.real_seeds}
    return min(seeds, own.get(name, seeds)) if seeds else own.get(name, size.seeds)


def columns(size: GenerativeSize, seeds: int, data: NightStream | UserClips,
            names: Sequence[str] = HEADLINE) -> dict[str, list[Recipe]]:
    """Condition → one recipe a seed."""
    per_seed = [conditions(size, data, seed) for seed in range(seeds)]
    return {name: [recipes[name] for recipes in per_seed] for name in names}


def files() -> dict[str, list[str]]:
    """Set → the names of its predictions files, one a fold."""
    return {name: [f"generative-{name}" + (f"-fold{fold}" if name == "weizmann" else "")
                   for fold in (FOLDS if name == "weizmann" else "1")] for name in SETS}


def trainings(profile: GenerativeSize, seeds: int | None = None) -> list[Recipe]:
    """All that :func:`run` trains but its demo-size runs, set after set."""
    return flat(*(columns(profile, _seeds(profile, name, seeds), data, SETS[name])
                  for name, folds in data_sets(profile).items() for data in folds))


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

    A row of several comparisons needs all of them; only then it is asked whether its control explains it.
    """
    def explained(word: str, name: str, control: Effect) -> str:
        small = -2 < control.low and control.high < 2
        return f"{word}, and explained by {name}" if word == "supported" and small else word

    listed = lambda each: "; ".join(f"{name} {e}" for name, e in each.items())  # noqa: E731
    phase_1, longer = (scores.effect("student_fr", other) for other in ("student_ce", "student_2x"))
    table = [("G1", "the feature-representation phase improves a network by itself",
              "student: FR − CE; control CE with equal passes", f"{phase_1}; control {longer}",
              verdict(phase_1, {"equal passes": longer}))]
    each, control = g2(scores), scores.effect("genkd", "untrained")
    table.append(("G2", "GenKD beats CE and the usual KD methods", "GenKD − each; control untrained teacher",
                  f"{listed(each)}; control {control}", explained(together(each), "an untrained teacher", control)))
    if ablations:
        each = {name: ablations.effect("genkd", name) for name in ("generative", "attention")}
        control = ablations.effect("genkd", "permuted")
        table.append(("G3", "generative and attention distillation each add",
                      "both − one alone; control permuted channels", f"{listed(each)}; control {control}",
                      explained(together(each), "permuted channels", control)))
    return pd.DataFrame(table, columns=["claim", "says", "comparison", "effect", "verdict"])


def converged(table: pd.DataFrame, data: str) -> tuple[float, float, str]:
    """As :func:`kdlab.study.convergence`, of the CE student: points gained by twice the steps, half-width, word."""
    names = {"student_ce": "ce_raw", "student_2x": "ce_2x"}
    return convergence(table.replace({"condition": names}), data)


# --- what λ looks at -------------------------------------------------------------------------------------------


def watched(size: GenerativeSize) -> Untrimmed:
    """The videos on which λ is read at this size: of the same set the first ones."""
    few = {"smoke": 1, "demo": 4}.get(size.name)
    return replace(UNTRIMMED, videos=(0, 0, few)) if few else UNTRIMMED


def aligned(runs: dict[str, list[Run]], spec: Untrimmed, progress=iter) -> dict[str, np.ndarray]:
    """Area under the ROC curve by signal, ``(S, V)``: λ of all runs of one column and of their random twins, and frame
    energy, on the bright test videos of ``spec``; ``units (V,)`` are the places where they were filmed."""
    spec.catalogue()
    catalogue = untrimmed_catalogue(spec, stream="bright")
    nets = {(name, s): run.net() for name, column in runs.items() for s, run in enumerate(column)}
    nets |= {(f"{name}:random", s): random_twin(run, 1000 + s) for name, column in runs.items()
             for s, run in enumerate(column)}
    found = traces(nets, catalogue, progress=progress, window=SLIDING)
    each, seeds = areas(found), len(next(iter(runs.values())))
    table = {name: np.stack([each[name, s] for s in range(seeds)]) for name, _ in nets}
    return table | {ENERGY: np.stack([each[ENERGY]] * seeds), "units": np.array([trace.group for trace in found])}


def alignment() -> dict[str, np.ndarray]:
    """The committed areas, as :func:`aligned` returns them."""
    with np.load(paths.figures_dir() / "predictions" / "generative-alignment.npz", allow_pickle=False) as file:
        return dict(file)


def alignment_effects(table: dict[str, np.ndarray]) -> dict[str, Effect]:
    """By signal how far its area lies above chance, and GenKD's above each other signal's, in points of 100."""
    units, half = table["units"], 0.5 + 0 * table[ENERGY]
    found = {name: effect(values, half, units) for name, values in table.items() if name != "units"}
    return found | {f"genkd − {other}": effect(table["genkd"], table[other], units)
                    for other in (ENERGY, "genkd:random", "student_gate", "student_fr", "teacher_fr")
                    if {"genkd", other} <= table.keys()}


# --- the study -------------------------------------------------------------------------------------------------


def run(profile: GenerativeSize, seeds: int | None = None, *, demo_seeds: int = 3, workers: int | None = None,
        say=print) -> dict[str, Scores]:
    """Run (or resume) the study; write ``figures/generative.csv`` and the predictions of every set and fold.

    ``demo_seeds`` runs of demo size are what ``kdlab reproduce`` compares a user's own numbers with.
    Raises ``FileNotFoundError`` where ``$KDLAB_REAL_CLIPS`` has no folder ``weizmann``.
    """
    paths.real_set("weizmann")
    table, found, kept = [], {}, {}
    obtain_all(trainings(profile, seeds), pretrained=False, stale="refuse", workers=workers, say=say)
    for name, folds in data_sets(profile).items():
        parts = []
        for fold, data in enumerate(folds):
            unit = "group" if name == "weizmann" else "clip"
            scores, kept[name] = gathered(columns(profile, _seeds(profile, name, seeds), data, SETS[name]), unit=unit,
                                          workers=workers, say=lambda _: None)
            scores.save(paths.figures_dir() / "predictions" / f"{files()[name][fold]}.npz")
            table += rows("generative", name, scores, kept[name], str(fold + 1) if len(folds) > 1 else "")
            parts.append(scores)
        found[name] = pooled(parts) if len(parts) > 1 else parts[0]
    for name in ("night_bright", "weizmann"):
        say(f"{name}:\n{ledger(found[name], found.get(f'{name}_ablations')).to_string(index=False)}")
    bright, ablations = kept["night_bright"], kept["night_bright_ablations"]
    table += cost_rows(bright, say)
    table += gradient_rows(ablations["genkd"], say)
    table += _alignment_rows({"teacher_fr": bright["teacher_fr"][: len(ablations["genkd"])]} |
                             {name: ablations[name] for name in ATTENTIVE[1:]}, watched(profile), say)
    small = SMOKE if profile.name == "smoke" else DEMO
    scores, runs = gathered(columns(small, demo_seeds, night(small)), workers=workers, say=say)
    table += [row for row in rows("generative", "night_bright_demo", scores, runs) if row["metric"] == "accuracy"]
    save_rows("generative", table)
    return found


def cost_rows(runs: dict[str, list[Run]], say=print) -> list[dict]:
    """Tidy rows of each network's parameters, multiply-accumulates and CPU milliseconds a clip (one thread, batch 1,
    median of interleaved repeats; this machine's)."""
    import torch

    clip = torch.zeros(1, 3, WINDOW.frames, WINDOW.crop, WINDOW.crop)
    nets = {name: runs[name][0].net() for name in COSTED}
    taken = cpu_times({name: (lambda net=net: net(clip)) for name, net in nets.items()}, 30)
    table = []
    for name, net in nets.items():
        about = dict(study="generative", data="cost", condition=name, seed="", fold="",
                     recipe=runs[name][0].folder.name)
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
            table.append(dict(study="generative", data="night_bright_ablations", condition="genkd", fold="",
                              seed=run.recipe.seed, metric=f"gradient:{term}", value=round(share, 6), unit="1",
                              recipe=run.folder.name))
    return table


def _alignment_rows(runs: dict[str, list[Run]], spec: Untrimmed, say) -> list[dict]:
    """Tidy rows of the mean area over videos, in percent; the areas themselves go beside the predictions."""
    found = aligned(runs, spec)
    save_arrays(paths.figures_dir() / "predictions" / "generative-alignment.npz", found)
    for name, e in alignment_effects(found).items():
        say(f"λ over time, {name}: {e} points of area{'' if '−' in name else ' above chance'}")
    about = dict(study="generative", data="night_untrimmed", fold="", metric="auc", unit="%")
    return [about | dict(condition=name, seed=s, value=round(100 * float(area), 4),
                         recipe=runs[name][s].folder.name if name in runs else "")
            for name, column in found.items() if name != "units" for s, area in enumerate(column.mean(1))]


# --- two streams -----------------------------------------------------------------------------------------------


def two_streams(size: GenerativeSize, data: NightStream | UserClips, seeds: int = 1, *, workers: int | None = None,
                say=print) -> Scores:
    """GenKD on pixels, on optical flow, and the mean of their probabilities: ``genkd``, ``genkd_flow``, ``fused``."""
    both = [streams(size, data, seed) for seed in range(seeds)]
    scores, runs = collect({name: [pair[k] for pair in both] for k, name in enumerate(("genkd", "genkd_flow"))},
                           workers=workers, say=say)
    return fused(scores, "fused", *runs.values())
