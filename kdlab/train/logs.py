"""What a training tells while it runs, where that is wanted: its epochs, to a logger of Lightning Fabric's.

``$KDLAB_LOGGER`` names it: ``tensorboard``, or ``module:function`` of yours, which takes the recipe and gives what has
``log_metrics(metrics, step)`` and ``finalize(status)``. ``history.csv`` is written with a logger or without. Epochs are
read from the checkpoints that a training leaves anyway: its loop knows of no logger, and no bit depends on one.
"""

import importlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from safetensors import safe_open

from kdlab import paths
from kdlab.system.launch import launched
from kdlab.train.recipe import Recipe


class LoggerError(ValueError):
    """A logger that is not installed, or that ``$KDLAB_LOGGER`` does not name."""


def tensorboard(recipe: Recipe):
    """Fabric's logger to ``runs/tensorboard/NAME``, in which a training that is resumed, or made again, begins anew."""
    from lightning_fabric.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(paths.runs_dir() / "tensorboard", "", recipe.name, purge_step=0, flush_secs=10)
    except ModuleNotFoundError as error:
        raise LoggerError("KDLAB_LOGGER=tensorboard, and TensorBoard is not installed: unset it, or "
                          "pip install 'kdlab[tensorboard]'") from error


def logger_of(recipe: Recipe):
    """The logger that ``$KDLAB_LOGGER`` names, made for ``recipe``; None where it is unset, and in all processes of one
    training but the first. Raises :class:`LoggerError`."""
    wanted = os.environ.get("KDLAB_LOGGER")
    if not wanted or launched().rank:
        return None
    if wanted == "tensorboard":
        return tensorboard(recipe)
    module, _, name = wanted.partition(":")
    try:
        logger = getattr(importlib.import_module(module), name)(recipe)
        if missing := [method for method in ("log_metrics", "finalize") if not hasattr(logger, method)]:
            raise TypeError(f"it gave a {type(logger).__name__} without {missing[0]}()")
    except Exception as error:  # somebody else's code
        raise LoggerError(f"KDLAB_LOGGER={wanted}: {type(error).__name__}: {error}; unset it, or give tensorboard, or "
                          "module:function of a module that can be imported (docs/ecosystem.md)") from error
    return logger


def logged(steps: Iterable[int], checkpoint: Path, logger, say: Callable[[str], object]) -> Iterator[int]:
    """``steps`` of a training that leaves ``checkpoint`` at the end of each epoch; ``logger``, if any, hears of each.

    One that fails is told once by ``say``, and the training goes on without it.
    """
    told, seen = 0, _written(checkpoint)  # what lies there now may be of another training

    def attempt(tell: Callable[[], object]) -> None:
        nonlocal logger
        try:
            tell()
        except Exception as error:  # a server that is gone, a full disk
            say(f"goes on without its logger: {type(error).__name__}: {error}")
            logger = None

    def tell_rows() -> None:
        nonlocal told
        for row in _rows(checkpoint)[told:]:
            metrics = {name: value for name, value in row.items() if name not in ("epoch", "step")}
            logger.log_metrics(metrics, step=row["step"])
            told += 1

    status = "aborted"
    try:
        for step in steps:
            yield step
            if logger is not None and (now := _written(checkpoint)) != seen:
                seen = now
                attempt(tell_rows)
        status = "success"
    finally:
        if logger is not None:
            attempt(lambda: logger.finalize(status))


def _written(checkpoint: Path) -> tuple[int, int]:
    """What is another whenever the checkpoint is written, which replaces the file."""
    found = checkpoint.stat() if checkpoint.exists() else None
    return (found.st_mtime_ns, found.st_ino) if found else (0, 0)


def _rows(checkpoint: Path) -> list[dict]:
    """The history in a checkpoint: of its header, no tensor is read."""
    with safe_open(checkpoint, "np") as file:
        return json.loads(file.metadata()["note"])["history"]
