"""kdlab.check: right answers are right, wrong ones get a hint, and notebooks ask what there is."""

import json
import re

import numpy as np
import pytest

import kdlab
from kdlab.show.exercises import exercises, fault
from kdlab.system import paths


@pytest.mark.parametrize("name", exercises())
def test_every_exercise_can_be_answered(name):
    exercise = exercises()[name]
    assert exercise["ask"] and exercise["hint"]
    if "number" in exercise:
        assert fault(name, exercise["number"]) is None
        assert fault(name, exercise["number"] + 2 + exercise["within"]) == ""
    elif "choices" in exercise:
        assert sum(fault(name, letter) is None for letter in exercise["choices"]) == 1
    else:
        answers = iter([np.array(wanted, float) for _, wanted in exercise["cases"]])
        assert fault(name, lambda *_: next(answers)) is None, "the results themselves are a right answer"
        assert fault(name, lambda *_: np.zeros((7, 7)))


def test_what_is_said(capsys):
    number = next(name for name, exercise in exercises().items() if "number" in exercise)
    for answer in (exercises()[number]["number"], -1e6, ...):
        kdlab.check(number, *[answer] * (answer is not ...))
    right, wrong, ask = capsys.readouterr().out.splitlines()[:3]
    assert right.endswith("right.") and exercises()[number]["hint"] in wrong and exercises()[number]["ask"] in ask
    with pytest.raises(ValueError, match="there is no exercise '99.9'"):
        kdlab.check("99.9")
    for wrong in ("b", True, float("nan")):
        with pytest.raises(ValueError, match="takes one number"):
            kdlab.check(number, wrong)


def test_a_function_that_fails_is_told_where(capsys):
    name = "00.3"
    assert "raises ZeroDivisionError" in fault(name, lambda z, t: 1 / 0)
    assert "gives the shape" in fault(name, lambda z, t: z[0])
    assert fault(name, lambda z, t: np.exp((z - z.max()) / t) / np.exp((z - z.max()) / t).sum()) is None
    assert "another result" in fault(name, lambda z, t: z / z.sum())


def test_notebooks_ask_every_exercise_once_and_no_other():
    asked = [name for path in sorted((paths.project_root() / "notebooks").glob("*.ipynb"))
             for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "markdown"
             for name in re.findall(r"^\*\*(\d\d\w?\.\d+)\b", "".join(cell["source"]), re.MULTILINE)]
    assert sorted(asked) == sorted(exercises())
