"""``kdlab paper``: the papers' hyper-parameters on their data sets. Heavy imports stay inside the commands."""

from importlib import import_module
from pathlib import Path

import click

from kdlab import paths


@click.group()
def paper():
    """The papers' hyper-parameters on their data sets: a GPU's work, and a dry run that says how much."""


def _paper(name: str, module: str, folders: str, about: str, *own: click.Option) -> None:
    """Add the command of a paper: ``module`` has its ``PAPER`` and a ``profile`` of its ``own`` options."""

    def go(dry_run: bool, data_root: Path | None, seed: int, tflops: float, **options) -> None:
        found = import_module(f"kdlab.papers.{module}")
        size, root = found.profile(**options), data_root or paths.real_clips() or paths.data_dir()
        if dry_run:
            return click.echo(found.PAPER.dry_run(root, size, tflops))
        click.echo(found.PAPER.run(root, size, seed, say=click.echo).round(2).to_string())

    options = (
        click.Option(["--dry-run"], is_flag=True, help="Only say what is needed, what it costs, what it is compared "
                                                       "with."),
        click.Option(["--data-root"], type=click.Path(path_type=Path),
                     help=f"Folder of the {folders}; default: $KDLAB_REAL_CLIPS, else data/."),
        click.Option(["--seed"], type=click.IntRange(0), default=0, show_default=True),
        click.Option(["--tflops"], type=click.FloatRange(1), default=400, show_default=True,
                     help="Dense bf16 rate of your GPU, for the dry run's hours."),
    )
    about += "; goes on where an interrupted call stopped."
    paper.add_command(click.Command(name, callback=go, params=[*own, *options], help=about))


def _weights(whose: str, *parts: str) -> click.Option:
    """The option of a checkpoint, or of one for each of ``parts``."""
    file = click.Path(path_type=Path)
    if not parts:
        return click.Option(["--weights"], type=file, help=f"{whose} to begin from.")
    return click.Option(["--weights"], type=(click.Choice(parts), file), multiple=True, metavar="NAME FILE",
                        help=f"{whose} to begin from; once for each of {', '.join(parts)}.")


_paper("dual_light", "dual_light.paper_size", "folders arid, arid15, dark48",
       "DL-KDD on ARID v1.0, ARID v1.5 and Dark-48, with its controls",
       _weights("Checkpoint of R(2+1)D-34 (IG-65M)"))
_paper("progressive", "progressive.paper_size", "folders ucf101, hmdb51, transcoded",
       "PKD and WISE on UCF-101 and HMDB-51, with their controls",
       _weights("CoViAR's checkpoint", "residual", "motion", "iframe"),
       click.Option(["--draws"], type=click.IntRange(1), default=1, show_default=True,
                    help="Crops of a training clip that the exits see; each takes host memory."))
_paper("generative", "generative.paper_size", "folders ucf101, hmdb51",
       "GenKD on UCF-101 and HMDB-51, RGB and flow, with its controls",
       _weights("I3D's checkpoint for the teacher", "rgb", "flow"),
       click.Option(["--flow", "flow_folder"], type=click.Path(exists=True, file_okay=False, path_type=Path),
                    help="Folder of flow pictures, a folder for each data set in it; without it flow is computed."))
_paper("detection", "generative.detection_paper_size", "folder thumos14", "GenKD on THUMOS14's untrimmed videos",
       _weights("I3D's checkpoint for the teacher"))
