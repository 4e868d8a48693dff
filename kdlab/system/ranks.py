"""What the processes of one training ask each other. Every process asks the same questions in the same order.

An error ends its process, and torchrun then ends the others.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import cache

from kdlab.system.launch import LaunchError, device, launched

#: How long the others wait for the first process, which may wait for another training to let a run go.
PATIENCE = timedelta(days=2)


def first() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return launched().rank == 0


@cache
def connect() -> None:
    """Meet the other processes. From here on the first alone shows how far all are."""
    import torch

    if not first():
        os.environ["KDLAB_HEADLESS"] = "quiet"
    if device() == "cuda":
        torch.cuda.set_device(launched().local_rank)
    torch.distributed.init_process_group("nccl" if device() == "cuda" else "gloo", timeout=PATIENCE)


def told(decide: Callable[[], object]):
    """What ``decide()`` gives on the first process, on all of them."""
    if launched().world == 1:
        return decide()
    import torch

    connect()
    found = [decide() if first() else None]
    torch.distributed.broadcast_object_list(found)
    return found[0]


def agree(**what: object) -> None:
    """Raise :class:`LaunchError` on all processes where one has another value of any of ``what`` than the first."""
    if launched().world == 1:
        return
    theirs = told(lambda: {name: str(value) for name, value in what.items()})
    for name, value in what.items():
        if str(value) != theirs[name]:
            raise LaunchError(f"processes 0 and {launched().rank} disagree about {name}, {theirs[name]:.60} and "
                              f"{str(value):.60}: give all the same kdlab, packages, clips, arguments and runs folder")
