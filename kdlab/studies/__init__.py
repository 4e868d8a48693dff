"""Studies that cross papers, a module each; those of one paper lie in its folder."""

import sys
from importlib import import_module
from pkgutil import iter_modules

from kdlab.papers import dual_light, generative, progressive
from kdlab.study import Study

__all__ = ["compared", "every"]

PAPERS = (dual_light, generative, progressive)


def every() -> dict:
    """kdlab's own studies by name: the :class:`kdlab.study.Study` called ``study`` in each module that has one, of the
    papers' folders and of this one."""
    modules = (import_module(f"{place.__name__}.{module.name}") for place in (*PAPERS, sys.modules[__name__])
               for module in iter_modules(place.__path__))
    studies = (getattr(module, "study", None) for module in modules)
    return {study.name: study for study in studies if isinstance(study, Study)}


def compared() -> list[str]:
    """Your numbers beside the committed ones, a line for each condition of each study that has runs of demo size."""
    return [line for study in every().values() for line in study.compared()]
