"""Work in several processes: in order, in this one where one will do, and a killed worker is an error."""

import os
import signal
import sys

import pytest

from kdlab.system.pool import available_cores, each, pool


def test_results_come_in_order_and_one_worker_is_this_process(monkeypatch):
    assert list(each(pow, [2, 3, 4], [2, 2, 2], workers=2)) == [4, 9, 16]
    assert list(each(os.getpid, *[], workers=2)) == []
    assert set(each(lambda _: os.getpid(), range(3), workers=1)) == {os.getpid()}
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert available_cores() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_a_killed_worker_and_an_error_are_told():
    with pytest.raises(Exception, match="terminated|killed"), pool(1) as executor:
        executor.submit(os.kill, executor.submit(os.getpid).result(), signal.SIGKILL).result()
    with pytest.raises(ValueError, match="math domain"):
        list(each(__import__("math").sqrt, [1, -1], workers=2))
