"""Accuracy against steps, of questions 1, 5 and 6. For 5 and 6 it was drawn after their answers, in their worlds."""

from functools import partial
from types import ModuleType

import detection
import from_nothing
import generative
import pandas as pd
from worlds import CURVES, FOLDER, at_shares, with_choices

from kdlab.study import Study, values
from kdlab.study.study import accuracies

#: Question → labels alone, the method, its sharpest control.
DRAWN = {
    "1": from_nothing.DRAWN,
    "5": ("gated labels alone", "GenKD", "KD of the same teacher"),
    # GenKD's strongest rival there is labels alone with twice the steps
    "6": ("gated labels alone", "GenKD"),
}


def curve(script: ModuleType, question: str, measure, first: tuple[str, ...] = ()) -> Study:
    """The study of other budgets than the whole, and of the conditions ``first``. The answer has labels alone with
    twice the steps."""
    name, drawn = script.study.name, DRAWN[question]
    every = with_choices(name, script.base, script.CANDIDATES, drawn)

    def conditions(size, world: int) -> dict:
        recipes = every(size, world)
        other = [title for title in recipes if "×" in title and title != f"{drawn[0]}, ×2"]
        return {title: recipes[title] for title in (*first, *other)}

    return Study(
        f"{name}_steps", conditions, size=script.study.size, measure=measure, worlds=CURVES
    )


of_generative = curve(generative, "5", accuracies)
# the width of soft-NMS is chosen on the network that chose it for the answers
of_detection = curve(detection, "6", partial(detection.scored, split="test"), ("labels alone",))
LATER = {"5": of_generative, "6": of_detection}


def budgets(question: str) -> dict[str, pd.DataFrame]:
    """Condition → what was measured of it: a row for each world of the curve, a column for each share of the budget.
    Empty for a question without a curve, or while it is not drawn."""
    drawn = DRAWN.get(question, ())
    measured = values(question).loc[[*CURVES]]
    if question in LATER:
        rows = LATER[question].rows(FOLDER)
        later = rows[rows.condition.str.contains("×")]
        if set(CURVES) - set(later.world):
            return {}
        measured = measured.join(later.pivot(index="world", columns="condition", values="value"))
        measured[f"{drawn[0]}, ×2"] = measured["gated twice the steps"]
    return at_shares(measured, drawn)
