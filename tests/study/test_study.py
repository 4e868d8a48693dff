"""A study: its worlds, its table, its predictions and its answers."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kdlab.measure.paired import Effect
from kdlab.study import Answer, Question, Scores, Study, collect
from kdlab.study.question import read_together
from kdlab.study.study import run_all, studies_in
from kdlab.system import paths
from kdlab.train.runs import Predictions
from kdlab.train.sizes import SMOKE
from tests.train.test_runs import clips, make_recipe, places  # noqa: F401

ASKED = Question("1", "Is more better?", "more", "less", rivals=("other",), teacher="other")


def test_a_study_writes_its_table_and_predictions_and_goes_on(clips, places, tmp_path):  # noqa: F811
    def conditions(size, world):
        return {
            name: make_recipe(clips, world, epochs=k + 1, condition=name)
            for k, name in enumerate(("less", "more", "other"))
        }

    said, folder = [], paths.runs_dir() / "studies"
    study = Study("mine", conditions, [ASKED], replace(SMOKE, seeds=2))
    (answer,) = study.run([0, 1, 0], workers=1, say=said.append)
    table = study.rows(folder)
    assert len(table) == 6
    assert set(table.world) == {0, 1}
    assert set(table.questions) == {f"1:{ASKED.digest()}"}
    for world in (0, 1):
        kept = Scores.load(folder / f"mine-{world}.npz")
        mine = table[table.world == world].set_index("condition")
        assert kept.seeds == (world,) and (mine.cpu_seconds > 0).all() and mine.cpu.str.len().all()
        for name, logits in kept.logits.items():
            assert logits.dtype == np.float16 and (logits.max(-1) == 0).all()
            assert np.array_equal(logits.argmax(-1), kept.predicted[name])
        assert all(
            kept.accuracy(c) == pytest.approx(mine.value[c]) for c in ("less", "more", "other")
        )
    difference = table.pivot(index="world", columns="condition", values="value").eval("more - less")
    assert answer.effect.mean == pytest.approx(difference.mean())
    assert f"Is more better? {answer}" in said[-1]
    assert answer.shared
    assert "; worlds share their test clips, so this holds for these " in str(answer)

    def answer_to(**changes):
        table.assign(**changes).to_csv(tmp_path / "mine.csv", index=False)
        return Answer.read(ASKED, tmp_path / "mine.csv", (0, 1))

    for world in (0, 1):  # eight test clips
        shutil.copy(folder / f"mine-{world}.npz", tmp_path)
    own = answer_to(clips=table.world)
    equal = answer_to(value=62.5)
    assert not own.shared and "share" not in str(own) and own.compared == answer.compared
    assert equal.effect.half_width == pytest.approx(stats.t.ppf(0.975, 1) * 12.5 / 2**0.5)
    said.clear()
    study.run([1], workers=1, say=said.append)
    assert not any("trained in" in line for line in said) and len(study.rows(folder)) == 6


def test_a_world_that_is_drawn_meanwhile_stays(tmp_path, monkeypatch):
    note = dict.fromkeys(("cpu_seconds", "data", "sources", "cpu"), "007")
    trained = SimpleNamespace(save=str), {"a": [SimpleNamespace(provenance=note)]}
    monkeypatch.setattr("kdlab.study.study.collect", lambda *_, **__: trained)
    study = Study("s", lambda size, world: {}, measure=lambda runs: {"a": 2.0})
    replace(study, measure=lambda _: study.draw(2, tmp_path) or {"a": 1.0}).draw(1, tmp_path)
    assert set(study.rows(tmp_path).world) == {1, 2}
    assert set(study.rows(tmp_path).clips) == {"007"}  # a digest, not 7


def test_all_studies_are_drawn_world_by_world_and_no_world_twice(tmp_path, monkeypatch):
    """A stop after any world leaves every question with equally many, but for one. What cannot be drawn is told last."""
    with pytest.raises(ValueError, match="holds no study that names its worlds"):
        run_all(tmp_path, tmp_path)
    scripts = {
        "a_broken": "lambda *at: int('none'), worlds=(1,)",
        "a_study": "lambda *at: {}, worlds=(1, 2)",
        "b_study": "lambda *at: {}, worlds=(2, 1, 3)",
        "notes": "dict",
    }
    for name, rest in scripts.items():
        text = f"import kdlab.study\ns = kdlab.study.Study({name!r}, {rest})\n"
        (tmp_path / f"{name}.py").write_text(text)
    drawn, out = [], tmp_path / "out"
    out.mkdir()

    def draw(study, world, folder, **how):
        drawn.append((study.name, world))
        if len(drawn) == 3:
            raise KeyboardInterrupt
        pd.DataFrame({"world": [*study.rows(folder).world, world]}).to_csv(
            folder / f"{study.name}.csv"
        )

    monkeypatch.setattr(Study, "draw", draw)
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, out, say=str)
    with pytest.raises(ValueError, match="'none'"):
        run_all(tmp_path, out, say=str)
    assert drawn[:3] == [("a_study", 1), ("b_study", 1), ("a_study", 2)]
    assert drawn[3:] == [("a_study", 2), ("b_study", 2), ("b_study", 3)]


def values(gain, rival, noise=1.0, worlds=10):
    """Made-up accuracies: the rival and the method (*more*) lie so many points above the baseline (*less*)."""
    chance = np.random.default_rng(5).normal(0, noise, (3, worlds))
    chance -= chance.mean(1, keepdims=True)
    return pd.DataFrame(
        {"less": 50 + chance[0], "more": 50 + gain + chance[1], "other": 50 + rival + chance[2]}
    )


@pytest.mark.parametrize(
    "gain, rival, noise, outcome, says",
    [
        (
            5,
            0,
            1,
            "helps",
            "more − less: +5.0 ± 0.8 points; against its strongest rival, other: +5.0",
        ),
        (
            5,
            5,
            1,
            "no more",
            "more − less: +5.0 ± 0.8 points; against its strongest rival, other: +0.0 ± 1.1. It helps, but ",
        ),
        (
            5,
            9,
            1,
            "beaten",
            "more − less: +5.0 ± 0.8 points; against its strongest rival, other: −4.0 ± 1.1. It is beaten",
        ),
        (-5, -9, 1, "beaten", "more − less: −5.0 ± 0.8 points. It is beaten"),
        (0.3, 0, 0.2, "small", "more − less: +0.3 ± 0.2 points"),
        # another is ahead, by less than matters
        (
            0.3,
            0.9,
            0.2,
            "small",
            "more − less: +0.3 ± 0.2 points; against its strongest rival, other: −0.6 ± 0.2. The difference is ",
        ),
        (
            3,
            0,
            5,
            "cannot tell",
            "more − less: +3.0 ± 4.1 points. It takes 32 worlds to tell whether it helps",
        ),
    ],
)
def test_the_answers(gain, rival, noise, outcome, says):
    (answer,) = read_together([Answer.of(ASKED, values(gain, rival, noise))])
    assert answer.outcome == outcome
    assert str(answer).startswith(says)
    assert answer.share == (pytest.approx(gain / rival) if rival > 2 else answer.share)
    assert str(replace(answer, withheld="no world")) == "withheld: no world"


@pytest.mark.parametrize(
    "tested, worlds, gained, measured, says",
    [
        (
            14,
            3,
            1,
            0,
            "more − less: +7.1 ± 17.7 points. It takes 10 worlds to tell whether it helps",
        ),
        (440, 10, 0, 0, "more − less: +0.0 ± 0.2 points. The difference is smaller than 1.0"),
        (440, 10, 20, 0, "more − less: +4.5 ± 0.2 points. It helps"),
        (
            440,
            10,
            20,
            0.1,
            "more − less: +4.5 ± inf points. It takes more worlds to tell",
        ),
    ],
)
def test_equal_differences_are_no_certainty(tested, worlds, gained, measured, says):
    less = 100 * (5 + np.arange(worlds)) / tested + measured
    found = pd.DataFrame({"less": less, "more": less + 100 * gained / tested})
    sentence = str(Answer.of(replace(ASKED, rivals=(), teacher=""), found, tested))
    assert sentence.startswith(says) and "rival" not in sentence  # there is none


# beaten by the rival
@pytest.mark.parametrize(
    "gain, ahead, spread, undecided",
    [
        (3, 3, 5, (1, 1)),  # helps
        (3, 3, 5, (10, 10)),  # helps, among ten questions
        (0.05, 9, 2, (4, 7)),  # small
        (-0.55, 0.5, 2.5, (4, 7)),  # small or beaten
        (0.5, -2.5, 5, (4, 7)),
    ],
)
def test_the_worlds_said_to_decide_do_so_in_four_of_five_cases(gain, ahead, spread, undecided):
    rng = np.random.default_rng(3)
    noise = stats.zscore(rng.normal(size=10), ddof=1) * spread

    def drawn(less, other):
        compared = {"less": Effect.of(less), "other": Effect.of(other)}
        last = min(compared.values(), key=lambda e: e.mean)
        lost = min(1, 2 * last.p * undecided[1]) if last.mean < 0 else 1
        return Answer(
            ASKED,
            compared,
            None,
            min(1, compared["less"].p * undecided[0]),
            lost,
            undecided=undecided,
        )

    needed = drawn(gain + noise, ahead + noise).worlds_needed
    for worlds, low, high in ((needed, 0.75, 0.92), (round(0.7 * needed), 0.4, 0.76)):
        draws = spread * rng.normal(size=(400, 2, worlds)) + [[gain], [ahead]]
        assert low < np.mean([drawn(*draw).outcome != "cannot tell" for draw in draws]) < high


def test_questions_read_together_need_more_each():
    """Of ten differences that alone are just seen, none is; a rival is the stronger the more there are to choose."""
    alone = Answer.of(replace(ASKED, rivals=()), values(1.1, 0))
    assert 0.01 < alone.p < 0.05 and alone.outcome == "helps" and alone.share is None
    assert {(answer.outcome, answer.undecided) for answer in read_together([alone] * 10)} == {
        ("cannot tell", (10, 10))
    }
    behind = values(-1.1, 0).assign(**{f"r{k}": values(0, 0).other for k in range(9)})
    lost = [
        Answer.of(replace(ASKED, rivals=rivals), behind).lost
        for rivals in ((), tuple(f"r{k}" for k in range(9)))
    ]
    assert lost[0] == pytest.approx(Effect.of(behind.more - behind.less).p)
    assert lost[1] > 5 * lost[0]
    assert (
        Answer.of(Question("2", "?", "gap"), pd.DataFrame({"gap": [1.0, 1.2, 0.9]})).effect.low > 0
    )


def test_another_question_has_another_digest():
    assert ASKED.digest() == replace(ASKED).digest() != replace(ASKED, small=2.0).digest()


def test_what_cannot_be_a_study_is_refused(tmp_path):
    names, study = ["more", "less"], Study("x", lambda *_: dict.fromkeys(names), [ASKED], SMOKE)
    with pytest.raises(
        ValueError, match="the study x names 'other'; its conditions are more, less"
    ):
        study.recipes(0)
    with pytest.raises(ValueError, match="rivals are a tuple: of one, write ..ab.,."):
        replace(ASKED, rivals="ab")
    with pytest.raises(ValueError, match="the questions of the study x are a list"):
        replace(study, questions=ASKED)
    alike = replace(ASKED, rivals=(), teacher="")
    with pytest.raises(ValueError, match="compares 'more' with 'less', which is the same recipe"):
        replace(study, conditions=lambda *_: dict.fromkeys(names, 1), questions=[alike]).recipes(0)
    with pytest.raises(ValueError, match="x has the same recipes in two worlds"):
        replace(study, questions=()).run([0, 1])
    with pytest.raises(ValueError, match="of the study x gave a list: return a dict"):
        replace(study, conditions=lambda *_: names).recipes(0)
    names.append("zero")
    with pytest.raises(ValueError, match="a condition of the study x is called 'zero'"):
        study.recipes(0)
    with pytest.raises(ValueError, match="nothing was measured of 'less'; there is more$"):
        Answer.of(ASKED, pd.DataFrame({"more": [1.0]}))
    with pytest.raises(ValueError, match="a study's name is a file's name: 'a/b'"):
        replace(study, name="a/b")
    made = "from kdlab.study import Study\nx, y = Study('x', dict), Study('x', dict)"
    for name, text, says in (
        ("broken_one", "1 +", "cannot be read as"),
        ("json", "", "cannot be imported by"),
        ("twins", made, "two studies in .*twins.py are called x"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
        with pytest.raises(ValueError, match=says):
            studies_in(tmp_path / f"{name}.py")


def test_seeds_that_do_not_pair_are_refused(clips, places):  # noqa: F811
    with pytest.raises(ValueError, match="every condition needs the same seeds"):
        collect({"a": [make_recipe(clips, 0)], "b": [make_recipe(clips, 1)]}, say=str)


def test_other_labels_of_the_same_clips_are_refused(monkeypatch):
    """A data set with one class more numbers the others anew."""
    note, ids = dict.fromkeys(("sources", "data")), np.arange(2)
    runs = [
        SimpleNamespace(
            folder="f",
            provenance=note,
            predictions=lambda k=k: Predictions(ids, ids, ids + k, np.eye(2, 3)),
        )
        for k in range(2)
    ]
    monkeypatch.setattr("kdlab.study.scores.obtain_all", lambda *_, **__: runs)
    with pytest.raises(ValueError, match="f was tested on other clips or labels"):
        collect({name: [SimpleNamespace(seed=0, data=name)] for name in "ab"})
