"""How much a generative model explains: a perfect one, one that knows only the mean, and one that does not need λ."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from kdlab.clips.views import Batch
from kdlab.papers.generative import generation
from kdlab.papers.generative.generation import (
    WAYS,
    explained,
    generates,
    generation_numbers,
    generation_rows,
    lacking,
    means,
    metric,
)

CLIPS = torch.randn(2, 30, 6, 3, 2, 2, generator=torch.Generator().manual_seed(0)).abs()
CLIPS[1] += 2  # test clips are others than the training's


class Net(nn.Module):
    """Features are the clip itself, and λ their mean over space, between 0 and 1."""

    taps = "net.body", "net.attention"

    def __init__(self):
        super().__init__()
        self.net = nn.ModuleDict({"body": nn.Identity(), "attention": nn.Identity()})
        self.new_cvae = None

    def forward(self, x):
        features = self.net["body"](x)
        return self.net["attention"](features.mean((3, 4)) / 10)[:, :, 0]


class Model(nn.Module):
    def __init__(self, rebuilt, generated):
        super().__init__()
        self.rebuilt, self.generated = rebuilt, generated

    def forward(self, features, attention, noise):
        return (self.generated(attention) if features is None else self.rebuilt(features, attention), None, None)


@dataclasses.dataclass(frozen=True)
class Made:
    seed: int = 3
    data: str = "test"


def run_of(monkeypatch, model: Model, videos: int = 0):
    """A run whose test clips are the second of the above, of other data the same again; windows of so many videos."""
    def clips(recipe, split):
        views = {"student": CLIPS[int(split != "train")]}
        records = [SimpleNamespace(id=f"c{i}", **({"video": f"v{i % videos}"} if videos else {})) for i in range(30)]
        asked.append((recipe.data, split))
        return SimpleNamespace(evaluation=lambda: [Batch(views, torch.zeros(30), ())], records=records)

    asked = []
    monkeypatch.setattr(generation, "read_cvae", lambda folder: model)
    monkeypatch.setattr(generation, "batches", clips)
    return SimpleNamespace(folder=SimpleNamespace(name="run-s3"), net=Net, recipe=Made(), asked=asked)


def of(monkeypatch, model: Model) -> dict[str, np.ndarray]:
    return explained(run_of(monkeypatch, model))[0]


def test_one_that_knows_the_features_explains_all_and_the_training_mean_nothing(monkeypatch):
    mean = CLIPS[0].mean(0)
    found = of(monkeypatch, Model(lambda f, a: f, lambda a: mean.expand(len(a), *mean.shape)))
    assert found["rebuilt"].mean() == pytest.approx(100) == found["rebuilt, λ exchanged"].mean()
    assert found["generated"] == pytest.approx(np.zeros(30), abs=1e-4)
    assert all(len(found[way]) == 30 for way in WAYS)


def spread(attention):
    return 10 * attention[..., None, None].expand(-1, -1, -1, 2, 2)


def test_features_from_attention_alone_are_worse_from_another_clips(monkeypatch):
    """λ says the mean over space, which here is most of what there is to know; R² by hand."""
    found = of(monkeypatch, Model(lambda f, a: spread(a), spread))
    test, mean = CLIPS[1], CLIPS[0].mean(0)
    flat = test.mean((3, 4), keepdim=True)
    by_hand = 1 - ((flat - test) ** 2).sum() / ((mean - test) ** 2).sum()
    assert found["generated"].mean() == pytest.approx(100 * float(by_hand), rel=1e-4)
    assert found["generated, λ exchanged"].mean() < found["generated"].mean() - 2


def test_the_numbers_of_a_run_and_their_intervals_over_clips_or_videos(monkeypatch):
    run = run_of(monkeypatch, Model(lambda f, a: f, spread))
    values, units = explained(run, data="other")
    assert set(run.asked) == {("other", "test"), ("test", "train")}, "the mean is the training clips'"
    numbers = {name: value for name, value, _ in generation_numbers(run)}
    assert len(numbers) == 8 and units.tolist() == [f"c{i}" for i in range(30)]
    each = values["generated"]
    assert numbers["r2_generated"] == pytest.approx(each.mean())
    assert numbers["r2_generated_within"] == pytest.approx(2.0452 * each.std(ddof=1) / 30**0.5, rel=1e-4)
    lost = each - values["generated, λ exchanged"]
    assert numbers["r2_generated_exchanged_within"] == pytest.approx(2.0452 * lost.std(ddof=1) / 30**0.5, rel=1e-4)
    assert numbers["r2_rebuilt"] == pytest.approx(100) and numbers["r2_rebuilt_within"] == pytest.approx(0, abs=1e-4)

    run = run_of(monkeypatch, Model(lambda f, a: f, spread), videos=5)
    of_videos = each.reshape(6, 5).mean(0)
    numbers = {name: value for name, value, _ in generation_numbers(run)}
    assert numbers["r2_generated_within"] == pytest.approx(2.7764 * of_videos.std(ddof=1) / 5**0.5, rel=1e-4)


def r2_rows(rebuilt: float, generated: float, lost: float, spread: float = 0.0, seeds=(100, 101, 102),
            data="night_fresh", condition="teacher_fr") -> pd.DataFrame:
    """Rows of models that explain so much, and lose so much with exchanged λ, more or less by ``spread`` a seed."""
    off = dict(zip(seeds, (-spread, 0, spread), strict=False))
    values = {"r2_rebuilt": rebuilt, "r2_generated": generated, "r2_rebuilt_exchanged": rebuilt - lost,
              "r2_generated_exchanged": generated - lost}
    table = [dict(data=data, condition=condition, seed=s, metric=name, value=value + off[s])
             for name, value in values.items() for s in seeds]
    table += [dict(data=data, condition=condition, seed=s, metric=f"{name}_within", value=0.6)
              for name in values for s in seeds]
    return pd.DataFrame(table)


def test_an_interval_has_the_part_of_the_seeds_and_that_of_the_clips():
    found = means(r2_rows(50, 20, 10, spread=1), "night_fresh", "teacher_fr")
    over_seeds = 4.3027 / 3**0.5
    assert found["generated"].mean == pytest.approx(20)
    assert found["generated"].half == pytest.approx((over_seeds**2 + 0.36) ** 0.5, rel=1e-4)
    assert str(found["rebuilt − exchanged"]) == "+10.0 ± 0.6"
    assert means(r2_rows(50, 20, 10, seeds=(100,)), "night_fresh", "teacher_fr")["generated"].half == pytest.approx(0.6)


@pytest.mark.parametrize(("numbers", "why"), [
    ((50, 20, 10), ""),
    ((50, 5, 2), "features generated explain +5.0 ± 0.6 % of the variance, not 10 with an interval above 0"),
    ((8, 20, 2), "features rebuilt explain +8.0"),
    ((50, 20, 0.5), "features rebuilt are no worse with the λ of another clip (+0.5 ± 0.6 points)"),
    ((50, 20, 10, 15), "features generated explain +20.0 ± 37.3 %"),
])
def test_the_gate(numbers, why):
    rows = r2_rows(*numbers)
    assert lacking(means(rows, "night_fresh", "teacher_fr")).startswith(why)
    passed, words = generates(rows, "night_fresh", ["teacher_fr"])
    assert passed == (not why) and ("R² in percent: teacher_fr rebuilt +50.0 ± 0.6" in words) == passed


def test_all_of_those_asked_must_generate_and_what_was_not_measured_does_not():
    rows = pd.concat([r2_rows(50, 20, 10), r2_rows(50, 20, 0.1, condition="genkd")])
    assert generates(rows, "night_fresh", ["teacher_fr"])[0]
    passed, words = generates(rows, "night_fresh", ["teacher_fr", "genkd"])
    assert not passed
    assert words.startswith("not testable here, the CVAE of genkd does not generate: features rebuilt are no worse")
    assert generates(rows, "night", ["teacher_fr"])[1].endswith("was not measured")


def test_rows_of_a_part_are_on_its_own_clips_a_seed_each(monkeypatch):
    run, said = run_of(monkeypatch, Model(lambda f, a: f, spread)), []
    outcome = SimpleNamespace(
        runs={"genkd": [run, run], "kd": [None]}, scores=SimpleNamespace(seeds=(100, 101)), say=said.append,
        part=SimpleNamespace(on="fresh", data="night_fresh"),
        numbers=lambda *numbers, **about: [dict(metric=m, value=v, **about) for m, v, _ in numbers])
    rows = pd.DataFrame(generation_rows(outcome, ["genkd"]))
    assert len(rows) == 16 and {*rows.seed} == {100, 101} and ("fresh", "test") in run.asked
    assert {*rows.metric} == {f"{metric(way)}{end}" for way in WAYS for end in ("", "_within")}
    assert {*means(rows.assign(data="x"), "x", "genkd")} == {*WAYS, "rebuilt − exchanged", "generated − exchanged"}
    assert len(said) == 2 and "rebuilt 100.0, generated" in said[0]
