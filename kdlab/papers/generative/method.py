"""GenKD: Generative Model-based Feature Knowledge Distillation (arXiv 2312.08644; docs/methods.md, 2).

Phase 1, :class:`FeatureRepresentation`: a network learns attention, and beside it a CVAE learns to make its features
from that attention. Phase 2, :class:`GenerativeDistillation`: a student does the same while its CVAE is drawn to what
the teacher's makes of the student's features, and its attention to the teacher's. Each has two passes and an optimiser
for each: of the CVAE alone, on features that do not change; then of the network, through the frozen CVAE.

    pass 1   L = MSE(F, F') + 0.1 KL + 0.01 MSE(F', F'_T)        F' = CVAE(F, λ),  F'_T = CVAE_T(F, λ)
    pass 2   L = −ln mean_j p_j[y] + 0.5 w MSE(Dec(λ + ε, λ), F) + β MSE(λ, λ_T)

The networks' logits are ``ln mean_j p_j``, so the class loss is their cross-entropy. The loop gives both optimisers one
learning rate, where settings are not ``as_released``: the released code has Adam 1e-4 for CVAEs and SGD for networks.
AdamW does not feel a loss's scale, so no weight can stand in for a rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.clips.windows import ClipBatches
from kdlab.distill.method import weighted_sum
from kdlab.nets.layers import Outputs, at_random, bare, features, outputs
from kdlab.papers.generative.networks import CVAEs, read_cvae
from kdlab.system.values import alike, fraction, integer, not_negative, one_of
from kdlab.train.preparing import batches
from kdlab.train.runs import Run

TAPS = ("net.backbone", "net.attention")


def kl_to_attention(mean: torch.Tensor, log_variance: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """KL( N(μ, σ²) ‖ N(λ, I) ) in nats, mean over all elements; each ``(B, C, T')``."""
    alike(mean=mean, log_variance=log_variance, attention=attention)
    return -0.5 * (1 + log_variance - (mean - attention).square() - log_variance.exp()).mean()


def warmth(fraction: float, warmup: float) -> float:
    """w: rises from 0 to 1 over the first part ``warmup`` of training; the paper's min(e, 20)/20 at epoch e of 200."""
    return min(1.0, fraction / warmup) if warmup else 1.0


def attending(net: nn.Module) -> nn.Module:
    """The network with attention in ``net``, which may be wrapped. Raises ``ValueError`` where there is none."""
    if found := [module for module in net.modules() if hasattr(module, "new_cvae") and module.taps]:
        return found[0]
    raise ValueError("GenKD needs networks with attention, teacher and student: make them by kdlab's Gated")


def _tap_by_tap(names: Sequence[str], taps: dict[str, torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Features and attention, of which ``names`` has the first in front."""
    half = len(names) // 2
    return [taps[name] for name in names[:half]], [taps[name] for name in names[half:]]


def _rebuilt(net: nn.Module, features, attention) -> list[tuple[torch.Tensor, ...]]:
    """What the CVAE of each tap gives, with noise of its own; ``net`` itself is called, since it may be wrapped."""
    return net(features, attention) if isinstance(bare(net), CVAEs) else [net(features[0], attention[0])]


def _summed(loss: Callable, *columns: Sequence[torch.Tensor]) -> torch.Tensor:
    return sum(loss(*row) for row in zip(*columns, strict=True))


@dataclass(frozen=True)
class FeatureRepresentation:
    """Phase 1, for a teacher; for a student it is the ablation without one.

    By default both passes are made on each batch (`interleaved`). With ``alternating`` = the settings' epochs, an even
    number, epochs of pass 1 and of pass 2 take turns, as in the paper: the network then has half the steps, so equal
    budgets need twice the epochs. ``detached`` keeps pass 2 from shrinking features to make them easier to reconstruct.
    ``deterministic`` puts an auto-encoder in the CVAE's place. ``warmup`` is of :func:`warmth`. ``generation`` weighs
    a term of pass 1 that the released code has not: MSE(Dec(λ + ε, λ), F), so that the CVAE learns to do what pass 2
    asks of it (the hybrid objective of Sohn et al. 2015). Of each batch pass 1 takes so many ``turns``, whose losses
    the history adds up: a CVAE learns later than the network whose features it is to make.
    """

    kl: float = 0.1
    reconstruction: float = 0.5
    warmup: float = 0.1
    detached: bool = True
    deterministic: bool = False
    alternating: int = 0
    generation: float = 0.0
    turns: int = 1
    # what :class:`GenerativeDistillation` adds is off
    generative, teacher, teaching, beta = True, "none", 0.0, 0.0
    taps: ClassVar = TAPS

    def __post_init__(self):
        not_negative(kl=self.kl, reconstruction=self.reconstruction, teaching=self.teaching, beta=self.beta,
                     generation=self.generation)
        fraction(warmup=self.warmup)
        integer(0, alternating=self.alternating)
        integer(1, turns=self.turns)
        if self.alternating % 2:
            raise ValueError(f"alternating={self.alternating}: passes take turns over an even number of epochs")

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict[str, nn.Module]:
        """The CVAE of the student's features, its weights decided by ``seed`` alone."""
        return {"cvae": self._new_cvae(nets["student"], seed)} if self.generative else {}

    def _new_cvae(self, net: nn.Module, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return attending(net).new_cvae(deterministic=self.deterministic)

    def parts(self, nets) -> dict[str, list[str]]:
        """The CVAE and the network have an optimiser each."""
        return ({"cvae": ["cvae"]} if self.generative else {}) | {"net": ["student"]}

    def passes(self, progress) -> tuple[str, ...]:
        """Of ``cvae``, once for each of its ``turns``, and ``net``, those of this step."""
        if not self.generative:
            return ("net",)
        if not self.alternating:
            return *("cvae",) * self.turns, "net"
        if progress.steps % self.alternating:
            raise ValueError(f"alternating={self.alternating}, but {progress.steps} steps are no such number of epochs:"
                             " give it the settings' epochs")
        return (("cvae",) * self.turns, ("net",))[progress.step // (progress.steps // self.alternating) % 2]

    def losses(self, nets, batch, progress):
        """Yield the passes of this step, with their terms beside them, unweighted (MSE; KL and CE in nats): of several
        turns the last one's."""
        passes, given = self.passes(progress), None
        for place, which in enumerate(passes):
            given = given or (self._features_and_attention(nets, batch) if which == "cvae" else None)
            loss, terms = weighted_sum(self._cvae_terms(nets, *given) if which == "cvae" else
                                       self._network_terms(nets, batch, progress))
            yield which, loss, terms if which not in passes[place + 1 :] else {}

    def _features_and_attention(self, nets, batch) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The student's features and attention, tap by tap, for pass 1."""
        student = nets["student"].eval()  # nothing of the network may move, its batch statistics neither
        with torch.no_grad():
            names = attending(student).taps
            found = _tap_by_tap(names, features(student, batch.views["student"], names))
        student.train()
        return found

    def _cvae_terms(self, nets, features: list[torch.Tensor], attention: list[torch.Tensor]):
        """Weights and terms of pass 1 on ``features`` and ``attention``, each term summed over the taps."""
        made, means, log_variances = zip(*_rebuilt(nets["cvae"], features, attention), strict=True)
        terms = {"rebuilt": (1.0, _summed(F.mse_loss, made, features)),
                 "kl": (self.kl, _summed(kl_to_attention, means, log_variances, attention))}
        if self.generation:
            alone = [each[0] for each in _rebuilt(nets["cvae"], [None] * len(features), attention)]
            terms["from_prior"] = self.generation, _summed(F.mse_loss, alone, features)
        if self.teaching:
            with torch.no_grad():
                theirs = [each[0] for each in _rebuilt(nets["teacher_cvae"], features, attention)]
            if self.teacher == "permuted":
                theirs = [each[:, torch.randperm(each.shape[1], generator=torch.Generator().manual_seed(0))]
                          for each in theirs]
            terms["taught"] = self.teaching, _summed(F.mse_loss, made, theirs)
        return terms

    def _network_terms(self, nets, batch, progress) -> dict[str, tuple[float, torch.Tensor]]:
        """Weights and terms of pass 2, each of the last two summed over the taps."""
        names = attending(nets["student"]).taps
        out = outputs(nets["student"], batch.views["student"], (*names, *self.task_taps))
        own, attention = _tap_by_tap(names, out.taps)
        terms = self._task_terms(nets["student"], out, batch.labels)
        if self.generative:
            inner = bare(nets["cvae"]).requires_grad_(False)
            cvaes = inner if isinstance(inner, CVAEs) else [inner]
            made = [cvae(None, each)[0] for cvae, each in zip(cvaes, attention, strict=True)]
            inner.requires_grad_(True)
            weight = self.reconstruction * warmth(progress.fraction, self.warmup)
            targets = [each.detach() for each in own] if self.detached else own
            terms["generated"] = weight, _summed(F.mse_loss, made, targets)
        if self.beta:
            with torch.no_grad():
                names = attending(nets["teacher"]).taps[len(names) // 2 :]
                theirs = list(features(nets["teacher"], batch.views["teacher"], names).values())
            terms["attention"] = self.beta, _summed(F.mse_loss, attention, theirs)
        return terms | self._detection_terms(nets, batch, own, attention)

    #: Layers of which :meth:`_task_terms` also wants to know what they give.
    task_taps = ()

    def _task_terms(self, student: nn.Module, out: Outputs, labels: torch.Tensor):
        """Weights and terms of what the network is for."""
        return {"ce": (1.0, F.cross_entropy(out.logits, labels))}

    def _detection_terms(self, nets, batch, features, attention) -> dict[str, tuple[float, torch.Tensor]]:
        """What detection adds."""
        return {}


@dataclass(frozen=True)
class GenerativeDistillation(FeatureRepresentation):
    """Phase 2. ``generative=False`` leaves attention distillation alone, without CVAEs; ``beta=0`` the other half.

    ``teacher`` is ``trained``; or ``permuted``: the channels of what its CVAE makes are shuffled, once for all; or
    ``untrained``: network and CVAE have random weights. What these two gain is not the teacher's knowledge.
    The paper's ``beta`` is 0.1 for recognition, 10 for detection.
    """

    generative: bool = True
    teaching: float = 0.01
    beta: float = 0.1
    teacher: str = "trained"

    def __post_init__(self):
        super().__post_init__()
        one_of(("trained", "permuted", "untrained"), teacher=self.teacher)
        if self.alternating and not self.generative:
            raise ValueError("attention distillation has one pass: leave out alternating")

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict[str, nn.Module]:
        """The student's CVAE and the teacher's, from its run in ``needed`` unless it is among ``nets``; where the
        teacher is untrained random weights and a new CVAE in the place of the trained ones. Raises ``ValueError`` where
        features differ in shape."""
        own, wanted = attending(nets["student"]).shape, attending(nets["teacher"]).shape
        if own != wanted:
            raise ValueError(f"the student's features are {own}, the teacher's {wanted}: give both the same clip and "
                             "the same channels in the last stage")
        extra = super().extra_nets(nets, batches, seed)
        if self.teacher == "untrained":
            return extra | {"teacher": at_random(nets["teacher"], seed + 1),
                            "teacher_cvae": self._new_cvae(nets["teacher"], seed + 1)}
        if not (self.generative and self.teaching) or "teacher_cvae" in nets:
            return extra
        return extra | {"teacher_cvae": read_cvae(needed["teacher"].folder)}


#: The ways to make features: from features and λ; from λ alone; and as these with the λ of another clip.
WAYS = ("rebuilt", "generated", "rebuilt, another clip's λ", "generated, another clip's λ")


def explained(run: Run) -> dict[str, float]:
    """Does the CVAE generate? R² in percent of features made in each of :data:`WAYS` on test clips: 0 is the training
    clips' mean for each channel, time and place, 100 the features themselves. A CVAE generates where it does better
    than that mean, and worse with the λ of another clip. Of a detector with several taps it is their mean. As in
    training, the prior is drawn: λ and noise.
    """
    cvae = read_cvae(run.folder)
    cvaes = list(cvae) if isinstance(cvae, CVAEs) else [cvae]
    net, half = run.net(), len(cvaes)
    known, test = (_of_all_clips(net, batches(run.recipe, split)) for split in ("train", "test"))
    noise, table = torch.Generator().manual_seed(run.recipe.seed), []
    for tap, its in enumerate(cvaes):
        features, attention = test[tap], test[half + tap]
        blind = (known[tap].mean(0) - features).double().square().mean()
        ways = [(given, some) for some in (attention, attention.roll(1, 0)) for given in (features, None)]
        with torch.no_grad():
            made = [its(given, some, torch.randn(some.shape, generator=noise))[0] for given, some in ways]
        table.append([100 * float(1 - (one - features).double().square().mean() / blind) for one in made])
    return dict(zip(WAYS, np.mean(table, 0).tolist(), strict=True))


def _of_all_clips(net: nn.Module, clips: ClipBatches) -> list[torch.Tensor]:
    """Features and attention of all clips, tap by tap."""
    names, found = attending(net).taps, []
    with torch.no_grad():
        for batch in clips.evaluation():
            taps = outputs(net, batch.views["student"], names).taps
            found.append([taps[name] for name in names])
    return [torch.cat(column) for column in zip(*found, strict=True)]
