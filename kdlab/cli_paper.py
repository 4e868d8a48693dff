"""``kdlab paper``: the papers' hyper-parameters on their data sets. Heavy imports stay inside the commands."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType

import click

from kdlab import paths

_FILE = click.Path(path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def paper():
    """The papers' hyper-parameters on their data sets: a GPU's work, and a dry run that says how much."""


def _paper(name: str, folders: str) -> Callable:
    """A command of :func:`paper` with the options that all have; ``folders`` are those its data sets lie in."""
    where = f"Folder of the {folders}; default: $KDLAB_REAL_CLIPS, else data/."
    rate = "Dense bf16 rate of your GPU, for the dry run's hours."
    options = (
        click.option("--dry-run", is_flag=True, help="Only say what is needed, what it costs, what it is compared to."),
        click.option("--data-root", type=_FILE, help=where),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
        click.option("--tflops", type=click.FloatRange(1), default=400, show_default=True, help=rate),
    )
    return lambda run: paper.command(name)(reduce(lambda made, option: option(made), reversed(options), run))


def _weights(what: str, each: str = "", among: tuple[str, ...] = ()) -> Callable:
    """The option ``--weights``: one checkpoint, or one for ``each`` of those ``among`` which one chooses."""
    if not each:
        return click.option("--weights", type=_FILE, help=f"{what} to begin from.")
    kind, name = (click.Choice(among), _FILE), f"{each.upper()} FILE"
    return click.option("--weights", type=kind, multiple=True, metavar=name, help=f"{what} to begin from; one for each "
                                                                                  f"{each}.")


def _go(module: ModuleType, size, dry_run: bool, data_root: Path | None, seed: int, tflops: float) -> None:
    root = data_root or paths.real_clips() or paths.data_dir()
    if dry_run:
        return click.echo(module.dry_run(root, size, tflops))
    click.echo(module.run(root, size, seed, say=click.echo).round(2).to_string())


@_paper("dual_light", "folders arid, arid15, dark48")
@_weights("Checkpoint of R(2+1)D-34 (IG-65M)")
def dual_light(weights, **options):
    """DL-KDD on ARID v1.0, ARID v1.5 and Dark-48, with its controls; goes on where an interrupted call stopped."""
    from kdlab.papers.dual_light import paper_size

    _go(paper_size, paper_size.profile(weights), **options)


@_paper("progressive", "folders ucf101, hmdb51, transcoded")
@_weights("CoViAR's checkpoint", "modality", ("residual", "motion", "iframe"))
@click.option("--draws", type=click.IntRange(1), default=1, help="Crops of a clip that the exits see, in host memory.")
def progressive(weights, draws, **options):
    """PKD and WISE on UCF-101 and HMDB-51, with their controls; goes on where an interrupted call stopped."""
    from kdlab.papers.progressive import paper_size

    _go(paper_size, paper_size.profile(dict(weights), draws), **options)


@_paper("generative", "folders ucf101, hmdb51")
@_weights("I3D's checkpoint for the teacher", "stream", ("rgb", "flow"))
@click.option("--flow", type=_FOLDER, help="Folder of flow pictures, one for each data set in it; else computed.")
def generative(weights, flow, **options):
    """GenKD on UCF-101 and HMDB-51, RGB and flow, with its controls; goes on where an interrupted call stopped."""
    from kdlab.papers.generative import paper_size

    _go(paper_size, paper_size.profile(dict(weights), flow), **options)


@_paper("detection", "folder thumos14")
@_weights("I3D's checkpoint for the teacher")
def detection(weights, **options):
    """GenKD on THUMOS14's untrimmed videos; goes on where an interrupted call stopped."""
    from kdlab.papers.generative import detection_paper_size

    _go(detection_paper_size, detection_paper_size.profile(weights), **options)
