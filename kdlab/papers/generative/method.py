"""GenKD: Generative Model-based Feature Knowledge Distillation (arXiv 2312.08644; docs/methods.md, 2).

Phase 1, :class:`FeatureRepresentation`: a network learns attention, and a CVAE learns to generate the network's
features from that attention. Phase 2, :class:`GenerativeDistillation`: a student does the same under two further
losses. They draw the student's CVAE to the teacher's CVAE on the student's features, and the student's attention to the
teacher's. Each phase has two passes, each with its own optimiser. Pass 1 trains the CVAE alone, on fixed features; pass
2 trains the network through the frozen CVAE.

    pass 1   L = MSE(F, F') + 0.1 KL + 0.01 MSE(F', F'_T)        F' = CVAE(F, λ),  F'_T = CVAE_T(F, λ)
    pass 2   L = −ln mean_j p_j[y] + 0.5 w MSE(Dec(λ + ε, λ), F) + β MSE(λ, λ_T)

The networks' logits are ``ln mean_j p_j``, so the class loss is their cross-entropy. The loop gives both optimisers the
same learning rate, unless settings are ``as_released``: the released code uses Adam at 1e-4 for CVAEs and SGD for
networks. AdamW is invariant to the scale of a loss, so a weight cannot replace a learning rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdlab.clips.windows import ClipBatches
from kdlab.distill.method import rise, weighted_sum
from kdlab.nets.layers import Outputs, at_random, bare, features, outputs, seeded_weights
from kdlab.papers.generative.networks import CVAEs, read_cvae
from kdlab.protocols import Method
from kdlab.system.values import alike, fraction, integer, not_negative, one_of
from kdlab.train.preparing import batches
from kdlab.train.runs import Run


def kl_to_attention(mean: Tensor, log_variance: Tensor, attention: Tensor) -> Tensor:
    """KL( N(μ, σ²) ‖ N(λ, I) ) in nats, mean over all elements; each ``(B, C, T')``."""
    alike(mean=mean, log_variance=log_variance, attention=attention)
    return -0.5 * (1 + log_variance - (mean - attention).square() - log_variance.exp()).mean()


def attending(net: nn.Module) -> nn.Module:
    """The network with attention inside ``net``, which may be wrapped. Raises ``ValueError`` where there is none."""
    for module in net.modules():
        if hasattr(module, "new_cvae") and module.taps:
            return module
    raise ValueError(
        "GenKD needs networks with attention, teacher and student: make them by kdlab's Gated"
    )


#: The terms of a loss: name → (weight, term).
Terms = dict[str, tuple[float, Tensor]]


def _tap_by_tap(names: Sequence[str], taps: dict[str, Tensor]) -> tuple[list[Tensor], ...]:
    """Features and attention, tap by tap. The first half of ``names`` are the features' layers."""
    tensors, half = [taps[name] for name in names], len(names) // 2
    return tensors[:half], tensors[half:]


def _rebuilt(net: nn.Module, attention: list[Tensor], features: list | None = None):
    """Tap by tap, what the CVAEs rebuild from features or generate without, then means, then log-variances. Each CVAE
    has its own noise. This calls ``net`` itself, since it may be wrapped."""
    features = features or [None] * len(attention)
    if isinstance(bare(net), CVAEs):
        return zip(*net(features, attention), strict=True)
    return zip(net(features[0], attention[0]), strict=True)


@torch.no_grad()
def attention_of(teacher: nn.Module, x: Tensor) -> list[Tensor]:
    """The attention of the ``teacher`` on video ``x``, tap by tap."""
    taps = attending(teacher).taps
    return list(features(teacher, x, taps[len(taps) // 2 :]).values())


def _summed(loss: Callable, *columns: Sequence[Tensor]) -> Tensor:
    return sum(loss(*row) for row in zip(*columns, strict=True))


@dataclass(frozen=True)
class FeatureRepresentation(Method):
    """Phase 1: the training of a teacher, or the ablation of a student without a teacher.

    By default both passes run on each batch (`interleaved`). With ``alternating`` set to the settings' epochs, an even
    number, epochs of pass 1 and of pass 2 alternate, as in the paper. The network then has half the steps, so equal
    budgets need twice the epochs. ``detached`` stops the gradient of the reconstruction targets: pass 2 could otherwise
    shrink features to make them easier to reconstruct. ``deterministic`` replaces the CVAE with an auto-encoder.
    ``warmup`` is that of :func:`rise`. ``generation`` weighs a term of pass 1 that the released code lacks,
    MSE(Dec(λ + ε, λ), F): it trains the CVAE to generate from λ alone, as pass 2 needs (the hybrid objective of Sohn et
    al. 2015). ``turns`` is the number of steps that pass 1 takes on each batch, since a CVAE learns more slowly than
    the network. The history adds up the losses of these steps.
    """

    kl: float = 0.1
    reconstruction: float = 0.5
    warmup: float = 0.1
    detached: bool = True
    deterministic: bool = False
    alternating: int = 0
    generation: float = 0.0
    turns: int = 1
    # the terms that :class:`GenerativeDistillation` adds are off
    generative, teacher, teaching, beta = True, "none", 0.0, 0.0

    def __post_init__(self):
        not_negative(
            kl=self.kl,
            reconstruction=self.reconstruction,
            teaching=self.teaching,
            beta=self.beta,
            generation=self.generation,
        )
        fraction(warmup=self.warmup)
        integer(0, alternating=self.alternating)
        integer(1, turns=self.turns)
        if self.alternating % 2:
            raise ValueError(
                f"alternating={self.alternating}: passes take turns over an even number of epochs"
            )

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict[str, nn.Module]:
        """The CVAE for the student's features; ``seed`` alone determines its weights."""
        return {"cvae": self._new_cvae(nets["student"], seed)} if self.generative else {}

    def _new_cvae(self, net: nn.Module, seed: int) -> nn.Module:
        with seeded_weights(seed):
            return attending(net).new_cvae(deterministic=self.deterministic)

    def networks_by_optimiser(self, nets) -> dict[str, list[str]]:
        """One optimiser for the CVAE and one for the network."""
        return ({"cvae": ["cvae"]} if self.generative else {}) | {"net": ["student"]}

    def passes(self, progress) -> tuple[str, ...]:
        """The passes of this step: ``cvae`` (pass 1), once for each of its ``turns``, and ``net`` (pass 2). Raises
        ``ValueError`` where ``alternating`` does not divide the steps."""
        if not self.generative:
            return ("net",)
        if not self.alternating:
            return *("cvae",) * self.turns, "net"
        if progress.steps % self.alternating:
            raise ValueError(
                f"alternating={self.alternating}, but {progress.steps} steps are no such number of epochs:"
                " give it the settings' epochs"
            )
        epoch = progress.step // (progress.steps // self.alternating)
        return ("net",) if epoch % 2 else ("cvae",) * self.turns

    def losses(self, nets, batch, progress):
        """Yield the loss of each pass of this step, and its unweighted terms (MSE; KL and CE in nats). With several
        turns only the last one yields terms."""
        passes = self.passes(progress)
        if turns := passes.count("cvae"):
            own, attention = self._features_and_attention(nets, batch)
            for turn in range(turns):
                loss, terms = weighted_sum(self._cvae_terms(nets, own, attention))
                yield "cvae", loss, terms if turn == turns - 1 else {}
        if "net" in passes:
            yield "net", *weighted_sum(self._network_terms(nets, batch, progress))

    def _features_and_attention(self, nets, batch) -> tuple[list[Tensor], ...]:
        """The student's features and attention, tap by tap, for pass 1."""
        # pass 1 must not change the network, nor its batch statistics
        student = nets["student"].eval()
        names = attending(student).taps
        with torch.no_grad():
            taps = features(student, batch.views["student"], names)
        student.train()
        return _tap_by_tap(names, taps)

    def _cvae_terms(self, nets, features: list[Tensor], attention: list[Tensor]) -> Terms:
        """The terms of pass 1 on ``features`` and ``attention``; each term is summed over the taps."""
        rebuilt, means, log_variances = _rebuilt(nets["cvae"], attention, features)
        terms = {
            "rebuilt": (1.0, _summed(F.mse_loss, rebuilt, features)),
            "kl": (self.kl, _summed(kl_to_attention, means, log_variances, attention)),
        }
        if self.generation:
            generated, *_ = _rebuilt(nets["cvae"], attention)
            terms["from_prior"] = self.generation, _summed(F.mse_loss, generated, features)
        if self.teaching:
            with torch.no_grad():
                theirs, *_ = _rebuilt(nets["teacher_cvae"], attention, features)
            terms["taught"] = self.teaching, _summed(F.mse_loss, rebuilt, theirs)
        return terms

    def _network_terms(self, nets, batch, progress) -> Terms:
        """The terms of pass 2; ``generated`` and ``attention`` are summed over the taps."""
        names = attending(nets["student"]).taps
        out = outputs(nets["student"], batch.views["student"], (*names, *self.task_taps))
        own, attention = _tap_by_tap(names, out.taps)
        terms = self._task_terms(nets["student"], out, batch.labels)
        if self.generative:
            cvae = bare(nets["cvae"]).requires_grad_(False)
            generated, *_ = _rebuilt(cvae, attention)
            cvae.requires_grad_(True)
            weight = self.reconstruction * rise(progress.fraction, self.warmup)
            targets = [maps.detach() for maps in own] if self.detached else own
            terms["generated"] = weight, _summed(F.mse_loss, generated, targets)
        if self.beta:
            theirs = attention_of(nets["teacher"], batch.views["teacher"])
            terms["attention"] = self.beta, _summed(F.mse_loss, attention, theirs)
        return terms | self._detection_terms(nets, batch, own, attention)

    #: Layers whose outputs :meth:`_task_terms` also needs.
    task_taps = ()

    def _task_terms(self, student: nn.Module, out: Outputs, labels: Tensor) -> Terms:
        """The terms of the task: here the class loss."""
        return {"ce": (1.0, F.cross_entropy(out.logits, labels))}

    def _detection_terms(self, nets, batch, features, attention) -> Terms:
        """The terms of the further losses of detection; none here."""
        return {}


@dataclass(frozen=True)
class GenerativeDistillation(FeatureRepresentation):
    """Phase 2. ``generative=False`` keeps only attention distillation, without CVAEs; ``beta=0`` keeps only generative
    distillation.

    ``teacher`` is ``trained``, or ``untrained``: network and CVAE have random weights. This is a control: the teacher's
    knowledge cannot explain what it gains. The paper's ``beta`` is 0.1 for recognition, 10 for detection.
    """

    generative: bool = True
    teaching: float = 0.01
    beta: float = 0.1
    teacher: str = "trained"

    def __post_init__(self):
        super().__post_init__()
        one_of(("trained", "untrained"), teacher=self.teacher)
        if self.alternating and not self.generative:
            raise ValueError("attention distillation has one pass: leave out alternating")

    def extra_nets(self, nets, batches, seed: int, needed=None) -> dict[str, nn.Module]:
        """The CVAEs of student and teacher. The teacher's CVAE is read from its run in ``needed``, unless ``nets`` hold
        it. With an ``untrained`` teacher, both the teacher and its CVAE get random weights. Raises ``ValueError`` where
        the features of student and teacher differ in shape."""
        own, wanted = (attending(nets[role]).shape for role in ("student", "teacher"))
        if own != wanted:
            raise ValueError(
                f"the student's features are {own}, the teacher's {wanted}: give both the same clip and "
                "the same channels in the last stage"
            )
        extra = super().extra_nets(nets, batches, seed)
        if self.teacher == "untrained":
            return extra | {
                "teacher": at_random(nets["teacher"], seed + 1),
                "teacher_cvae": self._new_cvae(nets["teacher"], seed + 1),
            }
        if not (self.generative and self.teaching) or "teacher_cvae" in nets:
            return extra
        return extra | {"teacher_cvae": read_cvae(needed["teacher"].folder)}


#: How features are reconstructed: from features and λ; from λ alone; and both again with the λ of another clip.
WAYS = ("rebuilt", "generated", "rebuilt, another clip's λ", "generated, another clip's λ")


def explained(run: Run) -> dict[str, float]:
    """R² in percent of features that the CVAE reconstructs in each of :data:`WAYS`, on test clips: does the CVAE
    generate? 0 is the mean of the training clips for each channel, time and place; 100 is exact reconstruction. A CVAE
    generates if it is better than that mean, and worse with the λ of another clip. For a detector with several taps, R²
    is the mean over taps. As in training, the prior is sampled (λ plus noise).
    """
    cvae = read_cvae(run.folder)
    cvaes = list(cvae) if isinstance(cvae, CVAEs) else [cvae]
    net, half = run.net(), len(cvaes)
    known, test = (_of_all_clips(net, batches(run.recipe, split)) for split in ("train", "test"))
    noise, table = torch.Generator().manual_seed(run.recipe.seed), []
    for tap, its in enumerate(cvaes):
        features, attention = test[tap], test[half + tap]
        blind, row = _squared_error(known[tap].mean(0), features), []
        for some, given in product((attention, attention.roll(1, 0)), (features, None)):
            with torch.no_grad():
                maps, *_ = its(given, some, torch.randn(some.shape, generator=noise))
            row.append(100 * float(1 - _squared_error(maps, features) / blind))
        table.append(row)
    return dict(zip(WAYS, np.mean(table, 0).tolist(), strict=True))


def _squared_error(maps: Tensor, features: Tensor) -> Tensor:
    return (maps - features).double().square().mean()


def _of_all_clips(net: nn.Module, clips: ClipBatches) -> list[Tensor]:
    """Features and attention of all clips, tap by tap."""
    names = attending(net).taps
    with torch.no_grad():
        taps = [
            features(net, batch.views["student"], names).values() for batch in clips.evaluation()
        ]
    return [torch.cat(column) for column in zip(*taps, strict=True)]
