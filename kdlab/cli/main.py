"""The command line. Heavy imports stay inside the commands, so that ``kdlab --help`` answers at once."""

import errno
import importlib
import os
import re
import signal
import sys
import traceback
from pathlib import Path

import click

from kdlab import __version__
from kdlab.cli.claims import claims
from kdlab.cli.data import data
from kdlab.cli.engine import chosen, engine_options
from kdlab.cli.paper import paper
from kdlab.cli.teaching import exercises, site, slides, student
from kdlab.system.ranks import alone

_TIMEOUT = click.option("--timeout", type=click.IntRange(1), metavar="SECONDS", help="Of each cell; default: none.")
_VERBOSE = click.option("--verbose", is_flag=True, help="Pass on what the cells print.")
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kdlab")
def cli():
    """Knowledge distillation in video action recognition, notebook first."""


cli.add_command(claims)
cli.add_command(data)
cli.add_command(paper)
for command in (exercises, student, slides, site):
    cli.add_command(command)


@cli.command()
def doctor():
    """Explain this installation: versions, device and precision, decoders."""
    from kdlab.cli import doctor

    checks = doctor.report()
    click.echo(doctor.render(checks))
    sys.exit(1 if doctor.broken(checks) else 0)


@cli.command()
@click.argument("notebook", metavar="NN")
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE",
              help="Set a parameter of the notebook. VALUE,VALUE runs it for each, and several such for every choice.")
@click.option("--data", metavar="PATH", help="Your own clips; as -p data PATH, but one path whatever is in it.")
@_TIMEOUT
@_VERBOSE
def run(notebook, pairs, data, timeout, verbose):
    """Execute notebook NN (3, 03 or its name) headlessly, into runs/notebooks/.

    `-p seed 0,1,2` executes it three times, one after the other, and lays side by side what each returned. A value that
    holds a comma goes in quotes of its own, as in '"a, b"', or in its brackets, as in '[0, 1]'.
    """
    from kdlab.notebooks.parameters import find_notebook
    from kdlab.notebooks.run import run_notebook
    from kdlab.notebooks.sweep import product, separate, sweep

    choices = [(name, separate(value)) for name, value in pairs] + ([("data", [data])] if data is not None else [])
    if len(dict(choices)) < len(choices):
        raise click.UsageError("a parameter is given twice; several values of one are separated by commas")
    alone("executing a notebook")
    found, each = find_notebook(notebook), product(dict(choices))
    if len(each) == 1:
        return _end_if_failed(run_notebook(found, each[0], timeout=timeout, verbose=verbose))
    swept = sweep(found, each, timeout=timeout, verbose=verbose)
    click.echo(f"\n{swept.shown}\n{swept.table}")
    for values, executed in swept.executed.items():
        if executed.failure:
            click.echo(f"failed: {values}: {executed.failure}\nwhat it did so far: {executed.output}", err=True)
    if any(executed.failure for executed in swept.executed.values()):
        sys.exit(1)


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def notebooks(folder):
    """Write the chapters into DIR, with their figures, weights and docs: for kdlab installed without its repository."""
    from kdlab.notebooks.parameters import write_chapters

    made = write_chapters(folder)
    click.echo(f"{', '.join(f'{path.name}/' for path in made)} written into {folder}. Go there: `kdlab run 00`, or "
               "`jupyter lab notebooks`")


@cli.command()
@click.option("--profile", default=lambda: os.environ.get("KDLAB_PROFILE", "demo"), show_default="demo")
@click.option("--data", metavar="PATH", help="Your own clips, for the notebooks that take them.")
@click.option("--again", is_flag=True, help="Also execute what is finished.")
@_TIMEOUT
@_VERBOSE
def reproduce(profile, data, again, timeout, verbose):
    """Execute all notebooks, training from nothing; goes on where an interrupted one stopped.

    On several cores their trainings are one schedule, and each notebook is executed as soon as its runs are there.
    """
    from kdlab.notebooks import reproduce

    alone("kdlab reproduce")
    resume = "the same command goes on from here; what is finished is kept"
    try:
        steps = reproduce.reproduce(profile, data, again=again, timeout=timeout, verbose=verbose)
    except KeyboardInterrupt:
        click.echo(resume, err=True)
        raise
    click.echo("\n" + reproduce.summary(steps))
    for step in steps:
        _end_if_failed(step, resume)
    if profile == "demo" and data is None:
        from kdlab.studies import compared
        from kdlab.study import compare_with_pretrained

        lines, good = compare_with_pretrained()
        click.echo("\n  ".join(["\nyour numbers beside the committed intervals", *compared()]))
        click.echo("\n  ".join(["\nyour runs beside pretrained/", *lines]))
        if not good:
            click.echo("a committed run could not be reproduced", err=True)
            sys.exit(1)


@cli.command()
@click.argument("name", metavar="NAME|FILE.py", required=False)
@click.option("--all", "together", is_flag=True, help="All of kdlab's studies, as one schedule.")
@click.option("--profile", help="Its size; default: the one whose outcome is committed.")
@click.option("--seeds", type=click.IntRange(2), help="Seeds of every condition; default: the study's.")
@click.option("--workers", type=click.IntRange(1), help="Processes; default: one per core.")
@engine_options
@click.option("--only", multiple=True, metavar="SET", help="Of several data sets this one; the others' rows stay.")
@click.option("--shards", metavar="FIRST-LAST", help="Only these seeds, counted from 0: 0-3. Commit what they give.")
@click.option("--status", is_flag=True, help="Only say what is done, running and left; also while it runs elsewhere.")
def study(name, together, profile, seeds, workers, engine, address, only, shards, status):
    """Run (or go on with) a whole study: one of kdlab's by its name, or the one in a Python file of yours.

    At its committed size a study of kdlab's rewrites its table and predictions in figures/, most of them shard after
    shard: what is found of each seed is kept in figures/shards/, and once it is committed any machine goes on from it.
    All else goes to runs/studies/. `python -m pydoc kdlab.study` shows one on a page.
    """
    from kdlab.train.status import tally

    elsewhere, some = chosen(engine, address), _places(shards)
    if together:
        return _all_studies(name or seeds or only or some, profile, workers, elsewhere, status)
    if not name:
        raise click.UsageError("name a study, or give --all")
    found = _study(name)
    size = found.sized(profile) if profile else None
    if status:
        _say_status(found.trainings(size, seeds, only), kept=_say_shards([found.shards(size, seeds, only)]))
        return
    if scores := found.run(size, seeds, only=only, shards=some, workers=workers, engine=elsewhere, say=click.echo):
        click.echo(tally(scores.values()))


def _places(text: str | None) -> range | None:
    """``0-3``, or ``2``, as a range."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
    if last < first:
        raise click.BadParameter(f"{text!r} is no range of shards: write 0-3, or 2 for one", param_hint="--shards")
    return range(first, last + 1)


def _say_shards(each) -> set:
    """A line for each study that has shards; the recipes of those that are finished, and all that these need."""
    from kdlab.train.many import in_order

    kept = set()
    for shards in filter(None, each):
        done = shards.finished()
        kept |= set(in_order(recipe for k in done for recipe in shards.recipes(k)))
        if done:
            click.echo(f"{shards.study}: {len(done)} of {shards.count} shards are there; their trainings count as done")
    return kept


def _all_studies(more, profile, workers, engine, status) -> None:
    from kdlab.studies import every
    from kdlab.studies.together import recorded_seconds, run_all, trained

    if more:
        raise click.UsageError("--all runs each study whole: give it no name, no --seeds, no --only and no --shards")
    if not status:
        alone("kdlab study --all")
        return run_all(profile, workers=workers, engine=engine, say=click.echo)
    studies = every().values()
    kept = _say_shards([study.shards() for study in studies] if not profile else [])
    found = _say_status([recipe for study in studies for recipe in trained(study, profile)], recorded_seconds(), kept)
    if found.whole.notna().all():
        hours = found.whole.sum() / 3600, (found.whole * (1 - found.share)).sum() / 3600
        click.echo("about {:.1f} CPU hours of training in all, of which {:.1f} are left".format(*hours))


def _study(name: str):
    """Raises ``ValueError`` for a name that is none of kdlab's, and a file in which no study of its own name is."""
    from kdlab.studies import every
    from kdlab.study import study_in

    own = every()
    if name in own:
        return own[name]
    if not name.endswith(".py"):
        raise ValueError(f"kdlab has no study {name!r}; it has {', '.join(sorted(own))}. One of your own is named by "
                         "its file, my_study.py")
    found = study_in(Path(name))
    if found.name in own:
        raise ValueError(f"{name}: {found.name!r} is the name of a study of kdlab's; give yours another")
    return found


def _say_status(recipes, known=None, kept=()):
    """The table of a study's ``recipes`` and those they need, from their folders alone; how far each is, and the
    ``whole`` CPU seconds it takes. ``known``: what trainings took before, by name; ``kept``: those in shards."""
    from kdlab.system.contents import one_look
    from kdlab.system.processes import available_cores
    from kdlab.train import status
    from kdlab.train.many import in_order
    from kdlab.train.runs import find, unfit

    finished, stale, away = {}, {}, {}
    with one_look():
        for recipe in (ordered := in_order(recipes)):
            try:
                if (run := find(recipe, pretrained=False)) and (why := unfit(run, recipe)):
                    stale[recipe.name] = why
                elif run:
                    finished[recipe] = run
            except FileNotFoundError as error:  # real clips, which are not on every machine
                away[recipe] = str(error)
        here = [recipe for recipe in ordered if recipe not in away]
        found = status.standings(here, finished, known=known, kept=kept)
    at_once = (found.state == "running").sum() or available_cores()
    click.echo(status.table(found, f"{status.time_left(status.seconds_left(found) / at_once)}, {at_once} at once"))
    for which, why in stale.items():
        click.echo(f"left, because stale or damaged: {which}: {why}")
    for why in dict.fromkeys(away.values()):
        click.echo(f"not looked for, {list(away.values()).count(why)} trainings: {why}")
    return found.assign(whole=status.whole_seconds(found))


@cli.command()
@click.argument("clip", type=click.Path(path_type=Path))
@click.option("--run", "name", required=True, metavar="RUN", help="A run's folder, or its name in runs/, pretrained/.")
@click.option("--out", type=click.Path(path_type=Path), help="The picture; default: CLIP.gradcam.png in this folder.")
@click.option("--import", "modules", multiple=True, metavar="MODULE",
              help="A module of yours in which classes of the run stand; looked for in this folder, too.")
def predict(clip, name, out, modules):
    """Say what a trained network makes of CLIP, where it looked (Grad-CAM) and how long it took."""
    from kdlab.predict import open_run, predict
    from kdlab.train.recipe import NotImported

    sys.path.insert(0, os.getcwd())
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            raise click.BadParameter(f"{module} cannot be imported ({type(error).__name__}: {error}); run kdlab in the "
                                     "folder that it lies in", param_hint="--import") from error
    try:
        found = predict(clip, open_run(name), out)
    except NotImported as error:
        if not error.name:
            raise
        raise click.ClickException(f"{error} (on the command line: --import {error.name})") from error
    click.echo(f"{clip} by {found.run.folder.name}")
    for k in found.probabilities.argsort()[::-1][:5]:
        click.echo(f"  {100 * found.probabilities[k]:5.1f} %  {found.classes[k]}")
    click.echo(f"Grad-CAM at {found.layer}: {found.picture}" if found.picture else f"no picture: {found.why}")
    times = ", ".join(f"{what} {spent:.1f} ms" for what, spent in found.milliseconds.items())
    click.echo(f"{times}; on the CPU, one thread")


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--licence", default="", metavar="ID", help="Of clips that kdlab did not make, such as cc-by-4.0.")
def export(run, folder, licence):
    """Copy RUN (a run's folder, or its name) into FOLDER, with a model card: for the Hugging Face hub, as it is."""
    from kdlab.export import export, outside
    from kdlab.predict import open_run

    found = open_run(run)
    click.echo(f"{export(found, folder, licence)}: {found.folder.name} with its card, README.md. Read that before you "
               "give it to others; it opens again as Run(folder)")
    if places := outside(found):
        click.echo(f"run.json tells where files lay on this machine: {', '.join(places)}")
        if not licence:
            click.echo("the card says that the licence of the clips is unknown; --licence tells it")


@cli.command()
def figures():
    """Redraw the pictures in figures/ from the committed tables and predictions."""
    from kdlab.studies.gallery import draw

    for picture in draw():
        click.echo(picture)


@cli.command()
def fresh():
    """Say which committed runs, studies and notebook outputs other sources made than today's; exit code 1 when any."""
    from kdlab.notebooks.refresh import stale_notebooks
    from kdlab.studies import every
    from kdlab.train.runs import committed_runs, unfit

    stale = {run.folder.name: why for run in committed_runs() if (why := unfit(run))} | stale_notebooks()
    for study in every().values():
        stale |= study.stale()
    for what, why in stale.items():
        click.echo(f"stale: {what}: {why}")
    click.echo("all committed outputs were made by these sources" if not stale else f"{len(stale)} stale")
    sys.exit(1 if stale else 0)


@cli.command()
@click.option("--profile", default="demo", show_default=True)
def refresh(profile):
    """Execute all notebooks and replace their committed outputs."""
    from kdlab.notebooks.refresh import refresh

    alone("kdlab refresh")
    refresh(profile)


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), help="The page; default: report.html in runs/.")
@click.option("--no-code", is_flag=True, help="Leave the code cells out.")
def report(out, no_code):
    """Turn the executed scoreboard into one HTML page that needs no network."""
    from kdlab.notebooks.report import write_report

    page, remarks = write_report(out, code=not no_code)
    click.echo("\n  ".join([str(page), *remarks]))


@cli.command()
@click.option("--cache", is_flag=True, help="Decoded frames.")
@click.option("--runs", is_flag=True, help="Trainings, executed notebooks, the report.")
@click.option("--data", is_flag=True, help="Clips that kdlab made itself.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean(cache, runs, data, yes):
    """Delete what kdlab made and can make again; never the committed figures and weights, nor anybody else's files."""
    from kdlab.cli import cleaning

    chosen = {"cache": cache, "runs": runs, "data": data}
    found = {name: cleaning.look(name) for name in chosen}
    for name, part in found.items():
        click.echo(f"{'delete' if chosen[name] else 'keep  '}  --{name:6} {part.bytes / 1e6:8,.1f} MB  {part.place}")
        if chosen[name] and part.left:
            listed = [path.relative_to(part.place).as_posix() for path in part.left[:5]] + ["…"] * (len(part.left) > 5)
            click.echo("        left there, because kdlab did not make it or is at work on it: "
                       f"{len(part.left)} ({', '.join(listed)})")
    doomed = [part for name, part in found.items() if chosen[name] and part.ours]
    if not any(chosen.values()):
        click.echo("nothing chosen, nothing deleted: add --cache, --runs or --data")
    elif doomed and (yes or click.confirm("delete this?", default=False)):
        for part in doomed:
            cleaning.delete(part)
        click.echo("deleted")


def main(arguments: list[str] | None = None) -> None:
    """The entry point ``kdlab``.

    Exits with 0; 1 when a notebook failed or ``doctor`` found a fault; 2 for a wrong call or a known error, told in one
    line (``KDLAB_DEBUG=1`` adds the traceback); 130 after Ctrl-C or SIGTERM.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # a file's name may have bytes that no encoding can show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(arguments, prog_name="kdlab", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        # click turns a KeyboardInterrupt into Abort; what the runner had to say is the cause.
        click.echo(f"{error.__cause__ or error or 'interrupted'}", err=True)
        code = 130
    except (ValueError, OSError) as error:
        if os.environ.get("KDLAB_DEBUG"):
            traceback.print_exc()
        if isinstance(error, FileNotFoundError) and error.errno and error.filename is None:  # of os.getcwd()
            click.echo("error: the current folder is gone; change into another one", err=True)
        else:
            click.echo(f"error: {error}", err=True)
        if getattr(error, "errno", None) in _UNWRITABLE:
            click.echo("free some space, or name another folder (KDLAB_RUNS, KDLAB_DATA, KDLAB_CACHE)", err=True)
        code = 2
    sys.exit(code or 0)


def _end_if_failed(executed, advice: str = "") -> None:
    """End with exit code 1, naming the cell, where a notebook failed."""
    if executed.failure:
        click.echo(advice, err=True, nl=bool(advice))
        click.echo(f"failed: notebook {executed.notebook}, {executed.failure}", err=True)
        if executed.output:
            click.echo(f"what it did so far: {executed.output}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
