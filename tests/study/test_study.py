"""A study: its runs, its table, its predictions and its verdicts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kdlab.study import Claim, Scores, Study, study_in
from kdlab.system import paths
from kdlab.train.sizes import SMOKE
from tests.train.test_runs import clips, make_recipe, places  # noqa: F401

CLAIM = Claim("more is better", "more", "less", controls=("other",))


def test_a_study_writes_its_table_and_predictions_and_goes_on(clips, places):  # noqa: F811
    def conditions(size, seed):
        return {name: make_recipe(clips, seed, epochs=k + 1, condition=name)
                for k, name in enumerate(("less", "more", "other"))}

    said = []
    study = Study("mine", conditions, [CLAIM], SMOKE)
    scores = study.run(seeds=2, workers=1, say=said.append)
    table = pd.read_csv(paths.runs_dir() / "studies" / "mine.csv")
    assert list(table) == ["study", "condition", "seed", "accuracy", "run"] and len(table) == 6
    for condition in scores.predicted:
        mine = table[table.condition == condition]
        assert np.allclose(mine.accuracy, scores.accuracy(condition)) and list(mine.seed) == [0, 1]
        assert all((paths.runs_dir() / run / "run.json").is_file() for run in mine.run)
    kept = Scores.load(paths.runs_dir() / "studies" / "mine.npz")
    assert all(np.array_equal(kept.predicted[c], scores.predicted[c]) for c in scores.predicted)
    assert "more is better" in said[-2] and said[-1].endswith("mine.csv")
    said.clear()
    study.run(seeds=2, workers=1, say=said.append)
    assert not any("trained in" in line for line in said)


def scores(right: dict[str, float], seeds: int = 5, count: int = 200) -> Scores:
    """Predictions of two classes, of which so many are right, drawn for each condition."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    predicted = {c: np.where(rng.random((seeds, count)) < share, labels, 1 - labels) for c, share in right.items()}
    ids = np.arange(count).astype(str)
    return Scores(("a", "b"), tuple(range(seeds)), ids, ids, labels, predicted)


@pytest.mark.parametrize(("right", "verdict"), [
    ({"more": 0.9, "less": 0.5, "other": 0.5}, "supported"), ({"more": 0.9, "less": 0.5, "other": 0.95}, "explained"),
    ({"more": 0.4, "less": 0.9, "other": 0.4}, "contradicted")])
def test_a_row_for_each_claim_with_its_verdict(right, verdict):
    row, = Study("x", lambda size, seed: {}, [CLAIM]).verdicts(scores(right)).itertuples()
    assert (row.claim, row.comparison, row.seeds, row.units) == ("more is better", "more − less", 5, 200)
    assert verdict in row.verdict


def test_what_cannot_be_a_study_is_refused(tmp_path):
    study = Study("x", lambda size, seed: {"more": None, "less": None}, [CLAIM], SMOKE)
    with pytest.raises(ValueError, match="a claim of the study x names 'other'; its conditions are more, less"):
        study.recipes()
    assert len(replace(study, claims=()).recipes(seeds=3)["more"]) == 3
    with pytest.raises(ValueError, match="a study's name is a file's name: 'a/b'"):
        replace(study, name="a/b")
    for name, text, says in (("none_there", "", "has 0 Study objects"), ("broken_one", "1 +", "cannot be read as"),
                             ("json", "", "cannot be imported by the name"), ("gone_one", None, "no such file")):
        if text is not None:
            (tmp_path / f"{name}.py").write_text(text)
        with pytest.raises(ValueError, match=says):
            study_in(tmp_path / f"{name}.py")
