import dataclasses
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from kdlab.system.processes import pool

from kdlab.clips.decode import DamagedClip
from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, Raw, Window
from kdlab.nets.video import TinyR2Plus1D, WrongWeights
from kdlab.night import Night
from kdlab.papers.dual_light.method import DualLight, MatchedSmoothing
from kdlab.system.files import StorageFull
from kdlab.system.stored import sealed
from kdlab.train import runs
from kdlab.train.loop import Settings
from kdlab.train.many import TrainingFailed, WorkerDied, obtain_all
from kdlab.train.recipe import Recipe, UserClips
from kdlab.train.runs import ChangedClips, DamagedRun, Run, StaleRun, obtain, unfit
from tests.conftest import encode, square


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    lines = ["path,label,split,group"]
    for split, count in (("train", 8), ("val", 2), ("test", 4)):
        for label, direction in (("left", -1), ("right", 1)):
            for n in range(count):
                path = f"{label}/{split}{n}.mp4"
                encode(root / path, square(direction, 5 * n + (split == "test")))
                lines.append(f"{path},{label},{split},{split}{n}")
    (root / "index.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def make_recipe(clips, seed=0, epochs=3, **changes) -> Recipe:
    base = Recipe("ce_raw", UserClips(str(clips)), net=TinyR2Plus1D(widths=(4, 8)), window=Window(4, 16, 16),
                  settings=Settings(epochs=epochs, batch_size=4), seed=seed)
    return dataclasses.replace(base, **changes)


def make_student(clips, seed=0, **changes) -> Recipe:
    teacher = make_recipe(clips, seed + 1, condition="ce_enhanced", view=Enhanced(Gamma(1.8)))
    given = dict(condition="dlkdd", method=DualLight(), teacher=teacher) | changes
    return make_recipe(clips, seed, **given)


@pytest.mark.filterwarnings("ignore:.*reached its limit:RuntimeWarning")
def test_a_training_beyond_the_caches_limit_has_the_same_bits_and_reads_no_more_than_it_asks(
        clips, places, monkeypatch):
    recipe, whole, some = make_recipe(clips, epochs=1), [], []
    seen = Raw.each_frame
    monkeypatch.setattr(Raw, "each_frame", lambda self, path, indices=None: (
        (whole if indices is None else some).append(path) or seen(self, path, indices)))
    kept = obtain(recipe, pretrained=False, say=str)
    assert len(whole) == len(set(whole)) == 28 and not some, "each once, then from the cache"
    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"KDLAB_{name}", str(places / "without" / name))
    monkeypatch.setenv("KDLAB_CACHE_GB", "0.00002")  # room for one clip
    whole.clear()
    again = obtain(recipe, pretrained=False, say=str)
    assert again.provenance["weights"] == kept.provenance["weights"] and some
    assert len(list((places / "without" / "CACHE").rglob("*.npy"))) == 1
    monkeypatch.setenv("KDLAB_RUNS", str(places / "without" / "others"))
    assert len(whole) >= 28
    whole.clear()
    assert obtain(recipe, pretrained=False, say=str).provenance["weights"] == kept.provenance["weights"]
    assert len(whole) <= 7, "one for each part of the clips, to meet the limit, twice of what the run is compared on"


def test_obtain_trains_the_teacher_first_and_then_finds_both(clips, places):
    said = []
    student = make_student(clips)
    run = obtain(student, pretrained=False, say=said.append)
    assert [line.split(":")[1].split()[0] for line in said] == ["trained", "trained"]
    assert said[0].startswith("ce_enhanced") and "teacher" in said[1]
    teacher = obtain(student.teacher, say=said.append)
    assert run.provenance["needed"]["teacher"] == teacher.provenance["weights"]
    assert said[2].endswith(": found")
    test = run.predictions("test")
    assert test.logits.shape == (8, 2) and sorted(set(test.labels.tolist())) == [0, 1] and len(set(test.ids)) == 8
    assert len(run.history) == 3 and run.recipe == student and run.staleness() == ""
    assert not (run.folder / "checkpoint.safetensors").exists()


def test_the_saved_network_gives_the_saved_predictions(clips, places):
    from kdlab.train.loop import predict
    from kdlab.train.runs import batches

    run = obtain(make_recipe(clips), pretrained=False, say=lambda _: None)
    logits, labels, ids = predict(run.net(), batches(run.recipe, "test").evaluation(), "student")
    assert np.array_equal(logits.numpy(), run.predictions().logits) and list(run.predictions().ids) == ids


def test_the_same_bits_from_one_worker_and_from_two(clips, places, monkeypatch):
    recipes = [make_student(clips, s) for s in (0, 1)]
    weights = []
    for workers in (1, 2):
        monkeypatch.setenv("KDLAB_RUNS", str(places / f"runs{workers}"))
        runs = obtain_all(recipes, pretrained=False, workers=workers, say=lambda _: None)
        weights.append([run.provenance["weights"] for run in runs])
    assert weights[0] == weights[1] and len(set(weights[0])) == 2


def test_matched_smoothing_needs_its_teacher_only_for_one_number(clips, places):
    run = obtain(make_student(clips, condition="label_smoothing", method=MatchedSmoothing()), pretrained=False,
                 say=lambda _: None)
    assert {"ce", "soft"} <= set(run.history.columns)


def test_ctrl_c_says_how_to_go_on_and_ends_in_the_same_bits(clips, places, monkeypatch):
    recipe, said = make_recipe(clips, epochs=6), []

    def interrupted(steps, name, total=None):
        for step in steps:
            if step == 13 and name == recipe.name:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr("kdlab.train.runs.track", interrupted)
    with pytest.raises(KeyboardInterrupt):
        obtain(recipe, pretrained=False, say=said.append)
    assert "goes on from its last finished epoch" in said[-1]
    monkeypatch.undo()
    monkeypatch.setenv("KDLAB_CACHE", str(places / "cache"))
    weights = []
    for folder in ("runs", "whole"):
        monkeypatch.setenv("KDLAB_RUNS", str(places / folder))
        weights.append(obtain(recipe, pretrained=False, say=said.append).provenance["weights"])
    assert weights[0] == weights[1]


def edited(run, **entries) -> None:
    """Change entries of the run's note, as other sources or another training would have written it."""
    note = run.folder / "run.json"
    note.write_text(json.dumps(sealed(json.loads(note.read_text()) | entries)))


def small_night(places, monkeypatch) -> Recipe:
    monkeypatch.setenv("KDLAB_DATA", str(places / "data"))
    return make_recipe("", data=Night(per_class=(1, 1, 1)), epochs=1)


@pytest.mark.slow
def test_a_stale_run_on_night_is_used_and_said(places, monkeypatch):
    said, recipe = [], small_night(places, monkeypatch)
    edited(obtain(recipe, pretrained=False, say=said.append), sources="of yesterday")
    assert obtain(recipe, say=said.append).staleness() == "made by other sources"
    assert "found, STALE: made by other sources" in said[-1]
    assert obtain(recipe, stale="retrain", say=said.append).staleness() == ""
    assert "trained" in said[-1]


def test_a_stale_run_on_your_own_clips_is_refused_or_made_anew_and_the_old_one_kept(clips, places):
    said, recipe = [], make_recipe(clips)
    run = obtain(recipe, pretrained=False, say=said.append)
    edited(run, sources="of yesterday")
    assert unfit(Run(run.folder)) == "made by other sources"
    with pytest.raises(StaleRun, match="other sources.*stale='retrain'"):
        obtain(recipe, stale="refuse")
    with pytest.raises(StaleRun):
        obtain_all([make_recipe(clips, seed=7), recipe], workers=1, stale="refuse")
    assert not (places / "runs" / make_recipe(clips, seed=7).name).exists(), "trained before it refused"
    assert obtain(recipe, say=said.append).staleness() == ""
    assert "STALE: made by other sources; trained again" in said[-2] and "trained in" in said[-1]
    old = Run(places / "runs" / "stale" / recipe.name)
    assert old.provenance["sources"] == "of yesterday" and old.net() is not None
    edited(run, sources="of yesterday")
    said.clear()
    obtain_all([recipe], pretrained=False, workers=1, say=said.append)
    assert sum("STALE" in line for line in said) == 1 and Run(run.folder).staleness() == ""


def test_other_clips_in_the_folder_are_trained_on(clips, places):
    mine, said = places / "clips", []
    shutil.copytree(clips, mine)
    first = obtain(make_recipe(mine), pretrained=False, say=said.append)
    shutil.copy(mine / "left" / "train0.mp4", mine / "left" / "train1.mp4")
    second = obtain(make_recipe(mine), pretrained=False, say=said.append)
    assert first.folder != second.folder and all("trained in" in line for line in said)
    assert first.provenance["data"] != second.provenance["data"]
    assert first.provenance["weights"] != second.provenance["weights"]


def test_clips_that_change_while_they_are_trained_on_are_told(clips, places, monkeypatch):
    mine = places / "clips"
    shutil.copytree(clips, mine)
    recipe = make_recipe(mine)

    def changing(steps, name, total=None):
        for step in steps:
            if step == 3 and name.startswith("ce_raw"):
                shutil.copy(mine / "left" / "train0.mp4", mine / "left" / "train1.mp4")
            yield step

    monkeypatch.setattr("kdlab.train.runs.track", changing)
    with pytest.raises(ChangedClips, match="changed while ce_raw-clips-s0-.* Call again"):
        obtain(recipe, pretrained=False, say=lambda _: None)
    assert not list((places / "runs").glob("*/run.json"))


def test_a_run_is_found_again_when_its_clips_have_moved(clips, places):
    said = []
    for name in ("here", "there"):
        shutil.copytree(clips, places / name / "mine")
        obtain(make_recipe(places / name / "mine"), pretrained=False, stale="refuse", say=said.append)
        shutil.rmtree(places / name)
    assert "trained" in said[0] and said[1].endswith(": found")


def broken(clips, places, change) -> Path:
    mine = places / "clips"
    shutil.copytree(clips, mine)
    change(mine)
    return mine


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:900])


def without(index: Path, word: str) -> None:
    index.write_text("\n".join(line for line in index.read_text().split("\n") if word not in line))


@pytest.mark.parametrize("change, error, words", [
    (lambda root: (root / "left/train3.mp4").write_bytes(b""), DamagedClip, "train3.mp4"),
    (lambda root: cut(root / "right/test1.mp4"), DamagedClip, "test1.mp4"),
    (lambda root: encode(root / "left/val0.mp4", square(1, 0)[:1]), ValueError, "val0.mp4 has 1 frame"),
    (lambda root: (root / "left/train0.mp4").unlink(), FileNotFoundError, "train0.mp4"),
    (lambda root: without(root / "index.csv", "left/train"), ValueError, "train has no clip of.*left"),
    (lambda root: without(root / "index.csv", "/test"), ValueError, "test split is empty"),
])
def test_bad_clips_are_named_before_anything_is_trained(clips, places, change, error, words):
    mine = broken(clips, places, change)
    with pytest.raises(error, match=words):
        obtain(make_recipe(mine), pretrained=False)
    assert not list((places / "runs").glob("*/*.safetensors"))


def test_weights_of_another_architecture_are_named(clips, places):
    small, large = (make_recipe(clips, net=TinyR2Plus1D(widths=w)) for w in ((4, 8), (4, 12)))
    a, b = (obtain(r, pretrained=False, say=lambda _: None) for r in (small, large))
    shutil.copy(a.folder / "weights.safetensors", b.folder / "weights.safetensors")
    with pytest.raises(DamagedRun, match="the hash of its tensors"):
        b.net()
    edited(b, weights=a.provenance["weights"])
    b = Run(b.folder)
    with pytest.raises(WrongWeights, match="weights.safetensors.*another architecture"):
        b.net()


CHILD = """
import sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from test_runs import make_student, obtain
print("ready", flush=True)
obtain(make_student(Path({clips!r}), epochs={epochs}), pretrained=False)
"""


def start(clips, epochs=3, **env):
    code = CHILD.format(tests=str(Path(__file__).parent), clips=str(clips), epochs=epochs)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | env)


def said_of_obtaining(clips) -> list[str]:
    lines = []
    obtain(make_student(clips), pretrained=False, say=lines.append)
    return lines


def test_two_processes_do_not_train_the_same_run_twice(clips, places):
    with pool(2) as processes:
        lines = [line for its in processes.map(said_of_obtaining, [clips, clips]) for line in its]
    assert sum("trained" in line for line in lines) == 2, lines  # one teacher, one student, in all
    assert sum(line.endswith("found") for line in lines) >= 1


@pytest.mark.parametrize("moment", ["rehearse", "fit"])
def test_a_run_finished_meanwhile_by_a_process_that_no_lock_stopped_stays_as_it_is(clips, places, monkeypatch, moment):
    monkeypatch.setattr("fcntl.flock", lambda handle, how: None)
    recipe, original, folder = make_recipe(clips), getattr(runs, moment), places / "runs"
    seen = []

    def meanwhile(*given, **how):
        monkeypatch.setattr(runs, moment, original)
        other = threading.Thread(target=obtain, args=[recipe], kwargs=dict(pretrained=False, say=seen.append))
        other.start()
        other.join()
        seen.append({path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()})
        return original(*given, **how)

    monkeypatch.setattr(runs, moment, meanwhile)
    run = obtain(recipe, pretrained=False, say=seen.append)
    assert "trained in" in seen[0] and run.folder == folder / recipe.name and not run.staleness(recipe)
    its = [path for path in seen[1] if path.parent == run.folder]
    assert len(its) == 5 and all(path.stat().st_mtime_ns == seen[1][path] for path in its if path.stem != "begun")
    assert not (folder / "stale").exists() and not list(folder.rglob("checkpoint*"))


RANKS = """
from tests.train.test_runs import *
from kdlab.train import runs
clips, mode, rank = Path(sys.argv[1]), sys.argv[2], os.environ["RANK"]
track = runs.track


def killed(steps, *more, **how):
    for step in track(steps, *more, **how):
        if mode == "killed" and step == 6 and rank == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        yield step


runs.track = killed
if mode == "other clips" and rank == "1":
    clips = clips.parent / "others"
try:
    print(obtain(make_student(clips), pretrained=False).provenance["weights"])
except ValueError as error:
    print(f"refused: {error}")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_under_torchrun_both_ranks_get_the_run_that_the_first_has_written(clips, places, monkeypatch):
    """Also after one of them was killed, to the same bits; not of other clips each."""
    (places / "ranks.py").write_text(RANKS)

    def started(mode):
        env = os.environ | {"KDLAB_DEVICE": "cpu", "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                               str(places / "ranks.py"), str(clips), mode], capture_output=True, text=True, timeout=120,
                              env=env)

    def weights(child):
        assert child.returncode == 0, child.stderr[-2000:]
        return [line for line in child.stdout.splitlines() if len(line) == 64]

    child = started("whole")
    assert len(weights(child)) == 2 and len(set(weights(child))) == 1
    assert child.stdout.count("trained in") == 2  # the teacher and the student, each told once
    assert child.stdout.count("each process has batch norm's statistics of its own clips") == 2
    notes = [json.loads(note.read_text()) for note in places.rglob("run.json")]
    assert [(note["processes"], note["batch_norm"]) for note in notes] == [(2, "each process's clips")] * 2
    said = []
    obtain(make_student(clips), pretrained=False, say=said.append)
    assert said[-1].endswith(": found; 2 processes trained it, and 1 would give other bits: delete it to train it anew")

    monkeypatch.setenv("KDLAB_RUNS", str(places / "killed"))
    assert started("killed").returncode != 0 and not list((places / "killed").rglob("run.json"))
    again = started("whole")
    assert weights(again) == weights(child) and "counts as none" not in again.stdout

    shutil.copytree(clips, clips.parent / "others")
    without(clips.parent / "others" / "index.csv", "left/train0")
    refusals = [line for line in started("other clips").stdout.splitlines() if line.startswith("refused")]
    assert len(refusals) == 2 and all("processes 0 and 1 disagree about clips" in line for line in refusals), refusals


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_at_random_moments_then_resumed_the_weights_are_the_same_bits(clips, places, monkeypatch):
    monkeypatch.setenv("KDLAB_RUNS", str(places / "whole"))
    whole = obtain(make_student(clips, epochs=150), pretrained=False, say=lambda _: None).provenance["weights"]
    monkeypatch.setenv("KDLAB_RUNS", str(places / "killed"))
    rng, kills = random.Random(0), 0
    while kills < 6:
        child = start(clips, epochs=150)
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.05, 1.2))
        child.send_signal(signal.SIGINT if kills == 5 else signal.SIGKILL)
        child.communicate()
        if child.returncode == 0:
            break
        kills += 1
    assert kills >= 3, "the training was too short to be killed"
    resumed = obtain(make_student(clips, epochs=150), pretrained=False, say=lambda _: None)
    assert resumed.provenance["weights"] == whole


@pytest.mark.slow
def test_a_failed_training_is_named_and_those_at_work_are_kept(clips, places):
    bad = make_recipe(broken(clips, places, lambda root: [cut(root / f"left/train{n}.mp4") for n in (1, 2)]))
    good, later = make_recipe(clips, epochs=20), make_recipe(clips, seed=9)
    with pytest.raises(TrainingFailed) as caught:
        obtain_all([bad, good, later], workers=2, pretrained=False, say=lambda _: None)
    for words in (f"{bad.name}: UnusableClips: 2 clips", "train1.mp4", "train2.mp4", "1 of 3 runs are finished"):
        assert words in str(caught.value)
    assert (places / "runs" / good.name / "run.json").is_file()
    assert not (places / "runs" / later.name).exists(), "begun after the failure"
    assert "UnusableClips" in str(caught.value.__cause__.__cause__), "where it was raised must not get lost"


def test_a_failed_training_in_this_process_is_named_too(clips, places):
    recipe = make_recipe(clips, settings=Settings(epochs=3, batch_size=4, lr=1e30))
    with pytest.raises(TrainingFailed, match=f"{recipe.name}: Diverged: .*Lower the learning rate"):
        obtain_all([recipe], workers=1, pretrained=False, say=lambda _: None)


def until(found, seconds=300):
    deadline = time.monotonic() + seconds
    while not found() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_a_killed_worker_is_told_and_finished_runs_are_kept(clips, places):
    quick, *long = [make_recipe(clips, seed, epochs) for seed, epochs in ((0, 1), (1, 2000), (2, 2000))]

    def kill():
        until((places / "runs" / long[1].name / "checkpoint.safetensors").is_file)
        workers = [child for child in psutil.Process().children(recursive=True) if not child.children()]
        max(workers, key=lambda child: sum(child.cpu_times()[:2])).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(WorkerDied, match="killed. Out of memory.*1 of 3 runs are finished and kept; the same call"):
        obtain_all([quick, *long], workers=2, pretrained=False, say=lambda _: None)
    killer.join()
    said = []
    obtain_all([quick], workers=1, pretrained=False, say=said.append)
    assert said == [f"{quick.name}: found"]


STUDY = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.train.test_runs import make_recipe
from kdlab import studies
from kdlab.cli import main

from kdlab.train.sizes import SMOKE
from kdlab.study import Part, Study

def parts(size, seeds):
    return [Part("clips", {{"ce_raw": [make_recipe(Path({clips!r}), seed, epochs)
                                      for seed, epochs in ((0, 1), (1, 2000), (2, 2000))]}})]

studies.every = lambda: {{"dual_light": Study("dual_light", parts, size=SMOKE)}}
if __name__ == "__main__":
    main.main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("stop", [lambda child: os.killpg(child.pid, signal.SIGINT), subprocess.Popen.terminate],
                         ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_study_ends_its_workers_and_says_what_is_kept(clips, places, stop):
    (places / "study.py").write_text(STUDY.format(root=str(Path(__file__).parents[2]), clips=str(clips)))
    command = [sys.executable, str(places / "study.py"), "study", "dual_light", "--workers", "2"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child = subprocess.Popen(command, start_new_session=True, **pipes)
    last = places / "runs" / make_recipe(clips, 2, 2000).name / "checkpoint.safetensors"
    until(lambda: last.is_file() or child.poll() is not None)
    status = subprocess.run([*command, "--status"], timeout=120, **pipes).stdout
    assert "ce_raw-clips" in status and " 1        2      0   seed 1: " in status, status
    workers = psutil.Process(child.pid).children(recursive=True)
    stop(child)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130 and "Traceback" not in err, err
    assert err.splitlines()[-1] == "interrupted: 1 of 3 runs are finished and kept; the same call goes on from there"
    assert "trained in" in out and "of 2000" not in out, "the workers' own bars were not silent"
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert len((places / "runs" / "tried.csv").read_text().splitlines()) == 1 + 3


def test_a_stale_run_is_kept_on_another_disk_and_stays_whole_where_that_is_full(tmp_path, monkeypatch):
    def elsewhere(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def full(*_, **how):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder, kept = tmp_path / "runs" / "a", tmp_path / "runs" / "stale" / "a"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    monkeypatch.setattr(os, "replace", elsewhere)
    monkeypatch.setattr(os, "rename", elsewhere)
    with monkeypatch.context() as patch, pytest.raises(StorageFull, match="runs/a to .*No space left.*make room"):
        patch.setattr(shutil, "copytree", full)
        runs._set_aside(folder)
    assert (folder / "run.json").is_file()
    runs._set_aside(folder)
    assert (kept / "run.json").read_text() == "{}" and not folder.exists()


def test_a_student_begins_as_its_start_and_is_stale_when_that_was_trained_again(clips, places):
    recipe = make_recipe(clips, seed=1, epochs=1, start=make_recipe(clips, seed=2))
    run, begun = obtain(recipe, pretrained=False, say=lambda _: None), make_recipe(clips, seed=1, epochs=1)
    start = obtain(recipe.start, say=lambda _: None)
    assert run.provenance["needed"] == {"start": start.provenance["weights"]} and run.staleness() == ""
    fresh = obtain(begun, pretrained=False, say=lambda _: None)
    assert run.history.loss_net[0] < fresh.history.loss_net[0]  # it has learnt three epochs before
    edited(start, weights="another")
    assert run.staleness() == "made with another training of its start"
