"""docs/night.md lists every range of `night` as it is."""

import re
from pathlib import Path

from kdlab.night import RANGES

PAGE = Path(__file__).parents[2] / "docs" / "night.md"


def test_the_table_of_ranges_is_todays():
    number = r"(-?[\d.]+)"
    row = re.compile(rf"\| `(\w+)` \| {number} … {number} \| {number} … {number} \|")
    found = row.findall(PAGE.read_text("utf-8"))
    assert {name: ((float(a), float(b)), (float(c), float(d))) for name, a, b, c, d in found} == {
        name: (tuple(map(float, low)), tuple(map(float, high)))
        for name, (low, high) in RANGES.items()
    }
