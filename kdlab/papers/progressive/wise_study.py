"""The study of WISE on the exits that ``kdlab study progressive`` trained: verdicts P5, P6 and P7 in both regimes.

Of the held-out clips one half (by people or scenes) fits weights and temperatures, the other chooses thresholds and
single exits; then the halves change places, and a clip's score is the mean of both. Nothing more is trained.
"""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from kdlab import paths
from kdlab.clips.cache import resize
from kdlab.clips.held_out import halves
from kdlab.clips.segments import SegmentBatches
from kdlab.measure import cost
from kdlab.measure.paired import Effect, effect
from kdlab.papers.progressive.anytime import cost_per_exit
from kdlab.papers.progressive.asking import asked, said
from kdlab.papers.progressive.budgets import BUDGETS, THETAS, area_effect, everything, parts, swept
from kdlab.papers.progressive.nets import ORDER, Trio
from kdlab.papers.progressive.recipes import STUDY
from kdlab.papers.progressive.study import PLAN, SETS, data_sets, trained, unread
from kdlab.papers.progressive.study import gate as networks_gate
from kdlab.papers.progressive.wise import solve
from kdlab.study import (
    LEDGER,
    UNREAD,
    Claim,
    Outcome,
    Part,
    Reading,
    Scores,
    Study,
    in_folds,
    load_arrays,
    load_rows,
    load_scores,
    pooled,
)
from kdlab.train.runs import Run, find
from kdlab.train.sizes import ExitSize

#: Whose exits are combined.
METHODS = ("ce_ic", "pkd")
#: Of the sweep without exits: the three finals, fused, at fewer segments.
SEGMENTS = (1, 2, 3)


def trio_of(run: Run) -> Trio:
    """The three networks and the heads of a run with exits, ready to be asked."""
    nets = {name: find(recipe, pretrained=True).net() for name, recipe in run.recipe.needs().items()}
    return Trio(nets, run.net()).eval()


def _clips(run: Run, split: str, count: int | None = None, segments: int | None = None, data=None) -> SegmentBatches:
    recipe = run.recipe
    views = {name: backbone.view for name, backbone in recipe.needs().items()}
    window = replace(recipe.window, frames=segments or recipe.window.frames)
    return SegmentBatches((data or recipe.data).catalogue().split(split)[:count], views, window)


def _costs(run: Run, trio: Trio) -> dict[str, np.ndarray]:
    """MACs and CPU seconds of a clip that stops at each exit, ``(12,)``, of each exit's own network ``alone``, and of
    the three finals without other exits at :data:`SEGMENTS`, ``(3,)``. Seconds are a batch's of 16 clips, its decoding
    included (``_decoded``: without)."""
    clips = _clips(run, "test", 16)
    batch = next(clips.evaluation())
    shapes = {name: tuple(view.shape[1:]) for name, view in batch.views.items()}
    macs = cost_per_exit(trio, shapes)
    alone = sum(cost.macs(trio.nets[m], (1, *shapes[m])) for m in ORDER)
    bare = alone / clips.window.frames * np.array(SEGMENTS)
    ways, count = {}, len(clips.records)
    for name, view in clips.views.items():
        for n in SEGMENTS:
            drawn = _clips(run, "test", 16, n)
            rows = [view.rows(r.path, drawn.window.centre(drawn.length(r)).frames) for r in clips.records]
            ways["read", name, n] = lambda view=view, rows=rows: [
                resize(view.read(r.path, its), clips.window.side) for r, its in zip(clips.records, rows, strict=True)]
        maps = [trio.begin(name, batch.views[name])]
        with torch.no_grad():
            for stage in range(4):
                maps.append(trio.advance(name, stage, maps[-1]))
                ways["stage", name, stage] = lambda m=name, k=stage, x=maps[-2]: trio.advance(m, k, x)
                ways["exit", name, stage] = lambda m=name, k=stage, x=maps[-1]: trio.say(m, k, x)
    taken = {way: float(np.median(t)) / count for way, t in cost.cpu_times(ways, 10).items()}
    full = clips.window.frames
    steps = np.array([[taken["stage", m, k] + taken["exit", m, k] for k in range(4)] for m in ORDER])
    reads = np.array([[taken["read", m, n] for n in SEGMENTS] for m in ORDER])
    plain = sum(taken["stage", m, k] for m in ORDER for k in range(4)) + sum(taken["exit", m, 3] for m in ORDER)
    with_reads = steps + np.pad(reads[:, [SEGMENTS.index(full)]], ((0, 0), (0, 3)))
    segments = plain * np.array(SEGMENTS) / full
    return {"macs": macs, "macs_alone": np.diff(np.concatenate([[0], macs])).reshape(3, 4).cumsum(1).ravel(),
            "macs_segments": bare, "seconds": np.cumsum(with_reads),
            "seconds_segments": segments + reads.sum(0), "seconds_decoded": np.cumsum(steps),
            "seconds_decoded_segments": segments}


def _segment_sweep(run: Run, trio: Trio, clips=None) -> np.ndarray:
    """Class indices ``(3, N, 2)`` of the late fusion of the finals at :data:`SEGMENTS`, fitted on either half; of the
    run's own test clips, or of those of ``clips``."""
    half, answers = halves(run.predictions("val").groups), []
    for n in SEGMENTS:
        outputs = {}
        for split in ("val", "test"):
            every = _clips(run, split, segments=n, data=clips if split == "test" else None).evaluation()
            batches = [(trio.frozen(batch.views)[1], batch.labels) for batch in every]
            outputs[split] = [torch.cat(column).numpy() for column in zip(*batches, strict=True)]
        (z, y), (test, _) = outputs["val"], outputs["test"]
        answers.append(np.stack([np.tensordot(test, solve(z[some], y[some]), (1, 0)).argmax(1)
                                 for some in (half, ~half)], 1))
    return np.stack(answers)


def _fold(scores: Scores, runs: dict[str, list[Run]], clips=None) -> tuple[Scores, dict[str, np.ndarray]]:
    """What every way to use the exits says of the test clips of one fold, its own or those of ``clips``, and the curves
    of accuracy over cost."""
    trio = trio_of(runs["pkd"][0])
    costs = _costs(runs["pkd"][0], trio)
    predicted, curves = {}, {f"cost/{name}": values for name, values in costs.items()}
    for method, column in runs.items():
        told, right, stops = [], [], []
        for run in column:
            halved = parts(run)
            if clips is not None:
                test = said(run, clips).astype(np.float64), scores.labels
                halved = [some._replace(test=test) for some in halved]
            ways = [everything(some, costs["macs"], costs["macs_alone"]) for some in halved]
            told.append({name: np.stack([way[name] for way, _ in ways], -1) for name in ways[0][0]})
            walked = [swept(wise.test, scores.labels) for _, wise in ways]
            right.append(np.stack([hit for hit, _ in walked], -1))
            stops.append(np.stack([where for _, where in walked], -1))
        predicted |= {f"{name}:{method}": np.stack([each[name].reshape(len(scores.labels), -1) for each in told])
                      for name in told[0]}
        curves |= {f"right/{method}": np.stack(right), f"stops/{method}": np.stack(stops).astype(np.uint8)}
    fused = np.stack([_segment_sweep(run, trio_of(run), clips) for run in runs["pkd"]])
    curves["right/segments"] = fused == scores.labels[:, None]
    names = {name: scores.recipes[name.partition(":")[2]] for name in predicted}
    return replace(scores, predicted=scores.predicted | predicted, recipes=scores.recipes | names), curves


def _parts(size: ExitSize, seeds: int) -> list[Part]:
    """What ``kdlab study progressive`` has trained. Of a set in folds the predictions are kept together."""
    def made(name: str, data) -> dict[str, list]:
        every = trained(size, seeds, name, data)
        return {method: every[method] for method in METHODS}

    how = dict(rows=lambda outcome: [], whole=_rows)
    parts = []
    for name, folds in data_sets(size).items():
        real = dict(unit="group", real=name) if name == "weizmann" else {}
        file = name if len(folds) == 1 else ""
        parts += in_folds(name, folds, partial(made, name), file=file, **how, **real)
        if name == "night_context":
            parts.append(Part(PLAN.data, made(name, folds[0]), on=unread(size), asked=asked, **how))
    return parts


def load_curves(name: str) -> dict[str, np.ndarray]:
    """The committed curves of a set: ``cost/…``, and for each method ``right/…`` and ``stops/…``
    ``(S, thresholds, N, 2)``, the last axis being the half that was fitted on; ``right/segments (S, 3, N, 2)``."""
    return load_arrays(f"wise-{name}-curves")


def _curve(curves: dict[str, np.ndarray], method: str, cost: str) -> tuple[np.ndarray, np.ndarray]:
    """(right, cost), ``(S, points, N)`` each, the mean of both halves."""
    right = curves[f"right/{method}"]
    if method == "segments":
        spent = np.broadcast_to(curves[f"cost/{cost}_segments"][None, :, None], right.shape[:3])
    else:
        spent = curves[f"cost/{cost}"][curves[f"stops/{method}"]].mean(-1)
    return right.mean(-1), spent


def area_effects(scores: Scores, curves: dict[str, np.ndarray], cost: str = "seconds") -> dict[str, Effect]:
    """Gain in mean accuracy over the costs from one segment's to that of all exits: of PKD + WISE over CE + WISE, and
    of each over the sweep of segments without exits. ``cost`` is macs, seconds or seconds_decoded."""
    low, high = float(curves[f"cost/{cost}_segments"][0]), float(curves[f"cost/{cost}"][-1])
    of = {name: _curve(curves, name, cost) for name in (*METHODS, "segments")}
    pairs = {"PKD + WISE − segments": ("pkd", "segments"), "CE + WISE − segments": ("ce_ic", "segments"),
             "PKD + WISE − CE + WISE": ("pkd", "ce_ic")}
    return {what: area_effect(of[a], of[b], scores.units, low, high) for what, (a, b) in pairs.items()}


def _gain(scores: Scores, condition: str, other: str) -> Effect:
    """Of ways that answer at each exit: the mean over k = 2 … 12."""
    later = slice(2 if "@k:" in condition else 0, None)
    return effect(*(scores.correct(name)[:, :, later].mean(2) for name in (condition, other)), scores.units)


def effects(scores: Scores, method: str) -> dict[str, Effect]:
    """WISE on the exits of ``method`` minus every other way to use them."""
    plain = {"best single exit": "best_single", "mean of logits": "mean_logits",
             "mean of calibrated probabilities": "mean_probabilities", "late fusion of the finals": "late_fusion",
             "weights fitted on train": "wise_train_fit", "the mix released for UCF-101, split 1": "faithful_mix",
             "without L1": "wise_no_l1"}
    pairs = {name: ("wise", other) for name, other in plain.items()}
    shares = [f"{share:.0%}" for share in BUDGETS]
    pairs |= {f"best single exit at {share}": (f"wise@{share}", f"best_single@{share}") for share in shares}
    pairs |= {"scaling, at each exit": ("wise@k", "unscaled@k"), "lateral, at each exit": ("wise@k", "no_lateral@k")}
    return {name: _gain(scores, f"{a}:{method}", f"{b}:{method}") for name, (a, b) in pairs.items()}


def gate(rows: pd.DataFrame) -> tuple[bool, str]:
    """Of P5 to P7: may the networks teach on whose exits they are read? That stands in the rows of ``progressive``."""
    try:
        return networks_gate(load_rows("progressive"))
    except FileNotFoundError as error:
        return False, str(error)


#: Of docs/ledger.md, on the exits that PKD trained.
CLAIMS = (
    Claim("P5", "WISE beats single exits", "wise:pkd", "best_single:pkd",
          {"mean_logits:pkd": "the mean of logits", "late_fusion:pkd": "late fusion of the finals"},
          "WISE − best single exit", _gain, plan=PLAN, gate=gate),
    Claim("P6", "scaling and lateral connections each help", "wise@k:pkd",
          {"unscaled@k:pkd": "scaling", "no_lateral@k:pkd": "lateral"}, (), "WISE − without, mean over exits", _gain,
          metric="accuracy, mean of the exits 2 to 12", plan=PLAN, gate=gate, rule="what is left out is the control"),
    Claim("P7", "PKD + WISE has the better accuracy over time", "wise:pkd", "segments:pkd", (),
          "area, − segment sweep without exits", metric="accuracy, mean over CPU seconds", plan=PLAN, gate=gate,
          rule="thresholds swept at three segments, from one segment's cost to that of all exits",
          statistic=lambda evidence: Reading.of(area_effects(*evidence)["PKD + WISE − segments"]),
          evidence=lambda data, confirming: committed(data)),
)


def committed(name: str) -> tuple[Scores, dict[str, np.ndarray]]:
    """What P7 reads of a set. Raises ``FileNotFoundError`` where it is not there."""
    return load_scores(f"wise-{name}"), load_curves(name)


def there() -> list[str]:
    """The sets of which what every way to use the exits says is committed; last the clips that nobody had read."""
    folder = paths.figures_dir() / "predictions"
    return [name for name in (*SETS, PLAN.data) if (folder / f"wise-{name}-curves.npz").is_file()]


def newest(data: str) -> str:
    """The name under which ``data`` is committed: that of clips that nobody had read, where they are there."""
    return data + UNREAD if data + UNREAD in there() else data


def ledger(scores: Scores, curves: dict[str, np.ndarray]) -> pd.DataFrame:
    """Rows P5 to P7 of docs/ledger.md for one set."""
    p7 = CLAIMS[-1].judged((scores, curves))
    return pd.concat([study.verdicts(scores), pd.DataFrame([p7], columns=LEDGER)], ignore_index=True)


def _rows(outcome: Outcome) -> list[dict]:
    """Keep what every way to use the exits says of a whole set, and the curves over cost; tidy rows of both."""
    made = [_fold(replace(fold.scores, logits={}), fold.runs, fold.part.on) for fold in outcome.folds]
    name, (_, first) = outcome.part.data, made[0]
    scores = pooled([s for s, _ in made])
    curves = {key: np.concatenate([c[key] for _, c in made], 2) if key.partition("/")[0] != "cost" else first[key]
              for key in first}
    scores.save(outcome.evidence.file(f"wise-{name}"))
    outcome.evidence.save(f"wise-{name}-curves", curves, once=[key for key in curves if key.startswith("cost/")])
    if outcome.shard is None:  # one seed decides nothing
        outcome.say(f"{name}\n{ledger(scores, curves).to_string(index=False)}")
    return _accuracy_rows(outcome, scores) + _curve_rows(outcome, scores, curves)


def _accuracy_rows(outcome: Outcome, scores: Scores) -> list[dict]:
    """Accuracy of every way for each seed."""
    table = []
    for condition in (c for c in scores.predicted if ":" in c):
        right, ends = scores.accuracy(condition), condition.partition(":")[0].endswith("@k")
        each = {f"{condition}:{k + 1}": right[:, 2 * k : 2 * k + 2] for k in range(12)} if ends else {condition: right}
        for what, values in each.items():
            for seed, value, recipe in zip(scores.seeds, values.mean(1), scores.recipes[condition], strict=True):
                table += outcome.numbers(("accuracy", value, "%"), condition=what, seed=seed, recipe=recipe)
    return table


def _curve_rows(outcome: Outcome, scores: Scores, curves: dict[str, np.ndarray]) -> list[dict]:
    """Costs, and for each seed the curves' means over clips."""
    table = []
    for kind, unit in (("macs", "1"), ("seconds", "s"), ("seconds_decoded", "s")):
        for tail in ("", "_segments"):
            table += [outcome.row(condition=f"cost{tail}:{k + 1}", metric=kind, value=float(f"{v:.6g}"), unit=unit)
                      for k, v in enumerate(curves[f"cost/{kind}{tail}"])]
    for method in METHODS:
        right, spent = _curve(curves, method, "macs")
        for (s, seed), (k, theta) in itertools.product(enumerate(scores.seeds), enumerate(THETAS)):
            numbers = ("accuracy", 100 * right[s, k].mean(), "%"), ("macs", round(float(spent[s, k].mean())), "1")
            about = dict(seed=seed, recipe=scores.recipes[f"wise:{method}"][s])
            table += outcome.numbers(*numbers, condition=f"wise:{method}:theta{theta:g}", **about)
    return table


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    """P7 of the sets whose curves are committed, where they were read: of shards that were put together."""
    read = [name for name, scores in found.items() if "wise:pkd" in scores.predicted]
    return [f"{name}\n{ledger(*committed(name)).to_string(index=False)}" for name in read]


study = Study("wise", _parts, size=STUDY, seeds=10, claims=CLAIMS, lines=_lines, committed=True, seedwise=True)
