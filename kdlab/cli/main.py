"""The command line. Heavy imports stay inside the commands, so that ``kdlab --help`` answers at once."""

import errno
import importlib
import os
import signal
import sys
import traceback
from pathlib import Path

import click

from kdlab import __version__
from kdlab.cli.claims import claims
from kdlab.cli.data import data
from kdlab.cli.paper import paper
from kdlab.cli.study import study
from kdlab.cli.teaching import exercises, site, slides, student
from kdlab.system.ranks import alone

_TIMEOUT = click.option("--timeout", type=click.IntRange(1), metavar="SECONDS", help="Of each cell; default: none.")
_VERBOSE = click.option("--verbose", is_flag=True, help="Pass on what the cells print.")
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


class _Commands(click.Group):
    """Commands that take a file named like an option for a file: videos of the web are called ``-3B32.mp4``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f"./{word}" if _names_a_file(word) else word for word in args])


def _names_a_file(word: str) -> bool:
    if not word.startswith("-") or "=" in word:
        return False
    from kdlab.clips.tree import is_video

    return is_video(Path(word)) or (len(word) > 2 and word[1] != "-" and os.path.lexists(word))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kdlab")
def cli():
    """Knowledge distillation in video action recognition, notebook first."""


cli.add_command(claims)
cli.add_command(data)
cli.add_command(paper)
cli.add_command(study)
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
    """Execute notebook NN (3, 03, 03b or its name) headlessly, into runs/notebooks/.

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
        asked = " ".join(f"--import {module}" for module in error.name.split())
        raise click.ClickException(f"{error} (on the command line: {asked})") from error
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
@click.argument("names", metavar="[NAME]...", nargs=-1)
def figures(names):
    """Redraw the pictures in figures/, or those of each NAME, from the committed tables and predictions."""
    from kdlab.studies.gallery import draw

    for picture in draw(names):
        click.echo(picture)


@cli.command()
def results():
    """Write docs/results.md anew from the committed evidence: sentences of claims, tables, pictures."""
    from kdlab.studies.results import write

    click.echo(write())


@cli.command()
def fresh():
    """Say which committed runs, studies and notebook outputs other sources made than today's, and which outputs show
    other evidence; exit code 1 when any."""
    from kdlab.notebooks.refresh import stale_notebooks
    from kdlab.studies import every
    from kdlab.train.runs import committed_runs, unfit

    stale = {run.folder.name: why for run in committed_runs() if (why := unfit(run))} | stale_notebooks()
    for its in every().values():
        stale |= its.stale()
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
@click.option("--code", is_flag=True, help="Show the code, too.")
def report(out, code):
    """Turn the executed scoreboard into one HTML page for readers that needs no network."""
    from kdlab.notebooks.report import write_report

    page, remarks = write_report(out, code=code)
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
    except RuntimeError as error:
        if not (typed := _unknown_home(sys.argv[1:] if arguments is None else arguments, error)):
            raise
        click.echo(f"error: {typed}", err=True)
        code = 2
    sys.exit(code or 0)


def _unknown_home(arguments: list[str], error: RuntimeError) -> str:
    """What to say where a path begins with ``~name`` and there is no such user; empty for any other ``error``."""
    if "home directory" not in str(error):  # pathlib has no error of its own for it
        return ""
    words = [word.rpartition("=")[2] for word in arguments]
    words += [value for name, value in os.environ.items() if name.startswith("KDLAB_")]
    typed = [word for word in words if word.startswith("~") and os.path.expanduser(word).startswith("~")]
    return (f"{typed[0] if typed else 'a path'} begins with ~ and a name, and no home directory of such a user is "
            "known; write the path out (./~… where the name itself begins with ~)")


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
