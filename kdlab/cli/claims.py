"""``kdlab claims``: what was said before the runs that confirm it. Heavy imports stay inside the command."""

import click


@click.command()
@click.option("--register", "write", is_flag=True, help="Add the claims that are not there as they are today.")
@click.option("--ledger", is_flag=True, help="Write figures/ledger.json: every claim's verdict, for other tables.")
def claims(write, ledger):
    """Print every claim with its power and how it stands in the register, figures/claims.json.

    A claim is registered, and the register committed, before the runs that confirm it; only then is its verdict told.
    """
    from kdlab.studies import every
    from kdlab.study.ledger import export
    from kdlab.study.register import Register, table

    studies, register = list(every().values()), Register()
    if write:
        names = register.add(studies)
        click.echo(f"registered: {', '.join(names)}. Commit {register.file} before anything is run" if names else
                   "every claim is registered as it is")
    click.echo(table(register, studies).to_string(index=False))
    if ledger:
        click.echo(export(studies))
