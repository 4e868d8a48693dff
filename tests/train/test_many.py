"""Many runs at once: the needed first, finished ones kept, and in whatever executor the same bits."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kdlab.train.many import Ray, Slurm, in_training_order, obtain_all
from kdlab.train.rehearsal import rehearse
from kdlab.train.settings import Settings
from tests.train.test_runs import clips, make_recipe, make_student, places  # noqa: F401

ROOT = Path(__file__).parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def weights(runs) -> list[str]:
    return [run.provenance["weights"] for run in runs]


def until(found, seconds=300):
    deadline = time.monotonic() + seconds
    while not found():
        # it took too long
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Threads(ThreadPoolExecutor):
    """An executor that notes in which order it was given recipes."""

    def submit(self, work, recipe, *more):
        self.given = [*getattr(self, "given", []), recipe]
        return super().submit(work, recipe, *more)


def test_an_executor_is_given_each_run_once_after_those_it_needs(clips, places, monkeypatch):
    students = [
        make_student(clips, 0, epochs=1),
        make_student(clips, 0, epochs=1, condition="other"),
    ]
    assert in_training_order(students) == [students[0].teacher, *students]
    with Threads(1) as executor:
        found = obtain_all(students, executor=executor)
        assert executor.given == [students[0].teacher, *students]
        assert [run.recipe for run in found] == students
        obtain_all(students, executor=executor)
        # what is finished is found
        assert len(executor.given) == 3
    monkeypatch.setenv("KDLAB_RUNS", str(places / "here"))
    assert weights(obtain_all(students, workers=1)) == weights(found)


def test_after_a_failure_no_other_begins_and_finished_runs_are_kept(clips, places):
    good = make_recipe(clips, epochs=1)
    wrong = make_recipe(clips, 1, settings=Settings(1, 4, lr=1e30))
    later = make_recipe(clips, 2, condition="later", epochs=1, start=good)
    rehearse(good)  # of whose kind the wrong one is, but for its rate
    with Threads(1) as executor, pytest.raises(ValueError) as failed:
        obtain_all([wrong, good, later], executor=executor)
    for words in (
        f"{wrong.stem}: ",
        "ower the learning rate",
        "1 of 3 runs are finished and kept; the same",
    ):
        assert words in str(failed.value)
    assert executor.given == [wrong, good]
    said = []
    obtain_all([good], workers=1, say=said.append)
    assert said == [f"{good.name}: found"]


@pytest.mark.slow
@POSIX
def test_a_killed_worker_is_told_and_finished_runs_are_kept(clips, places):
    quick, *long = [
        make_recipe(clips, seed, epochs) for seed, epochs in ((0, 1), (1, 2000), (2, 2000))
    ]

    def kill():
        until((places / "RUNS" / long[1].name / "checkpoint.pt").is_file)
        workers = [
            child for child in psutil.Process().children(recursive=True) if not child.children()
        ]
        max(workers, key=lambda child: sum(child.cpu_times()[:2])).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(
        ValueError, match="TerminatedWorkerError(.|\n)*1 of 3 runs are finished and kept; the same"
    ):
        obtain_all([quick, *long], workers=2)
    killer.join()
    assert (places / "RUNS" / quick.name / "run.json").is_file()


STUDY = """
from pathlib import Path
from kdlab.study import Study
from tests.train.test_runs import make_recipe

def conditions(size, world):
    return {"quick": make_recipe(Path(CLIPS), world, 1, condition="quick"), "long": make_recipe(Path(CLIPS), world, 60),
            "longer": make_recipe(Path(CLIPS), world, 61)}

study = Study("stopped", conditions, worlds=(0,))
"""


@pytest.mark.slow
@POSIX
def test_an_interrupted_study_ends_its_workers_and_goes_on_to_the_same_bits(
    clips, places, monkeypatch
):
    (places / "my_study.py").write_text(STUDY.replace("CLIPS", repr(str(clips))))
    command = [
        sys.executable,
        "-m",
        "kdlab.cli.main",
        "study",
        str(places / "my_study.py"),
        "--workers",
        "2",
    ]
    how = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def started():
        return subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True, **how
        )

    child = started()
    long = [make_recipe(clips, 0, epochs) for epochs in (60, 61)]
    until(
        lambda: (
            all((places / "RUNS" / r.name / "checkpoint.pt").is_file() for r in long)
            or child.poll()
        )
    )
    workers = psutil.Process(child.pid).children(recursive=True)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: the workers get it, too
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130 and "Traceback" not in err, err
    assert len(workers) >= 2 and not psutil.wait_procs(workers, timeout=10)[1]
    # finished runs are kept
    assert len(list((places / "RUNS").glob("quick*/run.json"))) == 1
    out, err = (again := started()).communicate(timeout=300)
    assert again.returncode == 0 and (places / "RUNS" / "studies" / "stopped.csv").is_file(), err
    resumed = weights(obtain_all(long, workers=1))
    monkeypatch.setenv("KDLAB_RUNS", str(places / "whole"))
    assert weights(obtain_all(long, workers=1)) == resumed


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "submitit"])
def test_other_machines_train_to_the_same_bits_and_tell_what_fails(
    clips, places, monkeypatch, engine
):
    pytest.importorskip(engine)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    executor = (
        Ray() if engine == "ray" else Slurm(str(places / "jobs"), (("timeout_min", 5),), "local")
    )
    student = make_student(clips)
    found = weights(obtain_all([student], executor=executor))
    wrong = replace(student, condition="wrong", settings=Settings(3, 4, lr=1e30))
    with pytest.raises(ValueError, match="ower the learning rate"):
        obtain_all([wrong], executor=executor)
    monkeypatch.setenv("KDLAB_RUNS", str(places / "here"))
    assert weights(obtain_all([student], workers=1)) == found
