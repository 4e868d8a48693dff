"""A study in a Python file of somebody's: ``kdlab study my_study.py``."""

import importlib
import os
import sys
from dataclasses import replace
from pathlib import Path

from kdlab.study.study import Study


def study_in(file: Path) -> Study:
    """The study in the Python file ``file``, whose folder (of a package: the one in which the package lies) is added to
    ``sys.path``, so that the processes that train find its classes, too. Raises ``ValueError`` in one sentence where
    there is none, or cannot be. Its evidence lies in ``$KDLAB_FIGURES`` where it is ``committed`` and that is set."""
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file; name one with a kdlab.study.Study in it")
    file = file.resolve()
    name = file.stem
    if not name.isidentifier() or name in sys.stdlib_module_names:
        raise ValueError(f"{file} cannot be imported by the name {name!r}: give it another, of letters, digits and _")
    place = file.parent
    while (place / "__init__.py").is_file():
        name, place = f"{place.name}.{name}", place.parent
    sys.path.insert(0, str(place))
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise ValueError(f"{file} cannot be read as Python ({type(error).__name__}: {error}): mend it") from error
    if Path(module.__file__ or "").resolve() != file:
        raise ValueError(f"{file} has the name of another module, {module.__file__}: give it another name")
    studies = list({id(its): its for its in vars(module).values() if isinstance(its, Study)}.values())
    if len(studies) != 1:
        raise ValueError(f"{file} has {len(studies) or 'no'} Study{' objects' * bool(studies)}, where one is wanted: "
                         'end it with study = Study("its_name", parts), as `python -m pydoc kdlab.study` shows')
    return replace(studies[0], committed=studies[0].committed and "KDLAB_FIGURES" in os.environ)
