"""The study of flatness: words and verdicts on made-up rows, on the committed ones, and a network at smoke size."""

import json
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from kdlab import paths
from kdlab.measure.bootstrap import interval as bootstrapped
from kdlab.nets.compressed import matched
from kdlab.papers.progressive.nets import CLAIMED
from kdlab.papers.progressive.recipes import night
from kdlab.studies import flatness, flatness_gap, flatness_rows
from kdlab.studies.flatness_rows import (
    AGAIN,
    MEASURES,
    P1,
    P2,
    confirming_rows,
    correlations,
    hierarchy,
    interval,
    ledger,
    p1,
    p2,
    ranks,
    taught,
    wide,
)
from kdlab.study import flat, load_rows
from kdlab.study.evidence import COLUMNS
from kdlab.train.passing import WITHIN
from kdlab.train.recipe import UserClips
from kdlab.train.runs import Run

SMOKE = flatness.study.sized("smoke")

PER_NET = {"reached": 1, "train_loss": 0.5, "gap": 20.0, "gap_loss": 0.8}


def made_up(levels: dict[str, float], seeds: int = 4, noise: float = 0.05, marks=(0.5, 0.1), net="matched",
            skip=(), **more) -> pd.DataFrame:
    """Rows in which a modality's measures are its level, times a little noise; ``skip``: (modality, mark, seed)."""
    rng, table = np.random.default_rng(0), []
    for seed in range(seeds):
        for mark in marks:
            for modality, level in levels.items():
                about = dict(study="flatness", data="night_context", condition=f"{net}:{modality}:{mark:g}", seed=seed,
                             fold="", unit="1", recipe=f"{net}-{modality}-{seed}")
                if (modality, mark, seed) in skip:
                    table.append(about | {"metric": "reached", "value": 0})
                    continue
                values = PER_NET | {"train_loss": mark} | {m: level * np.exp(noise * rng.normal()) for m in MEASURES}
                values |= {name: how(level, mark, seed) for name, how in more.items()}
                table += [about | {"metric": m, "value": v} for m, v in values.items()]
    return pd.DataFrame(table, columns=COLUMNS)


def test_the_claimed_order_its_reverse_and_overlap():
    rising = dict(zip(CLAIMED, (1.0, 2.0, 4.0), strict=True))
    assert set(hierarchy(made_up(rising), "night_context").word) == {"as claimed"}
    assert p1(made_up(rising), "night_context")[1] == "supported (4 seeds: provisional)"
    assert p1(made_up(rising, seeds=10), "night_context")[1] == "supported"
    others = made_up(rising, seeds=10).assign(condition=lambda t: t.condition.str.replace("matched", "generative"))
    both = pd.concat([made_up(rising), others])
    assert p1(both, "night_context")[1] == "supported (4 seeds: provisional)", "seeds of other networks do not count"
    falling = dict(zip(CLAIMED, (4.0, 2.0, 1.0), strict=True))
    assert p1(made_up(falling), "night_context") == (
        "at 0.5 nats 4 against it; at 0.1 nats 4 against it", "contradicted (4 seeds: provisional)")
    assert p1(made_up(rising, noise=2.0), "night_context")[1].startswith("underpowered (4 seeds")
    assert p1(made_up(rising, seeds=1), "night_context")[1].startswith("underpowered"), "one seed decides nothing"
    half = dict(zip(CLAIMED, (2.0, 1.0, 4.0), strict=True))  # one pair against it is enough
    assert set(hierarchy(made_up(half), "night_context").word) == {"against it"}


def test_networks_that_never_get_there_are_missing():
    rising = dict(zip(CLAIMED, (1.0, 2.0, 4.0), strict=True))
    rows = made_up(rising, skip=[("motion", 0.1, 2)])
    words = hierarchy(rows, "night_context").word
    assert list(words[:4]) == ["as claimed"] * 4 and list(words[4:]) == ["missing: motion 3 of 4"] * 4
    assert p1(rows, "night_context")[1] == "supported (at 0.5 nats; 0.1 not reached by all) (4 seeds: provisional)"
    one = p1(made_up(rising, marks=(0.5,)), "night_context")[1]
    assert one == "supported (at 0.5 nats; 0.1 not measured yet) (4 seeds: provisional)"
    none = made_up(rising, skip=[("motion", m, 2) for m in (0.5, 0.1)])
    assert p1(none, "night_context")[1].startswith("not decided: no loss")
    assert hierarchy(none, "night_bright").empty and p1(none, "night_bright")[1].startswith("not decided: no networks")


@pytest.mark.parametrize(("levels", "skip", "brief"), [
    ((1.0, 2.0, 4.0), (), "4 of 4 as claimed"), ((4.0, 2.0, 1.0), (), "4 of 4 against"), ((1.0, 1.0, 1.0), (), ""),
    ((4.0, 2.0, 1.0), [("motion", 0.1, 2)], "4 of 4 against"),
    ((4.0, 2.0, 1.0), [("motion", 0.1, 2), ("motion", 0.5, 2)], ""),
])
def test_in_a_narrow_cell_p1_counts_measures_at_marks_that_all_reach(levels, skip, brief):
    rows = made_up(dict(zip(CLAIMED, levels, strict=True)), skip=skip)
    assert P1.read((rows, "night_context")).brief == brief
    worse = hierarchy(rows, "night_context").word.tolist()
    assert (set(worse) == {"open"}) == (levels == (1.0, 1.0, 1.0))


def test_p1_counts_the_fewest_of_all_marks(monkeypatch):
    table = pd.DataFrame({"mark": [0.5] * 4 + [0.1] * 4, "word": ["against it"] * 4 + ["against it"] * 3 + ["open"]})
    monkeypatch.setattr(flatness_rows, "hierarchy", lambda rows, data: table)
    assert flatness_rows._p1_brief(None, "any") == "3 of 4 against"


def test_intervals_are_geometric():
    mean, low, high = interval(np.array([1.0, 4.0, 2.0]))
    assert mean == pytest.approx(2) and low * high == pytest.approx(4)
    assert np.log(high / 2) == pytest.approx(4.302653 * np.log(2) / 3**0.5, rel=1e-6)
    assert interval(np.array([3.0]))[1:] == (0, np.inf)
    with warnings.catch_warnings(action="error"):
        assert interval(np.array([1.0, 2.0, -0.1]))[1:] == (0, np.inf), "a curvature may be negative"


def test_heads_before_and_after_are_compared_seed_by_seed():
    table = []
    for seed, factor in enumerate((0.5, 2.0, 1.0)):
        for net, times in (("ce_ic", 1), ("pkd", factor)):
            about = dict(data="night_context", condition=f"{net}:motion:2", seed=seed, recipe=f"{net}-{seed}")
            table += [about | dict(metric=m, value=times * 10.0**seed) for m in ("train_loss", *MEASURES)]
    found = taught(pd.DataFrame(table))
    assert list(found.index) == ["motion 2"] and set(found) == {"train_loss", *MEASURES}
    assert found.lambda_max["motion 2"] == pytest.approx(interval(np.array([0.5, 2.0, 1.0])))
    assert taught(made_up(dict.fromkeys(CLAIMED, 1.0))).empty


def test_ranks_within_groups_and_at_a_fixed_loss():
    table = pd.DataFrame({"g": list("aabb"), "x": [1.0, 2, 30, 20], "y": [1.0, 2, 3, 4]})
    assert ranks(table, "x").tolist() == [-1.5, -0.5, 1.5, 0.5]
    assert ranks(table, "x", ["g"]).tolist() == [-0.5, 0.5, 0.5, -0.5]
    assert ranks(table, "y", given="y") == pytest.approx(np.zeros(4))
    left = ranks(table, "x", given="y")
    assert left @ ranks(table, "y") == pytest.approx(0) and left.any()


def test_what_predicts_the_gap():
    rising = dict(zip(CLAIMED, (1.0, 2.0, 4.0), strict=True))
    predicted = made_up(rising, seeds=6, gap=lambda level, mark, seed: 10 * level)
    table = correlations(predicted, replicates=300).set_index("predictor")
    assert table.rho[list(MEASURES)].min() > 0.9 and table.rho["train_loss"] < 0.1
    assert table.networks.iloc[0] == 36 and table.trainings.iloc[0] == 18
    assert p2(predicted)[1].startswith("supported by trace / P, largest eigenvalue")
    noisy = made_up(rising, seeds=6, noise=1.0, gap=lambda level, mark, seed: 10 * level)
    of_kinds = correlations(noisy, replicates=10).set_index("predictor")
    assert of_kinds.rho["lambda_max"] > 0.3 and of_kinds.within["lambda_max"] == pytest.approx(0), "kinds, not networks"
    assert of_kinds.within_half.iloc[0] == pytest.approx(1.96 / (36 - 6 - 1) ** 0.5)
    by_loss = made_up(rising, seeds=6, noise=1.0, gap=lambda level, mark, seed: 1 / mark)
    assert p2(by_loss)[1] == "contradicted", "the loss predicts in either direction"
    noise = made_up(rising, seeds=6, gap=lambda level, mark, seed: float(7 * seed % 5))
    assert p2(noise)[1].startswith("not supported: no interval")
    assert ledger(noise, "night_context", correlations(predicted, replicates=10)).verdict[1].startswith("supported by")


def test_the_interval_draws_trainings_again_and_ranks_each_draw():
    rows = made_up(dict(zip(CLAIMED, (1.0, 2.0, 4.0), strict=True)), seeds=3, noise=1.0,
                   gap=lambda level, mark, seed: round(level * seed))  # with ties
    alike = wide(rows).groupby("recipe")[["lambda_max", "gap"]]
    trainings = [some.to_numpy() for _, some in alike]

    def drawn(places: np.ndarray) -> float:
        return spearmanr(np.concatenate([trainings[place] for place in places])).statistic

    found = correlations(rows, replicates=200).set_index("predictor").loc["lambda_max", ["low", "high"]]
    assert found.tolist() == pytest.approx(bootstrapped(drawn, len(trainings), replicates=200))


def test_sets_that_disagree_are_told_beside_the_number_of_both():
    levels = dict(zip(CLAIMED, (1.0, 2.0, 4.0), strict=True))
    first, second = (made_up(levels, seeds=3, gap=lambda level, mark, seed, sign=sign: sign * level)
                     for sign in (1, -1))
    both = pd.concat([first, second.assign(data="night_bright", recipe="other-" + second.recipe)])
    table = correlations(both, replicates=10).set_index("predictor")
    assert table["of night_context"]["lambda_max"] > 0.9 and table["of night_bright"]["lambda_max"] < -0.9
    said = p2(both, table.reset_index())[0]
    assert "; in that order, of night_bright alone -0.94, -0.94, -0.94, -0.94, 0.00; of night_context alone +" in said
    assert "in that order" not in p2(first)[0]
    assert p2(both, table.reset_index())[0].endswith("by ranks within the sets " + ", ".join(
        f"{table.in_sets[m]:+.2f} ({table.in_sets_low[m]:+.2f} to {table.in_sets_high[m]:+.2f})" for m in MEASURES))


def test_ranks_within_sets_do_not_see_that_a_set_lies_higher():
    levels = dict(zip(CLAIMED, (1.0, 2.0, 4.0), strict=True))
    each = [made_up({m: level * times for m, level in levels.items()}, seeds=6, noise=1.0,
                    gap=lambda level, mark, seed, times=times: times + (7 * seed + 3 * level) % 5)
            .assign(data=data, recipe=lambda t, data=data: data + t.recipe)
            for data, times in (("night_bright", 1.0), ("night_context", 100.0))]
    found = correlations(pd.concat(each), replicates=200).set_index("predictor").loc["lambda_max"]
    alone = [correlations(one, replicates=10).set_index("predictor").rho["lambda_max"] for one in each]
    assert found.rho > 0.6 and found.in_sets == pytest.approx(np.mean(alone), abs=0.01)
    assert found.in_sets_low < found.in_sets < found.in_sets_high


def test_a_word_that_the_ledgers_level_does_not_give_says_so():
    measures = pd.DataFrame({"predictor": [*MEASURES, "train_loss"], "rho": 0.5, "low": 0.3, "high": 0.7,
                             "strict_low": 0.1, "strict_high": 0.8, "networks": 40, "trainings": 20})
    loss = measures.predictor == "train_loss"
    measures.loc[loss, ["low", "high", "strict_low", "strict_high"]] = 0.0, 0.2, 0.0, 0.25
    assert p2(pd.DataFrame(), measures)[1].endswith("(at 95 %; at the ledger's level not supported)")
    measures.loc[~loss, ["low", "high", "strict_low", "strict_high"]] = -0.7, -0.3, -0.8, -0.1
    assert p2(pd.DataFrame(), measures)[1] == "contradicted"


@pytest.mark.parametrize(("low", "high", "brief"), [
    ((0.3, 0.3, -0.1, -0.1), (0.7, 0.7, 0.1, 0.1), "2 of 4 better"), ((-0.7,) * 4, (-0.3,) * 4, "4 of 4 against"),
    ((-0.7, -0.7, -0.7, -0.1), (-0.3, -0.3, -0.3, 0.1), "3 of 4 against"), ((-0.1,) * 4, (0.1,) * 4, ""),
])
def test_in_a_narrow_cell_p2_counts_measures_whose_interval_lies_apart_from_the_losss(low, high, brief):
    found = pd.DataFrame({"predictor": [*MEASURES, "train_loss"], "rho": 0.0, "low": [*low, 0.0], "high": [*high, 0.2],
                          "strict_low": 0.0, "strict_high": 0.2, "networks": 40, "trainings": 20, "seeds": 10})
    assert P2.read(found).brief == brief


def test_a_reading_of_several_sets_names_them():
    levels = dict.fromkeys(CLAIMED, 1.0)
    both = pd.concat([made_up(levels), made_up(levels).assign(data="night_bright", recipe=lambda t: "b" + t.recipe)])
    assert flatness_rows.P2.read(correlations(both, replicates=10)).sets == ("night_bright", "night_context")


def test_one_network_in_both_trios_counts_once():
    rows = made_up(dict.fromkeys(CLAIMED, 1.0))
    twice = pd.concat([rows, rows[rows.condition.str.contains("iframe")].assign(
        condition=lambda t: t.condition.str.replace("matched", "tiny"))])
    assert len(wide(twice)) == 32 and correlations(twice, replicates=10).networks.iloc[0] == 24


def test_trainings_are_those_of_both_trios():
    size = flatness.STUDY
    made = [r for part in flatness.study.chosen(size, 2) if not part.to_the_end for r in flat(part.recipes)]
    made = list(dict.fromkeys(made))
    assert set(made) <= set(flatness.study.trainings(size, 2))
    assert len(made) == len(set(made)) == 2 * 2 * 5, "the I-frame network is the same in both"
    assert {r.settings.epochs for r in made} == {size.epochs} and size.per_class == (16, 6, 10)
    some = flatness.networks(size, flatness.night(size), 0)
    assert some["matched:iframe"] == some["tiny:iframe"] and some["matched:motion"].net.widths == (16, 32, 64, 64)
    sized = flatness.study.sized
    assert sized("study") is size and [sized(word).seeds for word in ("smoke", "demo", "study")] == [2, 1, 3]
    assert replace(sized("demo"), seeds=3, name="study") == size


def test_networks_of_one_recipe_share_its_clips_and_keep_their_places(monkeypatch):
    loaded = []
    monkeypatch.setattr("kdlab.system.processes.available_cores", lambda: 1)
    monkeypatch.setattr(flatness, "samples", lambda recipe, split="train": loaded.append((recipe, split)) or recipe)
    monkeypatch.setattr(flatness, "first", lambda clips, per_class: (clips, per_class))
    monkeypatch.setattr(flatness, "_flatness", lambda net, clips, size: {"train_loss": (net, *clips)})
    monkeypatch.setattr(flatness, "fitted", lambda net, train, test: {"gap": (net, train, test)})
    monkeypatch.setattr(flatness, "_unread", lambda recipe, size: None)
    demo = flatness.study.sized("demo")
    found = flatness.each_measured(["a1", "b1", "a2"], ["a", "b", "a"], demo)
    assert [row["train_loss"] for row in found] == [("a1", "a", 3), ("b1", "b", 3), ("a2", "a", 3)]
    assert [row["gap"] for row in found] == [("a1", "a", "a"), ("b1", "b", "b"), ("a2", "a", "a")]
    assert loaded == [("a", "train"), ("a", "test"), ("b", "train"), ("b", "test")]
    assert flatness.per_class(flatness.STUDY) == 5 and flatness.marks(flatness.STUDY) == (0.5, 0.1)
    monkeypatch.setattr(flatness, "_tested", lambda recipe: f"more of {recipe}")
    monkeypatch.setattr(flatness, "_unread", lambda recipe, size: f"others than {recipe}")
    (row,) = flatness.each_measured(["a1"], ["a"], flatness.STUDY)
    assert row["train_loss"] == ("a1", "a", 5) and row["gap"] == ("a1", "a", "more of a")
    assert row["gap_fresh"] == ("a1", "a", "others than more of a")


def test_new_clips_are_asked_for_where_a_networks_seed_confirms_and_are_of_its_world():
    """Places of another data seed are dealt anew: who knows the places would be asked about another world."""
    for context in flatness.SETS.values():
        (motion,) = (r for r in flatness.networks(flatness.STUDY, night(flatness.STUDY, context), AGAIN).values()
                     if r.condition == "motion" and r.net == matched("motion"))
        unread = flatness._unread(flatness._tested(motion), flatness.STUDY).data
        if context:
            assert unread.first == 100 and unread.of.night.seed == motion.data.night.seed
            assert unread.of.night.per_class == (0, 0, 130)
        else:
            assert (unread.night.seed, unread.night.per_class) == (100, (0, 0, 30))
    assert flatness._unread(replace(motion, seed=AGAIN - 1), flatness.STUDY) is None
    assert flatness._unread(replace(motion, data=UserClips("somewhere")), flatness.STUDY) is None


def test_p2_reads_the_gap_on_clips_that_nobody_had_read(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    claim = flatness_rows.P2
    rows = made_up(dict(iframe=1, residual=3, motion=9), seeds=3, gap=lambda level, mark, seed: 10 * level)
    rows.to_csv(tmp_path / "flatness.csv", index=False)
    with pytest.raises(FileNotFoundError, match="flatness_gap"):
        claim.evidence("night_context", True)
    assert len(claim.evidence("night_context", False)) == len(rows)
    new = rows.assign(seed=rows.seed + AGAIN)
    fresh_gap = new[new.metric == "gap"].assign(metric="gap_fresh", value=1.0)
    pd.concat([new, fresh_gap]).to_csv(tmp_path / "flatness_gap.csv", index=False)
    found = claim.evidence("night_context", True)
    assert set(found.seed) == {110, 111, 112} and set(found[found.metric == "gap"].value) == {1.0}


def test_p2_is_confirmed_by_networks_that_p1_has_not_seen():
    seeds = {name: {r.seed for part in study.chosen(flatness.STUDY) for column in part.recipes.values() for r in column}
             for name, study in (("P1", flatness.study), ("P2", flatness_gap.study))}
    assert seeds["P2"] == set(range(110, 120)) and not seeds["P1"] & seeds["P2"]
    assert flatness_rows.P2.plan.first == AGAIN == 110


def test_the_power_of_p1_grows_with_the_factor_and_is_all_or_nothing_without_noise():
    plan = flatness_rows.P1.plan
    noisy = made_up(dict(iframe=1, residual=3, motion=9), seeds=4, noise=1.0), "night_context"
    at = [flatness_rows.P1.expected(noisy, replace(plan, smallest=factor), 0.95) for factor in (1.01, 3, 1000)]
    assert at == sorted(at) and at[0] < 0.05 and at[2] > 0.95
    still = made_up(dict(iframe=1, residual=3, motion=9), seeds=4, noise=1e-6), "night_context"
    assert flatness_rows.P1.expected(still, plan, 0.95) == 1


def test_networks_of_other_notebooks_count_for_the_gap_and_not_for_the_order():
    made = flatness.others(flatness.STUDY, 3)
    assert {name.split(":")[0] for name in made} == {"dual_light", "generative"} and "dual_light:dlkdd" in made
    assert all(len(column) == 3 for column in made.values())
    dark, bright = (flatness._tested(made[name][0]).data for name in ("dual_light:ce_raw", "generative:genkd"))
    assert dark.per_class == (24, 4, 30) and bright.night.per_class[2] == 30, "more clips for the gap"
    rows = made_up(dict.fromkeys(CLAIMED, 1.0))
    more = rows.assign(condition="dual_light:dlkdd:end", data="night", recipe="dlkdd-" + rows.seed.astype(str))
    both = pd.concat([rows, more.drop_duplicates(["seed", "metric"])])
    assert correlations(both, replicates=10).networks.iloc[0] == correlations(rows, replicates=10).networks.iloc[0] + 4
    assert p1(both, "night_context") == p1(rows, "night_context") and wide(both, heads=True).empty


def test_the_committed_rows_give_the_verdicts():
    if not (paths.figures_dir() / "flatness.csv").is_file():
        pytest.skip("the study's rows are not committed")
    rows = load_rows("flatness")
    table = wide(rows)
    at = table[(table.reached == 1) & (table["mark"] != "end")]
    assert (np.abs(at.train_loss / at["mark"].astype(float) - 1) <= WITHIN + 1e-3).all(), "losses are matched"
    assert (at.lambda_max_residual.dropna() <= 1e-2).all() and (at.hessian_trace_error > 0).all()
    assert (at.gap.to_numpy() == pytest.approx((at.train_accuracy - at.test_accuracy).to_numpy(), abs=1e-3))
    told = json.loads((paths.figures_dir() / paths.LEDGER).read_text("utf-8"))
    told = {(row["claim"], row["reading"]): row["verdict"] for row in told}
    registered = ledger(confirming_rows(rows), "night_context").set_index("claim").verdict
    assert registered["P1"] == told["P1", "registered"]
    assert ledger(rows, "night_bright").set_index("claim").verdict["P2"] == told["P2", "second reading"]


def test_a_kept_measurement_is_made_anew_when_the_measure_is_another(tmp_path, monkeypatch):
    calls, found = [], SimpleNamespace(folder=tmp_path, net=lambda mark: object(), recipe=None)
    monkeypatch.setattr(flatness, "measured", lambda *_: calls.append(1) or [{"trace": float(len(calls))}])
    about = dict(condition="x")

    def value():
        return {row["metric"]: row["value"] for row in flatness._at(SMOKE, about, found, 0.5)}["trace"]

    assert [value(), value()] == [1, 1]
    monkeypatch.setitem(flatness.SMOKE_EFFORT, "probes", 5)
    assert [value(), value()] == [2, 2]
    monkeypatch.setattr(flatness, "files_hash", lambda modules: "other sources")
    assert [value(), value()] == [3, 3]


@pytest.mark.slow
def test_the_study_at_smoke_size(own_places, monkeypatch):
    monkeypatch.setattr(flatness, "SETS", {"night_context": 0.9})
    monkeypatch.setattr(flatness, "NETS", {"tiny": flatness.NETS["tiny"]})
    flatness.study.run(SMOKE, 1, workers=1, say=lambda _: None)
    rows = pd.read_csv(paths.runs_dir() / "studies" / "flatness-smoke" / "flatness.csv", keep_default_na=False)
    table, heads = wide(rows), wide(rows, heads=True)
    assert set(table["mark"]) == {"2.4", "end"} and (table.reached == 1).all()
    trios = table[table.net == "tiny"]
    assert len(trios) == 6 and set(table.net) == {"tiny", "dual_light", "generative"}
    assert set(table[table.net == "dual_light"].data) == {"night"}
    assert set(table[table.net == "generative"].data) == {"night_bright"}
    assert set(table[table.net != "tiny"].condition) == {f"{name}:end" for name in flatness.others(SMOKE, 1)}
    assert len(heads) == 18 and set(heads.net) == {"ce_ic", "pkd"}
    assert table[list(MEASURES)].notna().all(axis=None) and heads[list(MEASURES)].notna().all(axis=None)
    first = trios[trios["mark"] == "end"].iloc[0]
    run = Run(paths.runs_dir() / first.recipe)
    twin, other = flatness.each_measured([run.net(), run.net().requires_grad_()], [run.recipe] * 2, SMOKE)
    same = {name: float(f"{value:.6g}") for name, value in twin.items()}
    assert same == first[list(same)].to_dict(), "a process of its own, the same numbers"
    assert twin == other
    flatness.study.run(SMOKE, 1, only=("night_context",), workers=1, say=lambda _: None)
    again = pd.read_csv(paths.runs_dir() / "studies" / "flatness-smoke" / "flatness.csv", keep_default_na=False)
    order = [c for c in rows if c != "value"]
    pd.testing.assert_frame_equal(*(t.sort_values(order).reset_index(drop=True) for t in (again, rows)))
