"""Do the teachers of D1 to D3 and G1 to G3 say in use what they said in training?

The studies of their papers keep what they teach, not how they fit the clips they learnt from. Here that is measured of
the very same networks: trained nowhere else again, and after the claims were read, so no verdict hangs on it.
"""

import pandas as pd

from kdlab.measure.teaching import teaching_losses
from kdlab.papers.dual_light import recipes as dual_light
from kdlab.papers.dual_light import study as dual_light_study
from kdlab.papers.generative import recipes as generative
from kdlab.papers.generative import study as generative_study
from kdlab.papers.progressive.method import gate
from kdlab.papers.progressive.teachers import TRAIN_CE
from kdlab.study import FIRST, Outcome, Part, Scores, Study
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import STUDY, GenerativeSize, Profile, current

#: Teacher → whose, in the study of its paper: students of one seed have a teacher of another.
TAUGHT = {"night": {"ce_enhanced": "dlkdd", "ce_raw": "same_light"},
          "night_bright": {"teacher_fr": "genkd", "teacher_ce": "kd"}}
TITLES = {name: dual_light.TITLES[name] for name in TAUGHT["night"]} | {
    name: generative.TITLES[name] for name in TAUGHT["night_bright"]}


def columns(profile: Profile, seeds: int) -> dict[str, dict[str, list[Recipe]]]:
    """Set → (teacher → its recipe for each seed of students, from the first confirming one on: as many as the claims
    have, and at most ``seeds``)."""
    size = current(profile.name, GenerativeSize)
    makes = {"night": (dual_light_study, lambda seed: dual_light.dual_light(profile, seed)),
             "night_bright": (generative_study, lambda seed: generative.conditions(size, generative.night(size), seed))}
    found = {}
    for data, names in TAUGHT.items():
        claimed, make = makes[data]
        students = [make(seed) for seed in range(FIRST, FIRST + min(seeds, claimed.CLAIMS[0].plan.seeds))]
        found[data] = {teacher: [each[whose].teacher for each in students] for teacher, whose in names.items()}
    return found


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line a teacher: over its seeds the mean of both losses in nats, by how much the one exceeds the other at most,
    and how many of the networks may teach (:func:`kdlab.papers.progressive.method.gate`)."""
    found = rows[rows.metric.isin(TRAIN_CE)]
    wide = found.assign(value=found.value.astype(float)).pivot_table(
        index=["condition", "seed"], columns="metric", values="value", sort=False)[[*TRAIN_CE]]
    lines = []
    for name, its in wide.groupby("condition", sort=False):
        used, trained = its.to_numpy().T
        fit = sum(not gate(*both) for both in its.to_numpy())
        lines.append((TITLES[name], used.mean(), trained.mean(), (used - trained).max(), f"{fit} of {len(its)}"))
    return pd.DataFrame(lines, columns=["teacher", "in use", "in training", "most above", "may teach"])


def _rows(outcome: Outcome) -> list[dict]:
    rows = []
    for condition, column in outcome.runs.items():
        for run in column:
            losses = zip(TRAIN_CE, teaching_losses(run), ("nats", "nats"), strict=True)
            rows += outcome.numbers(*losses, condition=condition, seed=run.recipe.seed, recipe=run.folder.name)
    return rows


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    return [table(rows).round(3).to_string(index=False)]


def _parts(profile: Profile, seeds: int) -> list[Part]:
    return [Part(data, made, file="", rows=_rows) for data, made in columns(profile, seeds).items()]


study = Study("teachers", _parts, size=STUDY, seeds=15, lines=_lines, titles=TITLES, committed=True)
