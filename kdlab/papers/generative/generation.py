"""Does the generative model generate? How much of a network's features its CVAE rebuilds and makes from λ alone.

The yardstick is the mean features of the training clips, for each channel, time and place: what everybody gets who
knows nothing of the clip. GenKD's claims are read only where a CVAE does better on clips that nothing has learnt from,
and worse with the λ of another clip (docs/methods.md, 2.1).
"""

import numpy as np
import torch

from kdlab.clips.views import ClipBatches
from kdlab.layers import outputs
from kdlab.measure.paired import Effect, effect
from kdlab.papers.generative.method import attending
from kdlab.papers.generative.nets import CVAEs, read_cvae
from kdlab.train.runs import Run, batches

#: The ways to make features: from features and λ; from λ alone; and as these with the λ of another clip.
WAYS = ("rebuilt", "generated", "rebuilt, λ exchanged", "generated, λ exchanged")
#: What a generative model must explain of its features' variance, in percent, rebuilt and generated.
ENOUGH = 10.0


def explained(run: Run, split: str = "test") -> dict[str, np.ndarray]:
    """Way → what each clip of ``split`` adds to R², ``(N,)``, in percent: the mean over clips is R², of which 0 is the
    training clips' mean. Of a detector with several taps their mean. As in training, the prior is drawn: λ and noise.
    """
    cvae = read_cvae(run.folder)
    cvaes = list(cvae) if isinstance(cvae, CVAEs) else [cvae]
    net, seen = run.net(), {}
    half = len(attending(net).taps) // 2
    for name in ("train", split):
        seen[name] = _tapped(net, batches(run.recipe, name))
    noise = torch.Generator().manual_seed(run.recipe.seed)
    each = []
    for tap, its in enumerate(cvaes):
        known, features, attention = (some[place] for some, place in
                                      ((seen["train"], tap), (seen[split], tap), (seen[split], half + tap)))
        other = attention.roll(1, 0)  # every clip has the λ of the one before
        with torch.no_grad():
            made = [way(its, features, some, torch.randn(some.shape, generator=noise))
                    for some in (attention, other) for way in (_rebuilt, _generated)]
        blind = _squared(known.mean(0), features)
        each.append([(blind - _squared(one, features)) / blind.mean() for one in made])
    return {way: 100 * np.mean(column, 0) for way, column in zip(WAYS, zip(*each, strict=True), strict=True)}


def _tapped(net: torch.nn.Module, clips: ClipBatches) -> list[torch.Tensor]:
    """Features and attention of all clips, tap by tap."""
    names, found = attending(net).taps, []
    with torch.no_grad():
        for batch in clips.evaluation():
            seen = outputs(net, batch.views["student"], names).taps
            found.append([seen[name] for name in names])
    return [torch.cat(column) for column in zip(*found, strict=True)]


def _rebuilt(cvae, features, attention, noise):
    return cvae(features, attention, noise)[0]


def _generated(cvae, features, attention, noise):
    return cvae.decode(cvae.sample(attention, torch.zeros_like(attention), noise), attention)


def _squared(made: torch.Tensor, features: torch.Tensor) -> np.ndarray:
    return (made - features).square().flatten(1).mean(1).double().numpy()


def effects(runs: list[Run], split: str = "test") -> dict[str, Effect]:
    """R² in percent of each of :data:`WAYS`, a run a seed, with intervals over seeds and clips; and what exchanging λ
    costs, ``rebuilt − exchanged`` and ``generated − exchanged``."""
    found = [explained(run, split) for run in runs]
    values = {way: np.stack([one[way] for one in found]) / 100 for way in WAYS}
    units = np.array([record.group for record in batches(runs[0].recipe, split).records])
    said = {way: effect(its, np.zeros_like(its), units) for way, its in values.items()}
    for way in WAYS[:2]:
        said[f"{way} − exchanged"] = effect(values[way], values[f"{way}, λ exchanged"], units)
    return said


def gate(found: dict[str, Effect]) -> str:
    """Why the model of :func:`effects` does not generate, or ``''``."""
    for way in WAYS[:2]:
        if not (found[way].mean >= ENOUGH and found[way].low > 0):
            return f"features {way} explain {found[way]} % of the variance, not {ENOUGH:g} with an interval above 0"
        if not (gain := found[f"{way} − exchanged"]).low > 0:
            return f"features {way} are no worse with the λ of another clip ({gain} points)"
    return ""
