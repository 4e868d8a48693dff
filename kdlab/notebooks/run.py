"""
Run one notebook headlessly, through papermill, and say truthfully how it ended.

papermill marks a cell `completed` when the kernel died in it or it ran out of time, and calls a notebook that left
through `sys.exit()` a success. So the judgement here rests on what the kernel itself replied, cell by cell.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kdlab import paths
from kdlab.files import StorageFull, sweep, write_atomically
from kdlab.notebooks.own_clips import why_not
from kdlab.notebooks.parameters import NotebookError, checked_parameters, effective_parameters, fingerprint, run_name
from kdlab.ours import may_write


@dataclass(frozen=True)
class Executed:
    """How a run ended: ``failure`` is ``None``, or names the cell and its error; ``output`` is the notebook on disk;
    ``stale`` are the lines in which its cells told of runs made by other sources or clips."""

    output: Path
    seconds: float
    failure: str | None = None
    stale: tuple[str, ...] = ()


class Interrupted(KeyboardInterrupt):
    """Ctrl-C (or SIGTERM) while a notebook ran; the message says where the partial notebook lies."""


def executed_dir() -> Path:
    """Where executed notebooks and their records go: ``notebooks/`` in the runs folder."""
    return paths.runs_dir() / "notebooks"


def read_record(file: Path) -> dict | None:
    """What was noted beside an executed notebook; ``None`` where nothing is, or nothing that can be read."""
    try:
        record = json.loads(file.read_text("utf-8"))
        times = [record[key] for key in ("started", "finished", "seconds")]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    whole = all(isinstance(value, (int, float)) for value in times) and isinstance(record.get("parameters"), dict)
    return record if whole and isinstance(record.get("stale", []), list) else None


def run_notebook(
    notebook: Path,
    given: dict[str, object],
    *,
    timeout: int | None = None,
    verbose: bool = False,
    say: Callable[[str], None] = lambda text: print(text, end="", flush=True),
) -> Executed:
    """
    Execute ``notebook`` with the parameters ``given`` (texts are read as the types of the defaults).

    While it runs, and after a failure, the notebook is ``<name>.partial.ipynb``; only one that ran to its end gets the
    name ``<name>.ipynb`` and beside it ``<name>.json``, the record that lets ``reproduce`` skip it. ``timeout`` is in
    seconds per cell; ``verbose`` passes on what cells print; ``say`` receives the progress, one line per cell.

    Before a kernel starts raises :class:`NotebookError` or ``FileNotFoundError`` when a parameter does not fit, or the
    clips in ``data`` (:func:`kdlab.notebooks.own_clips.why_not`), and
    :class:`kdlab.ours.NotOurs` when something else has one of those names; :class:`Interrupted` on Ctrl-C.
    """
    import nbformat

    checked = checked_parameters(notebook, given)
    effective = effective_parameters(notebook, checked)
    if effective.get("data") is not None and (why := why_not(notebook, effective)):
        raise NotebookError(f"{notebook.stem} does not take these clips: {why}")
    before = fingerprint(notebook, effective)
    final = executed_dir() / f"{run_name(notebook, effective)}.ipynb"
    partial, record = final.with_suffix(".partial.ipynb"), final.with_suffix(".json")

    started = time.time()
    watch = _Watch(say, verbose)
    with _writable(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        for file in (final, partial, record):
            may_write(file, is_executed, "executed notebook")
        sweep(final.parent, {final.name, partial.name, record.name}.__contains__)
        record.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
        say(f"{final.stem}\n")
        error = _execute(notebook, partial, checked, watch, timeout)
        seconds = time.time() - started
        failure = None
        if partial.exists():
            executed = nbformat.read(partial, as_version=4)
            failure = watch.judge(executed, error)
            write_atomically(partial, lambda path: nbformat.write(executed, path))
        elif error is not None:
            failure = f"it did not start: {error}"
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"interrupted: {failure}\nwhat it did so far: {partial}")
        if failure is not None:
            return Executed(partial, seconds, failure, tuple(watch.stale))
        partial.replace(final)
        times = {"started": started, "finished": started + seconds, "seconds": round(seconds, 1),
                 "stale": list(watch.stale)}
        write_atomically(record, lambda path: path.write_text(json.dumps(before | times, indent=1), "utf-8"))
    say(f"  done in {seconds:.1f} s: {final}\n")
    return Executed(final, seconds, None, tuple(watch.stale))


def is_executed(file: Path) -> bool:
    """Whether :func:`run_notebook` wrote ``file``: a notebook that went through papermill, or a record."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(content, dict):
        return False
    return "papermill" in content.get("metadata", {}) or content.keys() >= {"notebook", "parameters", "kdlab", "cells"}


class _Watch:
    """What the kernel replied so far, and the progress line of each cell."""

    def __init__(self, say: Callable[[str], None], verbose: bool):
        self.say = say
        self.verbose = verbose
        self.total = 0
        self.open: int | None = None  # the cell sent to the kernel and not (or not well) answered
        self.error: str | None = None
        self.answered: set[int] = set()
        self.began = 0.0
        self.stale: dict[str, None] = {}

    def start(self, notebook) -> None:
        self.total = len(notebook.cells)

    def sent(self, cell, cell_index: int) -> None:
        self.open, self.began = cell_index, time.monotonic()
        self.say(f"  cell {cell_index + 1}/{self.total}  {_first_line(cell):60}" + ("\n" if self.verbose else "  "))

    def replied(self, cell, cell_index: int, execute_reply: dict) -> None:
        reply = execute_reply["content"]
        self.say(f"{time.monotonic() - self.began:7.1f} s\n")
        for line in _stale_lines(cell):
            if line not in self.stale:
                self.stale[line] = None
                self.say("" if self.verbose else f"    {line}\n")
        if reply["status"] == "ok" or "raises-exception" in cell.metadata.get("tags", []):
            self.open = None
            self.answered.add(cell_index)
        else:
            self.error = f"{reply.get('ename', reply['status'])}: {reply.get('evalue', '')}"

    def judge(self, executed, error: BaseException | None) -> str | None:
        """The failure in words, or ``None``; mends papermill's marks in the notebook ``executed``, in place."""
        from nbformat.v4 import new_output
        from papermill.exceptions import PapermillExecutionError
        from papermill.execute import remove_error_markers

        executed = remove_error_markers(executed)  # its inserted cells would shift the numbers
        left = [i for i, cell in enumerate(executed.cells) if _runs(cell) and i not in self.answered]
        if not left and (error is None or isinstance(error, PapermillExecutionError)):
            return None  # papermill also raises for an error that its cell announces by the tag raises-exception
        for index in left:
            executed.cells[index].metadata.papermill.status = "pending"
        executed.metadata.papermill.exception = True
        if self.open is None:
            return f"between two cells: {_in_words(error)}"

        cell = executed.cells[self.open]
        cell.metadata.papermill.update(status="failed", exception=True)
        reason = self.error or _in_words(error)
        if self.error is None:
            self.say("\n")
            cell.outputs.append(new_output("error", ename=type(error).__name__, evalue=reason, traceback=[reason]))
        return f"cell {self.open + 1} of {len(executed.cells)} ({_first_line(cell)}): {reason}"


def _execute(notebook: Path, partial: Path, parameters: dict, watch: _Watch, timeout: int | None):
    """Hand the notebook to papermill; returns what was raised, or ``None``."""
    import papermill
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    # Deaths, timeouts and, after Ctrl-C, the abandoned cell are reported here too; the judgement tells them once.
    for name in ("papermill", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    managers = []

    class ThisInterpreter(AsyncKernelManager):
        """Starts this very Python; a kernel spec of that name may lead to another installation."""

        kernel_spec = KernelSpec(**get_kernel_dict(), env=_kernel_environment())

        def __init__(self, **settings):
            super().__init__(**settings)
            managers.append(self)

    try:
        papermill.execute_notebook(
            str(notebook),
            str(partial),
            parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=120,
            execution_timeout=timeout,
            cwd=str(notebook.parent),
            stdout_file=sys.stdout if watch.verbose else None,
            stderr_file=sys.stderr if watch.verbose else None,
            kernel_manager_class=ThisInterpreter,
            extra_arguments=["--log-level=CRITICAL"],  # a kernel stopped in a cell complains of its closed sockets
            on_notebook_start=watch.start,
            on_cell_execute=watch.sent,
            on_cell_executed=watch.replied,
        )
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            raise  # the notebook could not be written: no cell is to blame
        return error
    finally:
        for manager in managers:
            _end_group(getattr(manager.provisioner, "pgid", None))
    return None


def _kernel_environment() -> dict[str, str]:
    """Plain progress lines, and kdlab's places made absolute: the kernel works in the notebook's folder."""
    places = ("KDLAB_RUNS", "KDLAB_DATA", "KDLAB_CACHE", "KDLAB_FIGURES", "KDLAB_REAL_CLIPS")
    moved = {name: str(Path(os.environ[name]).expanduser().absolute()) for name in places if os.environ.get(name)}
    return {"KDLAB_HEADLESS": "1", **moved}


def _end_group(pgid: int | None) -> None:
    """End what a dead kernel left behind: the worker processes of its trainings, which share its process group."""
    if pgid and hasattr(os, "killpg") and pgid != os.getpgrp():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pgid, signal.SIGKILL)


def _runs(cell) -> bool:
    skipped = "skip-execution" in cell.metadata.get("tags", [])
    return cell.cell_type == "code" and bool(cell.source.strip()) and not skipped


def _first_line(cell) -> str:
    line = cell.source.strip().splitlines()[0]
    return line if len(line) <= 60 else f"{line[:57]}..."


def _stale_lines(cell) -> list[str]:
    """What ``kdlab.train.runs.obtain`` printed in a cell of runs that today's sources or clips would not give."""
    text = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    return [line.strip() for line in text.splitlines() if " STALE: " in line]


def _in_words(error: BaseException | None) -> str:
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    if isinstance(error, CellTimeoutError):
        return "it ran out of time; give more with --timeout SECONDS"
    if isinstance(error, DeadKernelError):
        return "the kernel died in it (out of memory, or a crash in native code)"
    if isinstance(error, KeyboardInterrupt):
        return "stopped by hand"
    return f"{type(error).__name__}: {error}" if error else "the kernel never answered it"


@contextlib.contextmanager
def _writable(folder: Path):
    try:
        yield
    except StorageFull:
        raise
    except OSError as error:  # NotOurs passes: it names file and mend itself
        raise NotebookError(
            f"cannot write executed notebooks into {folder}: {error.strerror or error}\n"
            "free some space, or name another folder with KDLAB_RUNS"
        ) from error
