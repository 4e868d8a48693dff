"""Weights on the way: a training whose network is kept where its loss on the training clips passes given marks.

Every Hessian of a cross-entropy shrinks as confidence grows, so flatness is compared at equal training loss
(docs/methods.md, 5), not at the last epoch. The loop is ``kdlab.train.loop.fit``, unchanged: whoever counts its steps
may look at the network between two of them, and may stop counting.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from kdlab import paths
from kdlab.nets.pretrained import untrained
from kdlab.nets.video import build, load_weights
from kdlab.system.files import sweep, write_atomically
from kdlab.system.pool import each
from kdlab.system.progress import track
from kdlab.system.sources import source_hash
from kdlab.system.stored import DamagedRun, plain, read_note, read_weights, weights_hash
from kdlab.system.values import positive
from kdlab.train.loop import fit, predict
from kdlab.train.preparing import prepared
from kdlab.train.recipe import Recipe, check, to_json
from kdlab.train.rehearsal import rehearse
from kdlab.train.runs import obtain

#: A network is *at* a mark when its loss is that of the mark, give or take so much of it.
WITHIN = 0.15


@dataclass(frozen=True)
class Passing:
    """A training's folder of weights: those at each mark it came to."""

    folder: Path
    recipe: Recipe

    @property
    def note(self) -> dict:
        """``looks``: (step, loss on all training clips in evaluation mode, nats) of every look at the network;
        ``kept``: mark → hash of its weights; ``ended``: were all steps taken?"""
        return read_note(self.folder / "passing.json")

    def weights(self, mark: float) -> Path:
        return self.folder / f"ce-{mark:g}.safetensors"

    def net(self, mark: float) -> nn.Module | None:
        """The network at ``mark``, in evaluation mode; None where it never got there."""
        note, path = self.note, self.weights(mark)
        if f"{mark:g}" not in note["kept"]:
            return None
        state = read_weights(path, note["kept"][f"{mark:g}"])
        shape = state["mean"].flatten(), state["std"].flatten()
        net = build(untrained(self.recipe.net), note["classes"], 0, *shape)
        return load_weights(net, state, str(path)).eval()


def passing(recipe: Recipe, marks: Sequence[float] = (0.5, 0.1), *, pretrained: bool = True, say=print) -> Passing:
    """Train ``recipe`` until the last of ``marks`` is passed (nats of cross-entropy), keeping the weights at each.

    Its steps, rates and bits are those of :func:`kdlab.train.runs.obtain`, which keeps only the last weights. Resumes
    from its last epoch, also when called for lower marks later; where a new mark is behind already, or other sources or
    clips made the folder, it is begun anew. Looks come every epoch, and after single steps near a mark.
    """
    positive("marks are losses in nats", marks=list(marks))
    if not marks:
        raise ValueError("marks are losses in nats: give at least one")
    check(recipe)
    folder = paths.runs_dir() / "passing" / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        rehearse(recipe)
        needed = {what: obtain(other, pretrained=pretrained, say=say) for what, other in recipe.needs().items()}
        identity = {"recipe": to_json(recipe), "sources": source_hash(recipe), "data": recipe.data.fingerprint(),
                    "needed": {what: run.provenance["weights"] for what, run in needed.items()}}
        found, note = Passing(folder, recipe), {}
        sweep(folder)
        with contextlib.suppress(DamagedRun):  # missing, or not to be read: begun anew
            note = found.note
        if "kept" not in note or any(note[key] != json.loads(json.dumps(value)) for key, value in identity.items()):
            for old in [*folder.glob("*.safetensors"), *folder.glob("flatness-*.json")]:
                old.unlink()
            note = identity | {"looks": [], "cpu_seconds": 0.0, "ended": False, "kept": {}}
        new = [mark for mark in marks if mark not in note.get("marks", marks)]
        if any(loss <= mark * (1 + WITHIN) for mark in new for _, loss in note["looks"]):  # it is behind, and not kept
            note |= {"looks": [], "cpu_seconds": 0.0, "ended": False}
            (folder / "checkpoint.safetensors").unlink(missing_ok=True)
        note["marks"] = sorted({*note.get("marks", ()), *marks})
        if note["ended"] or any(_behind(loss, min(marks), note["kept"]) for _, loss in note["looks"]):
            say(f"{recipe.name}: found on the way")
        else:
            _train(found, note, sorted(marks, reverse=True), needed, say)
    return found


def each_passing(recipes: Sequence[Recipe], marks: Sequence[float] = (0.5, 0.1)) -> list[Passing]:
    """:func:`passing` of every recipe, as many at a time as there are cores; what they have to say stays unsaid."""
    return list(each(partial(passing, marks=tuple(marks), say=str), recipes))


def _train(found: Passing, note: dict, marks: list[float], needed: dict, say: Callable) -> None:
    recipe, checkpoint = found.recipe, found.folder / "checkpoint.safetensors"
    catalogue = recipe.data.catalogue()
    ready = prepared(recipe, needed, catalogue, say)
    net, clips, count = ready.nets["student"], list(ready.train.evaluation()), len(ready.train.records)
    per_epoch = count // min(recipe.settings.batch_size, count)
    note["classes"] = len(catalogue.classes)

    def look(step: int) -> float:
        logits, labels, _ = predict(net, clips, "student")
        loss = float(F.cross_entropy(logits, labels))
        note["looks"].append([step, round(loss, 6)])
        for mark in marks:
            if abs(loss / mark - 1) <= WITHIN and f"{mark:g}" not in note["kept"]:
                state = plain(net.state_dict())
                write_atomically(found.weights(mark), lambda p, state=state: save_file(state, p))
                note["kept"][f"{mark:g}"] = weights_hash(state)
        write()
        return loss

    def write() -> None:
        path = found.folder / "passing.json"
        write_atomically(path, lambda p: p.write_text(json.dumps(note), encoding="utf-8"))

    def watched(steps: range) -> Iterator[int]:
        """The steps, with a look between two of them now and then, until the last mark is behind."""
        note["looks"] = [seen for seen in note["looks"] if seen[0] <= steps.start]  # a resumed epoch is seen again
        due = note["looks"][-1][0] + 1 if note["looks"] else steps.start
        for step in track(steps, f"{recipe.name} to {marks[-1]:g} nats"):
            if step >= due and step > 0:
                loss = look(step)
                if _behind(loss, marks[-1], note["kept"]):
                    return
                due = step + _wait(loss, [m for m in marks if f"{m:g}" not in note["kept"]], per_epoch)
            yield step
        note["ended"] = True

    how = dict(checkpoint=checkpoint, progress=watched, say=say)
    trained = fit(recipe.method, ready.nets, ready.train, recipe.settings, recipe.seed, **how)
    note["cpu_seconds"] = round(trained.cpu_seconds, 2)
    if note["ended"]:
        net = trained.nets["student"]
        look(trained.steps)
        checkpoint.unlink(missing_ok=True)
    write()
    (step, loss), kept = note["looks"][-1], ", ".join(note["kept"]) or "no mark"
    say(f"{recipe.name}: {trained.cpu_seconds:.0f} CPU s, loss {loss:.3g} after {step} steps; kept at {kept}")


def _behind(loss: float, mark: float, kept: Mapping[str, str]) -> bool:
    """Is ``mark`` passed? A loss that leapt over it and is not below half of it yet may come back to it."""
    return loss <= mark * (1 + WITHIN) and (f"{mark:g}" in kept or loss < mark / 2)


def _wait(loss: float, left: list[float], per_epoch: int) -> int:
    """Steps to the next look: an epoch, and the fewer the nearer the loss is to the highest mark still below it; one
    where a mark was leapt over."""
    if any(loss < mark < 2 * loss for mark in left):
        return 1
    below = [mark for mark in left if mark < loss]
    return max(1, min(per_epoch, round(per_epoch * (loss / max(below) - 1)))) if below else per_epoch
