"""All of kdlab's own studies as one schedule: every training, and each study as soon as its runs are there."""

from contextlib import suppress
from functools import partial

from kdlab import paths
from kdlab.studies import every
from kdlab.study import Study, load_rows
from kdlab.study.parts import seed_after_seed
from kdlab.study.register import Register
from kdlab.system.contents import one_look
from kdlab.system.engines import Engine
from kdlab.system.launch import device
from kdlab.system.processes import available_cores
from kdlab.train.many import Task, chains_first, in_order, keeping, refuse_at_home, scheduled
from kdlab.train.recipe import Recipe
from kdlab.train.runs import committed_runs, usable
from kdlab.train.status import Board, tally

#: CPU seconds of what a study does once its runs are there: a guess, for the time left.
EVALUATION = 600.0


def trained(study: Study, profile: str | None = None) -> list[Recipe]:
    """What ``study`` trains to the end, at its committed size or the one called ``profile``."""
    size = study.sized(profile) if profile else None
    return seed_after_seed([part for part in study.chosen(size) if part.to_the_end and not part.final])


def recorded_seconds() -> dict[str, float]:
    """Name of a run of today → the CPU seconds that its training took when what is committed was made. Clips that are
    not here have none."""
    known = {run.folder.name: run.provenance["cpu_seconds"] for run in committed_runs()}
    for study in every().values():
        with one_look(), suppress(FileNotFoundError):
            rows = load_rows(study.name).query("metric == 'cpu_seconds'").astype(str)
            seconds = rows.set_index(["data", "fold", "condition", "seed"]).value.to_dict()
            for part in study.chosen():
                for condition, recipe in ((c, recipe) for c, column in part.recipes.items() for recipe in column):
                    before = seconds.get((part.data, part.fold, condition, str(recipe.seed)))
                    with suppress(FileNotFoundError):
                        known |= {recipe.name: float(before)} if before else {}
    return known


def run_all(profile: str | None = None, *, workers: int | None = None, engine: Engine | None = None, say=print) -> None:
    """Run (or go on with) every study of kdlab's at its committed size, or the one called ``profile``; with an
    ``engine`` on other machines, the studies themselves, too.

    As :meth:`kdlab.study.Study.run` each refuses stale runs at its committed size, and claims that are not registered,
    and raises ``FileNotFoundError`` where real clips are missing: before anything is trained. Raises what
    :func:`kdlab.train.many.obtain_all` does. Trainings, shards and studies that are finished when it is interrupted are
    kept; nothing is trained for shards that are there, and those of the first seeds come first.
    """
    studies = every()
    for study in studies.values():
        for part in study.chosen(study.sized(profile) if profile else None):
            if part.real:
                paths.real_set(part.real)
        if not profile:  # before hours of trainings that its study would refuse
            Register().under(study, {part.data for part in study.chosen(None, 1)}, say)
    if not engine:
        device()  # refuses one that is not here
    how = dict(pretrained=False, stale="retrain" if profile else "refuse")
    by_seed = {name: shards for name, study in studies.items() if not profile and (shards := study.shards())}
    rounds: dict[int, list[Task]] = {}
    for name, shards in by_seed.items():
        for k in (k for k in range(shards.count) if shards.lacking(k)):
            recipes = tuple(seed_after_seed([part for part in shards.cut(k) if part.to_the_end]))
            task = Task(f"{name}, shard {k}", partial(_run, name, profile, k), recipes, EVALUATION / shards.count)
            rounds.setdefault(k, []).append(task)
    whole = [Task(name, partial(_run, name, profile), tuple(trained(study, profile)), EVALUATION)
             for name, study in studies.items() if name not in by_seed]
    rounds[max(rounds, default=0) + 1] = whole
    tasks = [task for k in sorted(rounds) for task in rounds[k]]
    order = in_order(recipe for task in tasks for recipe in task.recipes)
    with one_look():
        done = {r: run for r in order if (run := usable(r, **how, say=lambda _: None))}
    known, todo = recorded_seconds(), {}
    for k in sorted(rounds):  # so that shards of the first seeds are whole before others are begun
        some = in_order(recipe for task in rounds[k] for recipe in task.recipes)
        todo |= dict.fromkeys(chains_first([r for r in some if r not in done and r not in todo], rounds[k], known))
    todo = list(todo)
    if engine:
        refuse_at_home(todo)
    all_there_is = len(todo) + len(tasks)
    workers = max(1, min(workers or (all_there_is if engine else available_cores()), all_there_is))
    board = Board(order, done, workers, say, known=known, beside={t.name: t.seconds for t in tasks}, what="studies")

    def ended(task: Task, lines: list[str]) -> bool:
        board.say("\n".join([f"{task.name}: done", *lines]))
        return True

    with keeping(done, board, "; the same call goes on"):
        scheduled(todo, done, board, workers, how, engine=engine, tasks=tasks, ended=ended,
                  begun=lambda task: board.say(f"{task.name}: all of its runs are there"))
    for name, shards in by_seed.items():
        if len(shards.finished()) == shards.count:  # what is left is to put them together
            say("\n".join(_run(name, profile)))


def _run(name: str, profile: str | None, shard: int | None = None) -> list[str]:
    """What the study ``name``, or one ``shard`` of it, has to say, in a process of its own."""
    study, lines = every()[name], []
    if shard is not None:
        return [str(study.make_shard(study.shards(), shard, 1, lines.append))]
    if scores := study.run(study.sized(profile) if profile else None, workers=1, say=lines.append):
        lines.append(tally(scores.values()))
    return lines
