"""The study of attention maps: do the networks of the papers look at the actor, and does distillation change that?

Networks of demo size, many test clips. Each run is asked where it looks for the *label* of every test clip (Grad-CAM at
its last and last but one stage), and the answer is scored against `night`'s actor masks, beside four maps that know
nothing: a network's result is its gain over the best of them. docs/methods.md, 7.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.measure.attention import SCORES
from kdlab.measure.paired import Effect, effect
from kdlab.night import ACTIONS, Night
from kdlab.night.streams import NightStream
from kdlab.papers.dual_light import recipes
from kdlab.papers.dual_light import study as dual_light_study
from kdlab.papers.generative import recipes as generative_recipes
from kdlab.papers.progressive import recipes as progressive_recipes
from kdlab.papers.progressive.nets import ORDER
from kdlab.studies.looks import looked
from kdlab.study import Outcome, Part, Study, load_arrays
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import VARIETY, AttentionSize, ExitSize, GenerativeSize, current

#: The sets, and how they read.
DATA = {"night": "dual light: dark clips", "night_context": "compressed video: places tell",
        "night_bright": "GenKD: bright clips"}
#: Maps that know nothing of the class, and how they read.
BASELINES = {"uniform": "uniform", "centred": "centred Gaussian", "frame_difference": "what moves",
             "untrained": "untrained network"}
#: Of GenKD; the teacher is that of the student in the same row, of its own seed.
GENERATIVE = ("student_ce", "genkd", "teacher_fr")
#: How the networks read in figures.
TITLES = {name: recipes.TITLES[name] for name in dual_light_study.HEADLINE} | {
    "iframe": "I-frame network", "motion": "motion network", "residual": "residual network"} | {
    name: generative_recipes.TITLES[name] for name in GENERATIVE}


def parts(size: AttentionSize, seeds: int | None = None) -> dict[str, tuple[dict[str, list[Recipe]], object]]:
    """Set → (condition → one recipe a seed, the clips on which all of them are asked)."""
    few = min(size.few_seeds, seeds or size.few_seeds)
    dark = Night(ACTIONS, (0, 0, size.clips), VARIETY)
    profile = current(size.networks)
    exits, generative = current(size.networks, ExitSize), current(size.networks, GenerativeSize)
    trios = [progressive_recipes.trio(exits, progressive_recipes.night(exits), seed) for seed in range(few)]
    bright = generative_recipes.night(generative)
    made = [generative_recipes.conditions(generative, bright, seed) for seed in range(few)]
    return {
        "night": (dual_light_study.columns(profile, seeds or size.seeds, dual_light_study.HEADLINE), dark),
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


def beside(condition: str) -> dict[str, str]:
    """The baselines of a condition: word → their own condition. The untrained network is asked at the same layer."""
    plain = condition.partition("@")[0]
    return {name: f"{name}:{condition if name == 'untrained' else plain}" for name in BASELINES}


def reading(gap: Effect) -> str:
    """What a difference says at the ledger's level; no verdict, as no paper claims anything here."""
    if gap.strict_low > 0 or gap.strict_high < 0:
        return "above" if gap.strict_low > 0 else "below"
    return "within 2 points" if -2 < gap.low and gap.high < 2 else f"undecided (± {gap.half_width:.1f})"


def gains(looks: dict[str, np.ndarray], conditions: Iterable[str], metrics: Iterable[str] = SCORES) -> pd.DataFrame:
    """Each network's score, that of the best of four baselines (percent), and its gain over it (points)."""
    table = []
    for condition, metric in itertools.product(conditions, metrics):
        levels = {name: mean(looks, metric, other) for name, other in beside(condition).items()}
        best = max(levels, key=levels.get)
        gain = compared(looks, metric, condition, beside(condition)[best])
        score = mean(looks, metric, condition)
        table.append((condition, metric, score, BASELINES[best], levels[best], gain, reading(gain)))
    return pd.DataFrame(table, columns=["network", "metric", "score", "best baseline", "its score", "gain", "reading"])


#: What is compared with what. Of deletion less is better, so the other clip's map comes first.
PAIRS = {metric: [("dlkdd", "ce_raw"), ("dlkdd", "same_light")] for metric in (*SCORES, "agreement")} | {
    "deletion": [("dlkdd=other", "dlkdd")], "insertion": [("dlkdd", "dlkdd=other")]}


def differences(looks: dict[str, np.ndarray], pairs: dict[str, list[tuple[str, str]]] = PAIRS) -> pd.DataFrame:
    """Paired differences of the dual-light networks, in points (of correlations: hundredths)."""
    table = [(metric, f"{a} − {b}", e := compared(looks, metric, a, b), reading(e))
             for metric, listed in pairs.items() for a, b in listed]
    return pd.DataFrame(table, columns=["metric", "comparison", "effect", "reading"])


# --- the study -------------------------------------------------------------------------------------------------


def _rows(outcome: Outcome) -> list[dict]:
    """Keep the scores of every map, and make rows of them."""
    looks = looked(outcome.runs, outcome.part.on, outcome.size.every, outcome.say)
    outcome.evidence.save(f"attention-{outcome.part.data}-looks", looks)
    outcome.say(gains(looks, outcome.runs).to_string(index=False))
    if outcome.part.data == "night":
        outcome.say(differences(looks).to_string(index=False))
    return list(_tidy(outcome, looks))


def _tidy(outcome: Outcome, looks: dict[str, np.ndarray]) -> Iterator[dict]:
    """Tidy rows: for each seed the mean over clips of every score, and the networks' accuracy on the same clips."""
    scores = outcome.scores
    for key in (key for key in looks if key != "ids"):
        metric, condition = key.split("/")
        plain = re.split("[@~=]", condition.removeprefix("untrained:"))[0]
        names = scores.recipes.get(plain, [""])  # a map without a network has neither recipe nor seed
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
    return [Part(name, columns, on=data, rows=_rows) for name, (columns, data) in parts(size, seeds).items()]


study = Study("attention", _parts, size=current("study", AttentionSize), committed=True)
