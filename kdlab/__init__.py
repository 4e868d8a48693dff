"""kdlab: a notebook-first research kit for knowledge distillation in video action recognition."""

__version__ = "0.1.0"
