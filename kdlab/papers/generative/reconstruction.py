"""What is left of a clip in features that a CVAE has made: how much of their variance, and what the network's own last
layers say of them (docs/methods.md, 2.1). For recognition; of detectors :func:`.generation.explained` tells the former.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from kdlab.papers.generative.generation import ENOUGH, tapped
from kdlab.papers.generative.method import attending
from kdlab.papers.generative.nets import CVAE, GatedNet, gate, mean_log_probability, read_cvae
from kdlab.train.runs import Run, batches

#: What the last layers are shown, by words for people.
SHOWN = ("the features themselves", "rebuilt", "generated from λ", "generated from another clip's λ",
         "the training clips' mean")


@dataclass(frozen=True)
class Seen:
    """A finished network of GenKD with its ``cvae``, and what it sees in N clips: ``features (N, C, T', h, w)`` and
    ``attention (N, C, T')``. ``known`` are those two of its training clips; ``labels (N,)`` class indices."""

    net: GatedNet
    cvae: CVAE
    features: torch.Tensor
    attention: torch.Tensor
    known: tuple[torch.Tensor, torch.Tensor]
    labels: np.ndarray
    ids: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def mean(self) -> torch.Tensor:
        """The mean features of the training clips, for each of the N clips the same."""
        return self.known[0].mean(0).expand_as(self.features)

    def explained(self, made: torch.Tensor) -> float:
        """R² in percent of features ``made`` of all N clips: 0 is the training clips' mean, 100 the features."""
        blind, errors = ((each - self.features).square().mean() for each in (self.mean, made))
        return 100 * float(1 - errors / blind)

    def answers(self, features: torch.Tensor, attention: torch.Tensor) -> np.ndarray:
        """Logits ``(B, K)``: what the network's last layers say of ``features`` under ``attention``."""
        with torch.no_grad():
            steps = self.net.pool(gate(features, attention, self.net.faithful)).flatten(2)
            return mean_log_probability(self.net.fc(steps.transpose(1, 2))).numpy()

    def noise(self, seed: int = 0) -> torch.Tensor:
        """ε for a CVAE, ``(N, C, T')``, decided by the ``seed``."""
        return torch.randn(self.attention.shape, generator=torch.Generator().manual_seed(seed))

    def generated(self, attention: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Features from ``attention`` and ``noise`` alone."""
        with torch.no_grad():
            return self.cvae(None, attention, noise)[0]


def seen(run: Run, split: str = "test") -> Seen:
    """What the network of ``run`` sees in the clips of ``split``. Raises :class:`WrongWeights` for a run without a
    CVAE, and ``ValueError`` for a detector's."""
    cvae = read_cvae(run.folder)
    if not isinstance(cvae, CVAE):
        raise ValueError(f"{run.folder.name} is a detector, of several taps: ask kdlab.papers.generative.generation")
    net, clips = run.net(), batches(run.recipe, split)
    labels = np.array([record.label for record in clips.records])
    known, (features, attention) = tapped(net, batches(run.recipe, "train")), tapped(net, clips)
    ids = tuple(record.id for record in clips.records)
    return Seen(attending(net), cvae, features, attention, tuple(known), labels, ids, tuple(run.provenance["classes"]))


def told(its: Seen, seed: int = 0) -> pd.DataFrame:
    """A row for each of :data:`SHOWN`: ``explained``, R² in percent, and ``right``, of how many clips the last layers
    then give the right class, in percent. λ in the network's gate is that of which features are made; with the mean
    features it is the clip's own, so that the last row is what λ says without any of them."""
    noise, other = its.noise(seed), its.attention.roll(1, 0)  # every clip has the λ of the one before
    with torch.no_grad():
        rebuilt = its.cvae(its.features, its.attention, noise)[0]
    shown = [(its.features, its.attention), (rebuilt, its.attention),
             (its.generated(its.attention, noise), its.attention), (its.generated(other, noise), other),
             (its.mean, its.attention)]
    found = [(its.explained(made), 100 * (its.answers(made, attention).argmax(1) == its.labels).mean())
             for made, attention in shown]
    return pd.DataFrame(found, index=pd.Index(SHOWN, name="shown"), columns=["explained", "right"])


def below_the_gate(its: Seen) -> str:
    """R² rebuilt and generated, beside what the gate of the study asks of both (there with an interval over seeds)."""
    found = told(its).explained
    rebuilt, made = found[SHOWN[1]], found[SHOWN[2]]
    word = "not below" if min(rebuilt, made) >= ENOUGH else "below"
    return f"rebuilt {rebuilt:.1f} %, generated {made:.1f} %: {word} the {ENOUGH:g} % that the study's gate asks for"


def told_table(each: Mapping[str, Seen]) -> pd.DataFrame:
    """:func:`told` of several networks side by side, for people: title → what it sees."""
    columns = {f"{title}: {word}": told(its)[column] for title, its in each.items()
               for column, word in (("explained", "R², %"), ("right", "right, %"))}
    return pd.DataFrame(columns).rename_axis("its last layers are shown").reset_index()


def by_channels(its: Seen, counts: Sequence[int] | None = None, seed: int = 0) -> dict[int, float]:
    """R² in percent of features that are decoded from a code of which so many channels tell of the features, and all
    others only λ and noise: with 0 they are generated, with all C rebuilt. The channels that go first are those by
    which codes of training clips lie farthest from the prior, in nats.

    ``counts``: ascending, 0 to C; by default 0, 1, 2, 4 … C.
    """
    channels = its.attention.shape[1]
    if counts is None:
        counts = [0, *(2**k for k in range(channels.bit_length()) if 2**k < channels), channels]
    with torch.no_grad():
        mean, log_variance = its.cvae.encode(*its.known)
        apart = (mean - its.known[1]).square() + log_variance.exp() - log_variance - 1
        order = apart.mean((0, 2)).argsort(descending=True)
        mean, log_variance = its.cvae.encode(its.features, its.attention)
        noise, found = its.noise(seed), {}
        for count in counts:
            told_by = torch.zeros(channels, 1)
            told_by[order[:count]] = 1
            code = its.cvae.sample(torch.lerp(its.attention, mean, told_by), told_by * log_variance, noise)
            found[count] = its.explained(its.cvae.decode(code, its.attention))
    return found


def between(its: Seen, one: int, other: int, share: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features ``(1, C, T', h, w)`` generated from a λ ``(1, C, T')`` of which ``share`` in [0, 1] is that of the clip
    ``other`` and the rest that of ``one``; and this λ. The noise is that of ``one``, wherever λ goes."""
    if not 0 <= share <= 1:
        raise ValueError(f"share={share:g}: give 0 (all of the one clip's λ) to 1 (all of the other's)")
    attention = torch.lerp(its.attention[[one]], its.attention[[other]], float(share))
    return its.generated(attention, its.noise(seed)[[one]]), attention
