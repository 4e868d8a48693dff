"""The optimiser of a training and its learning rate: AdamW under one schedule, or those of a paper's released code.

The released rules are data (:class:`AsReleased`), so a recipe states them. A rate is a function of the epoch and the
history, so a resumed training needs nothing beyond the usual checkpoint.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from kdlab.system.values import fraction, integer, not_negative, one_of, positive


@dataclass(frozen=True)
class Rule:
    """One optimiser: ``adamw``; ``adam``, which adds the decay to the gradient; or ``sgd``, which does so too and has
    ``momentum``.

    ``share`` and ``decay`` are fractions of the settings' rate and weight decay.
    """

    kind: str = "adam"
    share: float = 1.0
    decay: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9

    def __post_init__(self):
        one_of(("adamw", "adam", "sgd"), kind=self.kind)
        positive(share=self.share, eps=self.eps)
        not_negative(decay=self.decay)
        fraction(betas=self.betas, momentum=self.momentum)


@dataclass(frozen=True)
class AsReleased:
    """Optimisers and schedule of a paper's released code, switched on by ``Settings.as_released``.

    ``rules`` maps the names of the method's optimisers to their rules. ``shares`` are pairs of a pattern and a fraction
    of the rate: the first pattern found in a weight's name (``student.net.fc.weight``) gives that weight's fraction; a
    weight that no pattern matches has the full rate. Without ``biases``, weights with ``bias`` in their name do not
    decay. The rate is divided by ten at each of the epochs ``falls``, counted from 0. With ``patience`` it is divided
    by ten after more than that number of epochs without a lower validation loss (torch's ``ReduceLROnPlateau``).
    Otherwise it is constant.
    """

    rules: tuple[tuple[str, Rule], ...] = (("net", Rule()),)
    shares: tuple[tuple[str, float], ...] = ()
    biases: bool = True
    falls: tuple[int, ...] = ()
    patience: int = 0

    def __post_init__(self):
        positive(shares=[share for _, share in self.shares])
        integer(1, falls=self.falls)
        integer(0, "0 never lowers the rate", patience=self.patience)
        if self.falls and self.patience:
            raise ValueError(f"falls={self.falls} and patience={self.patience}: a rate falls at fixed epochs or on a "
                             "plateau; give one of them")

    def rule(self, key: str) -> Rule:
        """The rule of the method's optimiser ``key``. Raises ``ValueError`` where there is none."""
        found = dict(self.rules)
        if key not in found:
            raise ValueError(f"as_released has rules for {', '.join(found)}, and the method an optimiser {key!r}: add "
                             "a rule for it")
        return found[key]

    def groups(self, key: str, weights: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict]:
        """The named ``weights`` in torch's groups, each with its ``share`` of the rate and its ``weight_decay``."""
        rule, groups = self.rule(key), {}
        for name, weight in weights:
            share = next((part for pattern, part in self.shares if re.search(pattern, name)), 1.0)
            decay = rule.decay * weight_decay if self.biases or "bias" not in name else 0.0
            groups.setdefault((rule.share * share, decay), []).append(weight)
        return [{"params": some, "share": share, "weight_decay": decay} for (share, decay), some in groups.items()]

    def rate(self, lr: float, epoch: int, losses: Sequence[float]) -> float:
        """The rate in ``epoch`` (from 0), given the validation ``losses`` of the earlier epochs."""
        if self.patience:
            return _on_plateau(lr, self.patience, tuple(losses))
        return lr * 0.1 ** sum(epoch >= fall for fall in self.falls)


@lru_cache(maxsize=8)  # called at every step
def _on_plateau(lr: float, patience: int, losses: tuple[float, ...]) -> float:
    """The rate after epochs with these ``losses``: torch's own scheduler, replayed from the first epoch."""
    bearer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(bearer, patience=patience)
    for loss in losses:
        scheduler.step(loss)
    return bearer.param_groups[0]["lr"]


def optimiser_for(settings, key: str, weights: Iterable[tuple[str, nn.Parameter]],
                  fused: bool) -> torch.optim.Optimizer:
    """The method's optimiser ``key`` over named ``weights``, according to ``settings`` (``kdlab.train.loop.Settings``).

    A group with a ``share`` has that fraction of :func:`learning_rate`. ``fused``: one pass over weights and moments.
    """
    weights, released = list(weights), settings.as_released
    fused = fused and all(weight.is_floating_point() for _, weight in weights)  # torch does not fuse complex weights
    if released is None:
        plain = [weight for _, weight in weights]
        return torch.optim.AdamW(plain, settings.lr, weight_decay=settings.weight_decay, fused=fused)
    rule, groups = released.rule(key), released.groups(key, weights, settings.weight_decay)
    if rule.kind == "sgd":
        return torch.optim.SGD(groups, settings.lr, rule.momentum, fused=fused)
    kind = torch.optim.AdamW if rule.kind == "adamw" else torch.optim.Adam
    return kind(groups, settings.lr, rule.betas, rule.eps, fused=fused)


def learning_rate(settings, step: int, steps: int, epoch: int = 0, history: Sequence[dict] = ()) -> float:
    """The rate at ``step`` of ``steps``. ``one_cycle`` rises linearly over the first fifth; both schedules fall to 0
    along a half cosine. ``settings.as_released`` uses the ``epoch`` instead, and the ``history`` of the earlier
    epochs."""
    if settings.as_released:
        return settings.as_released.rate(settings.lr, epoch, [row["val_loss"] for row in history if "val_loss" in row])
    warm = steps / 5 if settings.schedule == "one_cycle" else 0
    if step < warm:
        return settings.lr * (step + 1) / (warm + 1)
    turn = torch.tensor((step - warm) / max(1, steps - warm) * torch.pi, dtype=torch.float64)
    return settings.lr * float(0.5 * (1 + torch.cos(turn)))
