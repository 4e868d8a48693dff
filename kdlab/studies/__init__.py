"""One module per committed study: what it runs, and the verdicts computed from it."""

from importlib import import_module
from pkgutil import iter_modules

__all__ = ["compared", "every"]


def every() -> dict:
    """kdlab's own studies by name: the :class:`kdlab.study.Study` called ``study`` in each module here that has one."""
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    return {module.study.name: module.study for module in modules if hasattr(module, "study")}


def compared() -> list[str]:
    """Your numbers beside the committed ones, a line for each condition of each study that has runs of demo size."""
    return [line for study in every().values() for line in study.compared()]
