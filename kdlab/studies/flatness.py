"""The study of flatness: is the I-frame network's minimum flatter than the residual's, and that than motion's (P1)?
Does flatness predict generalisation (P2, which ``kdlab.studies.flatness_gap`` confirms)?

Three networks of one seed, as CoViAR divides the work (``tiny``) and all alike (``matched``), in two regimes of data,
are stopped where their loss on the training clips is 0.5 and 0.1 nats (``measure.passing``), and measured there on the
same clips (``measure.minima``). One that never gets to a mark is missing there, not replaced by its last epoch. Beside
them stand the finished networks of notebook 07 and their internal classifiers, by labels and by PKD, and for P2 the
finished networks of notebooks 03 and 04.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import torch
from torch import nn

from kdlab.measure import minima
from kdlab.measure.lanczos import NotConverged
from kdlab.measure.minima import UNITS, Pairs, first, fitted, flatness, samples
from kdlab.nets.compressed import matched, tiny
from kdlab.night.streams import NightStream
from kdlab.papers.dual_light import study as dual_light_study
from kdlab.papers.generative import recipes as generative_recipes
from kdlab.papers.generative import study as generative_study
from kdlab.papers.progressive.exits import frozen_features
from kdlab.papers.progressive.nets import ORDER
from kdlab.papers.progressive.recipes import conditions, night, trio
from kdlab.studies.flatness_rows import AGAIN, HEADS, MEASURES, P1, ledger
from kdlab.study import FIRST, Outcome, Part, Study, beside, by_condition, flat, fresh
from kdlab.system.files import write_atomically
from kdlab.system.processes import each, locked
from kdlab.system.sources import digest, files_hash
from kdlab.train.passing import Passing, each_passing
from kdlab.train.recipe import Recipe
from kdlab.train.runs import Run
from kdlab.train.sizes import ExitSize, FlatnessSize, GenerativeSize, current

STUDY = current("study", FlatnessSize)
SETS = {"night_context": 0.9, "night_bright": 0.0}
NETS = {"matched": matched, "tiny": tiny}
MARKS = (0.5, 0.1)
#: Seeds of the finished networks that stand beside.
OTHERS_SEEDS = 3
#: Training clips a class on which the Hessian is measured, and test clips a class for the gap: in the study.
CLIPS, TESTED = 5, 30
#: How much is asked for each network; at `smoke` only that it runs.
EFFORT = dict(least=6, probes=8, directions=3, ascent=1)
SMOKE_EFFORT = dict(least=2, most=4, tolerance=1e9, probes=4, directions=2, ascent=0)


def marks(size: ExitSize) -> tuple[float, ...]:
    """Losses at which networks are compared: one that is passed early where one seed is looked at; two epochs of
    `smoke` learn nothing, and stop where they begin."""
    return {"smoke": (2.4,), "demo": (1.0,)}.get(size.name, MARKS)


def per_class(size: ExitSize) -> int:
    """Training clips a class on which Hessians are measured: fewer where one seed is looked at."""
    return {"smoke": 1, "demo": 3}.get(size.name, CLIPS)


def networks(size: ExitSize, data: NightStream, seed: int) -> dict[str, Recipe]:
    """``matched:motion`` → its recipe, for both architectures. The I-frame network is the same in both."""
    trios = {name: trio(size, data, seed, net=net) for name, net in NETS.items()}
    return {f"{name}:{m}": recipe for name, three in trios.items() for m, recipe in zip(ORDER, three, strict=True)}


def others(size: ExitSize, seeds: int) -> dict[str, list[Recipe]]:
    """``dual_light:dlkdd`` → the recipes of notebooks 03 and 04 that answer with classes, one a seed, for row P2."""
    name = beside(size).name
    dark = dual_light_study.columns(current(name), seeds, dual_light_study.HEADLINE)
    small = current(name, GenerativeSize)
    bright = generative_study.columns(small, seeds, generative_recipes.night(small))
    found = {f"dual_light:{condition}": column for condition, column in dark.items()}
    return found | {f"generative:{condition}": column for condition, column in bright.items()}


# --- what is measured ------------------------------------------------------------------------------------------


def _line(rows: list[dict]) -> str:
    """A network's rows in one line."""
    values = {row["metric"]: row["value"] for row in rows}
    return f"{rows[0]['condition']}, {rows[0]['data']}, seed {rows[0]['seed']}: " + (
        ", ".join(f"{title} {values[m]:.3g}" for m, title in MEASURES.items()) if values["reached"] else "never there")


def _tidy(about: dict, values: dict[str, float]) -> list[dict]:
    units = UNITS | {"gap_fresh": UNITS["gap"]}
    return [about | dict(metric=m, value=float(f"{v:.6g}"), unit=units.get(m, "1")) for m, v in values.items()]


def measured(nets: Sequence[nn.Module], recipe: Recipe, size: ExitSize) -> list[dict[str, float]]:
    """Metric → value of each of the ``nets`` that ``recipe`` trained: flatness on some training clips, fit and gap on
    all of them; of the seeds that confirm P2 also the gap on test clips that nobody has read."""
    tested = _tested(recipe) if size.name == "study" else recipe
    train, test = samples(recipe), samples(tested, "test")
    clips, found = first(train, per_class(size)), []
    unread = samples(other, "test") if (other := _unread(tested, size)) else None
    for net in nets:
        values = _flatness(net, clips, size)
        found.append(values | {"measured_loss": values["train_loss"]} | fitted(net, train, test))
        if unread is not None:
            found[-1]["gap_fresh"] = fitted(net, train, unread)["gap"]
    return found


def each_measured(nets: Sequence[nn.Module], recipes: Sequence[Recipe], size: ExitSize) -> list[dict[str, float]]:
    """:func:`measured` of every network, as many recipes at a time as there are cores: each keeps to one."""
    places: dict[Recipe, list[int]] = {}
    for place, recipe in enumerate(recipes):
        places.setdefault(recipe, []).append(place)
    found = each(measured, [[nets[place] for place in of] for of in places.values()], places, repeat(size))
    by_place = {place: values for of, several in zip(places.values(), found, strict=True)
                for place, values in zip(of, several, strict=True)}
    return [by_place[place] for place in range(len(recipes))]


def _flatness(net: nn.Module, pairs: Pairs, size: ExitSize) -> dict[str, float]:
    """Where Lanczos does not converge no number is made up: all are nan."""
    try:
        return flatness(net, pairs, **(SMOKE_EFFORT if size.name == "smoke" else EFFORT))
    except NotConverged as error:
        print(f"not measured: {error}")
        return dict.fromkeys(("train_loss", *MEASURES), float("nan")) | {"not_converged": 1.0}


def _tested(recipe: Recipe) -> Recipe:
    """The recipe whose test clips are the first :data:`TESTED` of each class, more than its size has; of clips of your
    own all there are."""
    data = recipe.data
    night = getattr(data, "night", data)  # of a stream of it, or itself
    if not hasattr(night, "per_class"):
        return recipe
    *others, tested = night.per_class
    more = replace(night, per_class=(*others, max(tested, TESTED) if tested > 2 else tested))
    return replace(recipe, data=more if night is data else replace(data, night=more))


def _unread(recipe: Recipe, size: ExitSize) -> Recipe | None:
    """The recipe with test clips that nobody has read; None of seeds that do not confirm P2, and of clips of your
    own."""
    if recipe.seed < AGAIN or not hasattr(recipe.data, "night"):
        return None
    read = current(size.name, ExitSize).per_class[2]  # of a class whose places tell it, by the study of exits
    return replace(recipe, data=fresh(recipe.data, read=read))


class OneExit(nn.Module):
    """A head on feature maps ``(B, T, C, h, w)``: logits averaged over T."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.head(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]).mean(1)


def exits(run: Run, backbones: dict[str, Run], few: int) -> dict[str, tuple[nn.Module, Pairs]]:
    """``motion:2`` → that internal classifier of ``run`` as a network of its own, and what it is measured on: the first
    ``few`` training clips of each class."""
    nets = {m: backbones[m].net() for m in ORDER}
    features = frozen_features(run.recipe, nets, tuple(backbones[m].provenance["weights"] for m in ORDER))["train"]
    labels = torch.tensor([r.label for r in features.records])
    chosen = torch.cat([torch.nonzero(labels == k)[:few, 0] for k in labels.unique()]).sort().values
    heads = run.net().requires_grad_(True)
    return {f"{m}:{k + 1}": (OneExit(heads[m][k]), [(features.maps[m][k][0, chosen].float(), labels[chosen])])
            for m in ORDER for k in range(3)}


# --- the study -------------------------------------------------------------------------------------------------


def _parts(size: ExitSize, seeds: int) -> list[Part]:
    """Networks that are stopped on their way, the matched first; finished ones of notebook 07, with their internal
    classifiers; and those of :func:`others`."""
    parts, few = stopped(size, seeds, FIRST), min(seeds, OTHERS_SEEDS)
    small, tiny_ones = current(beside(size).name, ExitSize), [f"tiny:{m}" for m in ORDER]

    def ended(seed: int) -> dict[str, Recipe]:
        three = trio(small, night(small), seed)
        return dict(zip(tiny_ones, three, strict=True)) | conditions(small, three)

    done = by_condition(ended, few, (*tiny_ones, *HEADS))
    parts.append(Part("night_context", done, file="", rows=_ended_rows))
    for family, data in (("dual_light", "night"), ("generative", "night_bright")):
        made = {name: column for name, column in others(size, few).items() if name.startswith(family)}
        parts.append(Part(data, made, file="", rows=_ended_rows))
    return parts


def stopped(size: ExitSize, seeds: int, first: int) -> list[Part]:
    """A part for each of :data:`SETS`: so many networks of each kind, from the seed ``first`` on, that are stopped on
    their way."""
    parts = []
    for data, context in SETS.items():
        nets = by_condition(lambda seed, context=context: networks(size, night(size, context), seed), seeds,
                            first=first)
        parts.append(Part(data, nets, file="", to_the_end=False, rows=_stopped_rows))
    return parts


def _stopped_rows(outcome: Outcome) -> list[dict]:
    """Rows of networks where their training loss passes :func:`marks`; trainings and measurements are kept."""
    table, size, recipes = [], outcome.size, outcome.part.recipes
    here = [(condition, recipe) for condition, column in recipes.items() for recipe in column]
    every = list(dict.fromkeys(flat(recipes)))
    for k, mark in enumerate(marks(size)):  # all networks at the first mark before any goes on to the second
        found = dict(zip(every, each_passing(every, marks(size)[: k + 1]), strict=True))
        outcome.say(f"{len(every)} trainings are at {mark:g} nats, or ended before")
        where = [outcome.row(condition=f"{condition}:{mark:g}", seed=recipe.seed, recipe=recipe.name)
                 for condition, recipe in here]
        for values in each(_at, repeat(size), where, [found[recipe] for _, recipe in here], repeat(mark)):
            table += values
            outcome.say(_line(values))
    return table


def _at(size: ExitSize, where: dict, found: Passing, mark: float) -> list[dict]:
    kept, net = found.folder / f"flatness-{mark:g}.json", found.net(mark)
    if net is None:
        return _tidy(where, {"reached": 0})
    with locked(f"{kept}.lock"):  # one I-frame network is in both trios
        known, by = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}, _by(size)
        if known.get("by") != by:
            (values,) = measured([net], found.recipe, size)
            known = {"by": by, "values": values}
            write_atomically(kept, lambda path: path.write_text(json.dumps(known), encoding="utf-8"))
    return _tidy(where, {"reached": 1} | known["values"])


def _by(size: ExitSize) -> str:
    """What a measurement that is kept was made by: the modules that measure, and how much they are asked for."""
    folder, asked = Path(minima.__file__).parent, (size.name, EFFORT, SMOKE_EFFORT, per_class(size), TESTED)
    modules = (folder / f"{name}.py" for name in ("minima", "flatness", "lanczos", "surface"))
    return digest({"modules": files_hash(modules), "asked": repr(asked)})


def _ended_rows(outcome: Outcome) -> list[dict]:
    """Rows of networks as their trainings ended, and of notebook 07's internal classifiers by labels and by PKD."""
    size, runs, measures = outcome.size, outcome.runs, []
    whole = [(condition, run) for condition, column in runs.items() if condition not in HEADS for run in column]
    found = each_measured([run.net() for _, run in whole], [run.recipe for _, run in whole], size)
    for (condition, run), values in zip(whole, found, strict=True):
        measures.append((f"{condition}:end", run, {"reached": 1} | values))
    for name in (name for name in runs if name in HEADS):
        for s, run in enumerate(runs[name]):
            heads = exits(run, {m: runs[f"tiny:{m}"][s] for m in ORDER}, per_class(size))
            measures += [(f"{name}:{place}", run, _flatness(*head, size)) for place, head in heads.items()]
    rows = []
    for condition, run, values in measures:
        about = outcome.row(condition=condition, seed=run.recipe.seed, recipe=run.folder.name)
        rows += _tidy(about, values)
    return rows


def _lines(found, rows) -> list[str]:
    return [ledger(rows, data).to_string(index=False) for data in SETS]


study = Study("flatness", _parts, size=STUDY, seeds=10, claims=[P1], lines=_lines, committed=True,
              seedwise=True)
