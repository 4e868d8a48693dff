"""``kdlab claims``: what was said before the runs that confirm it. Heavy imports stay inside the command."""

import click


@click.command()
@click.argument("names", metavar="[STUDY|FILE.py]...", nargs=-1)
@click.option("--register", "write", is_flag=True,
              help="Add the claims that are not there as they are today: of each STUDY, or of all.")
@click.option("--ledger", is_flag=True, help="Write figures/ledger.json: every claim's verdict, for other tables.")
def claims(names, write, ledger):
    """Print every claim, or those of each STUDY, with its power and how it stands in the register, figures/claims.json.

    A claim is registered, and the register committed, before the runs that confirm it; only then is its verdict told.
    """
    from kdlab.cli.study import study_named
    from kdlab.studies import every
    from kdlab.study.ledger import export
    from kdlab.study.register import Register, table

    studies, register = [study_named(name) for name in names] or list(every().values()), Register()
    if homeless := [name for name, study in zip(names, studies, strict=False) if not study.committed]:
        raise click.UsageError(f"{homeless[0]}: claims are registered where a study keeps its evidence. Give it "
                               "committed=True, and let KDLAB_FIGURES name a folder of yours under git (docs/using.md)")
    if write:
        added = register.add(studies)
        click.echo(f"registered: {', '.join(added)}. Commit {register.file} before anything is run" if added else
                   "every claim is registered as it is")
    click.echo(table(register, studies).to_string(index=False))
    if ledger:
        click.echo(export(studies))
