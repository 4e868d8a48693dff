"""kdlab.check: right answers are right, wrong ones get a hint, and notebooks ask what there is."""

import json
import math
import re
import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

import kdlab
from kdlab.measure.paired import Effect
from kdlab.show.exercises import exercises, fault
from kdlab.study import values
from kdlab.system import paths


def softened(z, t, least=-np.inf):
    e = np.exp((z - max(z.max(), least)) / t)
    return e / e.sum()


def normalised(x, mean, variance, eps=1e-5):
    return (x - mean) / np.sqrt(variance + eps)


def soft_loss(student, teacher, t, least=-np.inf):
    student, teacher = (log_softmax(each / t, 1) for each in (student, teacher))
    return t**2 * (np.exp(teacher) * (teacher - np.maximum(student, least))).sum(1).mean()


def eleven_points(hits, actions, reached=np.greater_equal):
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    at = [precision[reached(10 * found, k * actions)] for k in range(11)]
    return np.mean([each.max(initial=0) for each in at])


def spent(p, macs, theta, last=-1):
    return macs[np.append(p[:last].max(1) > theta, True).argmax()]


def sharpness(a, w, radius, least=-np.inf):
    there = w + radius * a @ w / np.linalg.norm(a @ w)
    return max(least, (there @ a @ there - w @ a @ w) / 2)


def energy(m, masks, even=1.0):
    m = m + even * (m.sum((1, 2), keepdims=True) == 0)
    return ((m * masks).sum((1, 2)) / m.sum((1, 2)))[masks.any((1, 2))].mean()


def benjamini_hochberg(p, kept=np.minimum):
    falling, adjusted = np.argsort(p)[::-1], np.empty(len(p))
    adjusted[falling] = kept.accumulate(p[falling] * len(p) / np.arange(len(p), 0, -1))
    return adjusted


def distance(z, w, parts=2):
    p, q = (np.exp(logits - logits.max()) for logits in (z, w))
    return np.abs(p / p.sum() - q / q.sum()).sum() / parts


def repeated(student, teacher, labels, where=np.not_equal):
    wrong = where(teacher, labels)
    return np.equal(student, teacher)[wrong].mean() if wrong.any() else 0.0


def leaked(train, test, known=set):
    return sum(name in known(train) for name in test)


#: Exercise: a right function, and the value of its last argument that makes it nearly right.
FUNCTIONS = {
    "00.3": (softened, 0.0),
    "02.3": (normalised, 0.0),
    "03.3": (repeated, np.greater_equal),
    "04.3": (soft_loss, np.log(1e-12)),
    "06.3": (eleven_points, np.greater),
    "08.3": (spent, 3),
    "09.3": (sharpness, 0.0),
    "10.3": (energy, 0.0),
    "11.3": (benjamini_hochberg, np.maximum),
    "12.3": (leaked, " ".join),
    "13.3": (distance, 1),
}


@pytest.mark.parametrize("name", exercises())
def test_every_exercise_tells_the_right_answer_from_a_nearly_right_one(name):
    exercise = exercises()[name]
    assert exercise["ask"] and exercise["hint"]
    if "number" in exercise:
        assert fault(name, exercise["number"]) is None
        assert fault(name, exercise["number"] + 2 + exercise["within"]) == ""
    elif "choices" in exercise:
        assert sum(fault(name, letter.upper()) is None for letter in exercise["choices"]) == 1
    else:
        function, flaw = FUNCTIONS[name]
        assert fault(name, function) is None
        assert fault(name, lambda *given: function(*given, flaw))


class Unwilling:
    def __array__(self):
        raise RuntimeError

    __repr__ = __array__


META = torch.zeros(3, device="meta")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        math.nan,
        10**400,
        1j,
        "d",
        {},
        [1, [2]],
        np.zeros(2),
        META,
        Unwilling(),
        dict,
        lambda: 1,
        lambda *_: None,
        lambda *_: "1",
        lambda *_: META,
        lambda *_: sys.exit(),
        lambda *_: Unwilling(),
        lambda *_: np.full(3, np.nan),
    ],
)
def test_whatever_is_answered_gets_one_sentence(answer, capsys):
    for name in exercises():
        kdlab.check(name, answer)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(exercises()) and all(": not yet" in line for line in said)


def test_what_is_said(capsys, own_places):
    number = next(name for name, exercise in exercises().items() if "number" in exercise)
    for answer in (torch.tensor([exercises()[number]["number"]], requires_grad=True), -1e6, ...):
        kdlab.check(number, answer)
    kdlab.check("99.9", 1)
    right, wrong, ask, unknown = capsys.readouterr().out.splitlines()
    assert right.endswith("right.")
    assert exercises()[number]["hint"] in wrong
    assert exercises()[number]["ask"] in ask
    assert unknown.startswith("there is no exercise '99.9'; there are 00.1")


def test_what_is_done_and_what_is_left(capsys, own_places):
    kdlab.check()
    number = next(name for name, exercise in exercises().items() if "number" in exercise)
    kdlab.check(number, exercises()[number]["number"])
    kdlab.check()
    first, left, _, right, now, *_ = capsys.readouterr().out.splitlines()
    assert (first, right, now) == ("done: none", f"{number}: right.", f"done: {number}")
    assert left == f"left: {', '.join(exercises())}"
    for text in ("5", "{", '["what"]'):
        (paths.runs_dir() / "exercises.json").write_text(text)
        kdlab.check()
        assert capsys.readouterr().out.startswith("done: none")


def test_a_function_that_fails_is_told_where():
    name = "00.3"
    assert "raises ZeroDivisionError" in fault(name, lambda z, t: 1 / 0)
    assert "AttributeError" in (why := fault(name, lambda z, t: z.softmax(7)))
    assert "with tensors it raises Index" in why
    assert "gives the shape" in fault(name, lambda z, t: z[0])
    assert "gives None" in fault(name, lambda z, t: None)
    assert "it gives -0.5 at (2,) where 0.035119 is right" in fault(name, lambda z, t: z / z.sum())


def test_answers_from_questions_5_and_6_are_todays():
    five, six = values("5"), values("6")
    difference = five["KD of the same teacher"] - five["an untrained teacher"]
    assert fault("05.1", difference.mean()) is None
    assert fault("06.1", (six["teacher"] > six["gated twice the steps"]).sum()) is None


def test_answers_from_question_2_are_todays():
    worlds = values("2")
    anew, dual = worlds["re-estimated statistics"], worlds["a second light"]
    as_it_is, differences = worlds["the bright network as it is"], dual - anew
    assert fault("02.1", (anew - as_it_is).min()) is None
    assert fault("04.1", 100 * (anew - as_it_is).mean() / (dual - as_it_is).mean()) is None
    halves = [Effect.of(differences.iloc[list(three)]) for three in combinations(range(6), 3)]
    assert fault("11.1", sum(half.low < 0 < half.high for half in halves)) is None
    assert fault("11.2", Effect.of(differences[:3]).half_width) is None


def test_notebooks_ask_every_exercise_once_and_no_other():
    asked = [
        name
        for path in sorted((paths.project_root() / "notebooks").glob("*.ipynb"))
        for cell in json.loads(path.read_text("utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
        for name in re.findall(r"^\*\*(\d\d\w?\.\d+)\b", "".join(cell["source"]), re.MULTILINE)
    ]
    assert sorted(asked) == sorted(exercises())
