"""The study of DL-KDD on real motion: the ten-class set of nine people, darkened, in three folds of people.

The bright clips are the user's (docs/real-clips.md); dark they become by :class:`kdlab.clips.darkened.Darkened`, so the
bright twin of every dark clip is known, and a network trained and tested on the twins (``ce_bright``) shows what the
dark costs. Each person is tested once: the test clips of the three folds are pooled, seed by seed, to one row of 90.
"""

import dataclasses
from pathlib import Path

import pandas as pd

from kdlab import paths
from kdlab.clips.darkened import Darkened
from kdlab.clips.views import Raw
from kdlab.evidence import Evidence
from kdlab.profiles import STUDY, Profile, dual_light
from kdlab.recipe import Recipe, UserClips
from kdlab.studies.dual_light import ledger
from kdlab.study import Scores, collect, convergence, flat, pooled, rows

__all__ = ["FOLDS", "PROFILE", "columns", "committed", "run", "trainings"]

PROFILE = STUDY
SEEDS = 3

FOLDS = ("1", "2", "3")
#: A fold has 50 training clips. CE on dark clips, mean validation accuracy of the folds (30 clips) after 60, 100 and
#: 200 epochs: 33, 57, 53 % with seed 0; 47, 43 % with seed 1; training loss 0.56, 0.18, 0.03.
EPOCHS = 100


def columns(profile: Profile, seeds: int, fold: str) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed, the people of ``fold`` tested. Recipes can be made where the clips are not."""
    clips = UserClips(str((paths.real_clips() or Path()) / "weizmann"), fold, own_folds=len(FOLDS))
    epochs = profile.settings.epochs if profile.name == "smoke" else EPOCHS
    profile = dataclasses.replace(profile, settings=dataclasses.replace(profile.settings, epochs=epochs))
    per_seed = [dual_light(profile, seed, clips, dark=Darkened()) for seed in range(seeds)]
    for recipes in per_seed:
        recipes["ce_bright"] = dataclasses.replace(recipes["ce_raw"], condition="ce_bright", view=Raw())
    return {condition: [recipes[condition] for recipes in per_seed] for condition in per_seed[0]}


def trainings(profile: Profile, seeds: int | None = None) -> list[Recipe]:
    """All that :func:`run` trains."""
    return flat(*(columns(profile, seeds or SEEDS, fold) for fold in FOLDS))


def committed() -> dict[str, dict[str, list[Recipe]]]:
    """What :func:`kdlab.study.stale_studies` compares: committed predictions → condition → today's recipes."""
    return {f"dual_light_weizmann-fold{fold}": columns(PROFILE, 1, fold) for fold in FOLDS}


def run(profile: Profile, seeds: int | None = None, *, workers: int | None = None, say=print) -> Scores:
    """Run (or resume) the study; write its evidence, ``dual_light_weizmann.csv`` and predictions for each fold.

    Rows with a ``fold`` are of one training, those without of a seed's three. Verdicts resample people and seeds.
    Raises ``FileNotFoundError`` where ``$KDLAB_REAL_CLIPS`` has no folder ``weizmann``.
    """
    paths.real_set("weizmann")
    seeds = seeds or SEEDS
    evidence = Evidence.of("dual_light_weizmann", profile, {"weizmann_dark": seeds}, whole=profile == PROFILE, say=say)
    table, folds = [], []
    for fold in FOLDS:
        scores, runs = collect(columns(profile, seeds, fold), unit="group", workers=workers, say=say)
        scores.save(evidence.file(f"dual_light_weizmann-fold{fold}"))
        table += rows("dual_light", "weizmann_dark", scores, runs, fold)
        folds.append(scores)
    scores = pooled(folds)
    table += rows("dual_light", "weizmann_dark", scores, {})
    written = evidence.save_rows(table)
    gain, half, word = convergence(pd.DataFrame(table), "weizmann_dark")
    say(f"twice the steps: {gain:+.1f} ± {half:.1f} points of validation accuracy: {word}")
    say(ledger(scores).to_string(index=False))
    say(str(written))
    return scores
