import numpy as np
import pytest

from kdlab.clips.enhance import Gamma, HistogramEqualisation
from kdlab.measure.darkness import UNITS, flicker, score, scores


@pytest.fixture(scope="module")
def dark() -> np.ndarray:
    rng = np.random.default_rng(0)
    clip = np.repeat(rng.integers(4, 40, (1, 32, 40, 3), dtype=np.uint8), 6, 0)
    for t in range(6):
        clip[t, :3 * t] = 200
    return clip


def test_scores_of_known_clips():
    raw = np.zeros((3, 16, 16, 3), np.uint8)
    grey = raw + np.uint8(100)
    found = scores(raw, grey, grey + np.uint8(10))
    assert found["luma"] == pytest.approx(100) and found["entropy"] == 0 and found["flicker"] == 0
    assert found["psnr"] == pytest.approx(20 * np.log10(255 / 10))
    # of flat pictures only the luminance term is left: (2 a b + c) / (a² + b² + c) with c = (0.01·255)²
    c = 2.55**2
    assert found["ssim"] == pytest.approx((2 * 100 * 110 + c) / (100**2 + 110**2 + c))
    assert scores(raw, grey, grey)["psnr"] == np.inf and scores(raw, grey, grey)["ssim"] == 1


def test_flicker_is_what_the_enhancer_adds_where_nothing_changes():
    raw = np.full((3, 4, 4, 3), 9, np.uint8)
    enhanced = np.full_like(raw, 50)
    enhanced[1] += 6  # +6, −6
    assert flicker(raw, enhanced) == pytest.approx(6)
    raw[1, :2] = 8  # half of the pixels did change: the other half is asked
    enhanced[1, :2] = 255
    assert flicker(raw, enhanced) == pytest.approx(6)
    raw[1] = 8
    assert np.isnan(flicker(raw, enhanced))


def test_flicker_tells_a_table_for_each_frame_from_a_fixed_one(dark):
    assert flicker(dark, HistogramEqualisation()(dark)) > 3
    for enhancer in (Gamma(1.8), HistogramEqualisation(steady=True)):
        assert flicker(dark, enhancer(dark)) == 0
    # the mean level of the frames says the opposite, which is why it is not the measure
    level = [np.ptp(e(dark).mean((1, 2, 3))) for e in (HistogramEqualisation(), HistogramEqualisation(steady=True))]
    assert level[0] < level[1]


def test_score_has_a_row_a_clip_and_enhancer_and_twins_are_optional(dark):
    bright = np.minimum(dark.astype(int) * 4, 255).astype(np.uint8)
    calls = []
    ways = {"none": Gamma(1), "gamma": lambda frames: calls.append(1) or Gamma(2.2)(frames)}
    table = score(ways, [(dark, bright), (dark[:4], bright[:4])])
    assert table.enhancer.tolist() == 2 * ["none", "gamma"] and set(table.columns) == {"enhancer", *UNITS}
    assert len(calls) == 3 and (table.ms_per_frame >= 0).all() and table.notna().to_numpy().all()
    assert table.psnr[1] > table.psnr[0] == scores(dark, dark, bright)["psnr"]
    assert set(score({"gamma": Gamma()}, [(dark, None)]).columns) == {"enhancer", *UNITS} - {"psnr", "ssim"}


def test_clips_that_do_not_belong_together_are_refused(dark):
    with pytest.raises(ValueError, match="bright twin"):
        scores(dark, dark, dark[:5])
    with pytest.raises(ValueError, match="enhanced clip"):
        scores(dark, dark[:, 1:])
