"""What to do with a bright network and a dark camera, in order of cost: a list, from the committed study of regimes."""

from collections.abc import Mapping

import pandas as pd
from pandas.io.formats.style import Styler

from kdlab.papers.dual_light import regimes_real, regimes_study
from kdlab.papers.dual_light.regimes import LABELS, NORMS, Regime
from kdlab.papers.dual_light.regimes_starts import STUDY
from kdlab.papers.dual_light.regimes_study import TITLES, TUNED
from kdlab.papers.dual_light.study import CLAIMS as LABELLED
from kdlab.show.said import minus
from kdlab.show.tables import table
from kdlab.study import Scores, load_rows

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


def cells(norm: str, labelled: bool = False) -> dict[str, Scores]:
    """The committed cells of one ``norm``, by what is special about them: with labels, or all without."""
    every = {"gamma": Regime(norm), "Zero-DCE": Regime(norm, enhancer="zerodce"),
             "unbalanced": Regime(norm, unbalanced=True), "full variety": Regime(norm, variety=1.0)}
    if labelled:
        every = {f"{COUNTS[labels]} labels a class": Regime(norm, labels) for labels in reversed(LABELS[1:])}
    found = regimes_study.study.scores([regime.name for regime in every.values()])
    found = {title: found[regime.name] for title, regime in every.items() if regime.name in found}
    real = None if labelled else regimes_real.study.scores([f"arid6_{norm}"]).get(f"arid6_{norm}")
    return found | ({"real dark clips": real} if real else {})


#: Whose lead over whom is the gap of the claims: DL-KDD's teachers over the raw network that they may lift.
_GAPS = {"gap: enhanced − as it is": ("enhanced", "as_is"),
         "gap: enhanced − raw, both re-estimated": ("enhanced_re", "re_estimated"),
         "gap: CE enhanced − CE raw": ("ce_enhanced", "ce_raw")}


def side_by_side(norm: str, labelled: bool = False) -> pd.DataFrame:
    """All ways in all :func:`cells` of one ``norm``: accuracy in percent, then the effects that the claims are about
    and the gaps beside them, in points, each with half of its 95 % interval. Empty where a cell has it not."""
    ways = TUNED if labelled else TITLES | {"transductive": f"{regimes_real.study.titles['transductive']} (not a way: "
                                            "nobody has them before)"}
    pairs = {f"{claim.claim}: {claim.compared.partition(';')[0]}": (claim.condition, claim.baseline)
             for claim in (LABELLED if labelled else regimes_study.CLAIMS) if not claim.statistic} | _GAPS
    columns = {}
    for title, scores in cells(norm, labelled).items():
        known = {*scores.predicted}
        column = {words: level(scores, condition) for condition, words in ways.items() if condition in known}
        column |= {words: minus(scores.effect(*pair)) for words, pair in pairs.items() if {*pair} <= known}
        columns[f"{title}, {len(scores.seeds)} seeds"] = column
    order = [words for words in [*ways.values(), *pairs] if any(words in column for column in columns.values())]
    return pd.DataFrame(columns, index=order).fillna("").rename_axis("").reset_index()


def level(scores: Scores, condition: str) -> str:
    """Accuracy of a condition in percent, with half of its 95 % interval over seeds and test units: ``70.9 ± 3.8``."""
    found = regimes_study.level(scores, condition)
    return f"{found.mean:.1f} ± {found.half_width:.1f}"


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
           "before it at the strict level. (± is of 95 %: a row may exclude zero and not be chosen. A cheaper way " \
           "that was not chosen may be as good as a later choice.)"


def _title(row: Mapping) -> str:
    return row["way"].replace("…", TITLES["augmented"])  # which may be chosen without the line before it
