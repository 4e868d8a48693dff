"""What looks say, in tables and sentences of notebook 09; computed from whatever evidence is committed."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from kdlab.studies import attention

_WORDS = {"above": "above", "below": "below", "within": "within 2 points of", "undecided": "undecided against"}


def against_each(looks: dict[str, np.ndarray], conditions: Iterable[str]) -> pd.DataFrame:
    """Energy inside of each network (percent), and how far it lies above each map that knows nothing (points)."""
    rows = [[attention.TITLES[c], attention.mean(looks, "energy_inside", c),
             *(str(attention.compared(looks, "energy_inside", c, attention.beside(c)[b])) for b in attention.BASELINES)]
            for c in conditions]
    return pd.DataFrame(rows, columns=["network", "energy inside (%)",
                                       *(f"− {b}" for b in attention.BASELINES.values())])


def by_grid(looks: dict[str, np.ndarray], condition: str = "dlkdd") -> pd.DataFrame:
    """Energy inside (percent) of the maps that know nothing, on three grids, and of the network at both its layers."""
    grids = {"of pixels": attention.beside(condition, "pixels"), "of the last stage": attention.beside(condition),
             "of the finer layer": attention.beside(f"{condition}@fine")}
    rows = [[title, *(attention.mean(looks, "energy_inside", its[b]) for its in grids.values())]
            for b, title in attention.BASELINES.items() if b != "untrained"]
    own = [attention.mean(looks, "energy_inside", name) for name in (condition, f"{condition}@fine")]
    rows.append([attention.TITLES[condition], np.nan, *own])
    return pd.DataFrame(rows, columns=["energy inside (%)", *grids])


def conditions_of(looks: dict[str, np.ndarray]) -> list[str]:
    """The networks that were asked, in the order of their titles."""
    return [c for c in attention.TITLES if f"energy_inside/{c}" in looks]


def about(name: str, looks: dict[str, np.ndarray]) -> str:
    """Of which clips and seeds the committed looks of a set are."""
    seeds = len(looks[f"energy_inside/{conditions_of(looks)[0]}"])
    return f"{attention.DATA[name]}: {len(looks['ids']):,} test clips, {seeds} seeds"


def against_uniform(looks: dict[str, np.ndarray], condition: str) -> str:
    """In a sentence: how much of a network's map lies on the actor, and how much of a map that looks everywhere."""
    uniform = attention.beside(condition)["uniform"]
    own, blind = (attention.mean(looks, "energy_inside", name) for name in (condition, uniform))
    return f"Of the map of *{attention.TITLES[condition]}* {own:.1f} % lies on the actor, of a map that looks " \
           f"everywhere {blind:.1f} %."


def shown(sets: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Sentences for *What it shows*, from the looks of each set: do networks beat the best map that knows nothing, does
    DL-KDD move the map to the actor, and is the map about its clip."""
    lines = []
    for name, looks in sets.items():
        found = attention.gains(looks, conditions_of(looks), ["energy_inside"])
        kinds = found.reading.str.split().str[0].str.rstrip(",").map(_WORDS).value_counts()
        counted = ", ".join(f"{n} {word}" for word, n in kinds.items())
        scores = f"{found.score.min():.1f} to {found.score.max():.1f} %"
        provisional = " (provisional)" if found.reading.str.endswith("provisional").any() else ""
        lines.append(f"**{about(name, looks)}.** The networks have {scores} of their map's energy on the actor. Of "
                     f"{len(found)} networks, {counted} the best map that knows nothing{provisional}.")
    if "night" in sets:
        lines += _differences(sets["night"])
    return lines


def _differences(looks: dict[str, np.ndarray]) -> list[str]:
    """Of the dual-light networks: what the teacher and its light changed, and whether maps are about their clips."""
    table = attention.differences(looks).set_index(["metric", "comparison"])
    asked = {("energy_inside", "dlkdd − ce_raw"): "DL-KDD − CE on raw clips, energy on the actor",
             ("energy_inside", "dlkdd − same_light"): "DL-KDD − same-light KD, energy on the actor",
             ("deletion", "dlkdd=other − dlkdd"): "Blurring by the clip's own map instead of another clip's: the label "
             "loses probability faster by"}
    return [f"{says}: {table.effect[key]} points ({table.reading[key]})." for key, says in asked.items()
            if key in table.index]
