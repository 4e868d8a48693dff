"""A notebook once for each of several values, and in one table what the runs returned (:mod:`.results`)."""

import ast
import csv
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdlab.notebooks.parameters import NotebookError, effective_parameters, run_name
from kdlab.notebooks.results import kept
from kdlab.notebooks.run import Executed, executed_dir, ready, run_notebook, say_at_once
from kdlab.system.files import write_atomically
from kdlab.system.ours import begins_with, may_write

#: The first columns of a table, by which kdlab knows its own.
_FIRST = ("notebook", "status")


@dataclass(frozen=True)
class Swept:
    """How the runs ended, by their values as text; ``table`` is the CSV, ``shown`` its lines for a terminal."""

    executed: dict[str, Executed]
    table: Path
    shown: str


def separate(text: str) -> list[str]:
    """``0,1,2`` as three texts; a comma inside of quotes or brackets separates nothing, and quotes go."""
    if "," not in text:
        return [text]
    try:
        found = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # words that are not Python
        return next(csv.reader([text], skipinitialspace=True))
    parts = found.elts if isinstance(found, ast.Tuple) else [found]
    return [part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else
            ast.get_source_segment(text.strip(), part) for part in parts]


def product(choices: dict[str, list[str]]) -> list[dict[str, str]]:
    """Every choice of one value for each name, the last name's values changing first."""
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def sweep(notebook: Path, each: Sequence[dict[str, object]], *, timeout: int | None = None, verbose: bool = False,
          say: Callable[[str], None] = say_at_once) -> Swept:
    """Execute ``notebook`` with each of these parameters in turn, as :func:`~kdlab.notebooks.run.run_notebook` does.

    The table lies beside the executed notebooks and is written anew after each run; one that fails does not stop the
    others. What a notebook returned by the name of one of the table's own columns is left out: the executed notebook
    has it. Raises what ``run_notebook`` raises for any of the parameters before the first kernel starts.
    """
    checked = [ready(notebook, given)[0] for given in each]
    checked = [given for k, given in enumerate(checked) if given not in checked[:k]]
    changing = [name for name in checked[0] if any(given[name] != checked[0][name] for given in checked)]
    if not changing:
        raise NotebookError(f"these {len(each)} runs of {notebook.stem} are the same one: give different values")
    fixed = {name: value for name, value in checked[0].items() if name not in changing}
    executed_dir().mkdir(parents=True, exist_ok=True)
    table = executed_dir() / f"{run_name(notebook, effective_parameters(notebook, fixed))}-by-{'-'.join(changing)}.csv"
    may_write(table, is_swept, "table of runs")
    executed, rows = {}, []
    for number, given in enumerate(checked, 1):
        values = {name: given[name] for name in changing}
        words = ", ".join(f"{name}={value}" for name, value in values.items())
        say(f"{number}/{len(checked)}: {words}\n")
        ended = executed[words] = run_notebook(notebook, given, timeout=timeout, verbose=verbose, say=say)
        own = {"notebook": notebook.stem, "status": ended.status, **values}
        rows.append(own | {name: value for name, value in _returned(ended).items() if name not in own})
        shown = _write(table, rows)
    return Swept(executed, table, shown)


def is_swept(table: Path) -> bool:
    """Whether :func:`sweep` wrote ``table``."""
    return begins_with(table, f"{','.join(_FIRST)},", within=len(",".join(_FIRST)) + 1)


def _returned(ended: Executed) -> dict[str, object]:
    """Nothing of a run that failed: what it kept before is in its notebook."""
    import nbformat

    return {} if ended.failure else kept(nbformat.read(ended.output, as_version=4))


def _write(table: Path, rows: list[dict[str, object]]) -> str:
    import pandas as pd

    frame = pd.DataFrame(rows).convert_dtypes()  # whole numbers stay whole beside a run that returned none
    write_atomically(table, lambda path: frame.to_csv(path, index=False))
    return frame.drop(columns="notebook").to_string(index=False, na_rep="")
