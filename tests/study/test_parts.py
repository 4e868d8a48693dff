"""The Study object: its parts, their order and names, and a user's numbers beside the committed ones."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kdlab.papers.dual_light import study as dual_light_study
from kdlab.studies import every
from kdlab.study import Part, Study, by_condition
from kdlab.study import study as module
from kdlab.study.scores import units_of
from kdlab.train.sizes import SMOKE, STUDY
from tests.train.test_runs import make_recipe


def table(*names, seeds=2, **changes):
    return by_condition(lambda seed: {n: make_recipe("/x", seed, condition=n, **changes) for n in names}, seeds)


def test_trainings_come_seed_after_seed_and_once():
    both = [Part("x", table("a", "b", seeds=3)), Part("y", table("b", "c"))]
    order = Study("s", lambda size, seeds: both, size=SMOKE).trainings()
    assert [(r.condition, r.seed) for r in order] == [(c, s) for s in (0, 1) for c in "abc"] + [("a", 2), ("b", 2)]


def test_the_number_of_seeds_is_asked_for_or_the_studys_or_the_sizes():
    def parts(size, seeds):
        return [Part(size.name, table("a", seeds=seeds))]

    asked = [Study("s", parts, size=SMOKE), Study("s", parts, size=SMOKE, seeds=5), Study("s", parts)]
    assert [study.chosen()[0].seeds for study in asked[:2]] == [SMOKE.seeds, 5]
    assert asked[1].chosen(seeds=3)[0].seeds == 3 and asked[0].chosen(STUDY)[0].data == "study"
    assert asked[2].chosen()[0].data in ("demo", "smoke"), "the profile of $KDLAB_PROFILE, else demo"


def test_predictions_are_named_as_data_and_fold_or_as_the_part_says():
    recipes = table("a")
    for part, name in ((Part("x", recipes), "s-x"), (Part("x", recipes, fold="2"), "s-x-fold2"),
                       (Part("x", recipes, file="own"), "s-own"), (Part("x", recipes, file=""), ""), (Part("x"), "")):
        assert part.predictions("s") == name


def test_a_mistyped_unit_is_refused():
    """Groups read as clips would give intervals a third as wide."""
    with pytest.raises(ValueError, match="unit='groups'"):
        Part("x", unit="groups")
    with pytest.raises(ValueError, match="unit='groups'"):
        units_of("groups", np.array(["a"]), ["g"])
    assert units_of("group", np.array(["a"]), ["g"]).tolist() == ["g"]
    assert units_of("clip", np.array(["a"]), ["g"]).tolist() == ["a"]


def test_the_committed_files_of_every_study_are_those_of_its_parts():
    """The names under which evidence is committed do not depend on how a study is cut."""
    files = {name for study in every().values() for name in (p.predictions(study.name) for p in study.chosen()) if name}
    there = {f.stem for f in module.paths.figures_dir().glob("predictions/*.npz")}
    assert files <= there and there - files == {
        name for name in there if name.endswith(("-looks", "-curves", "-alignment", "-gate"))} | {"wise-weizmann"}


@pytest.mark.parametrize("study", every().values(), ids=lambda study: study.name)
def test_a_users_runs_are_those_of_the_committed_rows(study):
    """What `kdlab reproduce` compares exists in the committed table."""
    if study.yours is None:
        assert study.compared() == []
        return
    part, rows = study.yours(), module.load_rows(study.name)
    rows = rows[(rows.data == part.data) & (rows.metric == study.metric)]
    assert set(part.recipes) <= set(rows.condition) and set(part.recipes) <= set(study.titles)
    assert rows.groupby("condition").seed.nunique().max() >= 3, "a range needs three"


def test_your_numbers_stand_beside_the_committed_ones(monkeypatch):
    share = {"ce_raw": 0.5, "dlkdd": 0.6, "same_light": 0.9, "ce_enhanced": 0.6}

    def found(recipe, pretrained):
        hit = np.arange(100) < 100 * share[recipe.condition]
        answers = SimpleNamespace(correct=hit.astype(float))
        return SimpleNamespace(provenance={"weights": ""}, predictions=lambda: answers)

    rows = [dict(data="night_demo", condition=c, seed=s, metric="accuracy", value=55 + s)
            for c in share for s in range(6)]
    monkeypatch.setattr(module, "load_rows", lambda name: pd.DataFrame(rows))
    monkeypatch.setattr(module, "find", found)
    lines = dual_light_study.study.compared()
    assert len(lines) == 4 and lines[1].startswith("dual_light, DL-KDD: your 60.0 lies in 5")
    assert "same-light KD: your 90.0 lies OUTSIDE" in lines[2]
    monkeypatch.setattr(module, "find", lambda recipe, pretrained: None)
    assert dual_light_study.study.compared()[0] == "dual_light, CE, raw: not trained here yet"
