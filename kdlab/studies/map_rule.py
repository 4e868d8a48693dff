"""The rule of the map: from the rows of one half to ``figures/map_rule.json``, and to how it does on the other.

The file is written before the other half is trained (`python tools/draw_rule.py`), has a digest as entries of the
register have, and the claim that is registered for the other half names that digest (:mod:`.map_held`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kdlab import paths
from kdlab.measure.rule import Compared, Rule, compare, fit
from kdlab.studies.map_cells import METHODS, METRICS, TEACHERS, Cell
from kdlab.study import load_rows
from kdlab.study.register import digest
from kdlab.system.files import write_json

DRAWN, HELD = "map_drawn", "map_held"
#: What the rule reads of a cell, known before anything is distilled there: how far the teacher is ahead of CE on
#: validation clips (points; nothing where it is behind), times the steps. The form was chosen on the drawn half alone,
#: among those of docs/log.md: it does about as well whichever clip count, steps, teacher or method is left out of it.
FEATURES = ("gap_steps",)
#: What its rival reads: where a cell lies, and nothing of its networks.
PLACE = "log2_clips", "log2_steps"
_PLACE = ["method", "teacher", "clips", "steps"]


def by_cell(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each cell and seed of a study's ``rows``: ``method``, ``teacher``, ``clips``, ``steps``, ``seed`` and
    the four numbers of :data:`.map_cells.METRICS`."""
    some = rows[rows.metric.isin(METRICS)].astype({"value": float, "seed": int})
    wide = some.pivot(index=["condition", "seed"], columns="metric", values="value").reset_index()
    places = pd.DataFrame([vars(Cell.named(name)) for name in wide.condition], columns=_PLACE)
    found = pd.concat([places, wide.reindex(columns=["seed", *METRICS])], axis=1)
    order = [found.method.map(list(METHODS).index), found.teacher.map(list(TEACHERS).index), found.clips, found.steps,
             found.seed]
    return found.iloc[np.lexsort(order[::-1])].reset_index(drop=True)


def arrays(cells: pd.DataFrame, names: Sequence[str] = FEATURES) -> tuple[np.ndarray, np.ndarray]:
    """The features ``names``, ``(S, C, F)``, and gains ``(S, C)`` of :func:`by_cell`'s lines, cells in their order.
    Raises ``ValueError`` where cells differ in their seeds."""
    told = cells.assign(gap_steps=cells.val_gap.clip(lower=0) * cells.steps, log2_clips=np.log2(cells.clips),
                        log2_steps=np.log2(cells.steps))
    each = [cell for _, cell in told.groupby(_PLACE, sort=False)]
    if not each or len({tuple(cell.seed) for cell in each}) != 1:
        raise ValueError("all cells of a map need the same seeds: run its study to the end")
    return np.stack([c[list(names)] for c in each], 1).astype(float), np.stack([c.gain for c in each], 1)


def drawn(cells: pd.DataFrame, names: Sequence[str] = FEATURES) -> Rule:
    """The rule of some cells of the map; of :data:`PLACE` alone it is the rival."""
    return fit(*arrays(cells, names), names)


def against(rule: Rule, rival: Rule, cells: pd.DataFrame) -> dict[str, Compared]:
    """How a ``rule`` does on ``cells``: against 'always the mean effect', and against the ``rival``."""
    known = arrays(cells)
    place = rival, arrays(cells, PLACE)[0]
    return {"the mean effect": compare(rule, *known), "clips and steps alone": compare(rule, *known, place)}


def across_clips(cells: pd.DataFrame) -> dict[str, Compared]:
    """:func:`against`, of rules that are drawn from all but one clip count and tested on that one, seed by seed the
    mean over clip counts: what the half that may be looked at lets one expect of the other."""
    each = []
    for clips in cells.clips.unique():
        others = cells[cells.clips != clips]
        each.append(against(drawn(others), drawn(others, PLACE), cells[cells.clips == clips]))
    return {name: _mean([its[name] for its in each]) for name in each[0]}


def _mean(each: Sequence[Compared]) -> Compared:
    means = [float(np.mean([getattr(its, name) for its in each])) for name in ("rule", "rival", "floor")]
    return Compared.of(*means, np.mean([its.each for its in each], 0))


def verdict(found: Mapping[str, Compared]) -> str:
    """Of M1: a rule has to beat both rivals; *contradicted* is one that loses to one of them."""
    words = {name: its.verdict for name, its in found.items()}
    for word in ("contradicted", "underpowered"):
        if names := [name for name, its in words.items() if its.startswith(word)]:
            return words[names[0]].replace(word, f"{word} against {' and '.join(names)}")
    return next(iter(words.values()))


def across_methods(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, Compared]:
    """Method → how a rule does on its cells of the ``other`` half that was drawn from the other methods' of ``one``: a
    second reading, which no claim is about."""
    return {method: compare(drawn(one[one.method != method]), *arrays(other[other.method == method]))
            for method in dict.fromkeys(one.method)}


# --- frozen ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frozen:
    """A ``rule`` and its ``rival`` as they lie in ``figures/map_rule.json``, and the ``digest`` of all that the file
    says."""

    rule: Rule
    rival: Rule
    digest: str


def _file() -> Path:
    return paths.figures_dir() / "map_rule.json"


def frozen() -> Frozen | None:
    """The committed rule; None where none is drawn yet. Raises ``ValueError`` for a file that is not what its digest
    says."""
    if not (file := _file()).is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        rule, rival = (Rule(**{k: tuple(v) if isinstance(v, list) else v for k, v in said[which].items()})
                       for which in ("rule", "rival"))
        right = digest(said) == said["digest"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} holds no rule ({error}): restore the committed file") from None
    if not right:
        raise ValueError(f"{file} is not what its digest says: restore the committed file")
    return Frozen(rule, rival, said["digest"])


def freeze() -> Frozen:
    """Draw the rule and its rival from the committed half and write them. Raises ``FileNotFoundError`` where that half
    was not run, and ``ValueError`` where the other half was begun: rules that are drawn after it predict nothing."""
    rows = load_rows(DRAWN)
    begun = [place for place in (paths.figures_dir() / f"{HELD}.csv", paths.figures_dir() / "shards" / HELD)
             if place.exists()]
    if begun:
        raise ValueError(f"{begun[0]} is there, so the half of the map that tests the rule was begun: a rule drawn now "
                         "would be no prediction")
    cells = by_cell(rows)
    said = {"study": DRAWN, "data": sorted(set(rows.data)), "cells": len(cells.drop_duplicates(_PLACE)),
            "seeds": [int(seed) for seed in sorted(cells.seed.unique())], "rule": asdict(drawn(cells)),
            "rival": asdict(drawn(cells, PLACE))}
    write_json(_file(), {"digest": digest(said)} | said)
    return frozen()


# --- the map as a whole ----------------------------------------------------------------------------------------------


def committed() -> pd.DataFrame:
    """The cells of both halves, or of the one that is there. Raises ``FileNotFoundError`` where none is."""
    there = [name for name in (DRAWN, HELD) if (paths.figures_dir() / f"{name}.csv").is_file()]
    return pd.concat([by_cell(load_rows(name)) for name in there or [DRAWN]], ignore_index=True)


def mean_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean gain in points over seeds: a row for each method and teacher, a column for each clip count and multiple of
    steps."""
    return cells.groupby(_PLACE, sort=False).gain.mean().unstack(["clips", "steps"]).sort_index(axis=1)


def lines(cells: pd.DataFrame, found: Iterable[tuple[str, Compared]]) -> list[str]:
    """What a half of the map has to say: its table, and how rules did."""
    return ["mean gain over CE, points\n" + mean_table(cells).round(1).to_string(),
            *(f"{what}: {compared}; {compared.verdict}" for what, compared in found)]
