"""Part ``runs``: run folders, caches and checkpoints that are damaged, exchanged or somebody else's.

After each attack the same recipe is asked for again: its answers must be those of the undisturbed run, found or
trained anew, or be refused by the name of the file.
"""

import json
import os
import pickle
import shutil
import signal
import struct
import time
from pathlib import Path

import numpy as np

from siege import changes, others
from siege.asking import Marker, ask, nothing_ran, spoil
from siege.attack import Attack
from siege.camp import recipe, student, undisturbed

SIZE = 168


def _attacked_run(field: Attack):
    """The shared runs copied, a student's recipe, and the folder of it or of its teacher."""
    shutil.copytree(field.camp / "runs", field.root / "runs")
    its = student(field.camp / "clips")
    its_teacher = bool(field.number(3) == 0)
    return its, field.root / "runs" / (its.teacher.name if its_teacher else its.name)


def damaged_files(field: Attack) -> None:
    """Any file of a run empty, cut, zeroed, with one bit flipped, overwritten, longer."""
    its, folder = _attacked_run(field)
    name = field.pick(("weights.safetensors", "run.json", "predictions.npz", "history.csv"))
    spoil(field, folder / name)
    ask(field, its, undisturbed(field, "student"), (name,))


def exchanged_files(field: Attack) -> None:
    """A sound file of another run in the place of this one's."""
    its, folder = _attacked_run(field)
    name = field.pick(("weights.safetensors", "predictions.npz", "history.csv", "run.json"))
    other = [run for run in sorted((field.root / "runs").iterdir()) if (run / name).is_file() and run != folder]
    shutil.copy2(field.pick(other) / name, folder / name)
    ask(field, its, undisturbed(field, "student"), (name,))


def exchanged_run(field: Attack) -> None:
    """A whole run folder, sound in itself, under another run's name: another seed's, other clips'."""
    its, _ = _attacked_run(field)
    folder = field.root / "runs" / its.name
    others_ = [run for run in sorted((field.root / "runs").glob("*/run.json")) if run.parent != folder]
    shutil.rmtree(folder)
    shutil.copytree(field.pick(others_).parent, folder)
    ask(field, its, undisturbed(field, "student"), ("run.json",))


def strange_weights(field: Attack) -> None:
    """Headers of absurd length or depth, NaN, another type, tensors too many or too few, a pickle."""
    from safetensors.torch import load_file, save_file

    its, folder = _attacked_run(field)
    path, kind = folder / "weights.safetensors", field.number(9)
    state = load_file(path)
    first = sorted(key for key, value in state.items() if value.is_floating_point())[0]
    body = path.read_bytes()
    length = struct.unpack("<Q", body[:8])[0]
    if kind == 0:
        path.write_bytes(struct.pack("<Q", 2**int(field.rng.integers(28, 63))) + body[8:])
    elif kind == 1:
        header = b"[" * 90_000
        path.write_bytes(struct.pack("<Q", len(header)) + header + body[8 + length:])
    elif kind == 2:
        header = body[8: 8 + length].rstrip()[:-1] + b"," + body[9: 8 + length]  # every key twice
        path.write_bytes(struct.pack("<Q", len(header)) + header + body[8 + length:])
    elif kind == 3:
        save_file(state | {first: state[first] * float("nan")}, path)
    elif kind == 4:
        save_file({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, path)
    elif kind == 5:
        save_file(state | {"student.extra": state[first].clone()}, path)
    elif kind == 6:
        save_file({key: value for key, value in state.items() if key != first}, path)
    elif kind == 7:
        path.write_bytes(pickle.dumps(Marker(field.root / "code-ran")))
    else:
        save_file({key: value.flip(0).contiguous() if value.dim() else value for key, value in state.items()}, path)
    ask(field, its, undisturbed(field, "student"), ("weights.safetensors",))
    nothing_ran(field)


def strange_notes(field: Attack) -> None:
    """A run.json that is JSON, and lies: keys twice or missing, depth, huge numbers, other types, other classes."""
    its, folder = _attacked_run(field)
    path, kind = folder / "run.json", field.number(11)
    note = json.loads(path.read_text())
    if kind == 0:
        path.write_text("[" * 100_000 + "]" * 100_000)
    elif kind == 1:
        path.write_text(path.read_text().rstrip()[:-1] + ', "classes": ["up", "down"]}')
    elif kind == 2:
        path.write_text(path.read_text().replace('"steps": ', '"steps": ' + "9" * 5000))
    elif kind == 3:
        note["recipe"]["type"] = field.pick(
            ("os:system", "kdlab.nothing:X", "kdlab.cli.main:main", "kdlab.train.recipe", 7))
    elif kind == 4:
        del note[field.pick(sorted(note))]
    elif kind == 5:
        note["classes"] = note["classes"][::-1]
    elif kind == 6:
        note = field.pick([None, [], "x", 3])
    elif kind == 7:
        path.write_bytes(path.read_text().encode("utf-16"))
    elif kind == 8:
        note["weights"] = "0" * 64
    elif kind == 9:
        note[field.pick(sorted(note))] = field.pick([None, -1, float("nan"), {}])
    else:
        note["recipe"]["seed"] = "0; import os"
    if kind not in (0, 1, 2, 7):
        path.write_text(json.dumps(note, indent=1))
    ask(field, its, undisturbed(field, "student"), ("run.json",))


def strange_predictions(field: Attack) -> None:
    """An npz with pickles, other shapes, other orders, nothing, or a bomb."""
    its, folder = _attacked_run(field)
    path, kind = folder / "predictions.npz", field.number(6)
    arrays = dict(np.load(path, allow_pickle=False))
    if kind == 0:
        arrays["test_ids"] = np.array([Marker(field.root / "code-ran")] * len(arrays["test_ids"]), object)
    elif kind == 1:
        arrays["test_logits"] = arrays["test_logits"][:-1]
    elif kind == 2:
        arrays["test_labels"] = arrays["test_labels"][::-1]
    elif kind == 3:
        arrays.pop("test_groups")
    elif kind == 4:
        arrays["test_logits"] = np.full_like(arrays["test_logits"], np.nan)
    else:
        arrays["test_logits"] = np.zeros((2, 30_000_000), np.float32)
    np.savez_compressed(path, **arrays)
    ask(field, its, undisturbed(field, "student"), ("predictions.npz",))
    nothing_ran(field)


def _interrupted(field: Attack, its) -> Path | None:
    """Begin a training in another process, kill it once a checkpoint is there; the checkpoint."""
    from kdlab.train.runs import obtain

    checkpoint = field.root / "runs" / its.name / "checkpoint.safetensors"
    pid = os.fork()
    if pid == 0:
        obtain(its, pretrained=False, say=lambda _: None)
        os._exit(0)
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if checkpoint.is_file():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    return checkpoint if checkpoint.is_file() else None


def checkpoints(field: Attack) -> None:
    """An unfinished training whose checkpoint, or the note beside it, is damaged, exchanged or lies."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    its = recipe(field.camp / "clips", 7)
    checkpoint = _interrupted(field, its)
    if checkpoint is None:
        return
    kind, names = field.number(5), ("checkpoint.safetensors", "begun.json")
    if kind == 0:
        spoil(field, checkpoint.with_name("begun.json"))
    elif kind == 1:
        with safe_open(checkpoint, "pt") as file:
            flat, note = {key: file.get_tensor(key) for key in list(file.keys())}, json.loads(file.metadata()["note"])
        change = ({"step": -1}, {"step": 10**9}, {"step": "3"}, {"history": "x"}, {"step": float("nan")}, {})
        note |= (chosen := field.pick(change))
        save_file(flat, checkpoint, metadata={"note": json.dumps(note)} if chosen else {})
    elif kind == 2:
        other = next((field.camp / "runs").glob("*/weights.safetensors"))
        shutil.copy2(other, checkpoint)
    else:
        spoil(field, checkpoint)
    ask(field, its, undisturbed(field, "other seed"), names)


KINDS = (damaged_files, exchanged_files, exchanged_run, strange_weights, strange_notes, strange_predictions,
         checkpoints, *changes.KINDS, *others.KINDS)
