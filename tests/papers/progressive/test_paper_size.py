"""The paper profile of PKD and WISE: its numbers, and its recipes."""

from dataclasses import replace

import pytest
import torch

from kdlab.papers.paper_size import UCF_101, cost
from kdlab.papers.progressive.method import PAPER, LabelExits, Progressive, only
from kdlab.papers.progressive.networks import Exit
from kdlab.papers.progressive.recipes import (
    PAPER_CONDITIONS,
    paper_example,
    paper_profile,
    paper_recipes,
)
from kdlab.system import paths
from tests.train.test_optimisers import by_weight


def test_as_released_each_layer_has_its_share_of_the_rate():
    """The rates of single weights, as the released scripts come to them."""
    size = paper_profile(as_released=True)
    for modality, (base, first, inner) in {
        "motion": (1e-2, 1e-3, 1e-4),
        "residual": (5e-3, 5e-4, 5e-5),
        "iframe": (3e-4, 3e-6, 3e-6),
    }.items():
        recipe = size.needs()[modality]
        with torch.device("meta"):
            weights = recipe.net.make(51).named_parameters("student.net")
        said = by_weight(recipe.settings, list(weights))
        for name, rates in (
            ("fc.weight", (base, 1e-4)),
            ("fc.bias", (base, 0)),
            ("conv1.weight", (first, 1e-4)),
            ("layer1.0.conv1.weight", (inner, 1e-4)),  # not the network's first
            ("layer4.0.bn1.bias", (inner, 0)),
        ):
            assert said[f"student.net.{name}"] == pytest.approx(rates)
        assert recipe.settings.as_released.falls == (150, 270, 390)
    heads = paper_recipes(UCF_101, paths.data_dir(), size)["1", "pkd"].net.make(51)
    said = by_weight(size.settings, list(heads.named_parameters("student")))
    rates = {rate for rate, _ in said.values()}
    assert sorted(rates) == pytest.approx([3e-4, 5e-3, 1e-2])
    assert size.settings.as_released.falls == (150, 200, 250)
    assert paper_profile().settings.as_released is None


def test_recipes_differ_in_their_method_alone_and_share_networks(tmp_path):
    made = paper_recipes(UCF_101, tmp_path, paper_profile(draws=2), seed=3)
    assert set(made) == {(split, condition) for split in "123" for condition in PAPER_CONDITIONS}
    base = made["2", "ce_ic"]
    assert all(
        replace(made["2", c], condition="ce_ic", method=base.method) == base
        for c in PAPER_CONDITIONS
    )
    assert [made["1", c].method for c in PAPER_CONDITIONS] == [
        LabelExits(),
        Progressive(),
        Progressive(schedule=(*PAPER[:2], ("iframe", PAPER[2][1]))),
        Progressive(schedule=only("own")),
    ]
    assert base.data.test_fold == "2" and base.seed == 3 and base.backbones[0].seed == 3
    assert base.net.iframe == (Exit(256, 64), Exit(512, 256), Exit(1024, 1024))
    assert base.net.motion[0] == Exit(64, 64, kernel=7)
    assert base.view.pooled is None
    assert base.view.draws == 2
    assert base.needs()["iframe"].data == base.data
    assert base.window == base.needs()["residual"].window


def test_the_costs_of_a_clip_are_those_of_the_layers(tmp_path):
    """GMACs of three frames at 224²: networks of 1.8 and 4.1 a frame, heads of 0.774 + 0.774 + 3.239."""
    exits = paper_recipes(UCF_101, tmp_path, paper_profile())["1", "pkd"]
    forward = [cost(net, 101).forward / 1e9 for net in exits.backbones]
    assert forward == pytest.approx([5.4, 5.3, 12.3], abs=0.06)
    assert cost(exits, 101, paper_example).forward / 1e9 == pytest.approx(14.4, abs=0.06)
