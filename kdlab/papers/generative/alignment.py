"""λ over untrimmed video for the study of generative distillation: whose, on which videos, and how sure we are."""

from contextlib import suppress
from dataclasses import replace

import numpy as np

from kdlab.layers import at_random
from kdlab.measure.alignment import ENERGY, areas, sliding, traces
from kdlab.measure.paired import Effect, effect
from kdlab.night.untrimmed import Untrimmed, untrimmed_catalogue
from kdlab.papers.generative import detection_recipes
from kdlab.study import Outcome, load_arrays
from kdlab.train.runs import Run
from kdlab.train.sizes import GenerativeSize

#: The untrimmed videos on which λ is read: those that the detection study tests on.
UNTRIMMED = replace(detection_recipes.night(detection_recipes.STUDY).night,
                    videos=(0, 0, detection_recipes.STUDY.videos[2]))
#: Whose λ is read, part by part of the study, and of which architectures also with random weights.
ATTENTIVE = {"night_untrimmed": ("teacher_fr", "student_fr", "genkd"), "night_untrimmed_gate": ("student_gate",)}
TWINS = ("teacher_fr", "genkd")
_FILES = {name: name.replace("night_untrimmed", "generative-alignment").replace("_", "-") for name in ATTENTIVE}


def watched(size: GenerativeSize) -> Untrimmed:
    """The videos on which λ is read at this size: of the same set the first ones."""
    few = {"smoke": 1, "demo": 4}.get(size.name)
    return replace(UNTRIMMED, videos=(0, 0, few or UNTRIMMED.videos[2]))


def aligned(runs: dict[str, list[Run]], spec: Untrimmed) -> dict[str, np.ndarray]:
    """Area under the ROC curve by signal, ``(S, V)``: λ of the runs of each condition, of random twins of some, and
    frame energy, on the bright test videos of ``spec``; ``units (V,)`` are the places where they were filmed."""
    spec.catalogue()
    catalogue = untrimmed_catalogue(spec, stream="bright")
    nets = {(name, s): run.net() for name, column in runs.items() for s, run in enumerate(column)}
    nets |= {(f"{name}:random", s): at_random(net, 1000 + runs[name][s].recipe.seed)
             for (name, s), net in nets.items() if name in TWINS}
    found = traces(nets, catalogue, sliding(next(iter(runs.values()))[0].recipe.window))
    each, seeds = areas(found), len(next(iter(runs.values())))
    table = {name: np.stack([each[name, s] for s in range(seeds)]) for name, _ in nets}
    return table | {ENERGY: np.stack([each[ENERGY]] * seeds), "units": np.array([trace.group for trace in found])}


def alignment() -> dict[str, np.ndarray]:
    """The committed areas, as :func:`aligned` returns them; of the gate alone there are fewer seeds."""
    table = load_arrays(_FILES["night_untrimmed"])
    with suppress(FileNotFoundError):
        table |= {"student_gate": load_arrays(_FILES["night_untrimmed_gate"])["student_gate"]}
    return table


def alignment_effects(table: dict[str, np.ndarray]) -> dict[str, Effect]:
    """By signal how far its area lies above chance, and GenKD's above each other signal's, in points of 100, of the
    seeds that both have."""
    units = table["units"]
    found = {name: effect(values, 0.5 + 0 * values, units) for name, values in table.items() if name != "units"}
    others = [name for name in (ENERGY, "genkd:random", "student_gate", "student_fr", "teacher_fr")
              if {"genkd", name} <= table.keys()]
    return found | {f"genkd − {other}": effect(table["genkd"][: len(table[other])], table[other], units)
                    for other in others}


def alignment_rows(outcome: Outcome) -> list[dict]:
    """Tidy rows of the mean area over videos, in percent; the areas themselves go beside the predictions."""
    runs, found = outcome.runs, aligned(outcome.runs, watched(outcome.size))
    outcome.evidence.save(_FILES[outcome.part.data], found, once=["units"])
    for name, e in alignment_effects(found).items() if outcome.shard is None else ():  # one seed has no interval
        outcome.say(f"λ over time, {name}: {e} points of area{'' if '−' in name else ' above chance'}")
    table = []
    for name, column in ((name, column) for name, column in found.items() if name != "units"):
        for s, (seed, area) in enumerate(zip(outcome.scores.seeds, column.mean(1), strict=True)):
            recipe = runs[name][s].folder.name if name in runs else ""
            table += outcome.numbers(("auc", 100 * area, "%"), condition=name, seed=seed, recipe=recipe)
    return table
