"""From `night` to real dark clips: zero-shot, fine-tuned, from nothing, and whether time is what the network reads.

The real clips (six of ARID's classes, two folds without a common scene) are the user's: docs/real-clips.md. A network
trained on `night` alone knows eleven classes; its logits are masked to the six. Fold A may be looked at while
developing; fold B is for finished recipes, and every reading of it stands in docs/log.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdlab import paths
from kdlab.clips.enhance import Gamma
from kdlab.clips.night import ACTIONS, Night
from kdlab.clips.views import Enhanced, MotionMix, Window
from kdlab.distill.dual_light import DualLight
from kdlab.evidence import Evidence
from kdlab.many import obtain_all
from kdlab.measure.transfer import PROBES, asked, narrowed
from kdlab.nets.video import TinyR2Plus1D
from kdlab.profiles import STUDY, Profile
from kdlab.recipe import Recipe, UserClips
from kdlab.study import Scores, answers, collect, flat, recall_rows, rows
from kdlab.train import Settings

__all__ = ["FOLDS", "PROFILE", "columns", "committed", "pretraining", "run", "trainings"]

PROFILE = STUDY

FOLDS = ("A", "B")
SEEDS = 3


def pretraining(profile: Profile, seed: int = 0) -> Recipe:
    """Plain cross-entropy on `night` at variety 1, all eleven classes; the network reads :class:`MotionMix`."""
    small = profile.name == "smoke"
    return Recipe(
        "pretraining", Night(ACTIONS, profile.night.per_class if small else (400, 10, 40), variety=1.0),
        MotionMix(Enhanced(Gamma(2.5))), net=TinyR2Plus1D((4, 8) if small else (12, 24, 56, 112)),
        window=Window(8, 32, 28) if small else Window(16, 64, 56), settings=Settings(epochs=1 if small else 12),
        seed=seed,
    )  # fmt: skip


def columns(profile: Profile, seeds: int, fold: str, clips: Path) -> dict[str, list[Recipe]]:
    """What is trained on the other fold's real clips, tested on ``fold``: from nothing, from the pre-trained, and from
    the pre-trained with that network's soft targets beside the labels."""
    starts = [pretraining(profile, seed) for seed in range(seeds)]
    epochs = 1 if profile.name == "smoke" else 40
    real = UserClips(str(clips), fold)
    nothing = [replace(r, condition="from_nothing", data=real, settings=Settings(epochs=epochs)) for r in starts]
    tuned = [replace(r, condition="finetuned", settings=Settings(epochs=epochs, lr=1e-3), start=s)
             for r, s in zip(nothing, starts, strict=True)]
    # The network as `night` left it teaches the one that is fine-tuned: does it keep what it knew?
    kept = [replace(r, condition="finetuned_kept", method=DualLight(), teacher=r.start) for r in tuned]
    return {"from_nothing": nothing, "finetuned": tuned, "finetuned_kept": kept}


def trainings(profile: Profile, seeds: int | None = None) -> list[Recipe]:
    """All that :func:`run` trains."""
    return flat(*(columns(profile, seeds or SEEDS, fold, paths.real_set("arid6")) for fold in FOLDS))


def committed() -> dict[str, dict[str, list[Recipe]]]:
    """What :func:`kdlab.study.stale_studies` compares: committed predictions → condition → today's recipes."""
    return {f"transfer-arid6-{fold}": columns(PROFILE, 1, fold, Path("arid6")) for fold in FOLDS}


def run(profile: Profile, seeds: int | None = None, *, folds: Sequence[str] = FOLDS, workers: int | None = None,
        say=print) -> dict[str, Scores]:
    """Run (or resume) the study; write its evidence, ``transfer.csv`` and predictions for each fold.

    Raises ``FileNotFoundError`` where ``$KDLAB_REAL_CLIPS`` has no folder ``arid6``.
    """
    clips, seeds = paths.real_set("arid6"), seeds or SEEDS
    evidence = Evidence.of("transfer", profile, {"arid6": seeds}, say=say,
                           whole=(profile, tuple(folds)) == (PROFILE, FOLDS))
    started = obtain_all([pretraining(profile, seed) for seed in range(seeds)], pretrained=False, stale="refuse",
                         workers=workers, say=say)
    table, found = [], {}
    for fold in folds:
        real = UserClips(str(clips), fold)
        scores, runs = collect(columns(profile, seeds, fold, clips), workers=workers, say=say)
        ways = {"zero_shot": {}, "zero_shot_adabn": {"statistics": True}}
        ways |= {f"zero_shot:{name}": {"reorder": probe} for name, probe in PROBES.items()}
        logits = {way: [asked(start, real, **how) for start in started] for way, how in ways.items()}
        names = [start.folder.name for start in started]
        for way, column in logits.items():
            scores = answers(scores, way, [narrowed(z, ACTIONS, scores.classes) for z in column], names)
        scores.save(evidence.file(f"transfer-arid6-{fold}"))
        table += rows("transfer", "arid6", scores, runs, fold) + _recalls(scores, fold, say)
        wanted = np.array([ACTIONS.index(name) for name in scores.classes])[scores.labels]
        about = dict(study="transfer", data="arid6", condition="zero_shot", fold=fold, unit="%")
        for seed, z in enumerate(logits["zero_shot"]):
            right = round(100 * float((z.argmax(1) == wanted).mean()), 4)
            table.append(about | dict(seed=seed, metric="accuracy_unmasked", value=right, recipe=names[seed]))
        found[fold] = scores
    say(str(evidence.save_rows(table)))
    evidence.publish(started[:1])
    return found


def _recalls(scores: Scores, fold: str, say) -> list[dict]:
    """Mean recall of every condition with its interval, the recall of each class, and the best constant answer."""
    about = dict(study="transfer", data="arid6", seed="", fold=fold, recipe="", unit="%")
    counts = np.bincount(scores.labels)
    table = [about | dict(condition="majority", metric="accuracy", value=round(100 * counts.max() / counts.sum(), 4))]
    table += recall_rows(scores, about, say)
    for condition in scores.predicted:
        each = [100 * scores.correct(condition)[:, scores.labels == label].mean() for label in range(len(counts))]
        table += [about | dict(condition=condition, metric=f"recall:{name}", value=round(float(v), 4))
                  for name, v in zip(scores.classes, each, strict=True)]
    return table
