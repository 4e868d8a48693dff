"""``kdlab paper``: the papers' hyper-parameters on their data sets. Heavy imports stay inside the command."""

from pathlib import Path

import click

from kdlab import paths


@click.group()
def paper():
    """The papers' hyper-parameters on their data sets: a GPU's work, and a dry run that says how much."""


@paper.command("dual_light")
@click.option("--dry-run", is_flag=True, help="Only say what is needed, what it costs, what it is compared with.")
@click.option("--data-root", type=click.Path(path_type=Path),
              help="Folder of the folders arid, arid15, dark48; default: $KDLAB_REAL_CLIPS, else data/.")
@click.option("--weights", type=click.Path(path_type=Path), help="Checkpoint of R(2+1)D-34 (IG-65M) to begin from.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--tflops", type=click.FloatRange(1), default=400, show_default=True,
              help="Dense bf16 rate of your GPU, for the dry run's hours.")
def dual_light(dry_run, data_root, weights, seed, tflops):
    """DL-KDD on ARID v1.0, ARID v1.5 and Dark-48, with its controls; goes on where an interrupted call stopped."""
    from kdlab import paper

    root = data_root or paths.real_clips() or paths.data_dir()
    size = paper.profile(weights)
    if dry_run:
        return click.echo(paper.dry_run(root, size, tflops))
    click.echo(paper.run(root, size, seed, say=click.echo).round(2).to_string())


@paper.command("progressive")
@click.option("--dry-run", is_flag=True, help="Only say what is needed, what it costs, what it is compared with.")
@click.option("--data-root", type=click.Path(path_type=Path),
              help="Folder of the folders ucf101, hmdb51, transcoded; default: $KDLAB_REAL_CLIPS, else data/.")
@click.option("--weights", type=(click.Choice(["residual", "motion", "iframe"]), click.Path(path_type=Path)),
              multiple=True, metavar="MODALITY FILE", help="CoViAR's checkpoint to begin from; once for each.")
@click.option("--draws", type=click.IntRange(1), default=1, show_default=True,
              help="Crops of a training clip that the exits see; each takes host memory.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--tflops", type=click.FloatRange(1), default=400, show_default=True,
              help="Dense bf16 rate of your GPU, for the dry run's hours.")
def progressive(dry_run, data_root, weights, draws, seed, tflops):
    """PKD and WISE on UCF-101 and HMDB-51, with their controls; goes on where an interrupted call stopped."""
    from kdlab import paper_progressive

    root = data_root or paths.real_clips() or paths.data_dir()
    size = paper_progressive.profile(dict(weights), draws)
    if dry_run:
        return click.echo(paper_progressive.dry_run(root, size, tflops))
    click.echo(paper_progressive.run(root, size, seed, say=click.echo).round(2).to_string())


@paper.command("generative")
@click.option("--dry-run", is_flag=True, help="Only say what is needed, what it costs, what it is compared with.")
@click.option("--data-root", type=click.Path(path_type=Path),
              help="Folder of the folders ucf101, hmdb51; default: $KDLAB_REAL_CLIPS, else data/.")
@click.option("--weights", type=(click.Choice(["rgb", "flow"]), click.Path(path_type=Path)), multiple=True,
              metavar="STREAM FILE", help="I3D's checkpoint for the teacher to begin from; once for each stream.")
@click.option("--flow", type=click.Path(path_type=Path),
              help="Folder of flow pictures, a folder for each data set in it; without it flow is computed.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--tflops", type=click.FloatRange(1), default=400, show_default=True,
              help="Dense bf16 rate of your GPU, for the dry run's hours.")
def generative(dry_run, data_root, weights, flow, seed, tflops):
    """GenKD on UCF-101 and HMDB-51, RGB and flow, with its controls; goes on where an interrupted call stopped."""
    from kdlab import paper_generative

    root = data_root or paths.real_clips() or paths.data_dir()
    size = paper_generative.profile(dict(weights), flow)
    if dry_run:
        return click.echo(paper_generative.dry_run(root, size, tflops))
    click.echo(paper_generative.run(root, size, seed, say=click.echo).round(2).to_string())


@paper.command("detection")
@click.option("--dry-run", is_flag=True, help="Only say what is needed, what it costs, what it is compared with.")
@click.option("--data-root", type=click.Path(path_type=Path),
              help="Folder of the folder thumos14; default: $KDLAB_REAL_CLIPS, else data/.")
@click.option("--weights", type=click.Path(path_type=Path), help="I3D's checkpoint for the teacher to begin from.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--tflops", type=click.FloatRange(1), default=400, show_default=True,
              help="Dense bf16 rate of your GPU, for the dry run's hours.")
def detection(dry_run, data_root, weights, seed, tflops):
    """GenKD on THUMOS14's untrimmed videos; goes on where an interrupted call stopped."""
    from kdlab import paper_detection

    root = data_root or paths.real_clips() or paths.data_dir()
    size = paper_detection.profile(weights)
    if dry_run:
        return click.echo(paper_detection.dry_run(root, size, tflops))
    click.echo(paper_detection.run(root, size, seed, say=click.echo).round(2).to_string())
