"""
Run one notebook headlessly, with papermill's parameters and nbclient's kernel, and say truthfully how it ended.

papermill's own loop marks a cell `completed` when the kernel died in it or it ran out of time, and calls a notebook
that left through `sys.exit()` a success. The loop here takes nbclient at its word: a cell that raises has failed.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kdlab import paths
from kdlab.notebooks.own_clips import why_not
from kdlab.notebooks.parameters import NotebookError, checked_parameters, effective_parameters, fingerprint, run_name
from kdlab.system.files import StorageFull, sweep, write_atomically
from kdlab.system.ours import may_write
from kdlab.system.processes import is_held, locked


@dataclass(frozen=True)
class Executed:
    """How ``notebook`` ended: ``status`` is done, skipped, failed or not run; ``failure`` names the cell and its error;
    ``output`` is the notebook on disk; ``stale`` are the lines in which its cells told of runs made by other sources or
    clips."""

    notebook: str
    status: str
    seconds: float = 0.0
    failure: str | None = None
    output: Path | None = None
    stale: tuple[str, ...] = ()


class Interrupted(KeyboardInterrupt):
    """Ctrl-C (or SIGTERM) while a notebook ran; the message says where the partial notebook lies."""


def say_at_once(text: str) -> None:
    """Print ``text``, which ends its line itself."""
    print(text, end="", flush=True)


def executed_dir() -> Path:
    """Where executed notebooks and their records go: ``notebooks/`` in the runs folder."""
    return paths.runs_dir() / "notebooks"


def executed_file(notebook: Path, effective: dict[str, object]) -> Path:
    """The executed ``notebook`` with the parameters ``effective``; its record lies beside it, as ``.json``."""
    return executed_dir() / f"{run_name(notebook, effective)}.ipynb"


def read_record(file: Path) -> dict | None:
    """What was noted beside an executed notebook; ``None`` where nothing is, or nothing that can be read."""
    try:
        record = json.loads(file.read_text("utf-8"))
        times = [record[key] for key in ("started", "finished", "seconds")]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    whole = all(isinstance(value, (int, float)) for value in times) and isinstance(record.get("parameters"), dict)
    return record if whole and isinstance(record.get("stale", []), list) else None


def run_notebook(notebook: Path, given: dict[str, object], *, timeout: int | None = None, verbose: bool = False,
                 say: Callable[[str], None] = say_at_once) -> Executed:
    """Execute ``notebook`` with the parameters ``given`` (texts are read as the types of the defaults).

    While it runs, and after a failure, the notebook is ``<name>.partial.ipynb``; only one that ran to its end gets the
    name ``<name>.ipynb`` and beside it ``<name>.json``, the record that lets ``reproduce`` skip it. ``timeout`` is in
    seconds per cell; ``verbose`` passes on what cells print; ``say`` receives the progress, one line per cell. A
    process that executes the same notebook with the same parameters is waited for.

    Before a kernel starts raises :class:`NotebookError` or ``FileNotFoundError`` when a parameter does not fit, or the
    clips in ``data`` (:func:`kdlab.notebooks.own_clips.why_not`), and
    :class:`kdlab.system.ours.NotOurs` when something else has one of those names; :class:`Interrupted` on Ctrl-C.
    """
    checked, effective = ready(notebook, given)
    final = executed_file(notebook, effective)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFull(f"cannot write into {final.parent}: {error.strerror}; name another folder with KDLAB_RUNS"
                          ) from None
    lock = Path(f"{final}.lock")
    if is_held(lock):
        say(f"{final.stem}: another process executes it; this one waits for its end\n")
    with locked(lock):  # two would write the same files, and one could call the other's half-done notebook finished
        return _run(notebook, checked, effective, final, timeout, verbose, say)


def _run(notebook: Path, checked: dict[str, object], effective: dict[str, object], final: Path, timeout: int | None,
         verbose: bool, say: Callable[[str], None]) -> Executed:
    """:func:`run_notebook`, by whoever holds the lock of ``final``."""
    before = fingerprint(notebook, effective)
    partial, record = final.with_suffix(".partial.ipynb"), final.with_suffix(".json")
    started, stale = time.time(), {}
    for file in (final, partial, record):
        may_write(file, is_executed, "executed notebook")
    sweep(final.parent, {final.name, partial.name, record.name}.__contains__)
    record.unlink(missing_ok=True)
    say(f"{final.stem}\n")
    failure = _execute(notebook, checked, partial, stale, timeout, verbose, say)
    seconds = time.time() - started
    if failure:
        return Executed(notebook.stem, "failed", seconds, failure, partial, tuple(stale))
    partial.replace(final)
    times = {"started": started, "finished": started + seconds, "seconds": round(seconds, 1), "stale": list(stale)}
    write_atomically(record, lambda path: path.write_text(json.dumps(before | times, indent=1), "utf-8"))
    say(f"  done in {seconds:.1f} s: {final}\n")
    return Executed(notebook.stem, "done", seconds, None, final, tuple(stale))


def ready(notebook: Path, given: dict[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """``given`` as checked, and every parameter that ``notebook`` runs with; raises what :func:`run_notebook` does."""
    checked = checked_parameters(notebook, given)
    effective = effective_parameters(notebook, checked)
    if effective.get("data") is not None and (why := why_not(notebook, effective)):
        raise NotebookError(f"{notebook.stem} does not take these clips: {why}")
    return checked, effective


def is_executed(file: Path) -> bool:
    """Whether :func:`run_notebook` wrote ``file``: a notebook that went through papermill, or a record."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(content, dict):
        return False
    return "papermill" in content.get("metadata", {}) or content.keys() >= {"notebook", "parameters", "kdlab", "cells"}


def _execute(notebook: Path, parameters: dict, partial: Path, stale: dict[str, None], timeout: int | None,
             verbose: bool, say: Callable[[str], None]) -> str | None:
    """Run the cells in order and write ``partial`` after each; the failure in words, if there is one.

    A cell's ``metadata.papermill.status`` is ``pending``, ``completed`` or ``failed``. Lines of stale runs are put into
    ``stale``. Raises ``OSError`` where nothing can be written, :class:`Interrupted`.
    """
    import nbformat
    from nbclient.exceptions import CellExecutionError
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    page = load_notebook_node(str(notebook))
    if parameters:
        page = parameterize_notebook(page, parameters, kernel_name="python3", language="python")
    for cell in page.cells:
        cell.metadata["papermill"] = {"status": "pending"}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    write = lambda: write_atomically(partial, lambda path: nbformat.write(page, path))  # noqa: E731
    write()
    at = "before its first cell"
    try:
        with _kernel(page, notebook.parent, timeout, verbose) as client:
            for number, cell in enumerate(page.cells):
                if cell.cell_type != "code" or not cell.source.strip():
                    continue
                first = cell.source.strip().splitlines()[0]
                first = first if len(first) <= 60 else f"{first[:57]}..."
                at, began = f"cell {number + 1} of {len(page.cells)} ({first})", time.monotonic()
                say(f"  cell {number + 1}/{len(page.cells)}  {first:60}" + ("\n" if verbose else "  "))
                client.execute_cell(cell, number)
                say(f"{time.monotonic() - began:7.1f} s\n")
                cell.metadata.papermill.status = "completed"
                new = [line for line in _stale_lines(cell) if line not in stale]
                stale |= dict.fromkeys(new)
                if not verbose:
                    say("".join(f"    {line}\n" for line in new))
                write()
            client.set_widgets_metadata()
            write()
        return None
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            raise  # the notebook could not be written: no cell is to blame
        say("\n")
        reason = _in_words(error)
        if at.startswith("cell"):
            cell.metadata.papermill.status = "failed"
            stale |= dict.fromkeys(_stale_lines(cell))
            if not isinstance(error, CellExecutionError):
                content = dict(ename=type(error).__name__, evalue=reason, traceback=[reason])
                cell.outputs.append(nbformat.v4.new_output("error", **content))
            write()
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"interrupted: {at}: {reason}\nwhat it did so far: {partial}") from None
        return f"{at}: {reason}"


@contextlib.contextmanager
def _kernel(page, folder: Path, timeout: int | None, verbose: bool):
    """nbclient's client of a new kernel that works in ``folder``; the kernel's process group ends with it."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class ThisInterpreter(AsyncKernelManager):
        """Starts this very Python; a kernel spec of that name may lead to another installation."""

        kernel_spec = KernelSpec(**get_kernel_dict(), env=_kernel_environment())

    class Client(NotebookClient):
        def output(self, *arguments):
            shown = super().output(*arguments)
            if verbose and shown and shown.output_type == "stream":
                print(shown.text, end="", flush=True, file=sys.stderr if shown.name == "stderr" else sys.stdout)
            return shown

    # Deaths, timeouts and, after Ctrl-C, the abandoned cell are reported here too; the failure tells them once.
    for name in ("traitlets", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    quiet = ["--log-level=CRITICAL"]  # a kernel stopped in a cell complains of its closed sockets
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as sockets:
        manager = ThisInterpreter(**_transport(Path(sockets)))
        client = Client(page, manager, timeout=timeout, startup_timeout=120, raise_on_iopub_timeout=True,
                        extra_arguments=quiet)
        try:
            with client.setup_kernel(cwd=str(folder), cleanup_kc=True):
                yield client
        finally:
            # What a dead kernel left behind, such as the workers of its trainings, shares its process group.
            group = getattr(manager.provisioner, "pgid", None)
            if group and hasattr(os, "killpg") and group != os.getpgrp():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)


def _transport(sockets: Path) -> dict[str, str]:
    """How a kernel is spoken to: through files in a folder of its own, where there are such sockets. The TCP ports that
    jupyter_client chooses are free until the kernel takes them: another that begins meanwhile can be given the same."""
    file = sockets / "kernel.json"
    if os.name != "posix" or len(os.fsencode(file)) > 90:  # macOS has names of up to 103 bytes for them
        return {}
    return {"transport": "ipc", "connection_file": str(file)}


def _kernel_environment() -> dict[str, str]:
    """Plain progress lines, and kdlab's places made absolute: the kernel works in the notebook's folder."""
    places = [name for name in ("KDLAB_RUNS", "KDLAB_DATA", "KDLAB_CACHE", "KDLAB_FIGURES", "KDLAB_REAL_CLIPS")
              if os.environ.get(name)]
    return {name: str(Path(os.environ[name]).expanduser().absolute()) for name in places} | {"KDLAB_HEADLESS": "1"}


def _stale_lines(cell) -> list[str]:
    """What ``kdlab.train.runs.obtain`` printed in a cell of runs that today's sources or clips would not give."""
    text = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if " STALE: " in line))


def _in_words(error: BaseException) -> str:
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    known = {CellTimeoutError: "it ran out of time; give more with --timeout SECONDS",
             DeadKernelError: "the kernel died in it (out of memory, or a crash in native code)",
             KeyboardInterrupt: "stopped by hand"}
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    return known.get(type(error), f"{type(error).__name__}: {error}")
