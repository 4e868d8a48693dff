"""The study of enhancers on ``night``: what each makes of a dark clip, what it costs, and the teacher trained on it."""

from dataclasses import replace
from math import ceil

import pandas as pd

from kdlab.clips.enhance import Clahe, Gamma, HistogramEqualisation
from kdlab.clips.views import Raw
from kdlab.measure.enhancement import UNITS, score
from kdlab.night import Night, night_catalogue
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.study import Outcome, Part, Study, by_condition
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import DEMO, Profile

#: Clips scored against their twins, spread over the test split.
SCORED = 44


def demonstrated(profile: Profile, data: Night | UserClips) -> TrainedCurves:
    """Zero-DCE as notebook 01 trains it on ``data``; at smoke size on few clips."""
    curves = TrainedCurves(data)
    return replace(curves, clips=16, steps=8) if profile.name == "smoke" else curves


def enhancers(profile: Profile) -> dict:
    """Name → enhancer; ``identity`` changes nothing. Zero-DCE is trained on the profile's own training clips."""
    gammas = [Gamma(value) for value in (1.4, 1.8, 2.2)]
    others = [kind(steady=steady) for kind in (HistogramEqualisation, Clahe) for steady in (False, True)]
    curves = {"zerodce" + "-steady" * steady: TrainedCurves(profile.night, steady=steady) for steady in (False, True)}
    return {"identity": Gamma(1)} | {e.name: e for e in gammas + others} | curves


def columns(profile: Profile, seeds: int) -> dict[str, list[Recipe]]:
    """Enhancer → one recipe per seed: cross-entropy on the view it makes, DL-KDD's teacher."""
    return {name: by_condition(lambda seed, way=way: dual_light(profile, seed, enhancer=way), seeds)[
        "ce_raw" if name == "identity" else "ce_enhanced"] for name, way in enhancers(profile).items()}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each enhancer, a column for each score, and the teacher's mean accuracy in percent."""
    some = table[table.metric.isin([*UNITS, "accuracy"])]
    wide = some.assign(value=some.value.astype(float)).pivot_table("value", "condition", "metric", sort=False)
    return wide[[*UNITS, "accuracy"]]


def _rows(outcome: Outcome) -> list[dict]:
    """Rows of every seed's teacher, and of seed 0 the mean scores over :data:`SCORED` test clips. Zero-DCE's training
    is committed."""
    ways, night = enhancers(outcome.size), outcome.size.night
    night.catalogue()
    dark, bright = (night_catalogue(night, stream=stream).split("test") for stream in ("dark", "bright"))
    step = ceil(len(dark) / SCORED)
    pairs = ((Raw().read(d.path), Raw().read(b.path)) for d, b in zip(dark[::step], bright[::step], strict=True))
    found = score(ways, pairs).groupby("enhancer", sort=False).mean()
    table = outcome.rows()
    for name, row in found.iterrows():
        about = outcome.row(condition=name, seed=0, recipe=ways[name].name)
        table += [about | {"metric": m, "value": round(v, 4), "unit": UNITS[m]} for m, v in row.items()]
    outcome.evidence.publish([ways["zerodce"].run()])
    outcome.say(summary(pd.DataFrame(table)).round(2).to_string())
    for name in (name for name in ways if name != "identity"):
        outcome.say(f"{name} − identity: {outcome.scores.effect(name, 'identity')}")
    return table


study = Study("enhancers", lambda profile, seeds: [Part("night", columns(profile, seeds), rows=_rows)], size=DEMO,
              committed=True)
