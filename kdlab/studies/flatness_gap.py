"""The study of the gap: does flatness predict generalisation better than the training loss does (P2)?

The networks of :mod:`kdlab.studies.flatness` that are stopped at equal losses, of seeds that nobody had seen, on test
clips that nobody had read: of the same worlds, so that who knows the places of ``night_context`` is asked about these.
"""

import pandas as pd

from kdlab.studies.flatness import STUDY, stopped
from kdlab.studies.flatness_rows import AGAIN, P2, unread_gap
from kdlab.study import LEDGER, Study


def _lines(found, rows) -> list[str]:
    return [pd.DataFrame([P2.judged(unread_gap(rows))], columns=LEDGER).to_string(index=False)]


study = Study("flatness_gap", lambda size, seeds: stopped(size, seeds, AGAIN), size=STUDY, seeds=10, claims=[P2],
              lines=_lines, committed=True, seedwise=True)
