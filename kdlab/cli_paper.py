"""``kdlab paper``: the papers' hyper-parameters on their data sets. Heavy imports stay inside the commands."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click

from kdlab import paths


@click.group()
def paper():
    """The papers' hyper-parameters on their data sets: a GPU's work, and a dry run that says how much."""


def _paper(name: str, folders: str) -> Callable:
    """A command of :func:`paper` with the options that all have; ``folders`` are those its data sets lie in."""
    options = (
        click.option("--dry-run", is_flag=True, help="Only say what is needed, what it costs, what it is compared "
                                                     "with."),
        click.option("--data-root", type=click.Path(path_type=Path),
                     help=f"Folder of the {folders}; default: $KDLAB_REAL_CLIPS, else data/."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
        click.option("--tflops", type=click.FloatRange(1), default=400, show_default=True,
                     help="Dense bf16 rate of your GPU, for the dry run's hours."),
    )

    def command(its: Callable) -> click.Command:
        for option in reversed(options):
            its = option(its)
        return paper.command(name)(its)

    return command


def _go(module: ModuleType, size, dry_run: bool, data_root: Path | None, seed: int, tflops: float) -> None:
    root = data_root or paths.real_clips() or paths.data_dir()
    if dry_run:
        return click.echo(module.dry_run(root, size, tflops))
    click.echo(module.run(root, size, seed, say=click.echo).round(2).to_string())


@_paper("dual_light", "folders arid, arid15, dark48")
@click.option("--weights", type=click.Path(path_type=Path), help="Checkpoint of R(2+1)D-34 (IG-65M) to begin from.")
def dual_light(weights, **asked):
    """DL-KDD on ARID v1.0, ARID v1.5 and Dark-48, with its controls; goes on where an interrupted call stopped."""
    from kdlab.papers.dual_light import paper_size

    _go(paper_size, paper_size.profile(weights), **asked)


@_paper("progressive", "folders ucf101, hmdb51, transcoded")
@click.option("--weights", type=(click.Choice(["residual", "motion", "iframe"]), click.Path(path_type=Path)),
              multiple=True, metavar="MODALITY FILE", help="CoViAR's checkpoint to begin from; once for each.")
@click.option("--draws", type=click.IntRange(1), default=1, show_default=True,
              help="Crops of a training clip that the exits see; each takes host memory.")
def progressive(weights, draws, **asked):
    """PKD and WISE on UCF-101 and HMDB-51, with their controls; goes on where an interrupted call stopped."""
    from kdlab.papers.progressive import paper_size

    _go(paper_size, paper_size.profile(dict(weights), draws), **asked)


@_paper("generative", "folders ucf101, hmdb51")
@click.option("--weights", type=(click.Choice(["rgb", "flow"]), click.Path(path_type=Path)), multiple=True,
              metavar="STREAM FILE", help="I3D's checkpoint for the teacher to begin from; once for each stream.")
@click.option("--flow", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of flow pictures, a folder for each data set in it; without it flow is computed.")
def generative(weights, flow, **asked):
    """GenKD on UCF-101 and HMDB-51, RGB and flow, with its controls; goes on where an interrupted call stopped."""
    from kdlab.papers.generative import paper_size

    _go(paper_size, paper_size.profile(dict(weights), flow), **asked)


@_paper("detection", "folder thumos14")
@click.option("--weights", type=click.Path(path_type=Path), help="I3D's checkpoint for the teacher to begin from.")
def detection(weights, **asked):
    """GenKD on THUMOS14's untrimmed videos; goes on where an interrupted call stopped."""
    from kdlab.papers.generative import detection_paper_size

    _go(detection_paper_size, detection_paper_size.profile(weights), **asked)
