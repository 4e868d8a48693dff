"""The benchmark of the papers' steps: on a tiny training where there is no GPU, and what it says there."""

from dataclasses import replace
from pathlib import Path

from kdlab.nets.video import TinyR2Plus1D
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.train.settings import Settings
from kdlab.train.sizes import SMOKE
from tests.conftest import script

PLACE = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu.py"


def test_a_row_of_a_tiny_training_with_a_teacher(monkeypatch):
    gpu = script(PLACE)
    monkeypatch.setenv("KDLAB_DEVICE", "cpu")
    monkeypatch.setattr(gpu, "REPEATS", 2)
    size = replace(SMOKE, net=TinyR2Plus1D((2, 4)), settings=Settings(1, 2))
    recipe = dual_light(size)["dlkdd"]
    row = gpu.row(recipe, "cpu", 3, 1e12)
    assert row["batch"] == 2
    assert row["same bits"]
    assert row["clips/s"] > 0 < row["bare clips/s"]
    assert row["GiB"] == 0
    alone = gpu.flops(dual_light(size)["ce_raw"], "cpu")
    # a teacher's forward pass more
    assert 1.2 * alone < gpu.flops(recipe, "cpu") < 1.5 * alone
