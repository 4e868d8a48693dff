"""The numbers of the first edition of the evidence, from its one small table (figures/edition-1/README.md)."""

import pandas as pd

from kdlab.system import paths


def effects() -> pd.DataFrame:
    """All rows: a claim, a reading and a rival each, with the mean in points and the ends of its 95 % interval."""
    return pd.read_csv(paths.figures_dir() / "edition-1" / "effects.csv")


def evidence(*claims: str) -> pd.DataFrame:
    """What was found of ``claims`` such as ``"D1"`` on runs that were registered before: for each rival the effect in
    points, the seeds and test units, the teacher's lead over the student's start, and the verdict on the claim."""
    table = effects()
    if unknown := set(claims) - set(table.claim):
        raise ValueError(f"there is no claim {min(unknown)!r}; there are {', '.join(table.claim.unique())}")
    rows = table[table.claim.isin(claims) & (table.reading == "registered")]
    return rows[["claim", "method", "rival", "effect", "seeds", "units", "lead", "verdict"]].set_index("claim")
