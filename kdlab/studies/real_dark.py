"""DL-KDD's conditions on real dark clips: every network of the `night` study zero-shot, then fine-tuned.

The nearest to the paper's own table that can be had without its data. The clips are the user's (docs/real-clips.md):
six of ARID's classes in two folds without a common scene, 150 clips of 15 groups. A place tells a class within a fold,
so fine-tuning can learn places; whether soft targets protect against that is asked by ``kept`` teachers, which were
never fine-tuned. Intervals resample seeds and groups.
"""

from dataclasses import replace
from pathlib import Path

from kdlab import paths
from kdlab.evidence import Evidence
from kdlab.profiles import STUDY, Profile, dual_light
from kdlab.recipe import Recipe, UserClips
from kdlab.studies.dual_light import columns as on_night
from kdlab.studies.dual_light import ledger
from kdlab.study import Scores, collect, flat, pooled, recall_rows, rows, tested
from kdlab.train import Settings

__all__ = ["CONDITIONS", "FOLDS", "PROFILE", "columns", "committed", "run", "trainings"]

PROFILE = STUDY
FOLDS = ("A", "B")
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
        return replace(recipe, data=_clips(fold), settings=settings, start=recipe,
                       teacher=recipe.teacher and tuned(recipe.teacher))

    found = {name: [] for name in (*CONDITIONS, "same_light_kept", "dlkdd_kept")}
    for made in (dual_light(profile, seed) for seed in range(seeds)):
        for name in CONDITIONS:
            found[name].append(tuned(made[name]))
        for name in ("same_light", "dlkdd"):
            kept = replace(tuned(made[name]), condition=f"{name}_kept", teacher=made[name].teacher)
            found[kept.condition].append(kept)
    return found


def trainings(profile: Profile, seeds: int | None = None) -> list[Recipe]:
    """All that :func:`run` trains."""
    seeds = seeds or profile.seeds
    tuned = (columns(profile, min(seeds, TUNED_SEEDS), fold) for fold in FOLDS)
    return flat(on_night(profile, seeds, CONDITIONS), *tuned)


def committed() -> dict[str, dict[str, list[Recipe]]]:
    """What :func:`kdlab.study.stale_studies` compares: committed predictions → condition → today's recipes."""
    zero = {f"dual_light_arid6-zero_shot-{fold}": on_night(PROFILE, 1, CONDITIONS) for fold in FOLDS}
    return zero | {f"dual_light_arid6-finetuned-{fold}": columns(PROFILE, 1, fold) for fold in FOLDS}


def run(profile: Profile, seeds: int | None = None, *, tuned_seeds: int | None = None, workers: int | None = None,
        say=print) -> dict[str, Scores]:
    """Run (or resume) the study; write its evidence, ``dual_light_arid6.csv`` and predictions for each fold.

    ``seeds`` of the `night` study are asked zero-shot, ``tuned_seeds`` of them are fine-tuned. Returns the scores of
    both folds' clips together. Raises ``FileNotFoundError`` where ``$KDLAB_REAL_CLIPS`` has no folder ``arid6``.
    """
    paths.real_set("arid6")
    seeds = seeds or profile.seeds
    tuned_seeds = tuned_seeds or min(seeds, TUNED_SEEDS)
    evidence = Evidence.of("dual_light_arid6", profile, {_data("zero_shot"): seeds, _data("finetuned"): tuned_seeds},
                           whole=profile == PROFILE, say=say)
    _, networks = collect(on_night(profile, seeds, CONDITIONS), workers=workers, say=say)
    folds: dict[str, list[Scores]] = {"zero_shot": [], "finetuned": []}
    table = []
    for fold in FOLDS:
        there = tested(networks, _clips(fold), unit="group")
        tuned, runs = collect(columns(profile, tuned_seeds, fold), unit="group", workers=workers, say=say)
        for name, scores, of in (("zero_shot", there, {}), ("finetuned", tuned, runs)):
            scores.save(evidence.file(f"dual_light_arid6-{name}-{fold}"))
            table += rows("dual_light_arid6", _data(name), scores, of, fold)
            folds[name].append(scores)
    found = {name: pooled(both) for name, both in folds.items()}
    for name, scores in found.items():
        about = dict(study="dual_light_arid6", data=_data(name), seed="", fold="", recipe="")
        table += rows("dual_light_arid6", _data(name), scores, {}) + recall_rows(scores, about, say)
        say(f"{name}\n{ledger(scores).to_string(index=False)}")
    for name in ("same_light", "dlkdd"):
        say(f"a teacher that was not fine-tuned, {name}: {found['finetuned'].effect(f'{name}_kept', name)}")
    say(str(evidence.save_rows(table)))
    return found


def _data(name: str) -> str:
    return "arid6" if name == "zero_shot" else "arid6_finetuned"
