"""``kdlab data``: make clips, count them, and check them. Heavy imports stay inside the commands."""

import sys
from pathlib import Path

import click

FILE = click.Path(path_type=Path)
COUNT = click.IntRange(1)
WORKERS = click.option("--workers", type=COUNT, help="Processes; default: one per core.")
TEST_FOLD = click.option(
    "--test-fold",
    metavar="NAME",
    help="Fold or published split to test on; default: as `kdlab data list` shows it.",
)


@click.group()
def data():
    """Make the embedded clips, or inspect a folder of clips."""


@data.command()
@click.option("--out", type=FILE, help="Folder to make it in; default: by its name in data/.")
@click.option(
    "--clips",
    type=int,
    help="Clips in all, rounded to as many of each class: 60 % train, 10 % val, 30 % test.",
)
@click.option("--classes", metavar="NAME,…", help="A choice of the eleven actions; default: all.")
@click.option(
    "--variety", type=click.FloatRange(0, 1), help="Range of views, tempo, camera and clutter."
)
@click.option(
    "--context", type=click.FloatRange(0, 1), help="How far props and place give the class away."
)
@click.option("--seed", type=int, help="Another seed makes other clips.")
@WORKERS
@click.option(
    "--untrimmed",
    is_flag=True,
    help="Videos of 20 to 60 s with several actions; --clips counts videos.",
)
def night(out, clips, workers, untrimmed, **dials):
    """Make the embedded data set; a second call resumes an interrupted one."""
    from kdlab.night import ACTIONS, Night, make_night
    from kdlab.night.untrimmed import Untrimmed, make_untrimmed

    spec = {name: value for name, value in dials.items() if value is not None}
    if "classes" in spec:
        spec["classes"] = tuple(spec["classes"].split(","))
    if untrimmed and "context" in spec:
        raise click.UsageError("untrimmed videos have no --context")
    if clips is not None:
        count = 1 if untrimmed else len(spec.get("classes", ACTIONS))
        spec["videos" if untrimmed else "per_class"] = spread(clips, count)
    kind, make = (Untrimmed, make_untrimmed) if untrimmed else (Night, make_night)
    _describe(make(kind(**spec), out, workers=workers))


@data.command("list")
@click.argument("path", required=False)
@TEST_FOLD
@click.option(
    "--split-by-group",
    is_flag=True,
    help="First write PATH/index.csv with the groups that the file names tell; it splits by whole groups.",
)
def list_clips(path, test_fold, split_by_group):
    """Count the clips in PATH, per class and split; without PATH, show the layouts of the public data sets.

    PATH is a public data set as released, a folder with a sub-folder per class, or a CSV index.
    """
    from kdlab.datasets.check import write_groups
    from kdlab.datasets.files import user_path
    from kdlab.datasets.released import DATA_SETS, open_data

    if path is not None:
        if split_by_group:
            click.echo(
                f"{write_groups(user_path(path))} is written, and decides about groups and splits from now on"
            )
        return _describe(open_data(path, test_fold))
    for known in DATA_SETS:
        click.echo(f"{known.title}; test folds: {known.splits}\n  {known.layout}")
    click.echo(
        "Put each data set into a folder of its own, lists and clips, and name that folder with --data.\n"
        "Your own clips: one sub-folder per class, or an index.csv with columns path,label[,split,group]."
    )


@data.command()
@click.argument("path")
@TEST_FOLD
@click.option("--min-frames", type=COUNT, default=8, help="Shorter clips are too short.")
@click.option(
    "--decoders", is_flag=True, help="Read each clip also by decord and torchcodec, and compare."
)
@WORKERS
def check(path, test_fold, min_frames, decoders, workers):
    """Decode every clip in PATH and report whether PATH is fit for training: exit code 0 if so, else 1."""
    from kdlab.datasets.check import by_decoder, check

    report = check(path, test_fold, workers, min_frames)
    click.echo(report.render())
    if decoders:
        click.echo(by_decoder(report, workers))
    sys.exit(not report.fit)


@data.command()
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option(
    "--out",
    type=FILE,
    help="Folder for each FILE's arrays, as kdlab.video.compressed.read returns them "
    "(.npz), and a picture of them (.png).",
)
def modalities(files, out):
    """Show frames, GOPs and bytes of each FILE (MPEG-4 part 2 or H.264). Exit code 1 if a file is unfit.

    With --out, also write its motion vectors, accumulated motion, residuals and I-frames.
    """
    from kdlab.video.compressed import Unsuited, scan
    from kdlab.video.container import DamagedClip

    if out and len({file.name for file in files}) < len(files):
        raise click.UsageError(
            "two FILEs have one name: write them into different folders, by two calls"
        )
    unfit = False
    for file in files:
        try:
            stream = scan(file)
            if out:
                from kdlab.show.codec_plots import export

                export(file, out)
        except (Unsuited, DamagedClip, OSError) as error:
            unfit = True
            click.echo(str(error))
            continue
        info, share = stream.info, stream.sizes[stream.keys].sum() / stream.sizes.sum()
        click.echo(
            f"{file}: {info.codec} {info.width}x{info.height}, {len(stream.kinds)} frames in {len(stream.keys)} "
            f"groups; I-frames are {100 * share:.0f} % of the bytes"
        )
    sys.exit(unfit)


@data.command()
@click.argument("source", type=FILE)
@click.option("--out", type=FILE, required=True, help="Folder for the same tree of files.")
@click.option("--codec", type=click.Choice(("mpeg4", "h264")), default="mpeg4")
@WORKERS
def transcode(source, out, codec, workers):
    """Transcode SOURCE (a video, or a folder of videos) for compressed-video networks; a second call resumes.

    Frames become 340x256 pixels, every 12th is an I-frame, and the quantiser is 2. Python's CoviarFormat has others.
    """
    from kdlab.datasets.transcode import CoviarFormat, transcode

    report = transcode(source, out, CoviarFormat(codec=codec), workers)
    for row in report:
        outcome = row.reason or f"{row.frames} frames, {row.bytes:,} bytes"
        if row.kept:
            outcome += " (kept)"
        click.echo(f"{row.source}: {outcome}")
    bad = sum(bool(row.reason) for row in report)
    kept = sum(row.kept for row in report)
    click.echo(f"{len(report) - bad} of {len(report)} files in {out}, {kept} from before")
    sys.exit(bad > 0)


def spread(clips: int, classes: int) -> tuple[int, int, int]:
    """Train, val and test clips per class: 60, 10 and 30 % of ``clips`` / ``classes`` (rounded), at least one each.

    Raises ValueError for fewer than 3 clips per class.
    """
    count = round(clips / classes)
    if count < 3:
        raise ValueError(
            f"{classes} classes need at least {3 * classes} clips (one per split), got {clips}"
        )
    val = max(1, round(0.1 * count))
    test = round(0.3 * count)
    return count - val - test, val, test


def _describe(catalogue) -> None:
    from kdlab.datasets.check import notes_of

    click.echo(f"{catalogue.name}: {len(catalogue.records)} clips in {catalogue.root}")
    click.echo(catalogue.counts().to_string())
    for note in notes_of(catalogue):
        click.echo(f"note: {note}")
