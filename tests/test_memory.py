"""Memory that was freed stays with the process: what a step of a training touches is not cleared anew by the next."""

import ctypes
import sys

import pytest

from tests.conftest import said_by

ROUNDS = """
import resource, sys
{first}
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():  # activations: what is made last is freed first
    kept = [np.empty(2**22, np.uint8) for _ in range(12)]
    for each in kept:
        each[:] = 1
    while kept:
        kept.pop()

step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


def faults(first):
    """Pages that five rounds had to be given, each of which makes and frees the 48 MiB of the round before."""
    return int(said_by(ROUNDS.format(first=first)))


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc"
)
def test_what_was_freed_is_used_again_without_new_pages():
    assert (
        faults("from kdlab.train.device import keep_freed_memory; keep_freed_memory()")
        < 100
        < 1000
        < faults("")
    )
