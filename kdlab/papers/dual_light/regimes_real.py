"""The pre-trained regime without labels on real dark clips: adapted on one fold, tested on the other.

The clips are the user's (docs/real-clips.md), six of ARID's classes in two folds without a common scene. A network of
bright clips of `night`, at full variety, meets the clips of the other fold without their labels; whoever is tested saw
no clip of its fold. The one exception says so: ``transductive`` has statistics re-estimated on the test clips
themselves. Without ``$KDLAB_REAL_CLIPS`` the study stops before it trains, and says what is missing.

Fold B is for finished recipes: it is tested on by ``kdlab study regimes_arid6 --final`` alone, and each reading of it
is an entry in docs/log.md (docs/real-clips.md).
"""

from pathlib import Path

from kdlab import paths
from kdlab.clips.enhance import Gamma
from kdlab.measure.transfer import logits_on
from kdlab.papers.dual_light.regimes import NORMS, start, without_labels
from kdlab.papers.dual_light.regimes_starts import FEW_SEEDS, STUDY, counting
from kdlab.papers.dual_light.regimes_study import TITLES, rows
from kdlab.study import FIRST, Outcome, Part, Scores, Study, answers
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import Run
from kdlab.train.sizes import RegimeSize

FOLDS = ("A", "B")
FINAL = "B"


def columns(size: RegimeSize, seeds: int, norm: str, fold: str) -> dict[str, list[Recipe]]:
    """Condition → one recipe per seed, adapted on the other fold and tested on ``fold``. Recipes can be made where the
    clips are not."""
    clips, made = UserClips(str((paths.real_clips() or Path()) / "arid6"), fold), []
    for seed in counting(size, norm, seeds, FIRST, 1.0):
        began, augmented = (start(size, norm, seed, 1.0, more) for more in (False, True))
        found = without_labels(size, began, augmented, clips, Gamma())
        del found["dark_input"]  # begins class by class, which input statistics of its own do not
        made.append(found)
    return {name: [recipes[name] for recipes in made] for name in made[0]}


def _transductive(scores: Scores, runs: dict[str, list[Run]]) -> Scores:
    """``scores`` with what the starts say where their statistics are those of the very test clips."""
    outputs = [logits_on(run, statistics=True) for run in runs["as_is"]]
    return answers(scores, "transductive", outputs, scores.recipes["as_is"])


def _whole(outcome: Outcome) -> list[dict]:
    """Rows without a ``fold`` are of both folds' clips together; none where fold A alone was read."""
    if not outcome.folds[1:]:
        return []
    return outcome.test_rows() + outcome.recall_rows()


def _parts(size: RegimeSize, seeds: int) -> list[Part]:
    how = dict(unit="group", real="arid6", answers=_transductive, rows=rows, whole=_whole)
    return [Part(f"arid6_{norm}", columns(size, seeds, norm, fold), fold, final=fold == FINAL, **how)
            for norm in NORMS for fold in FOLDS]


study = Study("regimes_arid6", _parts, size=STUDY, seeds=FEW_SEEDS, committed=True,
              titles=TITLES | {"transductive": "statistics of the test clips themselves"})
