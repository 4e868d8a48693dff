"""What a teacher says beyond the label, on the very clips that its student learns from.

A teacher that knows its student's training clips by heart says the label there and nothing else: then nothing can be
learnt from it that labels do not say, and no comparison of teachers can come out otherwise.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch.nn import functional as F

from kdlab.distill.losses import entropy
from kdlab.measure.transfer import logits_on
from kdlab.study.scores import Scores
from kdlab.train.runs import Run, find


def target_entropy(run: Run) -> float:
    """Mean entropy in nats of the soft targets that taught ``run``: its teacher's, softened by the method's temperature
    (1 where it has none), among the student's classes, on the centre windows of its training clips. Of targets that are
    shuffled between clips, or that smooth labels as much, the mean is the same. Raises ``ValueError`` for a run without
    a teacher, and ``FileNotFoundError`` where the teacher's run is not there."""
    recipe = run.recipe
    if recipe.teacher is None:
        raise ValueError(f"{run.folder.name} had no teacher: ask a run that was distilled")
    teacher = find(recipe.teacher, pretrained=True)
    if teacher is None:
        name = recipe.teacher.name
        raise FileNotFoundError(f"{name}, the teacher of {run.folder.name}, is not here: obtain it first")
    logits = logits_on(teacher, recipe.data, split="train", among=run.provenance["classes"])
    return mean_entropy(torch.as_tensor(logits).double(), getattr(recipe.method, "temperature", 1.0))


def mean_entropy(logits: torch.Tensor, temperature: float = 1.0) -> float:
    """Mean entropy in nats of ``softmax(logits / temperature)``, of ``(..., K)``."""
    return float(entropy(F.softmax(logits / temperature, dim=-1)).mean())


def entropy_rows(outcome, conditions: Sequence[str] | None = None) -> list[dict]:
    """Tidy rows ``target_entropy`` in nats: of each run that had a teacher, of ``conditions`` (default: all)."""
    table, known = [], {}
    for condition, column in outcome.runs.items():
        for run in column if conditions is None or condition in conditions else ():
            if run.recipe.teacher is None:
                continue
            key = run.recipe.teacher, run.recipe.data, getattr(run.recipe.method, "temperature", 1.0)
            if key not in known:
                known[key] = target_entropy(run)
            about = dict(condition=condition, seed=run.recipe.seed, recipe=run.folder.name)
            table += outcome.numbers(("target_entropy", known[key], "nats"), **about)
    return table


def taught_rows(outcome) -> list[dict]:
    """``Outcome.rows``, then :func:`entropy_rows` of the conditions whose method softens its teacher's answers: what
    learns from features alone, such as FitNets, has no soft targets."""
    soft = [c for c, column in outcome.runs.items() if hasattr(column[0].recipe.method, "temperature")]
    return outcome.rows() + entropy_rows(outcome, soft)


def mean_of_targets(rows: pd.DataFrame, scores: Scores, condition: str) -> float:
    """Mean in nats of the :func:`entropy_rows` among ``rows`` that are of the very runs of ``condition`` in ``scores``;
    NaN where there are none."""
    names = {name for joined in scores.recipes[condition] for name in joined.split("+")}  # of a seed's folds
    its = rows[(rows.metric == "target_entropy") & rows.recipe.isin(names)]
    return float(its.value.astype(float).mean())
