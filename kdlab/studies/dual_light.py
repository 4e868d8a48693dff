"""The study of DL-KDD on ``night``: conditions × seeds, the convergence check, costs, the sweep, and verdicts D1–D4."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from kdlab.clips.cache import resize
from kdlab.clips.night import Night
from kdlab.clips.views import Raw, View, Window
from kdlab.evidence import Evidence
from kdlab.many import obtain_all
from kdlab.measure.cost import cpu_times, macs, ratio_interval
from kdlab.measure.paired import effect, verdict
from kdlab.measure.transfer import asked
from kdlab.profiles import DEMO, STUDY, TITLES, Profile, current, dual_light, sweep
from kdlab.recipe import Recipe, UserClips
from kdlab.runs import Run
from kdlab.study import Scores, beside, collect, flat, fused, rows

__all__ = ["ALPHAS", "HEADLINE", "PROFILE", "TEMPERATURES", "columns", "committed", "committed_costs",
           "committed_sweep", "cost_points", "costs", "ledger", "run", "sweep_rows", "trainings"]

PROFILE = STUDY
#: Runs of demo size, from which `kdlab reproduce` knows where a user's should lie.
DEMO_SEEDS = 6
#: Clips a class on which the study's networks are validated once they are trained.
VALIDATION = 130
#: What the demo profile trains: the method, its baseline, its teacher, and the control that decides.
HEADLINE = ("ce_raw", "ce_enhanced", "same_light", "dlkdd")
TEMPERATURES, ALPHAS = (1.0, 2.0, 4.0, 8.0), (0.1, 0.5, 0.9)


def columns(profile: Profile, seeds: int, conditions=None, data: str | UserClips | None = None,
            first: int = 0) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed from ``first`` on, as :func:`kdlab.study.collect` wants them."""
    per_seed = [dual_light(profile, seed, data) for seed in range(first, first + seeds)]
    return {c: [recipes[c] for recipes in per_seed] for c in conditions or per_seed[0]}


def trainings(profile: Profile, seeds: int | None = None) -> list[Recipe]:
    """All that :func:`run` trains."""
    small = current(beside(profile))
    headline, cells = columns(small, DEMO_SEEDS, HEADLINE), sweep(small, 0, TEMPERATURES, ALPHAS)
    return [*flat(columns(profile, seeds or profile.seeds), headline), *cells.values()]


def committed() -> dict[str, dict[str, list[Recipe]]]:
    """What :func:`kdlab.study.stale_studies` compares: committed predictions → condition → today's recipes."""
    return {"dual_light-night": columns(PROFILE, 1), "dual_light-night_demo": columns(DEMO, 1, HEADLINE)}


def _pathway(net: nn.Module, view: View, window: Window, clip: np.ndarray) -> Callable[[], torch.Tensor]:
    """From a decoded clip ``uint8 (T, H, W, 3)`` to its logits: sample, enhance, resize, crop, classify."""
    draw = window.centre(len(clip))

    def go():
        frames = clip[draw.frames]
        frames = frames if isinstance(view, Raw) else view.by(frames)
        pixels = np.ascontiguousarray(draw.apply(resize(frames, window.side), window.crop))[None]
        return net(torch.from_numpy(pixels).permute(0, 4, 1, 2, 3).float().div_(255))

    return go


def costs(raw: Run, enhanced: Run, clip: np.ndarray, repeats: int = 60) -> tuple[pd.DataFrame, dict[str, float]]:
    """Cost ratios of the raw-clip student to its alternatives, and CPU milliseconds per clip of each way.

    The enhancement's own time counts; decoding, which all share, does not. A look-up table has no multiply–accumulates.
    """
    window = raw.recipe.window
    nets = {"student": raw.net(), "other": enhanced.net()}
    student = _pathway(nets["student"], raw.recipe.view, window, clip)
    other = _pathway(nets["other"], enhanced.recipe.view, window, clip)
    times = cpu_times({"student": student, "enhance + classify": other,
                       "two-stream": lambda: (student(), other())}, repeats)
    shape = (1, 3, window.frames, window.crop, window.crop)
    one, two = macs(nets["student"], shape), macs(nets["other"], shape)
    table = []
    for name, count in {"enhance + classify": two, "two-stream": one + two}.items():
        table.append((name, "MACs", one / count, one / count, one / count))
        table.append((name, "CPU time", *ratio_interval(times["student"], times[name])))
    milliseconds = {name: 1000 * float(np.median(t)) for name, t in times.items()}
    return pd.DataFrame(table, columns=["against", "what", "ratio", "low", "high"]), milliseconds


def committed_costs(table: pd.DataFrame) -> pd.DataFrame:
    """The cost ratios in the study's committed rows, with the columns that :func:`costs` gave them."""
    some = table[table.condition.str.startswith("dlkdd:") & table.metric.str.contains("_ratio")]
    wide = some.pivot(index="condition", columns="metric", values="value")
    names = {"macs_ratio": "MACs", "cpu_seconds_ratio": "CPU time"}
    found = [(condition.partition(":")[2], what, row[metric], row[f"{metric}_low"], row[f"{metric}_high"])
             for condition, row in wide.iterrows() for metric, what in names.items()]
    return pd.DataFrame(found, columns=["against", "what", "ratio", "low", "high"])


def cost_points(table: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """What :func:`kdlab.show.plots.costs` draws: CPU ms per clip of each way, and its accuracy with a 95 % interval."""
    ways = {"dlkdd": "student", "ce_raw": "student", "ce_enhanced": "enhance + classify", "two_stream": "two-stream"}
    seconds = table[table.condition.str.startswith("cost:")].set_index("condition").value
    points = []
    for condition, way in ways.items():
        right = scores.correct(condition)
        e = effect(right, np.zeros_like(right), scores.units)
        points.append((TITLES[condition], 1000 * float(seconds[f"cost:{way}"]), e.mean, e.low, e.high))
    return pd.DataFrame(points, columns=["name", "ms", "accuracy", "low", "high"])


def committed_sweep(table: pd.DataFrame) -> dict[tuple[float, float], float]:
    """(temperature, alpha) → mean validation accuracy over seeds, from the study's committed rows."""
    cell = table.condition.str.extract(r"^dlkdd:t([\d.]+):a([\d.]+)$").dropna().astype(float)
    return table.value.astype(float).groupby([cell[0], cell[1]]).mean().to_dict()


def ledger(scores: Scores, costs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rows D1–D4 of docs/ledger.md: claim, comparison, effect, verdict; computed from predictions and measured costs.

    ``costs`` is what :func:`costs` or :func:`committed_costs` returns; without it there is no D4.
    """
    controls = {name: scores.effect("dlkdd", name) for name in ("label_smoothing", "ce_2x") if name in scores.predicted}
    d1, d2, d3 = (scores.effect("dlkdd", b) for b in ("ce_raw", "same_light", "ce_enhanced"))
    table = [
        ("D1", "a teacher on enhanced clips helps a raw-clip student", "DL-KDD − CE raw", str(d1),
         verdict(d1, controls)),
        ("D2", "it is the dual light that helps", "DL-KDD − same-light KD", str(d2), verdict(d2)),
        ("D3", "raw-only inference beats enhancing at inference", "DL-KDD − CE enhanced", str(d3), verdict(d3)),
    ]
    if costs is not None:
        worst = costs.loc[costs.high.idxmax()]
        effects = "; ".join(f"{r.what}/{r.against} {r.ratio:.2f}" for r in costs.itertuples())
        word = "supported" if worst.high < 1 else f"not supported: {worst.what} against {worst.against} is not below 1"
        table.append(("D4", "it is cheaper than the alternatives", "cost ratios of the student", effects, word))
    return pd.DataFrame(table, columns=["claim", "says", "comparison", "effect", "verdict"])


def sweep_rows(profile: Profile, seeds: int, workers: int | None = None, say=print) -> list[dict]:
    """Validation accuracy of DL-KDD over temperature × alpha: the test clips are not read."""
    cells = {(cell, seed): recipe for seed in range(seeds)
             for cell, recipe in sweep(profile, seed, TEMPERATURES, ALPHAS).items()}
    runs = obtain_all(list(cells.values()), pretrained=False, stale="refuse", workers=workers, say=say)
    return [
        dict(study="dual_light", data="night_demo" if profile.name == "demo" else "night",
             condition=f"dlkdd:t{t:g}:a{a:g}", seed=seed, fold="", metric="val_accuracy",
             value=run.predictions("val").accuracy, unit="%", recipe=run.folder.name)
        for (((t, a), seed), run) in zip(cells, runs, strict=True)
    ]


def _validated(run: Run, night: Night) -> float:
    """Accuracy in percent on the validation clips of ``night``, which may be more than the run's own."""
    labels = np.array([record.label for record in night.catalogue().split("val")])
    return round(100 * float((asked(run, night, split="val").argmax(1) == labels).mean()), 4)


def run(profile: Profile, seeds: int | None = None, *, sweep_seeds: int = 1, demo_seeds: int = DEMO_SEEDS,
        workers: int | None = None, say=print) -> Scores:
    """Run (or resume) the whole study and write its evidence, ``dual_light.csv`` and predictions.

    Validation accuracies are those on :data:`VALIDATION` clips a class, not on the few that training looks at.
    The seed-0 runs of demo size become the committed weights in ``pretrained/``; ``demo_seeds`` runs of that size are
    what ``kdlab reproduce`` compares a user's own numbers with.
    """
    seeds, small = seeds or profile.seeds, current(beside(profile))
    evidence = Evidence.of("dual_light", profile, {"night": seeds, "night_demo": demo_seeds}, say=say,
                           whole=profile == PROFILE and sweep_seeds > 0)
    scores, runs = collect(columns(profile, seeds), workers=workers, say=say)
    scores = fused(scores, "two_stream", runs["ce_raw"], runs["ce_enhanced"])
    table = rows("dual_light", "night", scores, runs)
    # Doubling the steps has to be seen to gain less than two points: on more validation clips than training looks at.
    count = VALIDATION if profile == PROFILE else profile.night.count("val")
    many = replace(profile.night, per_class=(0, count, 0))
    many.catalogue()
    for row in (row for row in table if row["metric"] == "val_accuracy"):
        row["value"] = _validated(runs[row["condition"]][scores.seeds.index(row["seed"])], many)
    clip = Raw().read(profile.night.catalogue().split("test")[0].path)
    ratios, milliseconds = costs(runs["dlkdd"][0], runs["ce_enhanced"][0], clip)
    about = dict(study="dual_light", data="night", seed=0, fold="", recipe=runs["dlkdd"][0].folder.name)
    for r in ratios.itertuples():
        for metric, value in (("", r.ratio), ("_low", r.low), ("_high", r.high)):
            name = f"{'macs' if r.what == 'MACs' else 'cpu_seconds'}_ratio{metric}"
            table.append(about | dict(condition=f"dlkdd:{r.against}", metric=name, value=round(value, 4), unit="1"))
    for name, value in milliseconds.items():
        seconds = round(value / 1000, 6)
        table.append(about | dict(condition=f"cost:{name}", metric="cpu_seconds", value=seconds, unit="s"))
    scores.save(evidence.file("dual_light-night"))
    demo, demo_runs = collect(columns(small, demo_seeds, HEADLINE), workers=workers, say=say)
    table += rows("dual_light", "night_demo", demo, demo_runs)
    demo.save(evidence.file("dual_light-night_demo"))
    evidence.publish(column[0] for column in demo_runs.values())
    table += sweep_rows(small, sweep_seeds, workers, say)
    say(str(evidence.save_rows(table)))
    return scores
