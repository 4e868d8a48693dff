"""``--engine``: where a command's work is done."""

import click


def engine_options(command):
    """Give ``command`` the options ``engine`` and ``address``, which :func:`chosen` reads."""
    address = click.option("--address", metavar="HOST:PORT", help="Of a running Ray; default: RAY_ADDRESS, else a Ray "
                           "of this machine.")
    engine = click.option("--engine", type=click.Choice(["pool", "ray", "slurm"]), default="pool", show_default=True,
                          help="Where it is done: processes here, Ray, or SLURM; docs/cluster.md.")
    return engine(address(command))


def chosen(engine: str, address: str | None):
    """The :class:`kdlab.system.engines.Engine`; None for the processes of this machine."""
    from kdlab.system.engines import Ray, Slurm

    if address and engine != "ray":
        raise click.UsageError("--address is that of a Ray: add --engine ray")
    return {"pool": None, "ray": Ray(address), "slurm": Slurm()}[engine]
