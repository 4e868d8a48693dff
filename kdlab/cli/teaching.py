"""``kdlab exercises``, ``student``, ``slides``, ``site``: for a class. Heavy imports stay inside the commands."""

from pathlib import Path

import click

_OUT = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("notebook", metavar="[NN]", required=False)
@click.option("--chapters", is_flag=True, help="Instead a line for each notebook: cells, words, pictures, exercises.")
def exercises(notebook, chapters):
    """List the exercises that `kdlab.check` can judge, all or notebook NN's, and how far you are with each."""
    if chapters:
        from kdlab.teaching.chapters import overview

        return click.echo(overview().drop(columns="companion").to_string(index=False))
    from kdlab.notebooks.parameters import find_notebook, number_of
    from kdlab.teaching import exercises as known
    from kdlab.teaching import progress

    asked = known.of_notebook(number_of(find_notebook(notebook))) if notebook else known.exercises().values()
    so_far = progress.read()
    for exercise in asked:
        mine = so_far.get(exercise.name, {})
        state = "solved" if mine.get("right") else f"{mine['tries']} tries" if "tries" in mine else "–"
        guessed = f", guessed {mine['guess']:g}" if "guess" in mine else ""
        click.echo(f"{exercise.name}  {exercise.kind:6}  {state + guessed:22}  {exercise.ask}")
    solved = sum(bool(so_far.get(exercise.name, {}).get("right")) for exercise in asked)
    click.echo(f"{solved} of {len(asked)} solved; kept in {progress.file()}")


@click.command()
@click.argument("notebook", metavar="NN")
@click.option("--out", type=_OUT, help="The copy; default: NN_name_student.ipynb in this folder.")
def student(notebook, out):
    """Write notebook NN without answers and outputs, with a cell for each exercise that can be checked.

    Cells tagged `answer` or `lecturer` are left out, and folds whose summary begins with Answer.
    """
    from kdlab.teaching.copies import student

    click.echo(student(notebook, out))


@click.command()
@click.argument("notebook", metavar="NN")
@click.option("--out", type=_OUT, help="The slides; default: NN_name_slides.html in this folder.")
@click.option("--code", is_flag=True, help="Show the code cells, too.")
@click.option("--deeper", is_flag=True, help="Show the sections that are folded in the notebook, too.")
def slides(notebook, out, code, deeper):
    """Write notebook NN, with its committed outputs, as slides in one HTML file that needs no network.

    They are the core path: sections called Going deeper, which the notebook folds, are left out.
    """
    from kdlab.teaching import copies

    click.echo(copies.slides(notebook, out, code=code, deeper=deeper))


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="The folder; default: site/ in runs/.")
def site(out):
    """Build a site from README, docs, the committed notebooks and figures, and a reference of all public names.

    It needs no network to build or to read; its links are checked first.
    """
    from kdlab.teaching.site import build

    first, count = build(out)
    click.echo(f"{count} pages: {first}")
