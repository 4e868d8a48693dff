"""RGB, flow and both fused: GenKD in each stream, and what adding up two networks gives (docs/methods.md, 2).

Two networks are better than one whatever they see, so beside *RGB and flow* stand two networks of RGB. At demo size and
in no claim: published numbers of the paper are of both streams, and here one may look at what the second one brings.
"""

from dataclasses import replace
from functools import partial

import pandas as pd

from kdlab.measure.paired import Effect, verdict
from kdlab.night.streams import NightStream
from kdlab.papers.generative.recipes import DEMO, conditions, night, on_flow
from kdlab.show.said import minus
from kdlab.study import FIRST, Part, Scores, Study, by_condition, fused
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.sizes import GenerativeSize

SEEDS = 5
#: Test clips a class; trainings at demo size have twelve.
TESTED = 100
#: Trained, each with its teacher's second phase or with labels alone.
ALONE = ("student_ce", "student_ce_flow", "genkd", "genkd_flow")
#: Added up: name → whose probabilities; where both are one stream, the other network is that of the next seed (after
#: the last the first), so that each network counts in two seeds.
FUSED = {
    "ce_both": ("student_ce", "student_ce_flow"),
    "both": ("genkd", "genkd_flow"),
    "two_rgb": ("genkd", "genkd"),
    "two_flow": ("genkd_flow", "genkd_flow"),
}
TITLES = {
    "student_ce": "student, CE: RGB",
    "student_ce_flow": "student, CE: flow",
    "ce_both": "student, CE: RGB + flow",
    "genkd": "GenKD: RGB",
    "genkd_flow": "GenKD: flow",
    "both": "GenKD: RGB + flow",
    "two_rgb": "GenKD: RGB of two seeds",
    "two_flow": "GenKD: flow of two seeds",
}
#: (what, compared with): GenKD in each stream, the second stream, and its control.
COMPARED = (
    ("genkd", "student_ce"),
    ("genkd_flow", "student_ce_flow"),
    ("both", "ce_both"),
    ("both", "genkd"),
    ("both", "genkd_flow"),
    ("both", "two_rgb"),
    ("both", "two_flow"),
)


def clips(size: GenerativeSize) -> NightStream:
    """Those of ``size``, with more to test on."""
    train, val, test = size.per_class
    return night(replace(size, per_class=(train, val, test if size.name == "smoke" else TESTED)))


def recipes(size: GenerativeSize, seed: int) -> dict[str, Recipe]:
    """What is trained for one seed, by condition."""
    made = conditions(size, clips(size), seed)
    made |= {f"{name}_flow": on_flow(made[name]) for name in ("student_ce", "genkd")}
    return {name: made[name] for name in ALONE}


def added(scores: Scores, runs: dict[str, list[Run]]) -> Scores:
    """``scores`` with the :data:`FUSED`: the mean of two networks' probabilities, seed by seed."""
    for name, (one, other) in FUSED.items():
        second = runs[other] if one != other else [*runs[one][1:], runs[one][0]]
        scores = fused(scores, name, runs[one], second)
    return scores


def table(scores: Scores) -> pd.DataFrame:
    """A row for each of :data:`TITLES`: the ``network``, its mean ``accuracy`` and the ``lowest`` and ``highest`` seed,
    in percent."""
    found = [(title, levels.mean(), levels.min(), levels.max()) for name, title in TITLES.items()
             for levels in [scores.accuracy(name)]]
    return pd.DataFrame(found, columns=["network", "accuracy, %", "lowest seed", "highest seed"])


def effects(scores: Scores) -> dict[str, Effect]:
    """Paired differences in points, by what is compared."""
    return {f"{TITLES[one]} − {TITLES[other].removeprefix('GenKD: ')}": scores.effect(one, other)
            for one, other in COMPARED}


def sentence(scores: Scores) -> str:
    """What the second stream brings, beside a second network of the same one."""
    levels = {name: scores.accuracy(name).mean() for name in TITLES}
    second = max(("two_rgb", "two_flow"), key=levels.get)
    gain = scores.effect("both", second)
    return minus(f"RGB {levels['genkd']:.1f} %, flow {levels['genkd_flow']:.1f} %, both {levels['both']:.1f} %: "
                 f"{gain} points over two networks of the better stream, {len(scores.seeds)} seeds: {verdict(gain)}.")


def _parts(size: GenerativeSize, seeds: int) -> list[Part]:
    made = by_condition(partial(recipes, size), seeds, first=FIRST)
    return [Part("night_bright", made, answers=added)]


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    lines = []
    for scores in found.values():
        lines += [table(scores).round(1).to_string(index=False), sentence(scores)]
        lines += [f"{what}: {gain}, {verdict(gain)}" for what, gain in effects(scores).items()]
    return lines


study = Study("streams", _parts, size=DEMO, seeds=SEEDS, lines=_lines, titles=TITLES, committed=True)
