"""Does the generative model generate? How much of a network's features its CVAE rebuilds and makes from λ alone.

The yardstick is the mean features of the training clips, for each channel, time and place: what everybody gets who
knows nothing of the clip. GenKD's claims are read only where a CVAE does better on clips that nothing has learnt from,
and worse with the λ of another clip (docs/methods.md, 2.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from kdlab.clips.views import ClipBatches
from kdlab.layers import outputs
from kdlab.measure.accuracy import half_width
from kdlab.measure.paired import effect
from kdlab.papers.generative.method import attending
from kdlab.papers.generative.nets import CVAEs, read_cvae
from kdlab.study import Outcome
from kdlab.train.runs import Run, batches

#: The ways to make features: from features and λ; from λ alone; and as these with the λ of another clip.
WAYS = ("rebuilt", "generated", "rebuilt, λ exchanged", "generated, λ exchanged")
#: What a generative model must explain of its features' variance, in percent, rebuilt and generated.
ENOUGH = 10.0


def explained(run: Run, split: str = "test", data=None) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Way → what each clip of ``split`` (of other ``data``) adds to R², ``(N,)``, in percent: the mean over clips is
    R², of which 0 is the training clips' mean. Of a detector with several taps their mean. And the clips' units: the
    windows of one video are one. As in training, the prior is drawn: λ and noise.
    """
    cvae = read_cvae(run.folder)
    cvaes = list(cvae) if isinstance(cvae, CVAEs) else [cvae]
    net, half = run.net(), len(cvaes)
    clips = batches(replace(run.recipe, data=data or run.recipe.data), split)
    known, seen = tapped(net, batches(run.recipe, "train")), tapped(net, clips)
    noise = torch.Generator().manual_seed(run.recipe.seed)
    each = []
    for tap, its in enumerate(cvaes):
        features, attention = seen[tap], seen[half + tap]
        other = attention.roll(1, 0)  # every clip has the λ of the one before
        with torch.no_grad():
            made = [way(its, features, some, torch.randn(some.shape, generator=noise))
                    for some in (attention, other) for way in (_rebuilt, _generated)]
        each.append([_shares(_squared(known[tap].mean(0), features), _squared(one, features)) for one in made])
    found = {way: 100 * np.mean(column, 0) for way, column in zip(WAYS, zip(*each, strict=True), strict=True)}
    return found, np.array([getattr(record, "video", record.id) for record in clips.records])


def tapped(net: torch.nn.Module, clips: ClipBatches) -> list[torch.Tensor]:
    """Features and attention of all clips, tap by tap."""
    names, found = attending(net).taps, []
    with torch.no_grad():
        for batch in clips.evaluation():
            seen = outputs(net, batch.views["student"], names).taps
            found.append([seen[name] for name in names])
    return [torch.cat(column) for column in zip(*found, strict=True)]


def _rebuilt(cvae, features, attention, noise):
    return cvae(features, attention, noise)[0]


def _generated(cvae, features, attention, noise):
    return cvae(None, attention, noise)[0]


def _shares(blind: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """What each clip adds to R² = 1 − Σ errors / Σ blind, ``(N,)``: a ratio of means, linear about them."""
    r2 = 1 - errors.mean() / blind.mean()
    return r2 + ((1 - r2) * blind - errors) / blind.mean()


def _squared(made: torch.Tensor, features: torch.Tensor) -> np.ndarray:
    return (made - features).square().flatten(1).mean(1).double().numpy()


# --- rows of a study, and what is read from them ----------------------------------------------------------------


def metric(way: str) -> str:
    """``r2_rebuilt_exchanged`` of "rebuilt, λ exchanged"."""
    return "r2_" + way.replace(", λ ", "_")


def generation_numbers(run: Run, data=None) -> list[tuple[str, float, str]]:
    """R² in percent of each of :data:`WAYS` on the test clips (of other ``data``), by its :func:`metric`, and, as
    ``…_within``, half of its 95 % interval over clips (of a detector: over videos): with exchanged λ that of what the
    exchange costs."""
    values, units = explained(run, "test", data)
    found = []
    for way, each in values.items():
        against = values[way.partition(",")[0]] if "exchanged" in way else 0 * each
        within = effect(against[None] / 100, each[None] / 100, units).half_width
        found += [(metric(way), float(each.mean()), "%"), (f"{metric(way)}_within", within, "points")]
    return found


def generation_rows(outcome: Outcome, conditions: Sequence[str]) -> list[dict]:
    """Tidy rows of :func:`generation_numbers` of every run of ``conditions``, on the clips that the part is tested on.
    """
    table = []
    for condition in conditions:
        for seed, run in zip(outcome.scores.seeds, outcome.runs[condition], strict=True):
            numbers = generation_numbers(run, outcome.part.on)
            table += outcome.numbers(*numbers, condition=condition, seed=seed, recipe=run.folder.name)
            said = ", ".join(f"{name.removeprefix('r2_')} {value:.1f}" for name, value, unit in numbers if unit == "%")
            outcome.say(f"{outcome.part.data}, {run.folder.name}: R² in percent, {said}")
    return table


@dataclass(frozen=True)
class Mean:
    """A mean over seeds and test units, and half of its 95 % interval."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        return self.mean - self.half

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ± {self.half:.1f}"


def means(rows: pd.DataFrame, data: str, condition: str) -> dict[str, Mean]:
    """R² in percent of each of :data:`WAYS`, by the ``rows`` of a study; and what exchanging λ costs, ``rebuilt −
    exchanged`` and ``generated − exchanged``; nothing where there are no such rows.

    The half of an interval is made of t over seeds and of the part of the test units, as in
    :mod:`kdlab.measure.paired`; rows tell the units' part of each run with the rest in it, so it is a little too wide.
    """
    rows = rows[(rows.data == data) & (rows.condition == condition) & rows.metric.str.startswith("r2_")]
    if rows.empty:
        return {}
    wide = rows.assign(value=rows.value.astype(float)).pivot_table(index="seed", columns="metric", values="value")

    def mean(values: pd.Series, way: str) -> Mean:
        over_seeds = half_width(values.to_numpy()) if len(values) > 1 else 0.0
        within = (wide[f"{metric(way)}_within"] ** 2).mean()
        return Mean(float(values.mean()), float(np.sqrt(over_seeds**2 + within)))

    found = {way: mean(wide[metric(way)], way) for way in WAYS}
    for way, exchanged in zip(WAYS[:2], WAYS[2:], strict=True):
        found[f"{way} − exchanged"] = mean(wide[metric(way)] - wide[metric(exchanged)], exchanged)
    return found


def lacking(found: dict[str, Mean]) -> str:
    """Why the model of :func:`means` does not generate, or ``''``."""
    if not found:
        return "what its features explain was not measured"
    for way in WAYS[:2]:
        if not (found[way].mean >= ENOUGH and found[way].low > 0):
            return f"features {way} explain {found[way]} % of the variance, not {ENOUGH:g} with an interval above 0"
        if not (gain := found[f"{way} − exchanged"]).low > 0:
            return f"features {way} are no worse with the λ of another clip ({gain} points)"
    return ""


def generates(rows: pd.DataFrame, data: str, conditions: Sequence[str]) -> tuple[bool, str]:
    """Do the CVAEs of all ``conditions`` generate, by the ``rows`` of a study? And the words: for a :class:`Claim`."""
    found = {condition: means(rows, data, condition) for condition in conditions}
    for condition, its in found.items():
        if why := lacking(its):
            return False, f"not testable here, the CVAE of {condition} does not generate: {why}"
    said = "; ".join(f"{condition} rebuilt {its['rebuilt']}, generated {its['generated']}"
                     for condition, its in found.items())
    return True, f"R² in percent: {said}"
