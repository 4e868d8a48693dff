"""DL-KDD's conditions on real dark clips: every network of the `night` study zero-shot, then fine-tuned.

The nearest to the paper's own table that can be had without its data. The clips are the user's (docs/real-clips.md):
six of ARID's classes in two folds without a common scene, 150 clips of 15 groups. A place tells a class within a fold,
so fine-tuning can learn places; whether soft targets protect against that is asked by ``kept`` teachers, which were
never fine-tuned. Intervals resample seeds and groups.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from kdlab import paths
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.dual_light.study import CLAIMS
from kdlab.papers.dual_light.study import columns as on_night
from kdlab.study import FIRST, Outcome, Part, Scores, Study, by_condition
from kdlab.study.entropies import taught_rows
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.sizes import STUDY, Profile

FOLDS = ("A", "B")
#: Read with finished recipes only.
FINAL = "B"
CONDITIONS = ("ce_raw", "ce_enhanced", "same_light", "dlkdd", "label_smoothing")
EPOCHS = 40
#: More do not narrow the intervals: from eight seeds on they are the groups'.
TUNED_SEEDS = 8


def _clips(fold: str) -> UserClips:
    return UserClips(str((paths.real_clips() or Path()) / "arid6"), fold)


def columns(profile: Profile, seeds: int, fold: str) -> dict[str, list[Recipe]]:
    """What is fine-tuned on the other fold and tested on ``fold``: condition → one recipe per seed.

    Each begins as the network of its own condition on `night` and goes on by its own method; its teacher was
    fine-tuned, too. ``dlkdd_kept`` and ``same_light_kept`` listen to the teacher as `night` left it.
    """
    settings = Settings(epochs=1 if profile.name == "smoke" else EPOCHS, lr=1e-3)

    def tuned(recipe: Recipe) -> Recipe:
        teacher = recipe.teacher and tuned(recipe.teacher)
        return replace(recipe, data=_clips(fold), settings=settings, start=recipe, teacher=teacher)

    def made(seed: int) -> dict[str, Recipe]:
        on = dual_light(profile, seed)
        kept = {f"{name}_kept": replace(tuned(on[name]), condition=f"{name}_kept", teacher=on[name].teacher)
                for name in ("same_light", "dlkdd")}
        return {name: tuned(on[name]) for name in CONDITIONS} | kept

    return by_condition(made, seeds, first=FIRST)


def _parts(profile: Profile, seeds: int) -> list[Part]:
    """``seeds`` networks of the `night` study are asked zero-shot, :data:`TUNED_SEEDS` of them are fine-tuned."""
    there, parts = on_night(profile, seeds, CONDITIONS, first=FIRST), []
    for fold in FOLDS:
        how = dict(fold=fold, unit="group", real="arid6", whole=_whole, final=fold == FINAL)
        asked = dict(on=_clips(fold), file=f"zero_shot-{fold}", rows=Outcome.test_rows)
        parts.append(Part("arid6", there, **how, **asked))
        asked, tuned = dict(file=f"finetuned-{fold}", rows=taught_rows), columns(profile, min(seeds, TUNED_SEEDS), fold)
        parts.append(Part("arid6_finetuned", tuned, **how, **asked))
    return parts


def _whole(outcome: Outcome) -> list[dict]:
    """Rows without a ``fold`` are of both folds' clips together."""
    return outcome.rows() + outcome.recall_rows()


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    if not (tuned := found.get("arid6_finetuned")):
        return []
    pairs = {name: tuned.effect(f"{name}_kept", name) for name in ("same_light", "dlkdd")}
    return [f"a teacher that was not fine-tuned, {name}: {effect}" for name, effect in pairs.items()]


_claims = replace(CLAIMS[0], controls=("label_smoothing",)), *CLAIMS[1:]
study = Study("dual_light_arid6", _parts, size=STUDY, lines=_lines, committed=True, claims=_claims)
