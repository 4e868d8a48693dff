"""The study of attention maps: do the networks of the papers look at the actor, and does distillation change that?

Networks of the papers' own studies, and many test clips. Each run is asked where it looks for the *label* of every test
clip (Grad-CAM at its last stage, and at the last one of finer resolution), and the answer is scored against `night`'s
actor masks, beside maps that know nothing. These are pooled to the few units of the network's own map and spread as it
is: a network's result is its gain over the best of them. docs/methods.md, 7.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.measure.attention import SCORES
from kdlab.measure.paired import ENOUGH_SEEDS, Effect, effect
from kdlab.night import ACTIONS, Night
from kdlab.night.streams import NightStream
from kdlab.papers.dual_light import recipes
from kdlab.papers.dual_light import study as dual_light_study
from kdlab.papers.generative import recipes as generative_recipes
from kdlab.papers.progressive import recipes as progressive_recipes
from kdlab.papers.progressive.nets import ORDER
from kdlab.studies.looks import looked
from kdlab.study import FIRST, Outcome, Part, Scores, Study, fresh, load_arrays
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import VARIETY, AttentionSize, ExitSize, GenerativeSize, current

#: The sets, and how they read.
DATA = {"night": "dual light: dark clips", "night_context": "compressed video: places tell",
        "night_bright": "GenKD: bright clips"}
#: Maps that know nothing of the class, and how they read.
BASELINES = {"uniform": "uniform", "random": "random", "centred": "centred Gaussian", "centre": "the middle alone",
             "frame_difference": "what moves", "untrained": "untrained network"}
#: Of the committed study: networks of study size, which the papers' own studies train anyway.
STUDY = current("study", AttentionSize)
#: Of GenKD; the teacher is that of the student in the same row, of its own seed.
GENERATIVE = ("student_ce", "genkd", "teacher_fr")
#: How the networks read in figures. That on enhanced clips has its student's seed, whose own teacher has another.
TITLES = {name: recipes.TITLES[name] for name in dual_light_study.HEADLINE} | {"ce_enhanced": "CE, enhanced"} | {
    "iframe": "I-frame network", "motion": "motion network", "residual": "residual network"} | {
    name: generative_recipes.TITLES[name] for name in GENERATIVE}


def parts(size: AttentionSize, seeds: int | None = None,
          first: int = 0) -> dict[str, tuple[dict[str, list[Recipe]], object]]:
    """Set → (condition → one recipe a seed from ``first`` on, the clips on which all of them are asked)."""
    few = range(first, first + min(size.few_seeds, seeds or size.few_seeds))
    dark = Night(ACTIONS, (0, 0, size.clips), VARIETY)
    profile = current(size.networks)
    exits, generative = current(size.networks, ExitSize), current(size.networks, GenerativeSize)
    trios = [progressive_recipes.trio(exits, progressive_recipes.night(exits), seed) for seed in few]
    bright = generative_recipes.night(generative)
    made = [generative_recipes.conditions(generative, bright, seed) for seed in few]
    return {
        "night": (dual_light_study.columns(profile, seeds or size.seeds, dual_light_study.HEADLINE, first=first), dark),
        "night_context": ({m: [trio[k] for trio in trios] for k, m in enumerate(ORDER)},
                          NightStream(replace(dark, context=progressive_recipes.CONTEXT))),
        "night_bright": ({name: [each[name] for each in made] for name in GENERATIVE}, NightStream(dark)),
    }


# --- reading it ------------------------------------------------------------------------------------------------


def load_looks(name: str) -> dict[str, np.ndarray]:
    """The committed scores of a set's maps, as :func:`kdlab.studies.looks.looked` made them."""
    return {key: v if key == "ids" else v.astype(float) for key, v in load_arrays(f"attention-{name}-looks").items()}


def available() -> list[str]:
    """The sets of :data:`DATA` whose looks are committed."""
    return [name for name in DATA if (paths.figures_dir() / "predictions" / f"attention-{name}-looks.npz").is_file()]


def mean(looks: dict[str, np.ndarray], metric: str, condition: str) -> float:
    """Over seeds and clips, in percent (of correlations: hundredths)."""
    return 100 * float(np.nanmean(looks[f"{metric}/{condition}"].astype(float)))


def compared(looks: dict[str, np.ndarray], metric: str, a: str, b: str) -> Effect:
    """``a`` − ``b`` in points, over the seeds and those clips that have both; a map without seeds stands in each."""
    one, other = np.broadcast_arrays(*(looks[f"{metric}/{name}"].astype(float) for name in (a, b)))
    both = ~np.isnan(one + other).any(0)
    return effect(one[:, both], other[:, both])


def beside(condition: str, on: str = "units") -> dict[str, str]:
    """The baselines of a condition on the grid of ``units`` or ``pixels``: word → their own condition. The untrained
    network is asked at the same layer, and the uniform map is the same on each grid."""
    plain, mark = condition.partition("@")[0], "_units" if on == "units" else ""
    own = {"uniform": f"uniform:{plain}", "untrained": f"untrained:{condition}"}
    return {name: own.get(name) or f"{name}{mark}:{condition if mark else plain}" for name in BASELINES}


def best(looks: dict[str, np.ndarray], metric: str, condition: str, on: str) -> tuple[str, float, Effect]:
    """The best baseline of ``condition`` on a grid, its score in percent, and the condition's gain over it. Baselines
    that these looks do not have are left out."""
    known = {name: other for name, other in beside(condition, on).items() if f"{metric}/{other}" in looks}
    levels = {name: mean(looks, metric, other) for name, other in known.items()}
    name = max(levels, key=levels.get)
    return name, levels[name], compared(looks, metric, condition, known[name])


def reading(gap: Effect) -> str:
    """What a difference says at the ledger's level; no verdict, as no paper claims anything here. From few seeds it is
    provisional."""
    if gap.strict_low > 0 or gap.strict_high < 0:
        word = "above" if gap.strict_low > 0 else "below"
    else:
        word = "within 2 points" if -2 < gap.low and gap.high < 2 else f"undecided (± {gap.half_width:.1f})"
    return word if gap.seeds >= ENOUGH_SEEDS else f"{word}, provisional"


#: Columns of :func:`gains`; the last two do not decide.
GAINS = ["network", "metric", "seeds", "score", "best baseline", "its score", "gain", "reading", "best of pixels",
         "gain over that"]


def gains(looks: dict[str, np.ndarray], conditions: Iterable[str], metrics: Iterable[str] = SCORES) -> pd.DataFrame:
    """Each network's score, that of the best baseline on its own grid (percent), and its gain over it (points), which
    decides; beside it the same with the best baseline at the resolution of pixels."""
    table = []
    for condition, metric in itertools.product(conditions, metrics):
        (name, level, gain), (sharp, _, over) = (best(looks, metric, condition, on) for on in ("units", "pixels"))
        table.append((condition, metric, gain.seeds, mean(looks, metric, condition), BASELINES[name], level, gain,
                      reading(gain), BASELINES[sharp], over))
    return pd.DataFrame(table, columns=GAINS)


def fine(conditions: Iterable[str], looks: dict[str, np.ndarray]) -> list[str]:
    """The second reading of those ``conditions`` that these looks have at a layer of finer resolution."""
    return [name for name in (f"{condition}@fine" for condition in conditions) if f"{SCORES[0]}/{name}" in looks]


_BOTH = [("dlkdd", "ce_raw"), ("dlkdd", "same_light")]
#: What is compared with what. Of deletion less is better, so the other clip's map comes first.
PAIRS = {metric: [*_BOTH, ("dlkdd", "dlkdd=teacher"), *((f"{a}@fine", f"{b}@fine") for a, b in _BOTH)]
         for metric in SCORES} | {
    "agreement": _BOTH, "deletion": [("dlkdd=other", "dlkdd")], "insertion": [("dlkdd", "dlkdd=other")]}


def differences(looks: dict[str, np.ndarray], pairs: dict[str, list[tuple[str, str]]] = PAIRS) -> pd.DataFrame:
    """Paired differences of the dual-light networks, in points (of correlations: hundredths). Pairs of which these
    looks lack one are left out."""
    known = [(metric, a, b) for metric, listed in pairs.items() for a, b in listed
             if {f"{metric}/{a}", f"{metric}/{b}"} <= looks.keys()]
    table = [(metric, f"{a} − {b}", e.seeds, e.units, e, reading(e))
             for metric, a, b in known for e in [compared(looks, metric, a, b)]]
    return pd.DataFrame(table, columns=["metric", "comparison", "seeds", "clips", "effect", "reading"])


# --- the study -------------------------------------------------------------------------------------------------


def _rows(outcome: Outcome) -> list[dict]:
    """Keep the scores of every map, and make rows of them."""
    looks = looked(outcome.runs, outcome.part.on, outcome.size.every, outcome.say)
    once = [key for key in looks if _network(key) not in outcome.runs]
    outcome.evidence.save(f"attention-{outcome.part.data}-looks", looks, once)
    if outcome.shard is None:  # one seed has no interval
        for line in _said(outcome.part.data, looks, outcome.runs):
            outcome.say(line)
    return list(_tidy(outcome, looks))


def _network(key: str) -> str:
    """The condition whose network is asked, of ``metric/condition``; of a map that knows nothing no condition."""
    return re.split("[@~=]", key.partition("/")[2].removeprefix("untrained:"))[0]


def _said(name: str, looks: dict[str, np.ndarray], conditions: Iterable[str]) -> list[str]:
    """What the looks of the set ``name`` say, in tables."""
    found = [gains(looks, [*conditions, *fine(conditions, looks)]).to_string(index=False)]
    return found + ([differences(looks).to_string(index=False)] if name == "night" else [])


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    """:func:`_said` of what is committed, where that was read: of shards that were put together."""
    shards = study.shards()
    return [line for name, scores in found.items() for line in _said(name, load_looks(name), scores.predicted)] \
        if shards and shards.merged() else []


def _tidy(outcome: Outcome, looks: dict[str, np.ndarray]) -> Iterator[dict]:
    """Tidy rows: for each seed the mean over clips of every score, and the networks' accuracy on the same clips."""
    scores = outcome.scores
    for key in (key for key in looks if key != "ids"):
        metric, condition = key.split("/")
        names = scores.recipes.get(_network(key), [""])  # a map without a network has neither recipe nor seed
        scale, unit = (1, "1") if metric in ("agreement", "similarity") else (100, "%")
        for s, values in enumerate(looks[key].astype(float)):
            value = round(scale * float(np.nanmean(values)), 4) if not np.isnan(values).all() else ""
            about = dict(condition=condition, seed=scores.seeds[s] if names[0] else "", recipe=names[s])
            yield outcome.row(**about, metric=metric, value=value, unit=unit)
    for condition, names in scores.recipes.items():
        for seed, right, name in zip(scores.seeds, scores.accuracy(condition), names, strict=True):
            about = dict(condition=condition, seed=seed, recipe=name)
            yield outcome.row(**about, metric="accuracy", value=round(float(right), 4), unit="%")


def _parts(size: AttentionSize, seeds: int) -> list[Part]:
    read = current(size.name, ExitSize).per_class[2]  # of a class whose places tell it, by the study of exits
    return [Part(name, columns, on=fresh(data, read=read), rows=_rows)
            for name, (columns, data) in parts(size, seeds, FIRST).items()]


study = Study("attention", _parts, size=STUDY, lines=_lines, committed=True, seedwise=True)
