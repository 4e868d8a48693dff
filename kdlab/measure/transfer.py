"""A network on clips of another world, which may have fewer classes: logits are narrowed to those that are there."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kdlab.clips.user_clips import UserClips
from kdlab.night import Night
from kdlab.train.loop import predict
from kdlab.train.preparing import batches
from kdlab.train.runs import Run


def logits_on(run: Run, data: Night | UserClips, split: str = "test", among: Sequence[str] = ()) -> np.ndarray:
    """What a trained network says of the clips of ``split`` of other ``data``: logits ``(N, K)`` of its own classes,
    or of those ``among`` them that can be right, in that order. Raises ``ValueError`` naming a class ``among`` which
    the network does not know."""
    test = batches(replace(run.recipe, data=data), split, {"student": run.recipe.view})
    logits = predict(run.net(), test.evaluation(), "student")[0].numpy()
    return narrowed(logits, run.provenance["classes"], among) if among else logits


def narrowed(logits: np.ndarray, classes: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """``logits (N, K)`` of ``classes`` as ``(N, len(wanted))``: only the classes that can be right, in that order.

    Raises ``ValueError`` naming a wanted class the network was not trained on.
    """
    if unknown := [name for name in wanted if name not in classes]:
        raise ValueError(f"the network does not know {', '.join(unknown)}; it was trained on {', '.join(classes)}")
    return logits[..., [list(classes).index(name) for name in wanted]]
