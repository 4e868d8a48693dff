"""The numbers of the first edition of the evidence, from one small table (figures/edition-1/README.md)."""

import pandas as pd

from kdlab.system import paths


def effects() -> pd.DataFrame:
    """The whole table. Each row has a claim, a reading and a rival, with the mean effect in points and the ends of its
    95 % interval."""
    return pd.read_csv(paths.figures_dir() / "edition-1" / "effects.csv")


def evidence(*claims: str) -> pd.DataFrame:
    """The registered results of ``claims`` such as ``"D1"``. For each rival the table has the effect in points, the
    numbers of seeds and test units, the teacher's lead over the student's start, and the verdict. Raises ``ValueError``
    for an unknown claim."""
    table = effects()
    if unknown := set(claims) - set(table.claim):
        raise ValueError(f"there is no claim {min(unknown)!r}; there are {', '.join(table.claim.unique())}")
    rows = table[table.claim.isin(claims) & (table.reading == "registered")]
    return rows[["claim", "method", "rival", "effect", "seeds", "units", "lead", "verdict"]].set_index("claim")
