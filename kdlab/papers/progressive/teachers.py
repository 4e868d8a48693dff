"""May the three networks teach, and what do they say beyond the label? Read from rows of the study, and from its runs.

A network whose batch statistics drifted, or that more training would make another one, is no fair teacher: then the
verdicts on exits that it taught are withheld. One that knows its training clips by heart may teach, but says the label
there: so the entropy of the targets stands beside every effect.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from kdlab.distill.losses import entropy
from kdlab.measure.teaching import teaching_losses
from kdlab.papers.progressive.exits import FeatureBatch
from kdlab.papers.progressive.method import gate
from kdlab.papers.progressive.nets import FINALS, ORDER
from kdlab.study import CONVERGED, Claim, Outcome, Scores, convergence
from kdlab.train.loop import Progress, seeded
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run

#: Of a network on its training clips: as it is used, and with the statistics of each batch.
TRAIN_CE = ("train_ce", "train_ce_batch_statistics")
#: How many of the seeds train the three networks for twice the epochs.
TWICE_SEEDS = 3
#: Clips a class on which the study's networks are validated once they are trained: on thirty, three seeds tell a gain
#: to four points.
VALIDATION = 130


# --- rows of the study -----------------------------------------------------------------------------------------


def twice(networks: Iterable[Recipe]) -> dict[str, Recipe]:
    """``twice:motion`` → the network's recipe with twice the epochs, of the three in the order of ``ORDER``."""
    longer = [replace(r, settings=replace(r.settings, epochs=2 * r.settings.epochs)) for r in networks]
    return {f"twice:{modality}": recipe for modality, recipe in zip(ORDER, longer, strict=True)}


def network_rows(outcome: Outcome, networks: dict[str, Run], seed: int, accuracies: Iterable[float]) -> list[dict]:
    """Tidy rows of the three ``networks`` (modality → run) of a seed: their ``accuracies`` on validation clips in
    percent, and their cross-entropies on training clips."""
    table = []
    for (modality, run), accuracy in zip(networks.items(), accuracies, strict=True):
        losses = zip(TRAIN_CE, teaching_losses(run), ("nats", "nats"), strict=True)
        table += outcome.numbers(("val_accuracy", accuracy, "%"), *losses, condition=f"final:{modality}:4", seed=seed,
                                 recipe=run.folder.name)
    return table


def target_entropy(run: Run) -> np.ndarray:
    """Mean entropy in nats, ``(3,)``, of the soft targets that taught the exits of each network in ``run``.

    They are the targets of its method at every step, on all training clips under the first of the draws that it learnt
    from. Of a mixture with labels they are its soft part. Raises ``ValueError`` for a run that labels alone taught.
    """
    recipe, said = run.recipe, run.predictions("train")
    if not hasattr(recipe.method, "targets"):
        raise ValueError(f"{run.folder.name} was taught by labels alone")
    finals, labels = torch.from_numpy(said.logits[:, FINALS]).float(), torch.from_numpy(said.labels).long()
    batch = FeatureBatch({"finals": finals}, labels, tuple(said.ids))
    prepared = recipe.method.prepare({}, [batch]) if hasattr(recipe.method, "prepare") else None
    steps, nats = run.provenance["steps"], torch.zeros(len(ORDER), dtype=torch.double)
    for step in range(steps):
        where = Progress(step, steps, prepared, seeded(recipe.seed, 3, step, 0).initial_seed())
        nats += entropy(recipe.method.targets(batch, where)).double().mean(0) / steps
    return nats.numpy()


def entropy_rows(outcome: Outcome, condition: str, run: Run) -> list[dict]:
    """Tidy rows ``target_entropy`` in nats: mean over a run's exits (``pkd``), and of each network's (``pkd:motion``);
    none of one that labels taught."""
    if not hasattr(run.recipe.method, "targets"):
        return []
    nats, about = target_entropy(run), dict(seed=run.recipe.seed, recipe=run.folder.name)
    named = {condition: nats.mean()} | {f"{condition}:{m}": value for m, value in zip(ORDER, nats, strict=True)}
    return [row for name, value in named.items()
            for row in outcome.numbers(("target_entropy", value, "nats"), condition=name, **about)]


# --- what the rows say -----------------------------------------------------------------------------------------


def gains_of_twice(table: pd.DataFrame, data: str) -> dict[str, tuple[float, float, str]]:
    """Modality → what twice the epochs of the three networks of ``data`` gain (:func:`kdlab.study.convergence`)."""
    return {m: convergence(table, data, f"final:{m}:4", f"twice:{m}") for m in ORDER}


def teachers(table: pd.DataFrame, data: str) -> pd.DataFrame:
    """May the three networks of ``data`` teach (:func:`.method.gate`)? A row for each modality, seed and fold with both
    cross-entropies in nats, what twice the epochs gain, and why not; no rows where the study did not write them."""
    some = table[(table.data == data) & table.metric.isin(TRAIN_CE)]
    wide = some.assign(value=some.value.astype(float)).pivot_table(
        index=["condition", "seed", "fold"], columns="metric", values="value").reset_index()
    wide = wide.reindex(columns=["condition", "seed", "fold", *TRAIN_CE])
    wide["condition"] = wide.condition.str.split(":").str[1]
    gains = gains_of_twice(table, data)
    wide["twice"] = [_words(*gains[m]) for m in wide.condition]
    lasting = {m: None if word in (*CONVERGED, "not measured") else gain for m, (gain, _, word) in gains.items()}
    wide["gate"] = [gate(*losses, lasting[m]) or "may teach"
                    for m, *losses in wide[["condition", *TRAIN_CE]].itertuples(index=False)]
    return wide.rename(columns={"condition": "modality"})


def _words(gain: float, half: float, word: str) -> str:
    return word if word == "not measured" else f"{gain:+.1f} ± {half:.1f} points, {word}"


def gate_line(table: pd.DataFrame, data: str) -> str:
    """:func:`teachers` in a line: each network's largest training loss over seeds and folds, and who may not teach."""
    found = teachers(table, data)
    if found.empty:
        return "gate: not among the rows of this set (docs/log.md has its first seed's)"
    worst = found.groupby("modality").train_ce.max()
    stopped = found[found.gate != "may teach"]
    word = "all may teach" if stopped.empty else f"{len(stopped)} of {len(found)} may not teach"
    return f"gate: largest training CE {', '.join(f'{m} {worst[m]:.2f}' for m in ORDER)} nats; {word}"


def may_teach(table: pd.DataFrame, data: str) -> tuple[bool, str]:
    """The gate of claims about exits on the networks of ``data``: whether all of them may teach, and why, in words.

    Each network of each seed must answer as well in use as in training, and twice its epochs must not surely gain two
    points of validation accuracy. What was not measured does not pass.
    """
    found = teachers(table, data)
    if missing := [m for m in ORDER if m not in set(found.modality)]:
        return False, f"no losses on training clips of {data}'s {missing[0]} network are among the rows"
    if missing := [m for m, (_, _, word) in gains_of_twice(table, data).items() if word == "not measured"]:
        return False, f"what twice the epochs of {data}'s {missing[0]} network gain was not measured"
    stopped = found[found.gate != "may teach"]
    if len(stopped):
        first = stopped.iloc[0]
        return False, f"{len(stopped)} of {len(found)} networks may not teach; {first.modality}, seed {first.seed}: " \
                      f"{first.gate}"
    each = found.drop_duplicates("modality").set_index("modality").twice
    return True, "eval-mode losses are those of training; twice the epochs: " + "; ".join(
        f"{m} {each[m]}" for m in ORDER)


def target_entropies(table: pd.DataFrame, data: str) -> pd.DataFrame:
    """Mean entropy in nats of what taught the exits on ``data``, over seeds and folds: a row for each condition that
    had a teacher; columns are each network's exits and ``mean``. Empty where the study did not write them."""
    some = table[(table.data == data) & (table.metric == "target_entropy")]
    names = [name.partition(":") for name in some.condition]
    wide = some.assign(value=some.value.astype(float), condition=[name for name, _, _ in names],
                       exits=[exits or "mean" for _, _, exits in names])
    return wide.pivot_table(index="condition", columns="exits", values="value", sort=False).reindex(
        columns=[*ORDER, "mean"])


def beside_effects(claims: Iterable[Claim], scores: Scores, table: pd.DataFrame, data: str) -> pd.DataFrame:
    """The effects of ``claims`` on ``scores``, and beside each the mean entropy in nats of what taught the method and
    what taught it is compared with (of labels 0), from the rows of ``data``: NaN where the study did not measure it.
    Those that ``scores`` cannot tell are left out."""
    nats, rows = target_entropies(table, data)["mean"], []
    of_labels = np.nan if nats.empty else 0.0  # a 0 would say that somebody had looked
    for claim in (claim for claim in claims if not claim.lacking(scores.recipes)):
        for other in (name for name in (*claim.baselines, *claim.controls) if name in scores.recipes):
            both = claim.condition, other
            rows.append((claim.claim, *both, str(claim.effect(scores, *both)), *(nats.get(c, of_labels) for c in both)))
    return pd.DataFrame(rows, columns=["claim", "condition", "minus", "effect", "nats", "nats of the other"])
