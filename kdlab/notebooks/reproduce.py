"""All notebooks in order, each only once: what was finished by the same sources stays finished."""

import time
from collections.abc import Callable
from pathlib import Path

from kdlab.notebooks import parameters
from kdlab.notebooks.run import Executed, executed_file, read_record, run_notebook, say_at_once


def reproduce(profile: str = "demo", data: str | None = None, *, again: bool = False, timeout: int | None = None,
              verbose: bool = False, say: Callable[[str], None] = say_at_once) -> list[Executed]:
    """Execute every notebook in order, training from nothing (``pretrained=False`` where there is that parameter).

    A notebook is skipped when its record says that the same cells, parameters, data and kdlab sources ran to the end,
    after every notebook before it had (later notebooks read what earlier ones leave); ``again`` skips none. Stops at
    the first failure. All parameters are checked before the first kernel starts.
    """
    plan = []
    for notebook in parameters.all_notebooks():
        wanted = {"profile": profile, "data": data, "pretrained": False}
        declared = parameters.declared_parameters(notebook)
        given = {name: value for name, value in wanted.items() if name in declared and value is not None}
        plan.append((notebook, parameters.checked_parameters(notebook, given)))
    if data is not None:
        yours, ours = ([notebook.stem[:2] for notebook, given in plan if ("data" in given) is takes]
                       for takes in (True, False))
        say(f"on your clips: {' '.join(yours) or 'none'}; on kdlab's own: {' '.join(ours) or 'none'}\n")

    steps: list[Executed] = []
    finished_before = 0.0
    for notebook, given in plan:
        if steps and steps[-1].status in ("failed", "not run"):
            steps.append(Executed(notebook.stem, "not run"))
            continue
        record = None if again else finished_record(notebook, given)
        if record and record["started"] >= finished_before:
            ago = _ago(record["finished"])
            say(f"{notebook.stem}: skipped, finished {ago} by the same sources (--again runs it)\n")
            steps.append(Executed(notebook.stem, "skipped", record["seconds"], stale=tuple(record.get("stale", ()))))
            finished_before = record["finished"]
            continue
        steps.append(run_notebook(notebook, given, timeout=timeout, verbose=verbose, say=say))
        finished_before = time.time()
    return steps


def finished_record(notebook: Path, given: dict[str, object]) -> dict | None:
    """The record of a finished run of this very notebook with these (checked) parameters, or ``None``."""
    effective = parameters.effective_parameters(notebook, given)
    final = executed_file(notebook, effective)
    record = read_record(final.with_suffix(".json"))
    same = record is not None and parameters.fingerprint(notebook, effective).items() <= record.items()
    return record if same and final.exists() else None


def summary(steps: list[Executed]) -> str:
    """The closing table, and what was stale; the seconds of a skipped notebook are those of the run that made it."""
    run_now = sum(step.seconds for step in steps if step.status in ("done", "failed"))
    rows = [("notebook", "status", "seconds")]
    rows += [(step.notebook, step.status, f"{step.seconds:.1f}" if step.seconds else "") for step in steps]
    rows += [("this time", "", f"{run_now:.1f}")]
    width = max(len(name) for name, *_ in rows)
    stale = dict.fromkeys(line for step in steps for line in step.stale)
    return "\n".join([*(f"{name:{width}}  {status:8} {seconds:>8}" for name, status, seconds in rows),
                      *(["", "not of today's sources or clips:"] if stale else []), *stale])


def _ago(moment: float) -> str:
    minutes = (time.time() - moment) / 60
    return "just now" if minutes < 1 else f"{minutes:.0f} min ago" if minutes < 120 else f"{minutes / 60:.0f} h ago"
