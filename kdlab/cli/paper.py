"""``kdlab paper``: the papers' hyper-parameters on their data sets. Heavy imports stay inside the commands."""

from functools import reduce
from importlib import import_module
from pathlib import Path

import click

from kdlab import paths

_FILE = click.Path(path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def paper():
    """The papers' hyper-parameters on their data sets: a GPU's work; --dry-run says how much."""


def _paper(name: str, module: str, folders: str, about: str, *own) -> None:
    """Add a command: ``module`` has its ``PAPER``, and a ``paper_profile`` of its ``own`` options."""
    where = f"Folder of the {folders}; default: $KDLAB_REAL_CLIPS, else data/."
    rate = "Dense bf16 rate of your GPU, for the dry run's hours."
    options = (
        *own,
        click.option("--dry-run", is_flag=True, help="Only say what is needed, what it costs, what it is compared to."),
        click.option("--data-root", type=_FILE, help=where),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
        click.option("--precision", type=click.Choice(("bf16", "fp32")), default="bf16", show_default=True,
                     help="Of all trainings; bf16 is refused where the hardware lacks it."),
        click.option("--tflops", type=click.FloatRange(1), default=400, show_default=True, help=rate),
    )

    def go(dry_run: bool, data_root: Path | None, seed: int, precision: str, tflops: float, **profile) -> None:
        found, root = import_module(f"kdlab.papers.{module}"), data_root or paths.real_clips() or paths.data_dir()
        size = found.paper_profile(precision=precision, **profile)
        if dry_run:
            return click.echo(found.PAPER.overview(root, size, tflops))
        found.PAPER.run(root, size, seed, say=click.echo)

    command = reduce(lambda made, option: option(made), reversed(options), go)
    paper.command(name, help=f"{about}; goes on where an interrupted call stopped.")(command)


def _weights(what: str, each: str = "", among: tuple[str, ...] = ()):
    """The option ``--weights``: one checkpoint, or one for ``each`` of those ``among`` which one chooses."""
    if not each:
        return click.option("--weights", type=_FILE, help=f"{what} to begin from.")
    kind, words = (click.Choice(among), _FILE), f"{what} to begin from; one for each {each}."
    return click.option("--weights", type=kind, multiple=True, metavar=f"{each.upper()} FILE", help=words)


_RELEASED = click.option("--as-released", is_flag=True, help="Optimisers, rates and tests of the released code.")
_DRAWS = click.option("--draws", type=click.IntRange(1), default=1, help="Crops of a clip that exits see, kept.")
_FLOW = click.option("--flow", "flow_folder", type=_FOLDER, help="Folder of flow pictures, one a set; else computed.")
_paper("dual_light", "dual_light.recipes", "folders arid, arid15, dark48",
       "DL-KDD on ARID v1.0, ARID v1.5 and Dark-48, with its controls",
       _weights("Checkpoint of R(2+1)D-34 (IG-65M)"), _RELEASED)
_paper("progressive", "progressive.recipes", "folders ucf101, hmdb51, transcoded",
       "PKD and WISE on UCF-101 and HMDB-51, with their controls",
       _weights("CoViAR's checkpoint", "modality", ("residual", "motion", "iframe")), _DRAWS, _RELEASED)
_paper("generative", "generative.recipes", "folders ucf101, hmdb51",
       "GenKD on UCF-101 and HMDB-51, RGB and flow, with its controls",
       _weights("I3D's checkpoint for the teacher", "stream", ("rgb", "flow")), _FLOW, _RELEASED)
_paper("detection", "generative.detection_recipes", "folder thumos14",
       "GenKD on THUMOS14's untrimmed videos, RGB and flow",
       _weights("I3D's checkpoint for the teacher", "stream", ("rgb", "flow")), _FLOW, _RELEASED)
