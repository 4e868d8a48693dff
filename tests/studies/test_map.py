"""The map of gains: which networks its cells are made of, its rows, its rule and the claim that tests it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kdlab import paths
from kdlab.measure.rule import compare
from kdlab.papers.dual_light.regimes import BRIGHT
from kdlab.studies import map_drawn, map_held, map_rule, together
from kdlab.studies.map_cells import (
    BASELINES,
    CLIPS,
    FIRSTS,
    METRICS,
    MULTIPLES,
    PASSES,
    SEEDS,
    SIZE,
    TEACHERS,
    UNITS,
    Cell,
    cells,
    conditions,
)
from kdlab.studies.map_rule import DRAWN, FEATURES, HELD, across_clips, across_methods, arrays, by_cell, frozen
from kdlab.study import Scores
from kdlab.study.evidence import Evidence
from kdlab.study.register import Register, described
from kdlab.train.many import in_order
from tests.study.test_register import begin, commit

HALVES = list(CLIPS)
MADE = {half: conditions(SIZE, half, FIRSTS[half]) for half in HALVES}


# --- what is trained -------------------------------------------------------------------------------------------


def test_a_cell_is_told_by_its_name():
    cell = Cell("dlkdd", "wide", 10, 0.25)
    assert cell.name == "dlkdd:wide:c10:s0.25" and Cell.named(cell.name) == cell
    assert (cell.baseline, cell.taught_by) == ("ce:c10:s0.25", "dlkdd:wide:c10:teacher")
    assert Cell("genkd", "equal", 40, 1.0).baseline == "ce_gated:c40:s1"
    for wrong in ("dlkdd:wide:c10:teacher", "ce:c10:s1", "dlkdd:wide:10:1", "dlkdd:tall:c10:s1", "kd:wide:c10:s1"):
        with pytest.raises(ValueError, match="no cell of the map|give 'equal' or|give 'same_light' or"):
            Cell.named(wrong)
    with pytest.raises(ValueError, match="clips=0: give a whole number of at least 1"):
        Cell("dlkdd", "wide", 0, 1.0)
    with pytest.raises(ValueError, match="steps=-1.0: give a finite number above 0"):
        Cell("dlkdd", "wide", 10, -1.0)


def test_both_halves_are_whole_and_nothing_of_one_is_in_the_other():
    each = {half: cells(SIZE, half) for half in HALVES}
    assert [len(its) for its in each.values()] == [66, 66] and len({*each["drawn"], *each["held"]}) == 132
    for its in each.values():
        assert len({cell.clips for cell in its}) == 2 and {(c.method, c.teacher) for c in its} == {
            (method, teacher) for method in MULTIPLES for teacher in TEACHERS}
    seeds = {half: {r.seed for k in range(SEEDS) for r in in_order(conditions(SIZE, half, FIRSTS[half] + k).values())}
             for half in HALVES}
    assert not seeds["drawn"] & seeds["held"], "of teachers and starts, too"
    on = {half: study.chosen(None, 1)[0].on for half, study in (("drawn", map_drawn.study), ("held", map_held.study))}
    assert on["drawn"].seed == 0 and on["held"].seed == 110 and on["drawn"].per_class == on["held"].per_class


@pytest.mark.parametrize("half", HALVES)
def test_steps_are_equal_at_all_clip_counts(half):
    for cell in cells(SIZE, half):
        for recipe, wanted in ((MADE[half][cell.name], cell.steps), (MADE[half][cell.baseline], cell.steps),
                               (MADE[half][cell.taught_by], 1)):
            batch = recipe.settings.batch_size
            per_epoch = recipe.data.per_class[0] * 11 // batch
            assert recipe.data.per_class[0] == cell.clips and batch == (8 if cell.method == "genkd" else 16)
            assert recipe.settings.epochs * per_epoch * batch == pytest.approx(PASSES * wanted, rel=0.08), cell.name


def test_a_student_and_its_baseline_differ_in_the_method_alone():
    for cell in cells(SIZE, "drawn"):
        student, baseline = (MADE["drawn"][name] for name in (cell.name, cell.baseline))
        assert (student.net, student.data, student.settings, student.seed, student.view, student.window) == (
            baseline.net, baseline.data, baseline.settings, baseline.seed, baseline.view, baseline.window)
        assert baseline.teacher is None and student.teacher == MADE["drawn"][cell.taught_by]
    assert {cell.baseline.split(":")[0] for cell in cells(SIZE, "drawn")} == set(BASELINES.values())


def test_teachers_are_equal_wide_or_from_bright_clips_and_shared_by_all_steps():
    teachers = {name: recipe for name, recipe in MADE["drawn"].items() if name.endswith("teacher")}
    assert len(teachers) == 3 * 3 * 2 and {recipe.seed for recipe in teachers.values()} == {FIRSTS["drawn"] + 1}
    for cell in cells(SIZE, "drawn"):
        teacher, student = teachers[cell.taught_by], MADE["drawn"][cell.name]
        assert (teacher.net == student.net) == (cell.teacher != "wide") and (teacher.data == student.data)
        assert (teacher.start is not None) == (cell.teacher == "pretrained")
        if teacher.start:
            night = teacher.start.data.night
            assert night.seed == BRIGHT != teacher.data.seed and teacher.start.data.stream == "bright"
            assert teacher.start.net == teacher.net and teacher.settings.lr < student.settings.lr
    following = conditions(SIZE, "drawn", FIRSTS["drawn"] + 1)
    assert teachers["same_light:equal:c10:teacher"] == following["ce:c10:s1"], "which is trained anyway"


# --- rows, rule and claim --------------------------------------------------------------------------------------


def made_up(half, seeds=SEEDS, slope=0.5, noise=1.0, methods=tuple(MULTIPLES)) -> pd.DataFrame:
    """Rows of a whole half whose gains are ``slope`` × the open gap on validation clips × steps, but for noise."""
    rng, table = np.random.default_rng(len(half)), []
    for cell in (c for c in cells(SIZE, half) if c.method in methods):
        gap = {"equal": 0.0, "wide": 3.0, "pretrained": 15.0}[cell.teacher] + rng.normal(0, 2)
        for seed in range(FIRSTS[half], FIRSTS[half] + seeds):
            gain = slope * max(gap, 0) * cell.steps + rng.normal(0, noise)
            values = gain, gap + 0.1, gap, 1.0 + 0.01 * gap + rng.normal(0, 0.05)
            table += [dict(study=f"map_{half}", data="night" if half == "drawn" else "night_held", seed=seed, fold="",
                           condition=cell.name, metric=metric, value=round(value, 4), unit=unit, recipe="x")
                      for metric, value, unit in zip(METRICS, values, UNITS, strict=True)]
            table.append(table[-1] | dict(metric="accuracy", value=50.0, unit="%"))
    return pd.DataFrame(table)


@pytest.fixture
def figures(tmp_path, monkeypatch):
    """Own committed evidence: that of the drawn half is there."""
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("KDLAB_RUNS", str(tmp_path / "runs"))
    keep("drawn", made_up("drawn"))
    return tmp_path / "figures"


def keep(half: str, rows: pd.DataFrame, clips: int = 1100) -> None:
    place, data = paths.figures_dir(), rows.data[0]
    (place / "predictions").mkdir(parents=True, exist_ok=True)
    Evidence(f"map_{half}", place, True).save_rows(rows.to_dict("records"))
    ids = np.array([f"c{n}" for n in range(clips)])
    Scores(("a",), tuple(sorted(set(rows.seed))), ids, ids, np.zeros(clips, int)).save(
        place / "predictions" / f"map_{half}-{data}.npz")


def test_rows_become_cells_and_cells_arrays():
    rows = made_up("drawn")
    found = by_cell(rows.sample(frac=1, random_state=0))
    assert len(found) == 66 * SEEDS and list(found.columns) == ["method", "teacher", "clips", "steps", "seed", *METRICS]
    features, gains = arrays(found)
    assert features.shape == (SEEDS, 66, len(FEATURES)) and gains.shape == (SEEDS, 66)
    one = Cell("dlkdd", "wide", 40, 0.5)
    (k,) = [k for k, cell in enumerate(cells(SIZE, "drawn")) if cell == one]
    here = rows[(rows.condition == one.name) & (rows.seed == FIRSTS["drawn"] + 2)].set_index("metric").value
    assert gains[2, k] == here["gain"]
    assert features[2, k].tolist() == [max(here["val_gap"], 0) * 0.5]
    assert (features >= 0).all() and not features.all(), "a teacher that is behind gives nothing, and takes nothing"
    assert arrays(found, map_rule.PLACE)[0][2, k].tolist() == [np.log2(40), -1.0]
    with pytest.raises(ValueError, match="need the same seeds"):
        arrays(found[1:])


def test_the_map_has_the_halves_that_are_there(figures):
    assert set(map_rule.committed().clips) == {10, 40}
    keep("held", made_up("held"))
    assert set(map_rule.committed().clips) == {10, 20, 40, 80} and len(map_rule.committed()) == 132 * SEEDS
    for name in (DRAWN, HELD):
        (figures / f"{name}.csv").unlink()
    with pytest.raises(FileNotFoundError, match="run `kdlab study map_drawn`"):
        map_rule.committed()


def test_a_rule_that_holds_wins_across_clips_and_methods_and_one_that_does_not_loses():
    drawn, held = by_cell(made_up("drawn")), by_cell(made_up("held"))
    assert map_rule.drawn(drawn).weights[0] == pytest.approx(0.5, abs=0.1)
    assert map_rule.verdict(across_clips(drawn)) == "supported (8 seeds: provisional)"
    assert all(its.rule < 2 for its in across_clips(drawn).values())
    other = across_methods(drawn, held)
    assert list(other) == list(MULTIPLES) and all(its.verdict.startswith("supported") for its in other.values())
    turned = by_cell(made_up("held", slope=-0.5))
    assert compare(map_rule.drawn(drawn), *arrays(turned)).verdict.startswith("contradicted")


def test_a_rule_that_knows_no_more_than_the_place_does_not_win():
    """Gaps and gains that steps alone decide: better than the mean effect, and no better than the rival."""
    def placed(half):
        cells = by_cell(made_up(half))
        steps = np.log2(cells.steps)
        noise = np.random.default_rng(3).normal(0, 1, len(cells))
        return cells.assign(val_gap=(3 + steps) / cells.steps, gain=4 * steps + noise)

    found = map_rule.against(map_rule.drawn(placed("drawn")), map_rule.drawn(placed("drawn"), map_rule.PLACE),
                             placed("held"))
    assert found["the mean effect"].verdict.startswith("supported")
    assert abs(found["clips and steps alone"].better.mean) < 0.1
    assert map_rule.verdict(found) == "underpowered against clips and steps alone (8 seeds: provisional)"
    turned = placed("held").assign(gain=lambda its: -its.gain)
    found = map_rule.against(map_rule.drawn(placed("drawn")), map_rule.drawn(placed("drawn"), map_rule.PLACE), turned)
    assert map_rule.verdict(found).startswith("contradicted against the mean effect")


def test_a_method_is_told_by_the_others_alone():
    """GenKD's own gains, whatever they are, are not in the rule that is tested on it."""
    def tested(slope):
        two = made_up("drawn", methods=("same_light", "dlkdd"))
        one = pd.concat([two, made_up("drawn", slope=slope, methods=("genkd",))])
        return across_methods(by_cell(one), by_cell(made_up("held")))

    usual, turned = tested(0.5), tested(-0.5)
    assert (usual["genkd"].each == turned["genkd"].each).all() and usual["genkd"].rule < 3
    assert usual["dlkdd"].rule < turned["dlkdd"].rule - 2, "which is told by GenKD, too"


def test_a_rule_is_frozen_with_its_digest(figures):
    assert frozen() is None and "no rule is drawn yet" in map_held.claim().rule
    made = map_rule.freeze()
    said = json.loads((figures / "map_rule.json").read_text())
    assert (said["cells"], said["seeds"]) == (66, list(range(100, 108))) and said["rule"]["names"] == list(FEATURES)
    assert frozen() == made == map_rule.freeze() and made.rule == map_rule.drawn(by_cell(made_up("drawn")))
    assert made.rival.names == map_rule.PLACE and made.rule.mean == made.rival.mean
    assert made.digest[:16] in map_held.claim().rule
    (figures / "map_rule.json").write_text(json.dumps(said | {"cells": 65}))
    with pytest.raises(ValueError, match="map_rule.json is not what its digest says"):
        frozen()
    (figures / "map_rule.json").write_text("{}")
    with pytest.raises(ValueError, match="map_rule.json holds no rule"):
        frozen()


def test_no_rule_is_drawn_after_the_other_half_was_begun(figures):
    shard = figures / "shards" / HELD / "00"
    shard.mkdir(parents=True)
    with pytest.raises(ValueError, match="would be no prediction"):
        map_rule.freeze()
    shard.rmdir(), shard.parent.rmdir()
    map_rule.freeze()
    keep("held", made_up("held"))
    with pytest.raises(ValueError, match=f"{HELD}.csv is there"):
        map_rule.freeze()


def held_study():
    """The study of the held half, with the claim of the rule that is frozen now."""
    return replace(map_held.study, claims=(map_held.claim(),))


def test_the_held_half_is_not_begun_before_the_rule_is_registered(figures, monkeypatch):
    monkeypatch.setattr("kdlab.study.study.obtain_all", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(together, "scheduled", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(together, "every", lambda: {HELD: held_study()})
    begin(figures.parent, monkeypatch)
    commit(figures.parent)
    with pytest.raises(ValueError, match="claim M1 of the study map_held is not registered"):
        held_study().run(say=lambda _: None)
    with pytest.raises(ValueError, match="claim M1 of the study map_held is not registered"):
        together.run_all(say=lambda _: None)
    with pytest.raises(ValueError, match="M1 has no power"):
        Register().add([held_study()])
    map_rule.freeze()
    assert Register().add([held_study()]) == ["M1"]
    with pytest.raises(ValueError, match="registered, but not committed"):
        held_study().run(say=lambda _: None)
    commit(figures.parent)
    study, (claim,) = held_study(), held_study().claims
    (entry,) = Register().of("M1")
    assert Register().under(study, ["night_held"]) == {"M1": entry["digest"]} and 0 < entry["power"] <= 1
    assert len(entry["recipes"]) == 66 + 2 * (4 + 3) and all("-s110-" in name for name in entry["recipes"].values())
    assert Register().standing(study, claim).withheld == "its confirming runs are not there yet"
    keep("drawn", made_up("drawn", slope=2.0))
    map_rule.freeze()
    with pytest.raises(ValueError, match="M1 of the study map_held was changed since it was registered"):
        held_study().run(say=lambda _: None)


def test_the_claim_reads_the_held_half(figures):
    assert map_held.evidence("night", False) is None, "no rule is drawn yet"
    map_rule.freeze()
    with pytest.raises(FileNotFoundError):
        map_held.evidence("night_held", True)
    before = map_held.read(map_held.evidence("night", False))
    rules = across_clips(by_cell(made_up("drawn")))
    assert str(rules["clips and steps alone"]) in before.effect, "not on the cells that it was fitted to"
    keep("held", made_up("held"))
    half = map_held.evidence("night_held", True)
    assert half.seeds == list(range(110, 118))
    found = map_held.read(half)
    assert (found.verdict, found.seeds, found.units) == ("supported (8 seeds: provisional)", SEEDS, 1100)
    assert found.effect.startswith("against the mean effect: squared error 1.") and len(found.effects) == 2
    keep("held", made_up("held", slope=0.0))
    assert not map_held.read(map_held.evidence("night_held", True)).verdict.startswith("supported")
    assert described(held_study(), map_held.claim())["tested_on"], "the clips that nobody has read"


def test_both_studies_say_their_table_and_how_rules_did(figures):
    (table, across, rival, rule) = map_drawn.study.lines({}, made_up("drawn"))
    assert table.startswith("mean gain over CE") and "better by +" in across and "steps alone" in rival
    assert rule.startswith("the rule of all cells: gain = ")
    assert len(map_drawn.study.lines({}, made_up("drawn", seeds=1))) == 1
    assert len(map_held.study.lines({}, made_up("held"))) == 1, "no rule is drawn yet"
    map_rule.freeze()
    _, own, rival, *others = map_held.study.lines({}, made_up("held"))
    assert own.startswith("the frozen rule against the mean effect: squared error") and len(others) == 3
    assert rival.startswith("the frozen rule against clips and steps alone")
    assert DRAWN == map_drawn.study.name
