"""The study of attention: what is compared with what, and the whole of it at smoke size."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlab import paths
from kdlab.measure.attention import SCORES
from kdlab.nets.video import build
from kdlab.studies import attention
from kdlab.studies.looks import Clips, _measured, area, downwards, stages_of
from kdlab.study import Scores, load_rows

PREDICTIONS = paths.project_root() / "figures" / "predictions"


def made_up(gain: float, seeds=10, clips=200) -> dict[str, np.ndarray]:
    """Looks of one network ``net`` that is ``gain`` above the best baseline of its own grid, ``centred``; at the
    resolution of pixels ``frame_difference`` is 0.2 better than that."""
    draw = np.random.default_rng(0).random((seeds, clips)) / 2
    mean = draw.mean(0, keepdims=True)
    looks = {f"{m}/net": draw + gain for m in SCORES}
    shares = {"uniform": 0.5, "centred_units": 1.0, "frame_difference_units": 0.7, "centred": 0.9}
    looks |= {f"{m}/{name}:net": mean * share for m in SCORES for name, share in shares.items()}
    looks |= {f"{m}/frame_difference:net": mean + 0.2 for m in SCORES}
    looks |= {f"{m}/untrained:net": draw * 0.9 for m in SCORES}
    return {k: v.astype(np.float16) for k, v in looks.items()} | {"ids": np.array([f"c{i}" for i in range(clips)])}


def test_a_gain_is_over_the_best_baseline():
    table = attention.gains(made_up(0.1), ["net"])
    assert table["best baseline"].tolist() == 3 * ["centred Gaussian"]
    assert [e.mean for e in table.gain] == pytest.approx([10, 10, 10], abs=0.1)
    assert set(table.reading) == {"above"}, "no verdict: no paper claims it"
    none = attention.gains(made_up(0.0), ["net"])
    assert all(e.low < 0 < e.high for e in none.gain) and not {"above", "below"} & set(none.reading)
    assert set(attention.gains(made_up(-0.1), ["net"]).reading) == {"below"}


def test_maps_on_the_networks_own_grid_decide_and_those_of_pixels_stand_beside():
    row = attention.gains(made_up(0.1), ["net"], ["iou"]).iloc[0]
    assert (row.reading, row["best of pixels"], row.seeds) == ("above", "what moves", 10)
    assert row["gain over that"].mean == pytest.approx(-10, abs=0.1), "what decides is not that"


def test_from_few_seeds_a_reading_is_provisional():
    assert set(attention.gains(made_up(0.1, seeds=9), ["net"]).reading) == {"above, provisional"}
    assert attention.study.size.seeds >= 10 and all(
        len(column) >= 10 and column[0].seed == attention.FIRST
        for part in attention.study.chosen() for name, column in part.recipes.items() if name != "teacher_fr")


def test_pairs_that_looks_do_not_have_are_left_out():
    looks = made_up(0.1)
    looks |= {f"iou/{name}": looks["iou/net"] for name in ("dlkdd", "ce_raw", "dlkdd@fine")}
    assert attention.differences(looks).comparison.tolist() == ["dlkdd − ce_raw"]
    assert attention.fine(["net", "dlkdd"], looks | {"pointing_game/dlkdd@fine": 0}) == ["dlkdd@fine"]


def test_clips_without_a_score_are_left_out_on_both_sides():
    looks = made_up(0.1)
    looks["iou/net"][:, :150] = np.nan
    assert attention.compared(looks, "iou", "net", "centred:net").units == 50


def test_the_untrained_network_is_asked_at_the_same_layer():
    assert attention.beside("dlkdd@fine")["untrained"] == "untrained:dlkdd@fine"
    assert attention.beside("dlkdd@fine")["centred"] == "centred_units:dlkdd@fine"
    assert attention.beside("dlkdd@fine", "pixels")["centred"] == "centred:dlkdd"


def test_every_network_has_its_stages_and_a_way_down():
    for columns, _ in attention.parts(attention.study.sized("smoke")).values():
        for (recipe, *_) in columns.values():
            modules = dict(recipe.net.make(3).named_modules())
            assert {name.removeprefix("net.") for name in downwards(recipe)} <= set(modules)
            assert stages_of(recipe)[0] in downwards(recipe)


def test_students_and_teachers_of_the_study_are_those_of_their_own_papers():
    parts = attention.parts(attention.study.size)
    assert set(parts) == set(attention.DATA) and {c for columns, _ in parts.values() for c in columns} == set(
        attention.TITLES)
    assert all(columns for columns, _ in parts.values())


def test_area_of_a_curve_is_its_mean_height():
    assert area(np.array([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]])) == pytest.approx([0.5, 1])


def test_without_the_costly_tests_the_scores_are_the_same():
    (recipe, *_), *_ = attention.parts(attention.study.sized("smoke"))["night"][0].values()
    draw = torch.Generator().manual_seed(0)
    x, masks = torch.rand(4, 3, 8, 24, 24, generator=draw), torch.rand(4, 8, 24, 24, generator=draw).numpy() < 0.2
    clips = Clips(x, torch.tensor([0, 1, 2, 0]), masks, np.zeros_like(masks), np.arange(4))
    run = SimpleNamespace(recipe=recipe, net=lambda: build(recipe.net, 3, 0).eval())
    (scored, maps), (whole, same) = _measured(run, clips, None), _measured(run, clips, 2)
    assert np.array_equal(maps, same) and {suffix for _, suffix in scored} == {
        "", "@fine", "untrained:", "untrained:@fine"}
    assert all(np.array_equal(values, whole[key], equal_nan=True) for key, values in scored.items())
    assert {("deletion", "=other"), ("similarity", "~fc"), ("iou", "@fine")} <= set(whole)


@pytest.mark.slow
def test_the_study_at_smoke_size(own_places, reading):
    found = attention.study.run(attention.study.sized("smoke"), 2, workers=1, say=lambda _: None)
    reading("attention")
    rows = load_rows("attention")
    for name, answers in found.items():
        looks = attention.load_looks(name)
        assert looks["ids"].tolist() == answers.ids.tolist() and len(answers.ids) == 22
        for condition in answers.predicted:
            values = looks[f"pointing_game/{condition}"]
            assert values.shape == (2, 22) and 0 <= np.nanmin(values) <= np.nanmax(values) <= 1
            assert np.isfinite(looks[f"deletion/{condition}"]).all()
            assert {f"similarity/{condition}~fc", f"iou/{condition}@fine", f"energy_inside_clip/{condition}",
                    f"iou/untrained:{condition}@fine", f"insertion/{condition}=other"} <= set(looks)
            for grid, at in itertools.product(("units", "pixels"), ("", "@fine")):
                assert {f"iou/{other}" for other in attention.beside(condition + at, grid).values()} <= set(looks)
            few = looks[f"energy_inside/frame_difference_units:{condition}"]
            assert np.nanmean(few) < np.nanmean(looks[f"energy_inside/frame_difference_units:{condition}@fine"]), (
                "with fewer units the same map is the coarser one")
        assert len(attention.gains(looks, answers.predicted)) == 3 * len(answers.predicted)
        assert (rows[rows.data == name].metric == "accuracy").sum() == 2 * len(answers.predicted)
    agreed = attention.load_looks("night")
    assert agreed["agreement/dlkdd"].shape == (2, 22) and "agreement/same_light=own" in agreed
    assert len(attention.differences(agreed)) == 5 * 3 + 2 + 2
    assert agreed["iou/dlkdd=teacher"].shape == (2, 22)


# --- the committed evidence ------------------------------------------------------------------------------------

committed = pytest.mark.skipif(not attention.available(), reason="not committed yet")


@committed
@pytest.mark.parametrize("data", attention.available())
def test_committed_rows_follow_from_the_committed_looks(data):
    rows = load_rows("attention")
    rows, looks = rows[rows.data == data], attention.load_looks(data)
    answers = Scores.load(PREDICTIONS / f"attention-{data}.npz")
    assert len(rows) == sum(len(v) for k, v in looks.items() if k != "ids") + len(answers.seeds) * len(
        answers.predicted)
    for row in rows.itertuples():
        seed = answers.seeds.index(int(row.seed)) if row.seed != "" else 0
        if row.metric == "accuracy":
            assert answers.accuracy(row.condition)[seed] == pytest.approx(float(row.value), abs=1e-3)
            continue
        values = looks[f"{row.metric}/{row.condition}"][seed]
        if row.value == "":
            assert np.isnan(values).all()
        else:
            assert np.nanmean(values) * (100 if row.unit == "%" else 1) == pytest.approx(float(row.value), abs=1e-3)
