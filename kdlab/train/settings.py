"""The hyper-parameters of a training: its optimisers and their rates."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
            raise ValueError(
                f"falls={self.falls} and patience={self.patience}: a rate falls at fixed epochs or on a "
                "plateau; give one of them"
            )


@dataclass(frozen=True)
class Settings:
    """The hyper-parameters of one optimisation by AdamW.

    ``epochs`` are passes over the clips. A batch has ``batch_size`` clips; the clips left
    over at the end of an epoch, too few for a batch, are skipped in that epoch. ``lr`` is the peak rate of the
    ``schedule`` (``one_cycle`` or ``cosine``). ``precision`` is ``fp32``, or ``bf16`` for mixed precision where the
    hardware supports it (the ``paper`` profile). ``accumulate`` is the number of parts into which a batch is divided;
    the gradients of the parts are summed. This needs less memory and takes the same step, except for
    rounding, dropout and batch norm's statistics. ``as_released`` replaces AdamW and the ``schedule`` with a paper's
    released optimisers and rates.
    """

    epochs: int = 30
    batch_size: int = 16
    lr: float = 4e-3
    weight_decay: float = 1e-2
    schedule: str = "one_cycle"
    precision: str = "fp32"
    as_released: AsReleased | None = None
    accumulate: int = field(default=1, kw_only=True)

    def __post_init__(self):
        integer(1, epochs=self.epochs, batch_size=self.batch_size, accumulate=self.accumulate)
        positive("4e-3 is usual here", lr=self.lr)
        not_negative(weight_decay=self.weight_decay)
        one_of(("one_cycle", "cosine"), schedule=self.schedule)
        one_of(("fp32", "bf16"), precision=self.precision)

    @property
    def patience(self) -> int:
        """The epochs without a lower loss on validation clips after which the rate falls; 0 where it does not."""
        return self.as_released.patience if self.as_released else 0


@lru_cache(maxsize=8)  # called at every step
def _on_plateau(lr: float, patience: int, losses: tuple[float, ...]) -> float:
    """The rate after epochs with these ``losses``: torch's own scheduler, replayed from the first epoch."""
    bearer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(bearer, patience=patience)
    for loss in losses:
        scheduler.step(loss)
    return bearer.param_groups[0]["lr"]


def optimiser_for(
    settings: Settings, key: str, weights: Iterable[tuple[str, nn.Parameter]], fused: bool
) -> torch.optim.Optimizer:
    """The method's optimiser ``key`` over named ``weights``, according to ``settings``. Raises ``ValueError`` where
    these have no rule for it.

    A group with a ``share`` has that fraction of :func:`learning_rate`. ``fused``: one pass over weights and moments.
    """
    weights, released = list(weights), settings.as_released
    fused = fused and all(
        weight.is_floating_point() for _, weight in weights
    )  # torch does not fuse complex weights
    if released is None:
        plain = [weight for _, weight in weights]
        return torch.optim.AdamW(
            plain, settings.lr, weight_decay=settings.weight_decay, fused=fused
        )
    if not (rule := dict(released.rules).get(key)):
        raise ValueError(
            f"as_released has rules for {', '.join(dict(released.rules))}, and the method an optimiser "
            f"{key!r}: add a rule for it"
        )
    alike = {}
    for name, weight in weights:
        _, share = _share(released, name)
        decay = rule.decay * settings.weight_decay if released.biases or "bias" not in name else 0.0
        alike.setdefault((rule.share * share, decay), []).append(weight)
    groups = [
        {"params": some, "share": share, "weight_decay": decay}
        for (share, decay), some in alike.items()
    ]
    if rule.kind == "sgd":
        return torch.optim.SGD(groups, settings.lr, rule.momentum, fused=fused)
    kind = torch.optim.AdamW if rule.kind == "adamw" else torch.optim.Adam
    return kind(groups, settings.lr, rule.betas, rule.eps, fused=fused)


def learning_rate(
    settings: Settings, step: int, steps: int, epoch: int = 0, history: Sequence[dict] = ()
) -> float:
    """The rate at ``step`` of ``steps``. ``one_cycle`` rises linearly over the first fifth; both schedules fall to 0
    along a half cosine. ``settings.as_released`` uses the ``epoch`` instead, and the ``history`` of the earlier
    epochs."""
    if released := settings.as_released:
        if released.patience:
            losses = tuple(row["val_loss"] for row in history if "val_loss" in row)
            return _on_plateau(settings.lr, released.patience, losses)
        return settings.lr * 0.1 ** sum(epoch >= fall for fall in released.falls)
    warm = steps / 5 if settings.schedule == "one_cycle" else 0
    if step < warm:
        return settings.lr * (step + 1) / (warm + 1)
    turn = torch.tensor((step - warm) / max(1, steps - warm) * torch.pi, dtype=torch.float64)
    return settings.lr * float(0.5 * (1 + torch.cos(turn)))


def check_released(settings: Settings, weights: dict[str, list[tuple[str, nn.Parameter]]]) -> None:
    """Raise ``ValueError`` for a rule of ``as_released`` that meets no optimiser, or a share that meets no weight.
    ``weights`` maps each optimiser to its named weights."""
    released = settings.as_released
    if released is None:
        return
    names = [name for own in weights.values() for name, _ in own]
    for key, _ in released.rules:
        if key not in weights:
            raise ValueError(
                f"as_released has a rule for an optimiser {key!r}, and the method's are "
                f"{', '.join(weights)}: leave the rule out, or correct its name"
            )
    used = {_share(released, name)[0] for name in names}
    for pattern, _ in released.shares:
        if pattern not in used:
            raise ValueError(
                f"as_released has a share for {pattern!r}, which is the first match of no weight's name, "
                f"such as {names[0]}: leave it out, or correct it"
            )


def _share(released: AsReleased, name: str) -> tuple[str | None, float]:
    """The first pattern found in a weight's ``name``, and its fraction of the rate."""
    for pattern, share in released.shares:
        if re.search(pattern, name):
            return pattern, share
    return None, 1.0
