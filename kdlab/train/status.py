"""How far many trainings are, read from their folders so that another terminal can ask; how many were ever tried."""

import contextlib
import json
import os
import re
import time
from collections.abc import Container, Iterable, Mapping
from datetime import datetime, timedelta

import pandas as pd
from safetensors import SafetensorError, safe_open
from tqdm.auto import tqdm

from kdlab import paths
from kdlab.system.contents import one_look
from kdlab.system.ours import begins_with, may_write
from kdlab.system.processes import is_held, locked
from kdlab.system.progress import headless
from kdlab.train.recipe import Recipe, portable

#: The list in ``runs/`` of all trainings ever begun, which ``kdlab clean`` keeps.
TRIED = "tried.csv"
_TRIED_HEAD = "time,sources,data,run"
STATES = ("done", "running", "left")
#: What reading a missing or damaged checkpoint raises; it counts as none.
_UNREADABLE = (OSError, SafetensorError, ValueError, TypeError, KeyError)


def standings(recipes: Iterable[Recipe], done: Mapping, names: Mapping | None = None,
              known: Mapping[str, float] | None = None, kept: Container[Recipe] = ()) -> pd.DataFrame:
    """One row a training: its condition and data, seed, ``state`` (done, running, left), and the CPU ``seconds`` that a
    ``share`` of its epochs has taken. ``done`` is recipe → finished run; the others are as far as their last checkpoint
    and running where a process, whichever, holds their lock. ``names`` (recipe → name) saves asking for them again;
    ``known`` (name → CPU seconds) tells what trainings of these names took elsewhere or before. Those that are ``kept``
    need no run: what they said is there."""
    rows = []
    with one_look():
        names = names or {recipe: recipe.name for recipe in recipes}
    for recipe, name in names.items():
        folder, share, seconds = paths.runs_dir() / name, 0.0, 0.0
        if recipe in done:
            state, share, seconds = "done", 1.0, done[recipe].provenance["cpu_seconds"]
        elif recipe in kept:
            state, share, seconds = "done", 1.0, float("nan")
        else:
            with contextlib.suppress(*_UNREADABLE), safe_open(folder / "checkpoint.safetensors", "np") as file:
                note = json.loads(file.metadata()["note"])  # of the header; no tensor is read
                share, seconds = len(note["history"]) / recipe.settings.epochs, float(note["cpu_seconds"])
            state = "running" if is_held(folder.with_name(f"{name}.lock")) else "left"
        kind = recipe.condition, recipe.data, recipe.net, recipe.settings  # what those have in common that take as long
        before = (known or {}).get(name, float("nan"))
        rows.append((_stem(name), recipe.seed, state, share, seconds, recipe.settings.epochs, kind, before))
    return pd.DataFrame(rows, columns=["training", "seed", "state", "share", "seconds", "epochs", "kind", "known"])


def _stem(name: str) -> str:
    """Condition and data: ``dlkdd-night`` of ``dlkdd-night-s3-7f3a2c``; also of names from before they were cleaned."""
    return portable(name.rpartition("-s")[0])


def whole_seconds(found: pd.DataFrame) -> pd.Series:
    """CPU seconds of each training from its beginning to its end; NaN when nothing has been trained yet.

    A training takes as long as the mean of those that differ from it only in seed and teacher; where there are none,
    each of its epochs takes as long as those of the same condition, or of all.
    """
    whole = (found.seconds / found.share.where(found.share > 0)).fillna(found.known)
    alike, epoch = whole.groupby(found.kind, sort=False).transform("mean"), whole / found.epochs
    same = epoch.groupby(found.kind.str[0], sort=False).transform("mean")
    return alike.fillna(found.epochs * same.fillna(epoch.mean()))


def seconds_left(found: pd.DataFrame) -> float:
    """CPU seconds that the unfinished trainings will take, by :func:`whole_seconds`."""
    some = found.share < 1
    return float(((1 - found.share) * whole_seconds(found))[some].sum(skipna=False))


def table(found: pd.DataFrame, ending: str) -> str:
    """One line a condition, and the total with ``ending``."""
    counts = pd.crosstab(found.training, found.state).reindex(found.training.unique(), columns=STATES, fill_value=0)
    now = found[found.state == "running"].groupby("training").apply(
        lambda group: ", ".join(f"seed {r.seed}: {r.share:.0%}" for r in group.itertuples()))
    rows = [(*row, now.get(row[0], "")) for row in counts.itertuples()]
    rows = [("", *STATES, ""), *rows, ("total", *counts.sum(), ending)]
    width = max(len(name) for name, *_ in rows)
    return "\n".join(f"{name:{width}}{done:>7}{running:>9}{left:>7}   {now}".rstrip() for name, done, running, left, now
                     in rows)


class Board:
    """How far ``recipes`` are while ``workers`` train them: the caller fills ``done`` and calls ``show``.

    In a terminal and in a notebook it is a bar, elsewhere a line about every 30 seconds. ``known`` as in
    :func:`standings`. ``beside`` (name → CPU seconds it will about take) is what else the workers do, called ``what``:
    the caller takes out what has ended.
    """

    def __init__(self, recipes: Iterable[Recipe], done: Mapping, workers: int, say, *,
                 known: Mapping[str, float] | None = None, beside: Mapping[str, float] | None = None, what: str = ""):
        self.recipes, self.done, self.workers, self.passed_on = recipes, done, workers, say
        self.known, self.beside, self.what = known, beside or {}, what
        self.total, self.whole = len(self.beside), sum(self.beside.values())
        self.began = self.printed = time.monotonic()
        self.first: tuple[float, float] | None = None
        with one_look():
            self.names = {recipe: recipe.name for recipe in recipes}
        self.before = standings(recipes, done, self.names, known).seconds.sum()
        self.bar = tqdm(total=len(recipes), desc="trainings", leave=False, disable=headless(),
                        bar_format="{desc}: {bar:20} {n}/{total}{postfix}")

    def say(self, line: str) -> None:
        """Pass ``line`` on, above the bar."""
        self.bar.clear()
        self.passed_on(line)
        self.show()

    def show(self) -> None:
        """Draw it anew, or print a line when it is time for one."""
        if headless() and time.monotonic() < self.printed + 30:
            return
        found = standings(self.recipes, self.done, self.names, self.known)
        now, other = time.monotonic(), sum(self.beside.values())
        spent = found.seconds.sum() - self.before + self.whole - other
        if spent > 0 and not self.first:
            self.first = now, spent
        since, before = self.first or (now, spent)
        # CPU seconds a second, from when the first were seen: what came before, such as opening clips and starting
        # processes, comes once. It begins as if all workers had been busy for 20 seconds.
        left = (seconds_left(found) + other) * (now - since + 20) / (spent - before + 20 * self.workers)
        so_far, counts = timedelta(seconds=round(now - self.began)), found.state.value_counts()
        ending = f"{so_far} so far, {time_left(left)}"
        if self.what:
            ending = f"{self.total - len(self.beside)} of {self.total} {self.what}, {ending}"
        if headless():
            self.printed = time.monotonic()
            print("trainings:", *(f"{counts.get(state, 0)} {state}," for state in STATES), ending, flush=True)
        else:
            self.bar.n = counts.get("done", 0)
            self.bar.set_postfix_str(f"{counts.get('running', 0)} running, {ending}")


def time_left(left: float) -> str:
    """``about 0:12:05 left``, of seconds."""
    return "unknown time left" if left != left else f"about {timedelta(seconds=round(left))} left"


# --- trainings ever tried --------------------------------------------------------------------------------------


def note_trial(name: str, identity: Mapping) -> None:
    """Add the run ``name``, which begins or goes on now, to ``runs/tried.csv``, where it stays when its folder goes.

    Raises :class:`kdlab.system.ours.NotOurs` where that file is somebody else's.
    """
    listed = paths.runs_dir() / TRIED
    may_write(listed, lambda file: not file.stat().st_size or begins_with(file, _TRIED_HEAD), "list of trainings")
    # Trainings begin side by side: without the lock two of them find no head yet, and both write one.
    with locked(f"{listed}.lock"), open(listed, "a+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        torn = "\n" if file.read(1) not in (b"", b"\n") else ""  # a process was killed in the middle of its line
        head = "" if end else f"{_TRIED_HEAD}\n"
        line = f"{datetime.now():%Y-%m-%d %H:%M:%S},{identity['sources']},{identity['data']},{name}\n"
        file.write((torn + head + line).encode())


def tried(names: Iterable[str]) -> int:
    """How many trainings with the conditions and data of the runs ``names``, of any size and seed, were ever begun
    here, whatever became of them. Begun again by the same sources from the same clips, one counts once. Lines of the
    list that cannot be read are left out."""
    listed, stems = paths.runs_dir() / TRIED, {_stem(name) for name in names}
    lines = listed.read_bytes().decode("utf-8", "replace").splitlines() if listed.is_file() else []
    begun = {cells[1:] for cells in (tuple(line.split(",", 3)) for line in lines) if len(cells) == 4}
    runs = {note.parent.name for note in paths.runs_dir().glob("*/begun.json")} - {name for *_, name in begun}
    begun |= {("", "", name) for name in runs}  # those from before there was a list
    return sum(_stem(name) in stems for *_, name in begun)


def tally(scores: Iterable) -> str:
    """The sentence below the verdicts of a study, computed from its :class:`kdlab.study.Scores`."""
    # A name may hold a + of its own, but no run's ends before its digits.
    names = {part for s in scores for column in s.recipes.values() for name in column
             for part in re.findall(r"(.+?-s\d+-[0-9a-f]{6,})(?:\+|$)", name) or [name]}
    return (f"{len(names)} trainings are in this table. In this runs folder {tried(names)} trainings of its conditions "
            "were ever begun, at any size; a committed table may come from another machine")
