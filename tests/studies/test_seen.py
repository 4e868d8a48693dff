"""Networks side by side, and what committed looks say."""

import numpy as np
import pytest
import torch

from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.studies import attention, attention_told
from kdlab.studies.looks import Clips
from kdlab.studies.seen import MOVES, RANDOM, Asked, controls, looks


@pytest.fixture
def one():
    """A network whose map for the first class is not constant, and the second of two clips for which it is asked."""
    x = torch.rand(1, 3, 16, 36, 36, generator=torch.Generator().manual_seed(0))
    masks = np.zeros((2, 16, 36, 36), bool)
    clips = Clips(torch.cat([1 - x, x]), torch.tensor([1, 0]), masks, masks + 1.0, np.array(["a", "b"]))
    return Asked(build(TinyR2Plus1D(), 11, 0).eval(), clips, tuple("abcdefghijk"), ("net.stages.3", "net.stages.2"))


def test_each_network_is_asked_for_the_right_class_and_tells_its_own(one):
    found = looks({"student": one, **controls(one)}, 1)
    assert list(found) == ["student", RANDOM, MOVES]
    with torch.no_grad():
        says = int(one.net(one.clips.x[1:]).argmax())
    assert found["student"].says == one.classes[says] and found["student"].right == (says == 0)
    assert found["student"].heat.shape == (16, 36, 36) and found[MOVES].words == "knows no class"
    finer = looks({"student": one, **controls(one, 5)}, 1, "net.stages.2")
    assert not np.allclose(finer["student"].heat, found["student"].heat)
    assert not np.allclose(finer["student"].heat, finer[RANDOM].heat)


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Two seeds, 40 clips: DL-KDD's map has 10 points more on the actor than any other network's. No claim is
    registered: it would make intervals wider."""
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    rng, found = np.random.default_rng(0), {"ids": np.arange(40).astype(str)}
    for name, level in (("ce_raw", 0.2), ("same_light", 0.2), ("dlkdd", 0.3)):
        for layer in ("", "@fine"):
            found[f"energy_inside/{name}{layer}"] = level + 0.001 * rng.normal(size=(2, 40))
            for baseline, its in attention.beside(name + layer).items():
                found[f"energy_inside/{its}"] = 0.25 + 0.001 * rng.normal(size=(1, 40)) - 0.1 * (baseline == "random")
            for its in attention.beside(name + layer, "pixels").values():
                found.setdefault(f"energy_inside/{its}", np.full((1, 40), 0.4))
    for name, level in (("dlkdd", 0.3), ("dlkdd=other", 0.5)):
        found[f"deletion/{name}"] = level + 0.001 * rng.normal(size=(2, 40))
    return found


def test_sentences_count_networks_above_and_below_and_tell_the_differences(made_up):
    first, *more = attention_told.shown({"night": made_up})
    assert first.startswith("**dual light: dark clips: 40 test clips, 2 seeds.**") and "20.0 to 30.0 %" in first
    assert "Of 3 networks, 2 below, 1 above the best map that knows nothing" in first and "(provisional)" in first
    assert len(more) == 3 and more[0].startswith("DL-KDD − CE on raw clips, energy on the actor: +10.0 ±")
    assert "probability faster by: +20.0 ±" in more[2]
    assert attention_told.conditions_of(made_up) == ["ce_raw", "same_light", "dlkdd"]


def test_tables_have_a_column_for_each_baseline_and_for_each_grid(made_up):
    table = attention_told.against_each(made_up, ["ce_raw", "dlkdd"])
    assert table["energy inside (%)"].tolist() == pytest.approx([20, 30], abs=0.1)
    assert list(table.columns[2:]) == [f"− {title}" for title in attention.BASELINES.values()]
    grids = attention_told.by_grid(made_up).set_index("energy inside (%)")
    assert grids.loc["what moves"].tolist() == pytest.approx([40, 25, 25], abs=0.1)
    assert np.isnan(grids.loc["DL-KDD", "of pixels"])
    assert grids.loc["DL-KDD", "of the last stage"] == pytest.approx(30, abs=0.1)


def test_the_committed_looks_can_be_told():
    sets = {name: attention.load_looks(name) for name in attention.available()}
    lines = attention_told.shown(sets)
    assert len(lines) >= len(sets) and all("nan" not in line for line in lines)
