"""Sentences that a notebook has computed, shown as a list: *What it shows*."""

from IPython.display import Markdown, display


def said(*sentences: str) -> None:
    """Display ``sentences``, Markdown, one line each; empty ones are left out."""
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences if sentence)))
