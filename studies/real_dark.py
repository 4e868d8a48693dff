"""From `night` to real dark clips: networks that see time run both ways teach one network.

    python studies/real_dark.py    train, test on fold A, print percents

The clips are six of ARID's classes in ``$KDLAB_REAL_CLIPS/arid6`` (docs/real-clips.md). Fold B was read with two
choices, each committed before: real_dark.json and real_dark_final.json are the last. Each network is a run in
``runs/``: after a crash or a kill, the same command goes on from the last finished epoch. Each score is written into
the note of its run, and ``tools/publish.py`` refuses a worse run under the same name. It is published: ``kdlab predict
CLIP --run real_dark``.

The ensemble takes about 28 CPU minutes; one network takes 6 minutes, of which 3 make the clips. (Measured 2026-11-26: a
clip takes 0.22 s to make, 14 ms to train on, 33 ms to be taught by five.)

Networks of `night` read reversed clips as well as others (docs/log.md), and take Sit for Stand. So they learn from
reversed clips, too: Sit reversed is Stand, Stand reversed is Sit, and other actions reversed are a class of their own
(or are left out). At the test, logits are those of the six real classes.
"""

import json
from pathlib import Path

import both_ways as both
import torch

from kdlab.clips.records import Catalogue
from kdlab.datasets.user_clips import UserClips
from kdlab.nets.video import TinyR2Plus1D
from kdlab.night import Night
from kdlab.system import paths
from kdlab.system.files import write_content
from kdlab.train.loop import predict
from kdlab.train.many import in_training_order, obtain_all
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.settings import Settings

REAL = ("Jump", "Run", "Sit", "Stand", "Turn", "Walk")  # the classes of the real clips


# --- recipes -----------------------------------------------------------------------------------------------------


#: Clips of variety 1: places, camera shake, tempo, exposure.
NIGHT = Night(REAL, (100, 5, 10), 1.0)
WINDOW, NET = both.BothWaysWindow(16, 64, 56), TinyR2Plus1D((12, 24, 56, 112))
SETTINGS = Settings(epochs=16)
#: Gamma and step of the members in turn: exposures, and windows.
KINDS = ((2.5, 1), (1.8, 1), (3.5, 1), (2.5, 2), (1.8, 2))


def member(number: int, data: object) -> Recipe:
    """The recipe of one network; exposure, window and seed follow from its ``number``."""
    gamma, step = KINDS[number]
    net = both.EveryNth(NET, step) if step > 1 else NET
    return Recipe(
        f"real_dark{number}",
        data,
        both.Exposed(gamma=gamma),
        net=net,
        window=WINDOW,
        settings=SETTINGS,
        seed=number,
    )


def taught(data: object) -> both.TaughtRecipe:
    """The recipe of the network that the members teach, which is the one to publish."""
    members = tuple(member(number, data) for number in range(len(KINDS)))
    return both.TaughtRecipe(
        "real_dark",
        data,
        both.Exposed(),
        both.EnsembleKD(),
        net=NET,
        window=WINDOW,
        settings=SETTINGS,
        seed=100,
        members=members,
    )


# --- the test on real clips --------------------------------------------------------------------------------------


def scores(run: Run) -> dict[str, float]:
    """In percent, of the clips in fold A: ``recall``, the mean over classes; each class's; ``reversed``, the mean
    recall of reversed clips under the labels of the clips; ``direction``, how many Sit and Stand, shown both ways, are
    taken for what they then show (50 for a network that does not use direction)."""
    real = real_clips()
    kept = [run.provenance["classes"].index(name) for name in real.classes]
    forwards = real.split("test")
    opposite = {
        label: real.classes.index(both.OPPOSITE.get(name, name))
        for label, name in enumerate(real.classes)
    }
    ways = []
    for shown in (
        forwards,
        [both.backwards(record, opposite[record.label]) for record in forwards],
    ):
        clips = both.BothWaysBatches(shown, {"student": run.recipe.view}, run.recipe.window)
        logits, labels, _ = predict(run.net(), clips.evaluation(), "student")
        ways.append((logits[:, kept].argmax(1), labels))
    (ahead, labels), (back, turned) = ways
    each = {
        name: _percent((ahead == label)[labels == label]) for label, name in enumerate(real.classes)
    }
    still = [_percent((back == label)[labels == label]) for label in range(len(real.classes))]
    paired = labels != turned
    return {
        "recall": sum(each.values()) / len(each),
        "reversed": sum(still) / len(still),
        "direction": _percent(torch.cat([ahead == labels, back == turned])[paired.repeat(2)]),
    } | each


def _percent(hits: torch.Tensor) -> float:
    return 100 * float(hits.float().mean())


def real_clips() -> Catalogue:
    """The real clips, of which those in fold A are the test. Raises ``FileNotFoundError`` where there are none."""
    return UserClips(str((paths.real_clips() or Path("real")) / "arid6"), "A").catalogue()


if __name__ == "__main__":
    real_clips()  # are missed now, not after hours
    # the members, and last the one that they teach
    for run in obtain_all(in_training_order([taught(both.BothWays(NIGHT))])):
        found = scores(run)
        note = json.loads((run.folder / "run.json").read_text("utf-8"))
        note["scores"] = {"arid6 A": round(found["recall"], 2)}
        write_content(run.folder / "run.json", json.dumps(note, indent=1))
        print(f"{run.recipe.condition}: { {name: round(each) for name, each in found.items()} }")
