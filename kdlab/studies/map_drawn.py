"""The half of the map that may be looked at: 10 and 40 clips a class. A rule is drawn from it.

After this study: ``python tools/draw_rule.py``, ``kdlab claims --register map_held``, commit both files; only then
:mod:`.map_held` can be run.
"""

import pandas as pd

from kdlab.studies.map_cells import SEEDS, SIZE, part
from kdlab.studies.map_rule import DRAWN, across_clips, by_cell, drawn, lines
from kdlab.study import Part, Scores, Study
from kdlab.train.sizes import Profile


def _parts(profile: Profile, seeds: int) -> list[Part]:
    return [part(profile, "drawn", seeds)]


def _lines(found: dict[str, Scores], rows: pd.DataFrame) -> list[str]:
    cells = by_cell(rows)
    if cells.seed.nunique() == 1:  # a rule needs two seeds
        return lines(cells, [])
    found = across_clips(cells) if cells.clips.nunique() > 1 else {}
    other = [(f"drawn without one clip count, tested on it, against {name}", its) for name, its in found.items()]
    return [*lines(cells, other), f"the rule of all cells: {drawn(cells)}"]


study = Study(DRAWN, _parts, size=SIZE, seeds=SEEDS, lines=_lines, committed=True, seedwise=True)
