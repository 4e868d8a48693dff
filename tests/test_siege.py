"""The siege itself: it counts what it is meant to count; and, slow, a sample of it finds nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from siege.attack import COUNTS, Attack, differences, run_forked, state  # noqa: E402
from siege.films import decode, encode, film, replace_matrix, turned  # noqa: E402


@pytest.fixture
def besieged(tmp_path):
    """``besieged(function)``: the counts in which an attack that is this function found something."""

    def run(function, seconds: float = 30) -> list[str]:
        log = tmp_path / "found.jsonl"
        log.touch()
        (tmp_path / "field").mkdir()
        field = Attack(tmp_path / "field", tmp_path, tmp_path, np.random.default_rng(0), log)
        run_forked(function, field, seconds, {}, grace=0.3)
        return [json.loads(line)["count"] for line in log.read_text().splitlines()]

    return run


def refuse(message: str, error: type[Exception] = ValueError):
    raise error(message)


def leave_somebody(field: Attack) -> None:
    if os.fork() == 0:
        signal.pause()


@pytest.mark.parametrize(("attack", "counted"), [
    (lambda field: None, []),
    (lambda field: field.call(("clip.mp4",), refuse, "clip.mp4: broken"), []),
    (lambda field: field.call((Path("new\nline.mp4"),), refuse, r"'new\nline.mp4' is broken"), []),
    (lambda field: field.call(("clip.mp4",), refuse, "broken"), ["unnamed"]),
    (lambda field: field.call(("x",), refuse, "x", KeyError), ["traceback"]),
    (lambda field: refuse("of the attack itself"), ["traceback"]),
    (lambda field: os.kill(os.getpid(), signal.SIGSEGV), ["traceback"]),
    (lambda field: bytearray(b"x") * 1_500_000_000, ["hang"]),
    (leave_somebody, ["hang"]),
])
def test_an_attack_is_counted_by_how_it_ends(besieged, attack, counted):
    assert besieged(attack) == counted


def test_an_attack_that_sleeps_is_ended_and_counted(besieged):
    assert besieged(lambda field: signal.pause(), seconds=0.5) == ["hang"]


def test_the_command_line_is_heard_and_a_failure_without_a_name_is_counted(besieged):
    def attack(field):
        assert "kdlab" in field.kdlab("--help").out
        assert field.kdlab("data", "list", "nowhere", names=("nowhere",)).code == 2
        field.kdlab("data", "list", "nowhere", names=("elsewhere",))

    assert besieged(attack) == ["unnamed"]


def test_changed_and_deleted_files_are_seen_and_times_too(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    before = state(tmp_path)
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_text("B")
    os.utime(tmp_path / "c", (0, 0))
    (tmp_path / "d").touch()
    assert differences(before, state(tmp_path)) == ["a deleted", "b changed", "c changed"]
    assert differences(before, state(tmp_path), added=True)[-1] == "d added"


def test_display_matrices_turn_as_their_geometry_says(tmp_path):
    frames = film(np.random.default_rng(0), 2, 48, 32)
    assert np.array_equal(turned(frames, (0, 1, -1, 0)), np.rot90(frames, -1, (1, 2))), "a quarter clockwise"
    assert np.array_equal(turned(frames, (-1, 0, 0, -1)), np.rot90(frames, 2, (1, 2)))
    assert np.array_equal(turned(frames, (-1, 0, 0, 1)), frames[:, :, ::-1])
    assert np.array_equal(turned(frames, (0, 1, 1, 0)), frames.swapaxes(1, 2))
    path = encode(tmp_path / "clip.mp4", frames)
    stored = decode(path).frames
    replace_matrix(path, (0, 1, -1, 0))
    assert np.array_equal(decode(path).frames, stored), "the independent decode turns nothing"


@pytest.mark.slow
def test_a_sample_of_the_siege_finds_nothing(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "siege.py"), "--seed", "4", "--count", "10", "--out", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    total = ended.stdout.strip().splitlines()[-1].split()
    assert total[:1] == ["all"] and int(total[1]) == 60, ended.stdout + ended.stderr
    assert dict(zip(COUNTS, map(int, total[2:8]), strict=True)) == dict.fromkeys(COUNTS, 0), ended.stdout
