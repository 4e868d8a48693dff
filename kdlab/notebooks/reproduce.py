"""All notebooks, each only once: what was finished by the same sources stays finished.

What they train is known before the first begins (:mod:`kdlab.notebooks.trainings`): on several cores all of it is one
schedule, and each notebook is executed beside it as soon as its runs are there; on one, one notebook follows the other.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kdlab.notebooks import parameters
from kdlab.notebooks.own_clips import why_not
from kdlab.notebooks.run import Executed, executed_file, read_record, run_notebook, say_at_once
from kdlab.notebooks.trainings import SCOREBOARD, trainings
from kdlab.system.contents import one_look
from kdlab.system.launch import device, launched
from kdlab.system.processes import available_cores
from kdlab.train.many import Task, TrainingFailed, chains_first, in_order, keeping, scheduled
from kdlab.train.recipe import Recipe
from kdlab.train.runs import committed_runs, find, usable
from kdlab.train.status import Board

#: How notebooks train here: from nothing, and what today's sources and clips give.
FROM_NOTHING = dict(pretrained=False, stale="retrain")
#: Seconds that a notebook takes beside its trainings, where neither a record nor its committed copy tells.
USUAL = 30.0


@dataclass(frozen=True)
class Chapter:
    """A ``notebook`` with its checked parameters, and the ``recipes`` whose runs it reads; ``None`` where these are not
    known, and it reads what any notebook before it leaves."""

    notebook: Path
    given: dict[str, object]
    recipes: tuple[Recipe, ...] | None

    @property
    def stem(self) -> str:
        return self.notebook.stem


def reproduce(profile: str = "demo", data: str | None = None, *, again: bool = False, timeout: int | None = None,
              verbose: bool = False, say: Callable[[str], None] = say_at_once) -> list[Executed]:
    """Execute every notebook, training from nothing (``pretrained=False`` where there is that parameter).

    A notebook is skipped when its record says that the same cells, parameters, data and kdlab sources ran to the end
    after the runs it reads were finished (of a notebook that is not kdlab's: after every notebook before it); ``again``
    skips none. Nothing is begun after the first failure. All parameters are checked before the first kernel starts, and
    ``say`` hears which notebooks take ``data`` and why the others, which keep kdlab's own clips, do not.
    """
    chapters = _chapters(_plan(profile, data, say))
    how = dict(timeout=timeout, verbose=verbose)
    if any(chapter.recipes for chapter in chapters) and available_cores() > 1 and launched().world == 1:
        unknown = [chapter.stem for chapter in chapters if chapter.recipes is None]
        if not unknown:
            return _beside_trainings(chapters, again, how, say)
        say(f"one notebook after the other, because kdlab does not know what these train: {', '.join(unknown)}\n")
    return _one_by_one(chapters, again, how, say)


def _plan(profile: str, data: str | None, say: Callable[[str], None]) -> list[tuple[Path, dict[str, object]]]:
    plan, refused = [], {}
    for notebook in parameters.all_notebooks():
        wanted = {"profile": profile, "data": data, "pretrained": False}
        declared = parameters.declared_parameters(notebook)
        given = {name: value for name, value in wanted.items() if name in declared and value is not None}
        given = parameters.checked_parameters(notebook, given)
        if data is not None and (why := why_not(notebook, parameters.effective_parameters(notebook, given))):
            refused[notebook] = why
            given.pop("data", None)
        plan.append((notebook, given))
    if data is not None:
        yours = [parameters.number_of(notebook) for notebook, given in plan if "data" in given]
        say(f"on your clips: {' '.join(yours) or 'none'}; on kdlab's own: "
            f"{' '.join(map(parameters.number_of, refused)) or 'none'}\n")
        for notebook, why in refused.items():
            say(f"  {notebook.stem}: {why}\n")
    return plan


def _chapters(plan: Iterable[tuple[Path, dict[str, object]]]) -> list[Chapter]:
    """With what they train; of clips that cannot be trained on, the notebooks themselves will tell."""
    chapters = []
    with one_look():
        for notebook, given in plan:
            try:
                recipes = trainings(notebook, parameters.effective_parameters(notebook, given))
                for recipe in in_order(recipes or ()):
                    recipe.digest()  # looks for the clips
            except (ValueError, OSError):
                recipes = None
            if notebook.stem == SCOREBOARD and recipes is not None:
                if any(chapter.recipes is None for chapter in chapters):
                    recipes = None
                else:
                    recipes = tuple(in_order([*(r for chapter in chapters for r in chapter.recipes), *recipes]))
            chapters.append(Chapter(notebook, given, recipes))
    return chapters


# --- one after the other ---------------------------------------------------------------------------------------


def _one_by_one(chapters: list[Chapter], again: bool, how: dict, say: Callable[[str], None]) -> list[Executed]:
    steps: list[Executed] = []
    finished_before = 0.0
    for chapter in chapters:
        if steps and steps[-1].status in ("failed", "not run"):
            steps.append(Executed(chapter.stem, "not run"))
            continue
        record = None if again else _record(chapter, finished_before)
        if record:
            steps.append(_skipped(chapter, record, say))
            finished_before = max(finished_before, record["finished"])
            continue
        steps.append(run_notebook(chapter.notebook, chapter.given, **how, say=say))
        finished_before = time.time()
    return steps


def finished_record(notebook: Path, given: dict[str, object]) -> dict | None:
    """The record of a finished run of this very notebook with these (checked) parameters, or ``None``."""
    effective = parameters.effective_parameters(notebook, given)
    final = executed_file(notebook, effective)
    record = read_record(final.with_suffix(".json"))
    same = record is not None and parameters.fingerprint(notebook, effective).items() <= record.items()
    return record if same and final.exists() else None


def _record(chapter: Chapter, finished_before: float = 0.0) -> dict | None:
    """:func:`finished_record`, if that run read what is there now."""
    record = finished_record(chapter.notebook, chapter.given)
    if record is None or (chapter.recipes is None and record["started"] < finished_before):
        return None
    for recipe in in_order(chapter.recipes or ()):
        run = find(recipe, pretrained=True)
        if run is None or (run.folder / "run.json").stat().st_mtime > record["finished"]:
            return None
    return record


def _skipped(chapter: Chapter, record: dict, say: Callable[[str], None]) -> Executed:
    ago = _ago(record["finished"])
    say(f"{chapter.stem}: skipped, finished {ago} by the same sources (--again runs it)\n")
    return Executed(chapter.stem, "skipped", record["seconds"], stale=tuple(record.get("stale", ())))


# --- beside their trainings ------------------------------------------------------------------------------------


def _beside_trainings(chapters: list[Chapter], again: bool, how: dict, say: Callable[[str], None]) -> list[Executed]:
    device()  # refuses one that is not here
    order = in_order(recipe for chapter in chapters for recipe in chapter.recipes)
    told = lambda line: say(f"{line}\n") if how["verbose"] or ": STALE: " in line else None  # noqa: E731
    steps, tasks = {}, []
    with one_look():
        done = {r: run for r in order if (run := usable(r, **FROM_NOTHING, say=told))}
        for chapter in chapters:
            there = set(done).issuperset(in_order(chapter.recipes))
            if record := _record(chapter) if there and not again else None:
                steps[chapter.stem] = _skipped(chapter, record, say)
            else:
                tasks.append(_task(chapter, how))
    todo = [recipe for recipe in order if recipe not in done]
    known = {run.folder.name: run.provenance["cpu_seconds"] for run in committed_runs()}
    todo, workers = chains_first(todo, tasks, known), min(available_cores(), len(todo) + len(tasks))
    board = Board(order, done, max(1, workers), told, known=known, beside={t.name: t.seconds for t in tasks},
                  what="notebooks")

    def above(text: str) -> None:
        board.bar.clear()
        say(text)
        board.show()

    if todo:
        say(f"{len(todo)} trainings for {len(tasks)} notebooks, on {workers} cores\n")

    def ended(task: Task, step: Executed) -> bool:
        steps[task.name] = step
        stale = "" if how["verbose"] else "".join(f"    {line}\n" for line in step.stale)
        above(f"{task.name}: {step.status} in {step.seconds:.1f} s: {step.output}\n{stale}")
        return step.status == "done"

    failure = ""
    with keeping(done, board, ", and so is every finished notebook"):
        try:
            if tasks or todo:
                scheduled(todo, done, board, workers, FROM_NOTHING, tasks=tasks, ended=ended,
                          begun=lambda task: above(f"{task.name}: begun\n"))
        except TrainingFailed as error:
            failure = f"{error}"
            above(f"failed: {failure}\n")
    for task in (task for task in tasks if task.name not in steps):
        waits = failure and any(failure.startswith(f"{recipe.name}:") for recipe in in_order(task.recipes))
        steps[task.name] = Executed(task.name, "not run", failure=f"not run, it needs {failure}" if waits else None)
    return [steps[chapter.stem] for chapter in chapters]


def _task(chapter: Chapter, how: dict) -> Task:
    effective = parameters.effective_parameters(chapter.notebook, chapter.given)
    before = read_record(executed_file(chapter.notebook, effective).with_suffix(".json"))
    usual = json.loads(chapter.notebook.read_text("utf-8"))["metadata"].get("kdlab", {}).get("seconds", USUAL)
    work = partial(run_notebook, chapter.notebook, chapter.given, **how, say=say_at_once if how["verbose"] else _silent)
    return Task(chapter.stem, work, chapter.recipes, before["seconds"] if before else usual)


def _silent(text: str) -> None:
    pass


# --- the closing table -----------------------------------------------------------------------------------------


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
