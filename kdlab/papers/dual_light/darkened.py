"""The study of DL-KDD on real motion: the ten-class set of nine people, darkened, in three folds of people.

The bright clips are the user's (docs/real-clips.md); dark they become by :class:`kdlab.night.darkened.Darkened`, so the
bright twin of every dark clip is known, and a network trained and tested on the twins (``ce_bright``) shows what the
dark costs. Each person is tested once: the test clips of the three folds are pooled, seed by seed, to one row of 90.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from kdlab import paths
from kdlab.clips.views import Raw
from kdlab.night.darkened import Darkened
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.dual_light.study import CLAIMS
from kdlab.study import Outcome, Part, Scores, Study, by_condition, convergence
from kdlab.study.entropies import taught_rows
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import STUDY, Profile

FOLDS = ("1", "2", "3")
#: A fold has 50 training clips. CE on dark clips, mean validation accuracy of the folds (30 clips) after 60, 100 and
#: 200 epochs: 33, 57, 53 % with seed 0; 47, 43 % with seed 1; training loss 0.56, 0.18, 0.03.
EPOCHS = 100


def columns(profile: Profile, seeds: int, fold: str) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed, the people of ``fold`` tested. Recipes can be made where the clips are not."""
    clips = UserClips(str((paths.real_clips() or Path()) / "weizmann"), fold, own_folds=len(FOLDS))
    epochs = profile.settings.epochs if profile.name == "smoke" else EPOCHS
    profile = replace(profile, settings=replace(profile.settings, epochs=epochs))

    def made(seed: int) -> dict[str, Recipe]:
        recipes = dual_light(profile, seed, clips, dark=Darkened())
        return recipes | {"ce_bright": replace(recipes["ce_raw"], condition="ce_bright", view=Raw())}

    return by_condition(made, seeds)


def _parts(profile: Profile, seeds: int) -> list[Part]:
    how = dict(unit="group", real="weizmann", rows=taught_rows, whole=Outcome.rows)
    made = {fold: columns(profile, seeds, fold) for fold in FOLDS}
    return [Part("weizmann_dark", recipes, fold, file=f"fold{fold}", **how) for fold, recipes in made.items()]


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    gain, half, word = convergence(rows, "weizmann_dark")
    return [f"twice the steps: {gain:+.1f} ± {half:.1f} points of validation accuracy: {word}"]


#: Rows with a ``fold`` are of one training, those without of a seed's three. Verdicts resample people and seeds.
study = Study("dual_light_weizmann", _parts, size=STUDY, seeds=3, claims=CLAIMS, lines=_lines, committed=True)
