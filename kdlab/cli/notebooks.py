"""Headless execution of the chapters by papermill: one chapter, or all in parallel, skipping finished ones."""

import ast
import contextlib
import hashlib
import json
import os
import re
import time
from concurrent.futures import FIRST_COMPLETED, wait
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

from kdlab.system import paths
from kdlab.system.pool import available_cores, pool

_PLACES = ("KDLAB_RUNS", "KDLAB_DATA", "KDLAB_CACHE", "KDLAB_FIGURES", "KDLAB_REAL_CLIPS")
_PACKAGE = Path(__file__).parents[1]
#: Assumed duration in seconds of the reproduction of a chapter whose committed copy does not record one.
USUAL = 30


class NotebookFailed(ValueError):
    """A chapter that ended with an error; the message has the error and the path of the partial copy."""


def chapters() -> list[Path]:
    """The paths ``notebooks/NN_name.ipynb`` in order.

    Raises ``ValueError`` if there are none.
    """
    folder = paths.project_root() / "notebooks"
    found = [path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")) if "-Copy" not in path.stem]
    if not found:
        raise ValueError(
            f"no notebooks in {folder}: `kdlab notebooks DIR` writes them into a folder; run kdlab there"
        )
    return found


def find(name: str) -> Path:
    """The path of a chapter, named as ``3``, ``03`` or ``03_dual_light_distillation``.

    Raises ``ValueError`` for an unknown name.
    """
    known = {path.stem: path for path in chapters()}
    wanted = Path(name).stem
    for stem, path in known.items():
        if wanted == stem or wanted.zfill(2) == stem[:2]:
            return path
    raise ValueError(f"no notebook {name!r}; there are {', '.join(known)}")


def checked(notebook: Path, given: dict[str, object]) -> dict[str, object]:
    """The parameters ``given``, with the path ``data`` made absolute.

    Raises ``ValueError`` for a parameter that the notebook lacks, and ``FileNotFoundError`` for missing data.
    """
    from papermill import inspect_notebook

    known = inspect_notebook(str(notebook))
    if unknown := given.keys() - known.keys():
        raise ValueError(
            f"{notebook.stem} has no parameter {min(unknown)!r}; it has {', '.join(known) or 'none'}"
        )
    if given.get("data") is not None:
        place = Path(os.path.expanduser(str(given["data"]))).absolute()
        if not place.exists():
            raise FileNotFoundError(
                f"no such data: {place}; give a folder with one folder a class, or a CSV table"
            )
        given = given | {"data": str(place)}
    return given


def executed(notebook: Path, given: dict[str, object]) -> Path:
    """The path in ``runs/notebooks/`` of the ``notebook`` executed with the parameters ``given``."""
    words = [f"{name}={Path(str(value)).name}" for name, value in given.items()]
    return paths.runs_dir() / "notebooks" / f"{'-'.join([notebook.stem, *words])}.ipynb"


def made_by(notebook: Path, given: dict[str, object]) -> str:
    """A digest of everything that the outputs of ``notebook`` depend on.

    It covers cells, parameters, the committed evidence, and the modules of kdlab that the cells import, directly or
    indirectly.
    """
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    todo = _imported(re.sub(r"^[%!].*", "", code, flags=re.MULTILINE))
    files = set(paths.figures_dir().rglob("*.csv"))
    while todo:
        files.add(file := todo.pop())
        todo |= _imports_of(file) - files
    digest = hashlib.sha256(
        json.dumps([[cell["source"] for cell in cells], given], default=str).encode()
    )
    for file in sorted(files):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


@cache
def _imports_of(file: Path) -> set[Path]:
    return _imported(
        file.read_text("utf-8"), ".".join(file.relative_to(_PACKAGE.parent).parts[:-1])
    )


def _imported(code: str, package: str = "") -> set[Path]:
    """The files of kdlab's modules that ``code`` in ``package`` imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    bases = [
        _PACKAGE.parent.joinpath(*name.split("."))
        for name in names
        if name.split(".")[0] == "kdlab"
    ]
    return {
        file
        for base in bases
        for file in (base.with_suffix(".py"), base / "__init__.py")
        if file.is_file()
    }


def run(
    notebook: Path, given: dict[str, object], *, timeout: int | None = None, verbose: bool = False
) -> Path:
    """Execute ``notebook`` with the parameters ``given`` and return the path of the copy.

    ``timeout`` is in seconds per cell. Raises ``ValueError`` for an unknown parameter, before a kernel starts. Raises
    :class:`NotebookFailed` if a cell raised, timed out or lost its kernel; the copy then ends in ``.partial.ipynb``.
    """
    import papermill

    given, began = checked(notebook, given), time.time()
    for name in (
        name for name in _PLACES if os.environ.get(name)
    ):  # the kernel runs in another folder
        os.environ[name] = os.path.abspath(os.path.expanduser(os.environ[name]))
    os.environ["KDLAB_HEADLESS"] = "1"
    final = executed(notebook, given)
    partial = final.with_suffix(".partial.ipynb")
    final.parent.mkdir(parents=True, exist_ok=True)
    final.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            str(notebook),
            str(partial),
            given,
            log_output=verbose,
            progress_bar=False,
            execution_timeout=timeout,
            start_timeout=120,
            cwd=str(notebook.parent),
            extra_arguments=["--log-level=CRITICAL"],
        )
    except Exception as error:
        raise NotebookFailed(
            f"{notebook.stem}: {_briefly(error)}; what it did so far: {partial}"
        ) from error
    page = json.loads(partial.read_text("utf-8"))
    # papermill reports a cell as completed if its kernel died in it, or if it called sys.exit()
    for cell in page["cells"]:
        if (
            cell["cell_type"] == "code"
            and "".join(cell["source"]).strip()
            and not cell["execution_count"]
        ):
            first = "".join(cell["source"]).splitlines()[0]
            raise NotebookFailed(
                f"{notebook.stem}: its kernel died before it had run {first!r}; what it did so far: "
                f"{partial}"
            )
    page["metadata"]["kdlab"] = {
        "made_by": made_by(notebook, given),
        "seconds": round(time.time() - began, 1),
    }
    partial.write_text(json.dumps(page, indent=1), "utf-8")
    return partial.replace(final)


def _briefly(error: Exception) -> str:
    """The first two lines of a failed cell's error, as one. The partial copy has all lines and the traceback."""
    name = getattr(error, "ename", type(error).__name__)
    lines = str(getattr(error, "evalue", error)).split("\n")
    return f"{name}: {' '.join(' '.join(lines[:2]).split())}"


def reproduce(
    profile: str = "demo", *, again: bool = False, timeout: int | None = None, say=print
) -> dict[str, str]:
    """Execute all chapters, training from scratch, one per core in parallel; return chapter → outcome.

    Finished and unchanged chapters are skipped, unless ``again``. After the first failure no further chapter starts;
    running ones finish, and then :class:`NotebookFailed` is raised.
    """
    plan = {path: _known(path, {"profile": profile, "pretrained": False}) for path in chapters()}
    ended = {path.stem: "not run" for path in plan}
    todo = []
    for path, given in plan.items():
        if (
            not again
            and (about := _about(executed(path, given)))
            and about.get("made_by") == made_by(path, given)
        ):
            ended[path.stem] = f"skipped, finished in {about['seconds']:.0f} s (--again runs it)"
        else:
            todo.append(path)
    todo.sort(
        key=lambda path: -_about(path).get("seconds", USUAL)
    )  # longest first, so the last ones are short
    workers = min(available_cores(), len(todo) or 1)
    cores, running, failed = max(1, available_cores() // workers), {}, []
    with pool(workers) as executor:
        while running or (todo and not failed):
            while todo and not failed and len(running) < workers:
                path = todo.pop(0)
                running[executor.submit(_run_on, path, plan[path], timeout, cores)] = path
            for job in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(job).stem
                try:
                    ended[name] = f"done in {_about(job.result())['seconds']:.0f} s"
                    say(f"{name}: {ended[name]}")
                except Exception as error:  # including a killed process
                    failed.append(
                        error
                        if isinstance(error, NotebookFailed)
                        else NotebookFailed(f"{name}: {error}")
                    )
    if failed:
        raise failed[0]
    return ended


def _run_on(notebook: Path, given: dict[str, object], timeout: int | None, cores: int) -> Path:
    """:func:`run` in a worker process that may use ``cores`` cores."""
    os.environ["LOKY_MAX_CPU_COUNT"] = str(cores)
    return run(notebook, given, timeout=timeout)


def compared_with_pretrained() -> tuple[list[str], bool]:
    """Compare today's runs with the committed runs of the same recipes: one line per run, and whether all agree.

    The same clips, kind of CPU and versions give the same bits. Elsewhere rounding leads to other minima. Then the
    first ten losses must agree within 1e-2, and the mean difference in accuracy must be within 3 points (or three
    standard errors, if that is more).
    """
    import numpy as np

    from kdlab.train.runs import NoPredictions, Run, committed_runs

    lines, gaps, good = [], [], True
    for committed in committed_runs():
        folder = paths.runs_dir() / committed.folder.name
        if not (folder / "run.json").is_file():
            continue
        own, their = Run(folder).provenance, committed.provenance
        if own["weights"] == their["weights"]:
            lines.append(f"{folder.name}: the same bits")
        elif own["needed"] != their["needed"]:
            lines.append(f"{folder.name}: not judged, its teacher has other weights")
        else:
            apart = float(np.abs(np.subtract(own["first_losses"], their["first_losses"])).max())
            good &= apart <= 1e-2
            lines.append(
                f"{folder.name}: other bits, first losses within {apart:.1g}{' TOO FAR' * (apart > 1e-2)}"
            )
            with contextlib.suppress(NoPredictions):
                gaps.append(Run(folder).predictions().accuracy - committed.predictions().accuracy)
    if gaps := [gap for gap in gaps if not np.isnan(gap)]:  # detectors have no accuracy
        far = abs(np.mean(gaps)) > max(3, 3 * np.std(gaps) / len(gaps) ** 0.5)
        lines.append(
            f"accuracy, mean of {len(gaps)} runs: {np.mean(gaps):+.1f} points{' TOO FAR' * bool(far)}"
        )
        good &= not far
    return lines, good


def refresh(say=print) -> None:
    """Execute all chapters at demo size and copy their outputs into the committed chapters."""
    for path in chapters():
        final = run(path, _known(path, {"profile": "demo"}))
        copy, committed = (json.loads(file.read_text("utf-8")) for file in (final, path))
        cells = [
            c for c in copy["cells"] if "injected-parameters" not in c["metadata"].get("tags", [])
        ]
        for cell, made in zip(committed["cells"], cells, strict=True):
            if cell["cell_type"] == "code":
                cell |= {"outputs": made["outputs"], "execution_count": made["execution_count"]}
        # how long it trains decides the order of the next reproduction
        trained = _about(
            executed(path, _known(path, {"profile": "demo", "pretrained": False}))
        ) or _about(path)
        seconds = trained.get("seconds", copy["metadata"]["kdlab"]["seconds"])
        committed["metadata"]["kdlab"] = {"made_by": made_by(path, {}), "seconds": seconds}
        path.write_text(json.dumps(committed, indent=1, ensure_ascii=False) + "\n", "utf-8")
        say(f"{path.stem}: refreshed")


def _known(notebook: Path, wanted: dict[str, object]) -> dict[str, object]:
    from papermill import inspect_notebook

    known = inspect_notebook(str(notebook))
    return {name: value for name, value in wanted.items() if name in known}


def stale() -> list[str]:
    """The chapters whose committed outputs were made by code or evidence other than the current."""
    return [path.stem for path in chapters() if _about(path).get("made_by") != made_by(path, {})]


def _about(notebook: Path) -> dict:
    if not notebook.is_file():
        return {}
    return json.loads(notebook.read_text("utf-8"))["metadata"].get("kdlab", {})
