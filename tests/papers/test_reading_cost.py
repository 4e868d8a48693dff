"""Hours of reading and gigabytes of cache, against a count by hand."""

from dataclasses import replace

import pytest

from kdlab.clips.flow import Flow
from kdlab.papers.dual_light import paper_size as dual_light
from kdlab.papers.generative import paper_size as generative
from kdlab.papers.reading_cost import ASSUMED, Films, lines, prepared, reading


def test_hours_and_bytes_are_those_counted_by_hand(tmp_path):
    """ARID: 100 of 150 clips train in one split and 60 of 90 in another, films of the measured size and length."""
    made = dual_light.recipes(dual_light.SETS[0], tmp_path, dual_light.profile())
    costs, one = dict(dual_light.PAPER.reading), Films(64, 320, 240)
    found = reading(made, {"1": 100, "2": 60}, {"1": 150, "2": 90}, one, costs)
    # raw: two ce_raw, both views of same_light, the 400 epochs of ce_2x, four students; a light: two ce_enhanced (one
    # teaches), the teacher's view of two students, two_lights
    raw, gamma, dark = 200 * (2 + 2 + 2 + 4), 200 * (2 + 2 + 1), 200 * (2 + 2 + 1)
    by_hand = 0.04 * raw + 0.05 * gamma + 8.6 * dark
    assert found.hours == pytest.approx(160 * by_hand / 3600)
    # once: raw, gamma and gamma's both lights are the same clips in both splits; each split has its own Zero-DCE, twice
    assert found.once == pytest.approx((150 * (0.04 + 0.05 + 0.05) + 240 * 2 * 8.6) / 3600)
    frame = 64 * 128 * (128 * 320 / 240)
    assert found.bytes == pytest.approx(frame * (150 * (3 + 3 + 6) + 240 * (3 + 6)))
    twice = reading(made, {"1": 100, "2": 60}, {"1": 150, "2": 90}, Films(128, 320, 240), costs)
    assert twice.once == pytest.approx(2 * found.once) and twice.hours == pytest.approx(found.hours), "64 of each film"


def test_flow_costs_what_it_does_and_pictures_of_it_do_not(tmp_path):
    costs = dict(generative.PAPER.reading)
    made = [generative.recipes(generative.SETS[0], tmp_path, generative.profile(flow_folder=folder))
            for folder in (None, tmp_path)]
    assert [prepared(one["1", "flow", "kd"].view, costs) for one in made] == [(0.53, 2), (0.04, 2)]
    assert prepared(replace(Flow(), bound=5.0), costs).seconds == 0.53
    assert prepared(made[0]["1", "rgb", "kd"].view, costs) == (0.04, 3)


def test_the_words_name_the_setting_and_what_was_assumed():
    made = lines(reading({}, {}, {}, ASSUMED, {})._replace(hours=1234.4, once=5.6, bytes=7.2e9), ASSUMED)
    assert "about 6 h a seed" in made[0] and "about 1,234 h in all epochs" in made[0]
    assert "KDLAB_CACHE_GB=8 holds all" in made[1] and made[1].endswith("182 frames of 320 × 240, assumed")
