"""``kdlab claims``: what was said before the runs that confirm it. Heavy imports stay inside the command."""

import click


@click.command()
@click.argument("names", metavar="[STUDY]...", nargs=-1)
@click.option("--register", "write", is_flag=True,
              help="Add the claims that are not there as they are today: of each STUDY, or of all.")
@click.option("--ledger", is_flag=True, help="Write figures/ledger.json: every claim's verdict, for other tables.")
def claims(names, write, ledger):
    """Print every claim with its power and how it stands in the register, figures/claims.json.

    A claim is registered, and the register committed, before the runs that confirm it; only then is its verdict told.
    """
    from kdlab.studies import every
    from kdlab.study.ledger import export
    from kdlab.study.register import Register, table

    own, register = every(), Register()
    if unknown := [name for name in names if name not in own]:
        raise click.UsageError(f"kdlab has no study {unknown[0]!r}; it has {', '.join(sorted(own))}")
    if names and not write:
        raise click.UsageError("a STUDY is named with --register; without it all claims are printed")
    studies = list(own.values())
    if write:
        added = register.add([own[name] for name in names] or studies)
        click.echo(f"registered: {', '.join(added)}. Commit {register.file} before anything is run" if added else
                   "every claim is registered as it is")
    click.echo(table(register, studies).to_string(index=False))
    if ledger:
        click.echo(export(studies))
