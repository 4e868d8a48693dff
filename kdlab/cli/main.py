"""The command line. Heavy imports stay inside the commands, so that ``kdlab --help`` answers at once."""

import os
import shutil
import signal
import sys
import traceback
from importlib import import_module
from inspect import signature
from pathlib import Path

import click

from kdlab import __version__
from kdlab.cli.data import COUNT, FILE, WORKERS, data
from kdlab.system import paths

#: Paper → its module, and the networks that can start from a checkpoint.
PAPERS = {
    "dual_light": ("dual_light.recipes", ("r2plus1d",)),
    "progressive": ("progressive.recipes", ("residual", "motion", "iframe")),
    "generative": ("generative.recipes", ("rgb", "flow")),
    "detection": ("generative.detection_recipes", ("rgb", "flow")),
}


def _imported(context, option, modules: tuple[str, ...]) -> None:
    sys.path.insert(0, os.getcwd())
    for module in modules:
        try:
            import_module(module)
        except Exception as error:
            raise click.BadParameter(
                f"{module} cannot be imported ({type(error).__name__}: {error}); run kdlab in the "
                "folder that it lies in",
                param_hint="--import",
            ) from error


_IMPORT = click.option(
    "--import",
    multiple=True,
    metavar="MODULE",
    expose_value=False,
    callback=_imported,
    help="A module of yours in which classes of runs stand; looked for in this folder, too.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="kdlab")
def cli():
    """Knowledge distillation in video action recognition, notebook first."""


cli.add_command(data)


@cli.command()
def doctor():
    """Describe this installation: versions, device and precision, decoders."""
    from kdlab.cli.doctor import report

    text, good = report()
    click.echo(text)
    sys.exit(not good)


@cli.command()
@click.argument("notebook", metavar="NN")
@click.option(
    "-p",
    "pairs",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Set a parameter of the notebook.",
)
@click.option("--data", metavar="PATH", help="Your own clips; as -p data PATH.")
@click.option("--timeout", type=COUNT, metavar="SECONDS", help="Limit per cell; default: none.")
def run(notebook, pairs, data, timeout):
    """Execute notebook NN (3, 03 or its name) headlessly, into runs/notebooks/."""
    import yaml

    from kdlab.cli import notebooks

    given = {}
    for name, value in pairs:
        try:  # parsed as papermill's command line does: ``3``, ``true``, ``null``, a text
            given[name] = value if name == "test_fold" else yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise click.BadParameter(
                f"{value!r} is no YAML value: for a text, write \"'{value}'\"", param_hint=name
            ) from error
    if data is not None:
        given["data"] = data
    click.echo(notebooks.run(notebooks.find(notebook), given, timeout=timeout))


@cli.command()
@click.argument("folder", metavar="DIR", type=FILE)
def notebooks(folder):
    """Write the chapters with figures, weights and docs into DIR, if kdlab is installed without its repository."""
    package = Path(paths.__file__).parents[1]
    source = package / "project"
    if not source.is_dir():
        source = package.parent
    names = "notebooks", "figures", "pretrained", "docs"
    for name in names:
        if (folder / name).exists():
            raise ValueError(
                f"{folder / name} is there already, and nothing is written over: name another folder"
            )
    for name in names:
        shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns(".*"))
    click.echo(f"written into {folder}. Go there: `kdlab run 00`, or `jupyter lab notebooks`")


@cli.command()
@click.option("--profile", envvar="KDLAB_PROFILE", default="demo")
def reproduce(profile):
    """Execute all notebooks, training from scratch; a second call resumes an interrupted one."""
    from kdlab.cli import notebooks

    for name, outcome in sorted(notebooks.reproduce(profile, click.echo).items()):
        click.echo(f"{name:42} {outcome}")
    if profile == "demo":
        lines, good = notebooks.compared_with_pretrained()
        click.echo("\n  ".join(["your runs beside pretrained/", *lines]))
        sys.exit(not good)


@cli.command()
@_IMPORT
def fresh():
    """Name the committed runs and notebooks made by code other than today's; exit code 1 if there are any."""
    from kdlab.cli import notebooks
    from kdlab.train.runs import committed_runs, why_unusable

    stale = notebooks.stale()
    stale += [f"{run.folder.name}: {why}" for run in committed_runs() if (why := why_unusable(run))]
    click.echo("\n".join(stale) or "all committed outputs were made by these sources")
    sys.exit(bool(stale))


@cli.command()
def refresh():
    """Execute all notebooks at demo size and replace their committed outputs."""
    from kdlab.cli import notebooks

    notebooks.refresh(click.echo)


@cli.command()
@click.argument(
    "file", metavar="FILE.py", type=click.Path(True, dir_okay=False, path_type=Path), required=False
)
@click.option(
    "--all", "every", is_flag=True, help="All worlds of studies/*.py, into figures/evidence/."
)
@click.option("--profile", help="smoke, demo or study; default: the study's own size.")
@click.option(
    "--world",
    "worlds",
    type=click.IntRange(0),
    multiple=True,
    help="A seed; default: the study's worlds.",
)
@WORKERS
def study(file, every, profile, worlds, workers):
    """Run or resume the studies in FILE.py; `python -m pydoc kdlab.study` shows an example."""
    from kdlab.study.study import run_all, studies_in
    from kdlab.train.sizes import current

    if every:
        scripts, rows = paths.project_root() / "studies", paths.figures_dir() / "evidence"
        return run_all(scripts, rows, workers, click.echo)
    studies = file and studies_in(file)
    if not studies:
        raise ValueError(
            f"{file or 'no file'} has no Study: name a Python file with one, or say --all"
        )
    for one in studies:
        size = current(profile, type(one.size or current())) if profile else None
        one.run(worlds, size, workers, click.echo)


@cli.command()
@click.argument("clip", type=FILE)
@click.option(
    "--run",
    "name",
    required=True,
    metavar="RUN",
    help="A run's folder, or its name in runs/, pretrained/.",
)
@click.option(
    "--out",
    type=FILE,
    help="The picture, or a table of exits; "
    "default: CLIP.gradcam.png, .segments.png or .exits.csv in this folder.",
)
@click.option(
    "--theta",
    type=click.FloatRange(-1, 1),
    help="Of a run with exits: WISE's threshold; default: within half the cost of all exits.",
)
@_IMPORT
def predict(clip, name, out, theta):
    """Predict the class of CLIP with a trained network; draw Grad-CAM.

    A detector predicts segments: CLIP.segments.csv, and a picture of them over time. Internal classifiers predict exit
    after exit, with the cost so far: CLIP.exits.csv.
    """
    from kdlab.cli.predict import detect, open_run, predict, predict_exits
    from kdlab.clips.untrimmed import Windows

    run = open_run(name)
    lines = [f"{clip} by {run.folder.name}"]
    if not run.recipe.on_clips:
        answers, theta, table = predict_exits(clip, run, theta, out)
        lines[0] += ": WISE's answer after each exit, of the exits so far"
        for row in answers.itertuples():
            words = f"{row.exit}  {100 * row.probability:5.1f} %  {row.label:12} {row.macs / 1e6:9.1f} MMACs"
            lines.append(f"{words}  it would stop here" if row.stops else words)
        last = f"stops above {theta:.1%} or at the last exit; all in {table}"
    elif isinstance(run.recipe.window, Windows):
        segments, table, picture = detect(clip, run, out)
        lines[0] += f": {len(segments)} segments, the surest first"
        for row in segments.head(5).itertuples():
            lines.append(f"{row.start:7.2f} to {row.end:7.2f} s  {row.score:.2f}  {row.label}")
        last = f"all in {table}, over time in {picture}"
    else:
        answer = predict(clip, run, out)
        for k in answer.probabilities.argsort()[::-1][:5]:
            lines.append(f"{100 * answer.probabilities[k]:5.1f} %  {answer.classes[k]}")
        last = f"no picture: {answer.why}"
        if answer.picture:
            last = f"Grad-CAM at {answer.layer}: {answer.picture}"
    click.echo("\n  ".join(lines) + f"\n{last}")


@cli.command()
@click.argument("name", metavar="RUN")
@click.option("--onnx", "file", type=FILE, required=True, metavar="FILE")
@_IMPORT
def export(name, file):
    """Write the network of RUN as ONNX, and compare its logits with torch's on ten clips (extra: kdlab[onnx])."""
    from kdlab.cli.export import to_onnx
    from kdlab.cli.predict import open_run

    network = to_onnx(open_run(name), file)
    inputs = ", ".join(
        f"{name} {(network.batch or 'batch', *shape)}" for name, shape in network.inputs.items()
    )
    click.echo(
        f"{file}: {inputs}; logits within {network.difference:.1e} of torch's on {network.clips} clips"
    )
    if network.why:
        click.echo(
            f"The file takes one clip at a time, since it failed with any number: {network.why}"
        )


@cli.command()
@click.argument("file", type=FILE)
@click.argument("folder", type=FILE)
@click.option("--split", help="Default: 1, of THUMOS14 its only one.")
@click.option(
    "--flow",
    type=FILE,
    help="Folder of flow pictures, else computed; THUMOS14: of arrays as released.",
)
@click.option(
    "--with", "other", type=FILE, help="THUMOS14: a flow student, fused with the RGB student FILE."
)
def released(file, folder, split, flow, other):
    """Test a student that GenKD's authors released, FILE, on UCF-101, HMDB-51 or THUMOS14 in FOLDER."""
    tested = import_module("kdlab.papers.generative.released").tested
    click.echo(f"{file}: {tested(file, folder, split, flow, other)}")


@cli.command()
@click.argument("name", type=click.Choice(PAPERS))
@click.option(
    "--dry-run", is_flag=True, help="Train nothing; print what is needed and what it costs."
)
@click.option("--seed", type=click.IntRange(0), default=0)
@click.option(
    "--precision",
    type=click.Choice(("bf16", "fp32")),
    default="bf16",
    help="Number format of all trainings; bf16 only where the hardware has it.",
)
@click.option(
    "--weights",
    type=(str, FILE),
    multiple=True,
    metavar="NET FILE",
    help="Checkpoint to begin from: r2plus1d of dual_light, residual, motion, iframe, rgb, flow.",
)
@click.option("--as-released", is_flag=True, help="Optimisers and rates of the released code.")
@click.option(
    "--draws",
    type=COUNT,
    help="progressive: crops of a clip that exits see, kept; default: 1.",
)
@click.option(
    "--flow",
    "flow_folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="generative, detection: folder of flow pictures, one a set; else computed.",
)
def paper(name, dry_run, seed, precision, weights, **own):
    """Train a paper's methods and controls at the paper's size, on its data sets. This needs a GPU; --dry-run estimates
    the cost.

    The data sets lie in $KDLAB_REAL_CLIPS, else in data/. The same command resumes an interrupted one.
    """
    module, nets = PAPERS[name]
    recipes = import_module(f"kdlab.papers.{module}")
    given = {option: value for option, value in own.items() if value}
    if unknown := given.keys() - signature(recipes.paper_profile).parameters:
        raise click.UsageError(f"{name} has no --{min(unknown).removesuffix('_folder')}")
    for net, file in weights:
        if net not in nets:
            raise click.UsageError(
                f"--weights {net}: of {name} the checkpoint of {' or '.join(nets)} is read"
            )
        given["weights"] = weights if len(nets) > 1 else file
    root = paths.real_clips() or paths.data_dir()
    size = recipes.paper_profile(precision=precision, **given)
    if dry_run:
        return click.echo(recipes.PAPER.overview(root, size))
    recipes.PAPER.run(root, size, seed, say=click.echo)


def main(arguments: list[str] | None = None) -> None:
    """The entry point ``kdlab``.

    Exit codes: 0; 1 if a notebook failed or a command such as ``doctor`` found faults; 2 for a wrong call or a known
    error, with a message of one line (``KDLAB_DEBUG=1`` adds the traceback); 130 after Ctrl-C or SIGTERM.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # file names may have bytes that no encoding can show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(arguments, prog_name="kdlab", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo(
            str(error) or "interrupted; finished work is kept, and the same command resumes",
            err=True,
        )
        code = 130
    except (ValueError, OSError) as error:
        if os.environ.get("KDLAB_DEBUG"):
            traceback.print_exc()
        click.echo(f"error: {error}", err=True)
        code = 1 if type(error).__name__ == "NotebookFailed" else 2
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
