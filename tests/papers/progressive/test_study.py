"""The studies of PKD and WISE: what is compared with what, verdicts on made-up exits, and both at smoke size."""

from dataclasses import replace

import numpy as np
import pytest

from kdlab import paths
from kdlab.clips.held_out import Half
from kdlab.clips.later import Later
from kdlab.measure.paired import Effect, together
from kdlab.papers.progressive import study, wise_study
from kdlab.papers.progressive.asking import asked
from kdlab.papers.progressive.exits import ExitRecipe
from kdlab.papers.progressive.method import PAPER
from kdlab.papers.progressive.nets import ORDER, TRAINED
from kdlab.papers.progressive.recipes import SMOKE, STUDY, conditions, crossed, night, trio
from kdlab.papers.progressive.teachers import gains_of_twice, may_teach, target_entropies, teachers
from kdlab.study import Scores, load_rows
from kdlab.train.runs import find
from kdlab.train.sizes import ExitSize
from tests.conftest import encode


def made_up(gains: dict[str, float], clips=300, seeds=4) -> Scores:
    """Scores whose trained exits are right 60 % of the time, and ``gains`` more often."""
    rng = np.random.default_rng(0)
    draw = rng.random((seeds, clips, 12))
    predicted = {name: (draw > 0.6 + gain).astype(int) for name, gain in gains.items()}
    for values in predicted.values():
        values[:, :, 3::4] = (draw > 0.8)[:, :, 3::4]
    ids = np.array([f"c{i}" for i in range(clips)])
    names = {name: [f"{name}-s{s}" for s in range(seeds)] for name in predicted}
    return Scores(("a", "b"), tuple(range(seeds)), ids, ids, np.zeros(clips, int), predicted, {}, names)


def test_the_headline_is_the_mean_over_the_nine_trained_exits():
    scores = made_up({"ce_ic": 0.0, "pkd": 0.1})
    gain = study.exit_effect(scores, "pkd", "ce_ic")
    assert gain.mean == pytest.approx(10, abs=2) and gain.low > 0
    nine = 100 * (scores.correct("pkd") - scores.correct("ce_ic"))[:, :, TRAINED].mean()
    assert gain.mean == pytest.approx(nine)
    assert study.finals(scores) == pytest.approx(dict.fromkeys(ORDER, 80), abs=4)


def test_cells_that_are_one_training_by_construction_are_left_out():
    assert study.differing("pkd", "reversed") == ["residual", "iframe"]
    assert study.differing("pkd", "own_final") == list(ORDER) == study.differing("pkd", "ce_ic")
    for other in ("random_teacher", "smoothing", "ce_kd"):
        assert study.differing("pkd", other) == list(ORDER)
    assert study.differing("own_final", "iframe_kd") == ["residual", "motion"]
    assert study.places(["motion"]) == [4, 5, 6] and study.places(ORDER) == TRAINED


def test_a_row_of_several_comparisons_needs_all_of_them():
    good, none = Effect(5, 4, 6, 3, 7, 5, 300, 2, 50, 1), Effect(0, -1, 1, -2, 2, 5, 300, 2, 50, 1)
    few = " (5 seeds: provisional)"
    assert together({"a": good, "b": good}) == f"supported{few}"
    assert together({"a": good}, {"X": none, "Y": good}) == f"supported, and explained by X{few}"
    assert together({"a": good, "b": none}, {"X": none}).startswith("not supported: supported: a; no effect")
    word = together({"a": good, "b": none, "c": none})
    assert word == f"not supported: supported: a; no effect larger than 2 points: b, c{few}"


#: All that P4 compares with.
OTHERS = ("reversed", "random_teacher", "motion-own-residual", "residual-motion-own", "residual-own-motion",
          "own-motion-residual")


def test_verdicts_follow_the_exits():
    names = ["own_final", *OTHERS]
    table = study.ledger(made_up({"ce_ic": 0, "pkd": 0.1} | dict.fromkeys(names, 0.0))).set_index("claim")
    assert table.verdict["P3"] == table.verdict["P4"] == "supported (4 seeds: provisional)"
    table = study.ledger(made_up({"ce_ic": 0, "pkd": 0.1} | dict.fromkeys(names, 0.1))).set_index("claim")
    assert table.verdict["P3"].startswith("supported, and explained by own-final KD")
    assert table.verdict["P4"].startswith("not supported: no effect larger than 2 points")
    some = study.ledger(made_up({"ce_ic": 0, "pkd": 0.1} | dict.fromkeys(names[:3], 0.0))).set_index("claim")
    assert some.verdict["P4"].startswith("not supported: supported: reversed, random_teacher; not compared: motion-own")


def test_trainings_on_the_same_networks_follow_each_other():
    order = [r for r in study.study.trainings(STUDY, 2) if isinstance(r, ExitRecipe)]
    trios = [(r.seed, r.data, r.backbones, r.view) for r in order]
    changes = sum(a != b for a, b in zip(trios, trios[1:], strict=False))
    assert changes < 5 * len(set(trios)), "features are made anew whenever the networks change"
    assert len(set(order)) == len(order)


def test_every_method_has_the_same_steps_but_where_the_steps_are_the_question():
    made = study.columns(STUDY, 1, study.night(STUDY))
    epochs = {name: column[0].settings.epochs for name, column in made.items()}
    usual = epochs.pop("pkd")
    assert epochs.pop("ce_2x") == epochs.pop("pkd_2x") == 2 * usual
    assert epochs.pop("ce_half") == round(usual / 2) and set(epochs.values()) == {usual}
    assert made["pkd_batch_statistics"][0].view.batch_statistics
    assert {r.backbones[0].view.modality for r in made["pkd_difference"]} == {"difference"}


def test_claims_on_unseen_clips_follow_their_own_exits():
    names = ["pkd", "pkd_warm", "ce_ic", "own_final", "own_final_warm", *OTHERS]
    gains = {f"{name}_unseen": 0.1 * name.startswith("pkd") for name in names}
    table = study.ledger(made_up(gains)).set_index("claim")
    assert list(table.index) == ["P3u", "P3w", "P4u"]
    assert set(table.verdict) == {"supported (4 seeds: provisional)"}
    assert "control own-final KD, T = 4" in table.effect["P3w"] and "reversed +" in table.effect["P4u"]
    alike = study.ledger(made_up(gains | {"own_final_unseen": 0.1, "reversed_unseen": 0.1})).set_index("claim").verdict
    assert alike["P3u"].startswith("supported, and explained by own-final KD (") and "reversed" in alike["P4u"]
    assert alike["P3w"] == "supported (4 seeds: provisional)" and alike["P4u"].startswith("not supported")
    last = study.ledger(made_up({"pkd_iframe": 0.1, "ce_ic": 0, "iframe_kd": 0.1})).set_index("claim").verdict
    assert list(last.index) == ["P3a"] and "explained by I-frame KD" in last["P3a"]
    assert study.differing("pkd_unseen", "reversed_unseen") == ["residual", "iframe"]
    assert study.differing("pkd_warm_unseen", "reversed_unseen") == list(ORDER), "another temperature"


def test_second_readings_have_few_seeds_and_longer_networks_three():
    parts = study.study.chosen(STUDY)
    seeds = {(part.data, part.file): part.seeds for part in parts if not part.real}
    assert seeds["night_context", None] == seeds[study.PLAN.data, None] == seeds[study.CROSSED.data, None] == 10
    assert seeds["night_bright", None] == seeds["night_context", ""] == seeds[study.CROSSED.data, ""] == 3
    longer = {part.data: part.recipes for part in parts if part.file == "" and "twice:motion" in part.recipes}
    assert set(longer) == {"night_context", study.CROSSED.data}
    for data, made in longer.items():
        (plain,) = [p for p in parts if p.data == data and p.file is None]
        three = plain.recipes[next(c for c in plain.recipes if c in study.LABELS)][1].backbones
        assert [made[f"twice:{m}"][1].seed for m in ORDER] == [101] * 3
        assert [made[f"twice:{m}"][1].settings.epochs for m in ORDER] == [2 * r.settings.epochs for r in three]
        assert {recipe.data for column in made.values() for recipe in column} == {three[0].data}
    on = {part.on for part in parts if part.on is not None}
    assert {(its.of.night.seed, its.first, its.of.night.per_class) for its in on} == {(0, 100, (0, 0, 300))}
    assert study.study.chosen(STUDY)[-1].publish


@pytest.fixture
def miniature_people(monkeypatch, own_places):
    """Nine people with a clip of each of two classes, MPEG-4, found as the real ten-class set is."""
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(own_places))
    rng, lines = np.random.default_rng(0), ["path,label,group"]
    for person in range(9):
        for label in ("bend", "run"):
            frames = rng.integers(0, 255, (14, 64, 80, 3), np.uint8)
            frames[1:] = frames[0]
            for t in range(14):
                frames[t, 8:56, t : t + 48] = 25 * person
            encode(own_places / "weizmann" / label / f"p{person}.avi", frames, codec="mpeg4", bf="0", g="12")
            lines.append(f"{label}/p{person}.avi,{label},p{person}")
    (own_places / "weizmann" / "index.csv").write_text("\n".join(lines))
    return own_places


def test_crossed_exits_learn_what_their_networks_have_not_seen():
    size = ExitSize(**vars(SMOKE) | {"epochs": 4, "exit_epochs": 3})
    plain, made = conditions(size, trio(size, night(size), 5)), crossed(size, night(size), 5)
    assert {name.removesuffix("_unseen") for name in made if name.endswith("_unseen")} > set(plain)
    for name, recipe in made.items():
        networks = {network.data for network in recipe.backbones}
        assert networks == {Half(night(size))} and (recipe.data in networks) == name.endswith("_seen")
        assert recipe.condition == name and recipe.seed == 5 and recipe.settings.epochs == 6
        warm = getattr(recipe.method, "temperature", 1) == 4
        assert warm == ("_warm_" in name)
    assert {network.settings.epochs for network in made["pkd_unseen"].backbones} == {
        2 * network.settings.epochs for network in trio(size, night(size), 5)}
    assert made["pkd_warm_unseen"].method.schedule == PAPER


@pytest.mark.slow
def test_both_studies_at_smoke_size(miniature_people, monkeypatch, reading):
    every, few = study._recipes, ("ce_ic", "pkd", "own_final", "reversed", "random_teacher", "ce_ic_difference")
    monkeypatch.setattr(study, "_recipes", lambda *a: {k: v for k, v in every(*a).items() if k in few})
    halves, unseen = study.crossed, ("ce_ic_unseen", "pkd_unseen", "own_final_unseen", "reversed_unseen", "ce_ic_seen")
    monkeypatch.setattr(study, "crossed", lambda *a: {k: v for k, v in halves(*a).items() if k in unseen})
    monkeypatch.setattr(study, "CONTEXTS", (0.0, 0.5, 0.9))
    made = study.study.run(SMOKE, 2, workers=1, say=lambda _: None)
    found = {name: made[name] for name in study.SETS}
    reading("progressive")
    rows = load_rows("progressive")
    people = found["weizmann"]
    assert len(np.unique(people.units)) == 9 and people.predicted["pkd"].shape == (2, 18, 12)
    for data, scores in found.items():
        for condition in ("pkd", "ce_ic_difference"):
            some = rows[(rows.data == data) & (rows.condition == condition) & (rows.metric == "accuracy")]
            nine = 100 * scores.correct(condition)[:, :, TRAINED].mean((1, 2))
            assert some.value.tolist() == pytest.approx(nine.tolist(), abs=1e-3)
    assert "iframe" in study.regime(rows, "night_context") and set(rows.data) >= {
        "night_bright-c0.5", "night_context_demo"}

    new, own = made[study.PLAN.data], found["night_context"]
    assert new.seeds == own.seeds == (100, 101) and set(new.predicted) == set(few) - {"ce_ic_difference"}
    assert isinstance(study.unread(SMOKE), Later) and not {*new.ids} & {*own.ids} and not new.logits
    asked_again = asked({c: [find(r, pretrained=False) for r in column] for c, column in study.trained(
        SMOKE, 2, "night_context", study.night(SMOKE)).items()}, study.night(SMOKE))
    assert all(np.array_equal(asked_again.predicted[c], own.predicted[c]) for c in few), "their own clips, asked anew"

    other = made[study.CROSSED.data]
    assert set(other.predicted) == set(unseen) and np.array_equal(other.ids, new.ids) and other.seeds == (100, 101)
    for data, some in ((study.PLAN.earlier, set(few) - {"ce_ic", "ce_ic_difference"}),
                       (study.CROSSED.data, {name for name in unseen if "ce_ic" not in name})):
        assert set(target_entropies(rows, data).index) == some and len(may_teach(rows, data)[1]) > 20
        assert (target_entropies(rows, data) < np.log(11) + 1e-3).all(axis=None)
        assert "not measured" not in {word for _, _, word in gains_of_twice(rows, data).values()}
        assert len(teachers(rows, data)) == 2 * 3

    gates = teachers(rows, "weizmann")
    assert len(gates) == 3 * 2 * 3 and gates.train_ce.between(0, 5).all() and set(gates.modality) == set(ORDER)

    before, other = rows, rows[rows.data != "night_bright"]
    study.study.run(SMOKE, 2, only=["night_bright"], workers=1, say=lambda _: None)
    rows = load_rows("progressive")
    assert sorted(map(str, rows.itertuples(index=False))) == sorted(map(str, before.itertuples(index=False)))
    assert rows[rows.data != "night_bright"].reset_index(drop=True).equals(other.reset_index(drop=True))
    with pytest.raises(ValueError, match="no data set 'nights'; it has night_context, night_bright, weizmann, "):
        study.study.run(SMOKE, 2, only=["nights"])

    again = wise_study.study.run(SMOKE, 2, workers=1, say=lambda _: None)
    place = reading("wise") / "predictions"
    rows = load_rows("wise")
    assert set(again) == {*study.SETS, study.PLAN.data}
    for data in again:
        scores = Scores.load(place / f"wise-{data}.npz")
        curves = wise_study.load_curves(data)
        assert curves["right/pkd"].shape[:2] == (2, len(wise_study.THETAS)) and curves["cost/macs"].shape == (12,)
        assert (np.diff(curves["cost/macs"]) > 0).all() and (np.diff(curves["cost/seconds"]) > 0).all()
        assert (curves["cost/seconds"] > curves["cost/seconds_decoded"]).all()
        assert curves["cost/macs_segments"][-1] < curves["cost/macs"][-1], "heads are not free"
        table = wise_study.ledger(scores, curves)
        assert table.claim.tolist() == ["P5", "P6", "P7"]
        some = rows[(rows.data == data) & (rows.condition == "wise:pkd") & (rows.metric == "accuracy")]
        assert some.value.tolist() == pytest.approx((100 * scores.correct("wise:pkd").mean((1, 2))).tolist(), abs=1e-3)
        last = curves["right/pkd"][:, -1].mean()
        assert last == pytest.approx(scores.correct("wise:pkd").mean()), "no early exit is the last exit"
        pooled = replace(scores, predicted={k: v for k, v in scores.predicted.items() if k.startswith("wise")})
        assert set(pooled.predicted) >= {"wise:pkd", "wise@k:pkd", "wise@50%:ce_ic"}


# --- the committed evidence ------------------------------------------------------------------------------------

PREDICTIONS = paths.project_root() / "figures" / "predictions"
committed = pytest.mark.skipif(not (PREDICTIONS / "wise-night_context.npz").is_file(), reason="not committed yet")


@committed
@pytest.mark.parametrize("data", study.SETS)
def test_committed_rows_follow_from_the_committed_predictions(data):
    exits = study.study.scores()[data]
    rows = load_rows("progressive")
    rows = rows[(rows.data == data) & (rows.metric == "accuracy")]
    assert len(rows) == len(exits.seeds) * (len(exits.predicted) * 10 + 3)
    for row in rows.itertuples():
        condition, *where = row.condition.split(":")
        places = [4 * ORDER.index(where[0]) + int(where[1]) - 1] if where else TRAINED
        right = exits.correct("ce_ic" if condition == "final" else condition)[exits.seeds.index(int(row.seed))]
        assert 100 * right[:, places].mean() == pytest.approx(row.value, abs=1e-3)


def test_of_wise_the_clips_that_nobody_had_read_are_told_once_they_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    (tmp_path / "predictions").mkdir()
    assert wise_study.newest("night_context") == "night_context"
    (tmp_path / "predictions" / "wise-night_context_fresh-curves.npz").touch()
    assert wise_study.newest("night_context") == "night_context_fresh" and wise_study.newest("weizmann") == "weizmann"


@committed
@pytest.mark.parametrize("data", study.SETS)
def test_committed_curves_agree_with_the_answers_at_their_ends(data):
    scores, curves = Scores.load(PREDICTIONS / f"wise-{data}.npz"), wise_study.load_curves(data)
    rows = load_rows("wise")
    rows = rows[(rows.data == data) & (rows.metric == "accuracy")].set_index("condition").value
    for method in wise_study.METHODS:
        right = curves[f"right/{method}"]
        first, last = (scores.correct(f"wise@k:{method}")[:, :, k : k + 2] for k in (0, 22))
        assert np.array_equal(right[:, 0], first) and np.array_equal(right[:, -1], last)
        assert np.mean(rows[f"wise:{method}:theta1"]) == pytest.approx(100 * last.mean(), abs=1e-3)
        assert rows[f"wise:{method}"].mean() == pytest.approx(100 * last.mean(), abs=1e-3)
