"""Sentences that a notebook has computed, shown as a list: *What it shows*; and numbers as they are printed there."""

from IPython.display import Markdown, display


def said(*sentences: str) -> None:
    """Display ``sentences``, Markdown, one line each; empty ones are left out."""
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences if sentence)))


def minus(text: object) -> str:
    """``text`` with minus signs where hyphens stood: of numbers and effects, not of words."""
    return str(text).replace("-", "−")
