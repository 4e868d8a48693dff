"""What several answers are computed from: committed predictions, and the clip that notebook 00 looks at."""

from collections.abc import Callable, Sequence

#: A reference for code of the reader's, and the arguments to try both with.
Trial = tuple[Callable, Sequence[tuple]]


def scores(name: str):
    """The committed :class:`kdlab.study.Scores` of ``study-data``; raises ``FileNotFoundError``."""
    from kdlab.study import load_scores  # late: who answers with a letter need not wait for torch

    return load_scores(name)


def jump():
    """The clip of notebook 00 in memory, a :class:`kdlab.night.Clip`: a test clip of Jump, index 0."""
    from kdlab.night import Night, render_clip

    return render_clip(Night(), split="test", class_name="Jump", index=0)
