"""The study of enhancers on ``night``: what each makes of a dark clip, what it costs, and the teacher trained on it."""

from dataclasses import replace
from functools import partial
from math import ceil

import pandas as pd

from kdlab.clips.enhance import Clahe, Gamma, HistogramEqualisation
from kdlab.clips.night import night_catalogue
from kdlab.clips.views import Raw
from kdlab.enhancer import TrainedCurves
from kdlab.evidence import Evidence
from kdlab.files import write_atomically
from kdlab.measure.enhancement import UNITS, score
from kdlab.ours import begins_with, may_write
from kdlab.profiles import DEMO, Profile, dual_light
from kdlab.recipe import Recipe
from kdlab.study import Scores, collect, flat, rows

__all__ = ["PROFILE", "columns", "committed", "enhancers", "run", "summary", "trainings"]

PROFILE = DEMO

#: Clips scored against their twins, spread over the test split.
SCORED = 44


def enhancers(profile: Profile) -> dict:
    """Name → enhancer; ``identity`` changes nothing. Zero-DCE is trained on the profile's own training clips."""
    classical = [Gamma(1.4), Gamma(1.8), Gamma(2.2), HistogramEqualisation(), HistogramEqualisation(steady=True),
                 Clahe(), Clahe(steady=True)]
    curves = TrainedCurves(profile.night)
    return ({"identity": Gamma(1)} | {e.name: e for e in classical}
            | {"zerodce": curves, "zerodce-steady": replace(curves, steady=True)})


def columns(profile: Profile, seeds: int) -> dict[str, list[Recipe]]:
    """Enhancer → one recipe per seed: cross-entropy on the view it makes, DL-KDD's teacher."""
    return {name: [dual_light(profile, seed, enhancer=enhancer)["ce_raw" if name == "identity" else "ce_enhanced"]
                   for seed in range(seeds)] for name, enhancer in enhancers(profile).items()}


def trainings(profile: Profile, seeds: int | None = None) -> list[Recipe]:
    """All that :func:`run` trains."""
    return flat(columns(profile, seeds or profile.seeds))


def committed() -> dict[str, dict[str, list[Recipe]]]:
    """What :func:`kdlab.study.stale_studies` compares: committed predictions → condition → today's recipes."""
    return {"enhancers-night": columns(PROFILE, 1)}


def run(profile: Profile, seeds: int | None = None, *, workers: int | None = None, say=print) -> Scores:
    """Run (or resume) the study; write its evidence, ``enhancers.csv``, predictions, and Zero-DCE's training curve.

    Scores are means over :data:`SCORED` test clips, in rows of seed 0; accuracies are those of every seed's teacher.
    """
    seeds = seeds or profile.seeds
    evidence = Evidence.of("enhancers", profile, {"night": seeds}, whole=profile == PROFILE, say=say)
    ways = enhancers(profile)
    profile.night.catalogue()
    dark, bright = (night_catalogue(profile.night, stream=stream).split("test") for stream in ("dark", "bright"))
    step = ceil(len(dark) / SCORED)
    pairs = ((Raw().read(d.path), Raw().read(b.path)) for d, b in zip(dark[::step], bright[::step], strict=True))
    found = score(ways, pairs).groupby("enhancer", sort=False).mean()
    curve = ways["zerodce"].training()
    losses = may_write(evidence.folder / "enhancers_zerodce.csv", partial(begins_with, text=",".join(curve)), "table")
    write_atomically(losses, lambda p: curve.to_csv(p, index=False))
    scores, runs = collect(columns(profile, seeds), workers=workers, say=say)
    table = rows("enhancers", "night", scores, runs)
    for name, row in found.iterrows():
        about = dict(study="enhancers", data="night", condition=name, seed=0, fold="", recipe=ways[name].name)
        table += [about | {"metric": m, "value": round(v, 4), "unit": UNITS[m]} for m, v in row.items()]
    scores.save(evidence.file("enhancers-night"))
    written = evidence.save_rows(table)
    say(summary(pd.DataFrame(table)).round(2).to_string())
    for name in ways:
        if name != "identity":
            say(f"{name} − identity: {scores.effect(name, 'identity')}")
    say(str(written))
    return scores


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each enhancer, a column for each score, and the teacher's mean accuracy in percent."""
    some = table[table.metric.isin([*UNITS, "accuracy"])]
    wide = some.assign(value=some.value.astype(float)).pivot_table("value", "condition", "metric", sort=False)
    return wide[[*UNITS, "accuracy"]]
