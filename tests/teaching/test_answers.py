"""What is right is told from what is wrong: of every number, letter and piece of code that an exercise asks for."""

import json
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from kdlab import paths
from kdlab.distill.losses import kd_loss
from kdlab.measure.paired import effect
from kdlab.study import Scores
from kdlab.teaching import answers
from kdlab.teaching.check import judge
from kdlab.teaching.exercises import ExerciseError, exercises, find


def of_kind(kind):
    return [e for e in exercises().values() if e.kind == kind]


def test_functions_of_answers_are_those_that_exercises_name():
    assert {e.by for e in of_kind("number")} == answers.NUMBERS.keys()
    assert {e.by for e in of_kind("code")} == answers.CODE.keys()


def test_two_answers_of_one_name_are_refused():
    def softened():
        pass

    assert answers.by_name([answers.CODE.values()]) == answers.CODE
    with pytest.raises(ValueError, match="answers.dark both have an answer 'softened': give"):
        answers.by_name([answers.CODE.values(), [softened]])


# --- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", of_kind("number"), ids=lambda e: e.name)
def test_what_is_right_is_computed_and_stands_in_no_text(exercise):
    right = answers.NUMBERS[exercise.by]()
    assert judge(exercise, right).right and judge(exercise, np.float64(right)).right
    assert judge(exercise, right + 0.9 * exercise.within).right
    assert not judge(exercise, right + 1.1 * exercise.within + 1e-6).right
    told = [float(n.replace("−", "-")) for text in (exercise.ask, *exercise.hints)
            for n in re.findall(r"[-−]?\d+(?:\.\d+)?", text)]
    assert not [n for n in told if right and judge(exercise, n).right]


@pytest.mark.parametrize(("name", "right"), [
    ("00.1", 2.7778), ("00.4", 2.3979), ("01.3", 0), ("02.3", 3.8925), ("03.2", -0.7167), ("03b.2", 2), ("04.2", 0.32),
    ("05.2", 1.2), ("05.5", 2.1333), ("06.3", 128 - int(7 * 127.5 / 20)), ("07.2", 1.3863),
    ("07b.2", 2 * 2.90 + 2.94 + 2 * 7.35), ("09.2", 17.647), ("10.3", 53.671), ("10b.2", 3), ("11.3", 1.3863)])
def test_numbers_that_can_be_had_by_hand(name, right):
    assert answers.NUMBERS[find(name).by]() == pytest.approx(right, abs=1e-3)


def test_probes_and_a_blind_map_are_as_trials_say():
    draws = np.random.default_rng(0).standard_normal(10**6) ** 2
    error = draws.std() / draws.mean() / np.sqrt(answers.landscape.probes_of_one_outlier())
    assert error == pytest.approx(0.02, rel=0.02)
    mask, picked = (np.random.default_rng(seed).random(10**6) < 0.3 for seed in (1, 2))
    blind = 100 * (mask & picked).sum() / (mask | picked).sum()
    assert answers.landscape.iou_of_a_blind_map() == pytest.approx(blind, abs=0.2)


def test_the_longest_action_that_is_whole_in_some_window_is_found_by_trying():
    first = np.arange(0, 10 * 48, 48) / 7.5  # seconds at which windows of 64 steps begin

    def whole(seconds):
        starts = np.arange(0, 8 * 48, 0.05) / 7.5
        return all(((first <= at + 1e-9) & (at + seconds <= first + 64 / 7.5 + 1e-9)).any() for at in starts)

    longest = answers.features.longest_whole_action()
    assert whole(longest) and not whole(longest + 0.05)


def test_the_largest_gap_is_of_a_cell_whose_interval_reaches_zero(monkeypatch):
    def cell(clips, gap, *gains):
        return [dict(method="dlkdd", teacher="equal", clips=clips, steps=1.0, seed=s, gain=gain, gap=gap)
                for s, gain in enumerate(gains)]

    cells = pd.DataFrame(cell(10, 50, 9.0, 10, 11) + cell(20, 40, -4.0, 0, 5) + cell(40, 45, -9.0, -10, -11)
                         + cell(80, 30, 0.0, 0, 0))
    monkeypatch.setattr("kdlab.studies.map_rule.committed", lambda: cells)
    assert answers.scoreboard.largest_gap_without_gain() == 45
    monkeypatch.setattr("kdlab.studies.map_rule.committed", lambda: cells[cells.clips != 40])
    assert answers.scoreboard.largest_gap_without_gain() == 40


@pytest.mark.skipif(not (paths.project_root() / "notebooks").is_dir(), reason="not a clone")
def test_parameters_are_those_of_the_network_in_notebook_11():
    page = json.loads((paths.project_root() / "notebooks" / "11_bring_your_own.ipynb").read_text("utf-8"))
    cells = ["".join(cell["source"]) for cell in page["cells"]]
    told = {}
    exec("import torch\nfrom dataclasses import dataclass\nfrom torch import nn", told)
    for name in ("Slices", "TimeFirst"):
        exec(next(cell for cell in cells if f"\nclass {name}" in f"\n{cell}"), told)
    count = sum(p.numel() for p in told["TimeFirst"](16).make(3).parameters())
    assert answers.scoreboard.parameters_of_width_sixteen() == count


def test_numbers_of_the_studies_are_those_of_their_predictions():
    folder = paths.figures_dir() / "predictions"
    audit, study = Scores.load(folder / "night_audit-night.npz"), Scores.load(folder / "dual_light-night.npz")
    right = {name: 100 * (audit.predicted[name] == audit.labels).mean() for name in ("full", "one_frame")}
    assert answers.dark.clip_over_frame() == pytest.approx(right["full"] - right["one_frame"])
    three = effect(study.correct("dlkdd")[:3], study.correct("ce_raw")[:3], study.units)
    assert answers.scoreboard.half_width_of_three_seeds() == pytest.approx(three.half_width)


def test_numbers_of_the_studies_are_plausible():
    assert 0 < answers.landscape.motion_over_iframe() < 100 and 0 < answers.landscape.energy_of_the_student() < 100
    assert 0 < answers.codec.cost_of_stopping_early() < 100
    assert 100 / 12 < answers.codec.bytes_of_i_frames() < 50 and answers.codec.vectors_in_a_still_room() > 0


@pytest.mark.skipif(not (paths.project_root() / "notebooks").is_dir(), reason="not a clone")
def test_what_10_1_asks_for_is_told_in_no_chapter_before_it(monkeypatch):
    asked = []
    monkeypatch.setattr("kdlab.show.claims.told", lambda names: asked.extend(names) or [])
    answers.scoreboard.share_of_bright_networks_supported()
    before = [path for path in (paths.project_root() / "notebooks").glob("*.ipynb") if path.name < "10"]
    claim = re.compile(rf"\*\*({'|'.join(asked)})\*\*|shown\([^)]*\b({'|'.join(asked)})\b")
    assert len(asked) == 4 and len(before) > 10
    assert not [path.name for path in before if claim.search(path.read_text("utf-8"))]


@pytest.mark.parametrize(("verdicts", "share"), [
    (("supported, and explained by x", "no effect larger than 2 points", "withheld: runs too early", "supported"), 50),
    (("contradicted", "not supported: y", "underpowered", "not testable on this set"), 0)])
def test_supported_claims_are_counted_by_their_words(monkeypatch, verdicts, share):
    found = [SimpleNamespace(verdict=word, reading=1) for word in verdicts]
    monkeypatch.setattr("kdlab.show.claims.told", lambda names: found)
    assert answers.scoreboard.share_of_bright_networks_supported() == share


def test_claims_of_which_nothing_was_read_are_not_called_unsupported(monkeypatch, tmp_path):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    with pytest.raises(ExerciseError, match="10.1 is answered from committed evidence that is not here .*D1r, D2r"):
        judge(find("10.1"), 0)


# --- letters -------------------------------------------------------------------------------------------------------

#: Of each exercise some words of the sentence that is right.
RIGHT = {"00.3": "a study refuses it", "01.2": "raw clips", "01b.2": "nothing", "02.4": "lower bound",
         "03.3": "not that the light does", "03b.3": "of classes", "03b.5": "the teacher is wrong",
         "04.3": "in general", "04.5": "shrinks", "05.3": "badly placed",
         "06.2": "contradict", "07.3": "no answer at threshold 1 changes", "07.5": "share no parameters",
         "07b.4": "the later exits", "08.3": "none", "08.5": "no longer the same", "09.3": "what all clips share",
         "09.4": "undefined", "10.5": "too narrow", "10b.3": "own start", "11.2": "trains again",
         "11.5": "of whichever clip"}


def test_the_right_letter_alone_is_right():
    found = {e.name: [text for letter, text in e.choices.items() if judge(e, letter).right] for e in of_kind("word")}
    assert found.keys() == RIGHT.keys()
    assert not {name: texts for name, texts in found.items() if len(texts) != 1 or RIGHT[name] not in texts[0]}
    assert judge(find("03.3"), " B ").right


# --- code ----------------------------------------------------------------------------------------------------------


def softened(z, t):
    e = np.exp(z / t - max(z / t))
    return e / e.sum()


def undone(bright):
    from kdlab.clips.enhance import Gamma

    back = np.zeros(256, np.uint8)
    back[Gamma(1.8).table()[:79]] = np.arange(79)
    return back[bright]


def undone_up_to(value):
    from kdlab.clips.enhance import Gamma

    return Gamma(1.8).table()[value]


def capped(z, t):
    e = np.exp(np.minimum(z / t, 700))
    return e / e.sum()


def leaked(train, test):
    return sum(group in set(train) for group in test)


def middles(frames, taken):
    return [int((i + 0.5) * frames / taken) for i in range(taken)]


def kd(student, teacher, t):
    from scipy.special import log_softmax

    ls, lt = log_softmax(student / t, 1), log_softmax(teacher / t, 1)
    return t**2 * (np.exp(lt) * (lt - ls)).sum(1).mean()


def fused(a, b):
    from scipy.special import softmax

    return (softmax(a, axis=1) + softmax(b, axis=1)).argmax(1)


def r2(features, made, mean):
    return 100 * (1 - ((made - features) ** 2).mean() / ((mean - features) ** 2).mean())


def ap(hits, actions, interpolated=True):
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return ((np.maximum.accumulate(precision[::-1])[::-1] if interpolated else precision) * hits).sum() / actions


def carried(picture, motion):
    place = np.stack(np.meshgrid(np.arange(picture.shape[1]), np.arange(picture.shape[0])), -1) - motion
    return cv2.remap(picture.astype(np.float32), place.astype(np.float32), None, cv2.INTER_NEAREST)


def stop(probabilities, theta):
    sure = probabilities.max(1) > theta
    sure[-1] = True
    return sure.argmax()


def front(costs, accuracies):
    better = (costs[:, None] >= costs) & (accuracies[:, None] <= accuracies)
    return ~(better & ((costs[:, None] != costs) | (accuracies[:, None] != accuracies))).any(1)


def rise(a, w, radius):
    g = a @ w
    there = w + radius * g / np.sqrt(g @ g)
    return there @ a @ there / 2 - w @ a @ w / 2


def energy(heat, masks, all_frames=False):
    seen = masks.any((1, 2)) | all_frames
    return ((heat * masks).sum((1, 2)) / heat.sum((1, 2)))[seen].mean()


def rule(low, high, strict_low, strict_high):
    if strict_low > 0:
        return 1
    if strict_high < 0:
        return -1
    return 0 if -2 < low and high < 2 else 9


def others(gaps):
    return [np.delete(gaps, k).mean() for k in range(len(gaps))]


def changes(pixels):
    before = torch.cat([pixels[:, :, :1], pixels[:, :, :-1]], dim=2)
    return 0.5 + (pixels - before) / 2


#: Of each exercise what is right, and what is nearly it.
TRIED = {
    "00.5": (softened, lambda z, t: np.exp(z / t) / np.exp(z / t).sum(), capped),
    "01.4": (undone, lambda bright: bright, lambda bright: undone(np.minimum(bright, undone_up_to(77)))),
    "01b.3": (leaked, lambda train, test: leaked(test, train), lambda train, test: len(set(train) & set(test)),
              lambda train, test: len(test) - leaked(train, test)),
    "02.5": (middles, lambda frames, taken: [i * frames // taken for i in range(taken)],
             lambda frames, taken: np.round((np.arange(taken) + 0.5) * frames / taken - 0.5)),
    "03.5": (kd, lambda s, t, temperature: kd(t, s, temperature)),
    "03b.4": (fused, lambda a, b: (a + b).argmax(1),
              lambda a, b: np.where(a.max(1) > b.max(1), a.argmax(1), b.argmax(1))),
    "04.4": (r2, lambda features, made, mean: r2(features, made, features.mean(0))),
    "05.4": (ap, lambda hits, actions: ap(hits, actions, interpolated=False)),
    "06.4": (carried, lambda picture, motion: carried(picture, -motion),
             lambda picture, motion: carried(picture, motion[..., ::-1])),
    "07.4": (stop, lambda p, theta: (p.max(1) > theta).argmax(), lambda p, theta: stop(p, theta - 1e-9)),
    "07b.3": (front, lambda costs, accuracies: costs == costs.min(),
              lambda costs, accuracies: [not ((costs < c) & (accuracies > a)).any()
                                         for c, a in zip(costs, accuracies, strict=True)]),
    "08.4": (rise, lambda a, w, radius: radius * np.linalg.norm(a @ w)),
    "09.5": (energy, lambda heat, masks: energy(heat, masks, all_frames=True)),
    "10.4": (rule, lambda low, high, *strict: rule(low, high, low, high),
             lambda low, high, *strict: rule(*strict, *strict), lambda low, high, *strict: rule(-1, high, *strict)),
    "10b.4": (others, lambda gaps: np.full(len(gaps), gaps.mean()), lambda gaps: (gaps.sum() - gaps) / len(gaps)),
    "11.4": (changes, lambda pixels: 0.5 + torch.diff(pixels, dim=2) / 2, lambda pixels: 1 - changes(pixels),
             lambda pixels: 0.5 + torch.diff(pixels, dim=2, prepend=0 * pixels[:, :, :1]) / 2,
             lambda pixels: changes(pixels).numpy()),  # with which a training could not go on
}


def test_code_of_every_exercise_is_tried():
    assert TRIED.keys() == {e.name for e in of_kind("code")}


@pytest.mark.parametrize("name", TRIED)
def test_code_of_a_few_lines_is_tried(name):
    exercise, (good, *bad) = find(name), TRIED[name]
    with np.errstate(all="ignore"):
        assert judge(exercise, good).right
        assert not [k for k, wrong in enumerate(bad) if judge(exercise, wrong).right]
    assert "shape" in judge(exercise, lambda *arguments: [0] * 1000).why
    assert "ZeroDivisionError" in judge(exercise, lambda *arguments: 1 / 0).why


@pytest.mark.parametrize(("name", "with_torch"), [
    ("00.5", lambda z, t: torch.softmax(z / t, -1)), ("03.5", kd_loss),
    ("03b.4", lambda a, b: (a.softmax(1) + b.softmax(1)).argmax(1)),
    ("07.4", lambda p, theta: next((k for k, row in enumerate(p) if torch.max(row) > theta), len(p) - 1))])
def test_code_for_tensors_is_as_good(name, with_torch):
    assert judge(find(name), with_torch).right


def test_what_is_wrong_with_code_is_said_in_a_line():
    assert judge(find("11.4"), lambda pixels: pixels).why == "not right for (an array of shape (2, 3, 1, 4, 5))"
    assert judge(find("11.4"), lambda pixels: pixels.numpy()).why == "for a tensor it returns a NumPy array"
    assert judge(find("00.5"), lambda z, t: None).why.endswith("it returns nothing")
    wrong = judge(find("03.5"), lambda s, t, temperature: 2 * kd_loss(s, t, temperature))
    assert wrong.why.startswith("not right for ([["), "of the way that runs, not of the one that raises"


def test_average_precision_is_the_evaluators():
    """Three answers of one class to two actions: a hit, a miss and a hit."""
    from kdlab.measure.detection import evaluate

    truth = pd.DataFrame({"video": "v", "label": 0, "start": [0.0, 20], "end": [10.0, 30]})
    found = pd.DataFrame({"video": "v", "label": 0, "start": [0.0, 40, 20], "end": [10.0, 50, 30],
                          "score": [0.9, 0.8, 0.7]})
    reference, _ = answers.features.average_precision()
    assert reference(np.array([True, False, True]), 2) == pytest.approx(evaluate(truth, found, 1).mean_ap()["0.5"])


def test_a_function_that_changes_its_arguments_is_judged_by_what_it_returns():
    def spoilt(z, t):
        z[:] = 0  # of equal logits all probabilities are equal
        return np.full(len(z), 1 / len(z))

    assert not judge(find("00.5"), spoilt).right
