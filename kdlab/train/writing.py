"""The files of a finished run; ``run.json``, written last, says that they are all there."""

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from kdlab import __version__
from kdlab.system.files import save_arrays, write_atomically
from kdlab.system.launch import cpu_features
from kdlab.system.stored import plain, weights_hash
from kdlab.train.loop import Diverged, Trained, drawing
from kdlab.train.recipe import Prepared

#: What a training goes on from, in the run's folder.
CHECKPOINT = "checkpoint.safetensors"
#: The packages whose versions can change the bits of a run.
DECIDING_PACKAGES = ("torch", "numpy", "av", "opencv-python-headless")


def versions() -> dict[str, str]:
    """Of kdlab and the deciding packages, as they are installed."""
    return {"kdlab": __version__} | {name: version(name) for name in DECIDING_PACKAGES}


def write_run(folder: Path, ready: Prepared, trained: Trained, about: dict, began: float) -> None:
    """Write what ``trained`` is and predicts, and ``about`` it, into ``folder``; its checkpoint is deleted. The
    training ``began`` then, by ``time.monotonic``. Raises :class:`.loop.Diverged`, and writes nothing, for a network
    that is no number."""
    student = trained.nets["student"]
    state = plain({f"{n}.{k}": v for n in trained.owned for k, v in trained.nets[n].state_dict().items()})
    broken = [name for name, value in state.items() if name not in trained.unbounded and not value.isfinite().all()]
    predictions = {}
    for split in ready.splits:
        records, logits = ready.answers(student, split)
        if records:
            broken += [f"what it says of {split} clips"] * (not logits.isfinite().all())
            columns = {f"{split}_{k}s": np.array([getattr(r, k) for r in records]) for k in ("id", "group", "label")}
            predictions |= columns | {f"{split}_logits": logits.numpy()}
    if broken:  # the loss of the last step was still a number
        raise Diverged(f"{broken[0]} is no number after the last step: lower the learning rate, or look for a division "
                       "by zero in the method")
    write_atomically(folder / "weights.safetensors", lambda p: save_file(state, p))
    write_atomically(folder / "history.csv", lambda p: pd.DataFrame(trained.history).to_csv(p, index=False))
    save_arrays(folder / "predictions.npz", predictions)
    note = about | {
        "weights": weights_hash(state),
        "steps": trained.steps,
        "device": trained.device,
        "precision": trained.precision,
        "cpu": cpu_features(),
        "cpu_seconds": round(trained.cpu_seconds, 2),
        "wall_seconds": round(time.monotonic() - began, 2),
        "first_losses": trained.first_losses,
        "versions": versions(),
        "python": platform.python_version(),
    } | ({"batch_norm": trained.batch_norm} if trained.batch_norm else {})
    write_atomically(folder / "run.json", lambda p: p.write_text(json.dumps(note, indent=1), encoding="utf-8"))
    (folder / CHECKPOINT).unlink(missing_ok=True)


def unlike(ready: Prepared, trained: nn.Module, again: nn.Module) -> str:
    """How ``again``, which was built from its recipe and the weights of a run, differs from the ``trained`` network of
    that run in what it answers to one batch; empty where it does not, and where nothing is ever answered."""
    where, answers = next(trained.parameters()).device, []
    for net in (trained, again.to(where)):
        with drawing(0):
            found = (ready.answers(net, split, 1) for split in ready.splits)
            answers.append(next((logits for records, logits in found if records), torch.zeros(0)))
    # bit for bit on a CPU; elsewhere the sums of two passes may come in other orders
    if torch.equal(*answers) if where.type == "cpu" else torch.allclose(*answers, rtol=1e-3, atol=1e-4):
        return ""
    kept, now = trained.state_dict(), dict(again.named_buffers())
    lost = [name for name, buffer in trained.named_buffers() if name not in kept and not (
        name in now and torch.equal(buffer, now[name]))]
    what = f"its buffer {lost[0]!r} is not persistent" if lost else "what training changes is not in its weights"
    return (f"built again from its recipe and its weights the network answers otherwise: {what}. Keep all that "
            "training changes in parameters and persistent buffers, layers in nn.ModuleList or nn.ModuleDict")
