"""The pictures of notebook 01 show the numbers they are given, and name them."""

import numpy as np
import pandas as pd
import pytest

from kdlab.show.data_plots import accuracy_curves, transfer, wall
from tests.figures import legible

pytestmark = pytest.mark.usefixtures("styled")

FRAME = np.random.default_rng(0).integers(0, 60, (16, 20, 3), np.uint8)


def test_the_wall_prints_each_score_under_its_own_frame():
    scores = pd.DataFrame({"psnr": [8.04, 15.5], "ssim": [0.125, 0.5], "flicker": [0.0, 2.25], "luma": [1, 2]},
                          index=["raw", "he"])
    fig = wall({"raw": FRAME, "he": 2 * FRAME, "twin": FRAME}, scores, columns=2)
    under = {ax.get_title(): ax.get_xlabel() for ax in fig.axes if ax.get_visible()}
    assert under == {"raw": "PSNR 8.0 dB, SSIM 0.12\nflicker 0.0", "he": "PSNR 15.5 dB, SSIM 0.50\nflicker 2.2",
                     "twin": ""}
    assert np.array_equal(fig.axes[1].images[0].get_array(), 2 * FRAME)


def test_without_a_twin_the_wall_has_flicker_alone():
    fig = wall({"he": FRAME}, pd.DataFrame({"flicker": [1.0]}, index=["he"]))
    assert fig.axes[0].get_xlabel() == "flicker 1.0"


def test_the_curves_show_every_seed_their_mean_and_chance():
    fig = accuracy_curves({"clips": {10: np.array([20.0, 30.0]), 40: np.array([50.0, 60.0])},
                           "variety": {0: np.array([70.0]), 1: np.array([10.0])}, "not run": {}}, 100 / 11)
    clips, variety, empty = fig.axes
    assert [line.get_ydata().tolist() for line in clips.lines[:3]] == [[20, 30], [50, 60], [25, 55]]
    assert clips.lines[3].get_ydata()[0] == pytest.approx(100 / 11)
    assert (clips.get_xscale(), variety.get_xscale(), empty.get_xscale()) == ("log", "linear", "linear")
    assert [text.get_text() for text in clips.get_xticklabels()] == ["10", "40"]
    assert {"clips", "variety", "test accuracy (%)", "chance", "mean of the seeds"} <= set(legible(fig).split("\n"))


def test_transfer_shows_each_folds_recall_its_interval_and_both_baselines():
    def rows(fold, mean):
        found = [("majority", "accuracy", 40.0), ("zero_shot", "accuracy", 55.0)]
        for condition, value in (("zero_shot", mean), ("other", 1.0)):
            found += [(condition, "mean_recall", value), (condition, "mean_recall_low", value - 4),
                      (condition, "mean_recall_high", value + 9), (condition, "recall:Run", value),
                      (condition, "recall:Sit", value)]
        return [dict(fold=fold, condition=c, metric=m, value=v) for c, m, v in found]

    fig = transfer(pd.DataFrame(rows("A", 50.0) + rows("B", 30.0)), {"zero_shot": "zero-shot", "absent": "not run"})
    assert [ax.get_title() for ax in fig.axes] == ["tested on fold A", "tested on fold B"]
    for ax, mean in zip(fig.axes, (50, 30), strict=True):
        (bars,) = ax.containers
        assert bars.lines[0].get_xdata().tolist() == [mean]
        assert bars.lines[2][0].get_segments()[0][:, 0].tolist() == [mean - 4, mean + 9]
        assert [line.get_xdata()[0] for line in ax.lines[1:]] == [50, 40]  # two classes; the majority's accuracy
    said = legible(fig)
    assert "zero-shot" in said and "mean recall over the classes (%)" in said and "not run" not in said
