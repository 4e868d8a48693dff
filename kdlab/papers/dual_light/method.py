"""DL-KDD: Dual-Light Knowledge Distillation for Action Recognition in the Dark (arXiv 2406.02468), and its controls.

A teacher trained on the *enhanced* clip gives soft targets to a student that sees only the *raw dark* clip. At test
time only the student runs, on raw video (abstract). No code was released and the exact loss is unknown to us. We use
the usual mixture of cross-entropy and softened targets (docs/methods.md, 1):

    L = (1 − α) CE(z_S(raw), y) + α t² KL( softmax_t(z_T(enhanced)) ‖ softmax_t(z_S(raw)) )

The code below is independent of light: the recipe determines the view of each network. The same-light control is the
same method with a teacher that sees the raw view. The difference between the two shows whether *dual* light matters.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from kdlab.distill.method import KD, entropy, smoothed_targets, smoothing_of_entropy


@dataclass(frozen=True)
class DualLight(KD):
    """:class:`~kdlab.distill.method.KD` from a teacher of the enhanced clip to a student of the raw clip. Our defaults
    are α = 0.5 and t = 4; the paper's values are unknown."""


@dataclass(frozen=True)
class MatchedSmoothing(DualLight):
    """The control for dark knowledge: label smoothing instead of a teacher, with the teacher's mean entropy.

    Loss, weights and temperature are those of :class:`DualLight`. Only the soft targets differ: a fixed distribution
    per label, whose entropy is the teacher's mean over training clips. The gain of this control is regularisation; any
    further gain of :class:`DualLight` comes from the teacher's knowledge of clips and classes.
    """

    def prepare(self, nets, batches) -> torch.Tensor:
        """One distribution per label, ``(K, K)``, with the teacher's mean entropy over training ``batches``."""
        with torch.no_grad():
            logits = torch.cat([nets["teacher"](batch.views["teacher"]) for batch in batches])
        nats = float(entropy(F.softmax(logits / self.temperature, dim=-1)).mean())
        classes = logits.shape[-1]
        labels = torch.arange(classes, device=logits.device)
        return smoothed_targets(labels, classes, smoothing_of_entropy(nats, classes))

    def soft_targets(self, nets, batch, progress) -> torch.Tensor:
        """The row of each label in the result of :meth:`prepare`."""
        return progress.prepared[batch.labels]
