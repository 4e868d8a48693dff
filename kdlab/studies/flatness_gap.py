"""The study of the gap: does flatness predict generalisation better than the training loss does (P2)?

The networks of :mod:`kdlab.studies.flatness` that are stopped at equal losses, of seeds that nobody had seen, on test
clips that nobody had read: of the same worlds, so that who knows the places of ``night_context`` is asked about these.
"""

from kdlab.papers.progressive.recipes import night
from kdlab.studies.flatness import SETS, STUDY, networks, stopped_rows
from kdlab.studies.flatness_rows import AGAIN, P2, unread_gap
from kdlab.study import LEDGER, Part, Study, by_condition
from kdlab.train.sizes import ExitSize


def _parts(size: ExitSize, seeds: int) -> list[Part]:
    parts = []
    for data, context in SETS.items():
        nets = by_condition(lambda seed, context=context: networks(size, night(size, context), seed), seeds,
                            first=AGAIN)
        parts.append(Part(data, nets, file="", to_the_end=False, rows=stopped_rows))
    return parts


def _lines(found, rows) -> list[str]:
    import pandas as pd

    return [pd.DataFrame([P2.judged(unread_gap(rows))], columns=LEDGER).to_string(index=False)]


study = Study("flatness_gap", _parts, size=STUDY, seeds=10, claims=[P2], lines=_lines, committed=True, seedwise=True)
