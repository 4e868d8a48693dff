"""``kdlab study``: run a study, some of its shards, or all of them. Heavy imports stay inside the command."""

import re
from pathlib import Path

import click

from kdlab.cli.engine import chosen, engine_options
from kdlab.system.ranks import alone


@click.command()
@click.argument("name", metavar="NAME|FILE.py", required=False)
@click.option("--all", "together", is_flag=True, help="All of kdlab's studies, as one schedule.")
@click.option("--profile", help="Its size; default: the one whose outcome is committed.")
@click.option("--seeds", type=click.IntRange(2), help="Seeds of every condition; default: the study's.")
@click.option("--workers", type=click.IntRange(1), help="Processes; default: one per core.")
@engine_options
@click.option("--only", multiple=True, metavar="SET", help="Of several data sets this one; the others' rows stay.")
@click.option("--shards", metavar="FIRST-LAST", help="Only these seeds, counted from 0: 0-3. Commit what they give.")
@click.option("--final", is_flag=True, help="Read also test clips that are for finished recipes; say so in the log.")
@click.option("--status", is_flag=True, help="Only say what is done, running and left; also while it runs elsewhere.")
def study(name, together, profile, seeds, workers, engine, address, only, final, shards, status):
    """Run (or go on with) a whole study: one of kdlab's by its name, or the one in a Python file of yours.

    At its committed size a study of kdlab's rewrites its table and predictions in figures/, most of them shard after
    shard: what is found of each seed is kept in figures/shards/, and once it is committed any machine goes on from it.
    All else goes to runs/studies/. `python -m pydoc kdlab.study` shows one on a page.
    """
    from kdlab.train.status import tally

    elsewhere, some = chosen(engine, address), _places(shards)
    if together:
        return _all_studies(name or seeds or only or final or some, profile, workers, elsewhere, status)
    if not name:
        raise click.UsageError("name a study, or give --all")
    found = study_named(name)
    size = found.sized(profile) if profile else None
    if status:
        _say_status(found.trainings(size, seeds, only, final), kept=_say_shards([found.shards(size, seeds, only)]))
        return
    how = dict(only=only, final=final, shards=some, workers=workers, engine=elsewhere, say=click.echo)
    if scores := found.run(size, seeds, **how):
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
        raise click.UsageError("--all runs each study whole: give it no name, no --seeds, no --only, no --final "
                               "and no --shards")
    if not status:
        alone("kdlab study --all")
        return run_all(profile, workers=workers, engine=engine, say=click.echo)
    studies = every().values()
    kept = _say_shards([study.shards() for study in studies] if not profile else [])
    found = _say_status([recipe for study in studies for recipe in trained(study, profile)], recorded_seconds(), kept)
    if found.whole.notna().all():
        hours = found.whole.sum() / 3600, (found.whole * (1 - found.share)).sum() / 3600
        click.echo("about {:.1f} CPU hours of training in all, of which {:.1f} are left".format(*hours))


def study_named(name: str):
    """One of kdlab's by its name, or the one in a file. Raises ``ValueError`` for a name that is none of kdlab's, and a
    file in which no study of its own name is."""
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
    from kdlab.paths import real_clips
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
                unset = "" if real_clips() else " KDLAB_REAL_CLIPS is not set: docs/real-clips.md says what it names"
                away[recipe] = f"{error}{unset}"
        here = [recipe for recipe in ordered if recipe not in away]
        found = status.standings(here, finished, known=known, kept=kept)
    at_once = (found.state == "running").sum() or available_cores()
    click.echo(status.table(found, f"{status.time_left(status.seconds_left(found) / at_once)}, {at_once} at once"))
    for which, why in stale.items():
        click.echo(f"left, because stale or damaged: {which}: {why}")
    for why in dict.fromkeys(away.values()):
        click.echo(f"not looked for, {list(away.values()).count(why)} trainings: {why}")
    return found.assign(whole=status.whole_seconds(found))
