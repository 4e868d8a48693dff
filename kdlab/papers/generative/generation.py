"""Does the generative model generate? How much of a network's features its CVAE rebuilds and makes from λ alone.

The yardstick is the mean features of the training clips, for each channel, time and place: what everybody gets who
knows nothing of the clip. A CVAE generates where it does better on clips that nothing has learnt from, and worse with
the λ of another clip (docs/methods.md, 2).
"""

from dataclasses import replace

import numpy as np
import torch

from kdlab.clips.windows import ClipBatches
from kdlab.layers import outputs
from kdlab.papers.generative.method import attending
from kdlab.papers.generative.nets import CVAEs, read_cvae
from kdlab.train.runs import Run, batches

#: The ways to make features: from features and λ; from λ alone; and as these with the λ of another clip.
WAYS = ("rebuilt", "generated", "rebuilt, another clip's λ", "generated, another clip's λ")


def explained(run: Run, split: str = "test", data=None) -> dict[str, float]:
    """R² in percent of features made in each of :data:`WAYS`, on the clips of ``split`` (of other ``data``): 0 is the
    training clips' mean, 100 the features themselves. Of a detector with several taps their mean. As in training, the
    prior is drawn: λ and noise.
    """
    cvae = read_cvae(run.folder)
    cvaes = list(cvae) if isinstance(cvae, CVAEs) else [cvae]
    net, half = run.net(), len(cvaes)
    known = tapped(net, batches(run.recipe, "train"))
    seen = tapped(net, batches(replace(run.recipe, data=data or run.recipe.data), split))
    noise, table = torch.Generator().manual_seed(run.recipe.seed), []
    for tap, its in enumerate(cvaes):
        features, attention = seen[tap], seen[half + tap]
        blind = (known[tap].mean(0) - features).double().square().mean()
        ways = [(given, some) for some in (attention, attention.roll(1, 0)) for given in (features, None)]
        with torch.no_grad():
            made = [its(given, some, torch.randn(some.shape, generator=noise))[0] for given, some in ways]
        table.append([100 * float(1 - (one - features).double().square().mean() / blind) for one in made])
    return dict(zip(WAYS, np.mean(table, 0).tolist(), strict=True))


def tapped(net: torch.nn.Module, clips: ClipBatches) -> list[torch.Tensor]:
    """Features and attention of all clips, tap by tap."""
    names, found = attending(net).taps, []
    with torch.no_grad():
        for batch in clips.evaluation():
            seen = outputs(net, batch.views["student"], names).taps
            found.append([seen[name] for name in names])
    return [torch.cat(column) for column in zip(*found, strict=True)]
