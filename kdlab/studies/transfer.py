"""From `night` to real dark clips: zero-shot, fine-tuned, from nothing, and whether time is what the network reads.

The real clips (six of ARID's classes, two folds without a common scene) are the user's: docs/real-clips.md. A network
trained on `night` alone knows eleven classes; its logits are masked to the six. Fold A may be looked at while
developing; fold B is for finished recipes: it is tested on by ``kdlab study transfer --final`` alone, and every reading
of it stands in docs/log.md.
"""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdlab import paths
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, MotionMix, Window
from kdlab.distill.method import KD
from kdlab.measure.transfer import PROBES, logits_on
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import ACTIONS, Night
from kdlab.study import Outcome, Part, Scores, Study, answers
from kdlab.train.loop import Settings
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import Run, find
from kdlab.train.sizes import STUDY, Profile

FOLDS = ("A", "B")
FINAL = "B"


def pretraining(profile: Profile, seed: int = 0) -> Recipe:
    """Plain cross-entropy on `night` at variety 1, all eleven classes; the network reads :class:`MotionMix`."""
    small = profile.name == "smoke"
    clips = Night(ACTIONS, profile.night.per_class if small else (400, 10, 40), variety=1.0)
    net = TinyR2Plus1D((4, 8) if small else (12, 24, 56, 112))
    window, settings = Window(8, 32, 28) if small else Window(16, 64, 56), Settings(epochs=1 if small else 12)
    view = MotionMix(Enhanced(Gamma(2.5)))
    return Recipe("pretraining", clips, view, net=net, window=window, settings=settings, seed=seed)


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
    kept = [replace(r, condition="finetuned_kept", method=KD(), teacher=r.start) for r in tuned]
    return {"from_nothing": nothing, "finetuned": tuned, "finetuned_kept": kept}


def _parts(profile: Profile, seeds: int) -> list[Part]:
    clips = (paths.real_clips() or Path()) / "arid6"
    started = {"pretraining": [pretraining(profile, seed) for seed in range(seeds)]}
    parts = [Part("night", started, file="", rows=lambda outcome: [], publish=True)]
    for fold in FOLDS:
        how = dict(real="arid6", file=f"arid6-{fold}", answers=_zero_shot, rows=_rows)
        parts.append(Part("arid6", columns(profile, seeds, fold, clips), fold, final=fold == FINAL, **how))
    return parts


def _started(runs: dict[str, list[Run]]) -> list[Run]:
    """The networks of `night` from which those of each seed began."""
    return [find(run.recipe.start, pretrained=False) for run in runs["finetuned"]]


def _zero_shot(scores: Scores, runs: dict[str, list[Run]]) -> Scores:
    """``scores`` with what the networks of `night` say of the same clips, in several ways."""
    started, real = _started(runs), runs["finetuned"][0].recipe.data
    ways = {"zero_shot": {}, "zero_shot_adabn": {"statistics": True}}
    for way, how in (ways | {f"zero_shot:{name}": {"reorder": probe} for name, probe in PROBES.items()}).items():
        logits = [logits_on(start, real, among=scores.classes, **how) for start in started]
        scores = answers(scores, way, logits, [start.folder.name for start in started])
    return scores


def _rows(outcome: Outcome) -> list[dict]:
    """Rows of all conditions; accuracy among eleven classes; mean recall of every condition with its interval, the
    recall of each class, and the best constant answer."""
    scores, table = outcome.scores, outcome.rows()
    wanted = np.array([ACTIONS.index(name) for name in scores.classes])[scores.labels]
    for seed, start in zip(scores.seeds, _started(outcome.runs), strict=True):
        logits = logits_on(start, outcome.runs["finetuned"][0].recipe.data)
        right = round(100 * float((logits.argmax(1) == wanted).mean()), 4)
        about = dict(condition="zero_shot", seed=seed, recipe=start.folder.name)
        table.append(outcome.row(**about, metric="accuracy_unmasked", value=right, unit="%"))
    about, counts = outcome.row(unit="%"), np.bincount(scores.labels)
    majority = round(100 * counts.max() / counts.sum(), 4)
    table += [about | dict(condition="majority", metric="accuracy", value=majority)]
    table += outcome.recall_rows()
    for condition, (label, name) in itertools.product(scores.predicted, enumerate(scores.classes)):
        recall = 100 * float(scores.correct(condition)[:, scores.labels == label].mean())
        table.append(about | dict(condition=condition, metric=f"recall:{name}", value=round(recall, 4)))
    return table


study = Study("transfer", _parts, size=STUDY, seeds=5, committed=True)
