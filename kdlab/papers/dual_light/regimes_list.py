"""What to do with a bright network and a dark camera, in order of cost: a list, from the committed study of regimes."""

from collections.abc import Mapping

import pandas as pd
from pandas.io.formats.style import Styler

from kdlab.papers.dual_light import regimes_real, regimes_study
from kdlab.papers.dual_light.regimes import LABELS, NORMS, Regime
from kdlab.papers.dual_light.regimes_starts import STUDY
from kdlab.papers.dual_light.regimes_study import TITLES
from kdlab.show.said import minus
from kdlab.show.tables import table
from kdlab.study import load_rows

#: Word for labels → dark clips a class that have one.
COUNTS = {"none": 0, "few": STUDY.few, "many": STUDY.night.count("train")}
#: The networks' first normalisation, in words.
NORM_TITLES = dict(zip(NORMS, ("batch norm throughout", "each clip first normalised by itself"), strict=True))
#: Ways that no dark clip is needed for.
_WITHOUT = {TITLES[condition] for condition in ("as_is", "enhanced", "augmented")}


def committed(norm: str = "bn", real: bool = False) -> pd.DataFrame:
    """:func:`.regimes_study.practitioner` of the committed cells of one ``norm`` (``bn``, ``gn``) with gamma as the
    enhancer, of those that are there; ``real``: of the real dark clips, which have no labels there.

    Raises ``FileNotFoundError`` where the study was not run, and ``ValueError`` for another norm.
    """
    study = regimes_real.study if real else regimes_study.study
    names = [Regime(norm, labels).name for labels in LABELS]
    names = [f"arid6_{norm}"] if real else names
    return regimes_study.practitioner(load_rows(study.name), study.scores(names))


def shown(found: pd.DataFrame) -> Styler:
    """The list as a reader sees it: what each way needs, its cost, and what it gives."""
    lines = [{
        "way": _title(row), "it needs": needs(row),
        "CPU seconds, once": f"{row['seconds']:,.0f}" if row["seconds"] == row["seconds"] else "not measured",
        "accuracy (%)": f"{row['accuracy']:.1f} ± {row['half_width']:.1f}", "− as it is": minus(row["gain"]),
        "− the choice so far": minus(row["more"]), "chosen": "yes" * row["chosen"], "seeds": row["seeds"],
    } for row in found.to_dict("records")]
    return table(pd.DataFrame(lines), "A bright network in the dark, the cheapest way first; differences in points, ± "
                                      "is half of a 95 % interval")


def needs(row: Mapping) -> str:
    """What a line of the list asks for beside CPU time, in words."""
    asked = []
    if row["labels"] != "none":
        asked.append(f"{COUNTS[row['labels']]} labels a class")
    elif row["way"] not in _WITHOUT:
        asked.append("unlabelled dark clips")
    asked += ["an enhancer at inference"] * row["at inference"] + ["another pre-training"] * row["before"]
    return ", ".join(asked) or "nothing"


def advice(found: pd.DataFrame) -> str:
    """What is chosen when the list is gone down once, in a sentence or two (Markdown)."""
    if found.empty:
        return "No cell of it is committed yet: `kdlab study regimes --only bn_none` makes the first."
    first, *later = found[found.chosen].to_dict("records")
    begun = f"*{_title(first)}* knows {first['accuracy']:.1f} % of test clips ({first['seeds']} seeds)"
    steps = [f"**{_title(row)}** ({needs(row)}) gives {minus(row['more'])} points more" for row in later]
    rest = len(found) - 1 - len(later)
    return f"In order of cost: {'; '.join([begun, *steps])}. None of the other {rest} ways is better than the choice " \
           "before it at the strict level. (± is of 95 %: a row may exclude zero and not be chosen.)"


def _title(row: Mapping) -> str:
    return row["way"].replace("…", TITLES["augmented"])  # which may be chosen without the line before it
