"""Headless execution of the chapters by papermill: one chapter, or all in parallel, skipping finished ones."""

import contextlib
import hashlib
import json
import os
import time
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path

from kdlab.system import paths
from kdlab.system.files import read_json, text_hash
from kdlab.system.pool import available_cores, pool

_PLACES = ("KDLAB_RUNS", "KDLAB_DATA", "KDLAB_CACHE", "KDLAB_FIGURES", "KDLAB_REAL_CLIPS")
_PACKAGE = Path(__file__).parents[1]
#: Assumed duration in seconds of the reproduction of a chapter whose committed copy does not record one.
USUAL = 30
_FAR = " TOO FAR"


class NotebookFailed(ValueError):
    """A chapter that ended with an error; the message has the error and the path of the partial copy."""


def chapters() -> list[Path]:
    """The paths ``notebooks/NN_name.ipynb`` in order.

    Raises ``ValueError`` if there are none.
    """
    folder = paths.project_root() / "notebooks"
    numbered = sorted(
        path for path in folder.glob("[0-9][0-9]_*.ipynb") if "-Copy" not in path.name
    )
    if not numbered:
        raise ValueError(
            f"no notebooks in {folder}: `kdlab notebooks DIR` writes them into a folder; run kdlab there"
        )
    return numbered


def find(name: str) -> Path:
    """The path of a chapter, named as ``4``, ``04`` or ``04_dual_light_distillation``.

    Raises ``ValueError`` for an unknown name.
    """
    known = {path.stem: path for path in chapters()}
    wanted = Path(name).stem
    for stem, path in known.items():
        if wanted == stem or (wanted and wanted.zfill(2) == stem[:2]):
            return path
    raise ValueError(f"no notebook {name!r}; there are {', '.join(known)}")


def checked(notebook: Path, given: dict[str, object]) -> dict[str, object]:
    """The parameters ``given``, with the path ``data`` made absolute.

    Raises ``ValueError`` for a parameter that the notebook lacks, and ``FileNotFoundError`` for missing data.
    """
    known = _parameters(notebook)
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
    if data := given.get("data"):  # two folders may have one name
        words.append(text_hash(str(data), 4))
    return paths.runs_dir() / "notebooks" / f"{'-'.join([notebook.stem, *words])}.ipynb"


def made_by(notebook: Path, given: dict[str, object]) -> str:
    """A digest of everything that the outputs of ``notebook`` depend on.

    It covers cells, parameters, the committed evidence, and all modules of kdlab.
    """
    cells = read_json(notebook)["cells"]
    question = json.dumps([[cell["source"] for cell in cells], given], default=str)
    digest = hashlib.sha256(question.encode())
    for file in sorted([*_PACKAGE.rglob("*.py"), *paths.figures_dir().rglob("*.csv")]):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def run(notebook: Path, given: dict[str, object], *, timeout: int | None = None) -> Path:
    """Execute ``notebook`` with the parameters ``given`` and return the path of the copy.

    ``timeout`` is in seconds per cell. Raises ``ValueError`` for an unknown parameter, before a kernel starts. Raises
    :class:`NotebookFailed` if a cell raised, timed out or lost its kernel; the copy then ends in ``.partial.ipynb``.
    """
    import papermill

    given, began = checked(notebook, given), time.time()
    _set_places()
    final = executed(notebook, given)
    partial = final.with_suffix(".partial.ipynb")
    final.parent.mkdir(parents=True, exist_ok=True)
    final.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            notebook,
            partial,
            given,
            progress_bar=False,
            execution_timeout=timeout,
            start_timeout=120,
            cwd=notebook.parent,
            extra_arguments=["--log-level=CRITICAL"],
        )
    except Exception as error:
        raise NotebookFailed(
            f"{notebook.stem}: {_briefly(error)}; what it did so far: {partial}"
        ) from error
    page = read_json(partial)
    if line := _not_run(page):
        raise NotebookFailed(
            f"{notebook.stem}: its kernel died before it had run {line!r}; what it did so far: {partial}"
        )
    seconds = round(time.time() - began, 1)
    page["metadata"]["kdlab"] = {"made_by": made_by(notebook, given), "seconds": seconds}
    partial.write_text(json.dumps(page, indent=1), "utf-8")
    return partial.replace(final)


def _set_places() -> None:
    """Make the places of the environment absolute, since the kernel runs in another folder, and hide its bars, which
    would stay in the outputs."""
    for name in _PLACES:
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.path.expanduser(os.environ[name]))
    os.environ["KDLAB_HEADLESS"] = "quiet"


def _not_run(page: dict) -> str:
    """The first line of the first cell that was not run, or an empty text: papermill reports a cell as completed if its
    kernel died in it, or if it called ``sys.exit()``."""
    for cell in page["cells"]:
        code = "".join(cell["source"])
        if cell["cell_type"] == "code" and code.strip() and not cell["execution_count"]:
            return code.splitlines()[0]
    return ""


def _briefly(error: Exception) -> str:
    """The first two lines of a failed cell's error, as one. The partial copy has all lines and the traceback."""
    name = getattr(error, "ename", type(error).__name__)
    lines = str(getattr(error, "evalue", error)).split("\n")
    return f"{name}: {' '.join(' '.join(lines[:2]).split())}"


def reproduce(profile: str = "demo", say=print) -> dict[str, str]:
    """Execute all chapters, training from scratch, one per core in parallel; return chapter → outcome.

    Finished and unchanged chapters are skipped; delete ``runs/notebooks/`` to execute them again. After the first
    failure no further chapter starts; running ones finish, and then :class:`NotebookFailed` is raised.
    """
    outcomes, todo = {}, []
    for path in chapters():
        given = _known(path, profile=profile, pretrained=False)
        about = _about(executed(path, given))
        if about.get("made_by") == made_by(path, given):
            outcomes[path.stem] = f"skipped, finished in {about['seconds']:.0f} s"
        else:
            todo.append((_about(path).get("seconds", USUAL), path, given))
    todo.sort()
    workers = min(available_cores(), len(todo) or 1)
    cores, running, failed = available_cores() // workers, {}, None
    with pool(workers) as executor:
        while running or (todo and not failed):
            while todo and not failed and len(running) < workers:
                _, path, given = todo.pop()  # the longest one first, so the last ones are short
                running[executor.submit(_run_on, path, given, cores)] = path.stem
            for job in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(job)
                try:
                    outcomes[name] = f"done in {_about(job.result())['seconds']:.0f} s"
                    say(f"{name}: {outcomes[name]}")
                except NotebookFailed as error:
                    failed = failed or error
                except Exception as error:  # including a killed process
                    failed = failed or NotebookFailed(f"{name}: {error}")
    if failed:
        raise failed
    return outcomes


def _run_on(notebook: Path, given: dict[str, object], cores: int) -> Path:
    """:func:`run` in a worker process that may use ``cores`` cores."""
    os.environ["LOKY_MAX_CPU_COUNT"] = str(cores)
    return run(notebook, given)


def compared_with_pretrained() -> tuple[list[str], bool]:
    """Compare today's runs with the committed runs of the same recipes: one line per run, and whether all agree.

    The same clips, kind of CPU and versions give the same bits. Elsewhere rounding leads to other minima. Then the
    first ten losses must agree within 1e-2, and the mean difference in accuracy must be within 3 points (or three
    standard errors, if that is more).
    """
    import numpy as np

    from kdlab.train.runs import NoPredictions, Run, committed_runs

    lines, gaps = [], []
    for committed in committed_runs():
        name, their = committed.folder.name, committed.provenance
        run = Run(paths.runs_dir() / name)
        if not (run.folder / "run.json").is_file():
            continue
        own = run.provenance
        if own["weights"] == their["weights"]:
            lines.append(f"{name}: the same bits")
        elif own["needed"] != their["needed"]:
            lines.append(f"{name}: not judged, its teacher has other weights")
        else:
            apart = float(np.abs(np.subtract(own["first_losses"], their["first_losses"])).max())
            far = "" if apart <= 1e-2 else _FAR
            lines.append(f"{name}: other bits, first losses within {apart:.1g}{far}")
            with contextlib.suppress(NoPredictions):
                gaps.append(run.predictions().accuracy - committed.predictions().accuracy)
    gaps = np.array(gaps)[~np.isnan(gaps)]  # detectors have no accuracy
    if len(gaps):
        mean, allowed = gaps.mean(), max(3, 3 * gaps.std() / len(gaps) ** 0.5)
        far = "" if abs(mean) <= allowed else _FAR
        lines.append(f"accuracy, mean of {len(gaps)} runs: {mean:+.1f} points{far}")
    return lines, not any(line.endswith(_FAR) for line in lines)


def refresh(say=print) -> None:
    """Execute all chapters at demo size and copy their outputs into the committed chapters."""
    for path in chapters():
        final = run(path, _known(path, profile="demo"))
        trained = executed(path, _known(path, profile="demo", pretrained=False))
        copy, committed = (read_json(file) for file in (final, path))
        fresh = {cell["id"]: cell for cell in copy["cells"]}
        for cell in committed["cells"]:
            if cell["cell_type"] == "code":
                new = fresh[cell["id"]]
                cell |= {"outputs": new["outputs"], "execution_count": new["execution_count"]}
        # how long it trains decides the order of the next reproduction
        about = _about(final) | _about(path) | _about(trained)
        about["made_by"] = made_by(path, {})
        committed["metadata"]["kdlab"] = about
        path.write_text(json.dumps(committed, indent=1, ensure_ascii=False) + "\n", "utf-8")
        say(f"{path.stem}: refreshed")


def _known(notebook: Path, **wanted) -> dict[str, object]:
    known = _parameters(notebook)
    return {name: value for name, value in wanted.items() if name in known}


def _parameters(notebook: Path) -> dict:
    from papermill import inspect_notebook

    return inspect_notebook(notebook)


def stale() -> list[str]:
    """The chapters whose committed outputs were made by code or evidence other than the current."""
    return [path.stem for path in chapters() if _about(path).get("made_by") != made_by(path, {})]


def _about(notebook: Path) -> dict:
    if not notebook.is_file():
        return {}
    return read_json(notebook)["metadata"].get("kdlab", {})
