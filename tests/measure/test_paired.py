import numpy as np
import pytest
from scipy import stats

from kdlab.measure.paired import Effect, effect, holm


def student(freedom):
    """How many standard errors 95 % of Student's t lie within, to each side."""
    return stats.t.ppf(0.975, freedom)


def test_clips_that_share_a_scene_count_as_one():
    """Ten copies of each clip are no more evidence than the clips themselves."""
    a = np.random.default_rng(3).normal(
        0.3 * np.random.default_rng(4).normal(size=40), 0.1, (10, 40)
    )
    copies = np.repeat(a, 10, 1)
    units = np.repeat(np.arange(40), 10)
    alone = effect(a, 0 * a)
    honest = effect(copies, 0 * copies, units)
    naive = effect(copies, 0 * copies)
    assert honest.half_width == pytest.approx(alone.half_width, rel=0.01)
    assert naive.half_width < 0.5 * honest.half_width


def test_where_only_seeds_or_only_units_differ_it_is_students_interval():
    values = np.array([0.1, 0.4, 0.2, 0.25])
    theirs = stats.ttest_1samp(100 * values, 0)
    interval = pytest.approx(tuple(theirs.confidence_interval()))
    for grid in (np.repeat(values[:, None], 30, 1), np.repeat(values[None], 30, 0)):
        e = effect(grid, np.zeros_like(grid))
        assert (e.low, e.high) == interval
    worlds = Effect.of(100 * values)
    assert (worlds.low, worlds.high) == interval
    assert worlds.p == pytest.approx(theirs.pvalue) and str(worlds) == "+23.8 ± 19.9"
    # one clip tells nothing of others
    assert effect(values[:, None], 0 * values[:, None]).half_width == np.inf


def test_what_seeds_have_in_common_does_not_shrink_with_more_of_them():
    rng = np.random.default_rng(6)
    for seeds in (10, 400):
        each = rng.normal(0, 2, seeds)
        own = student(seeds - 1) * np.std(each, ddof=1) / seeds**0.5
        units = student(99) * 3
        assert Effect.of(each, 900.0, 100).half_width == pytest.approx(np.hypot(own, units))


def test_the_variance_between_units_is_the_one_that_was_drawn():
    rng = np.random.default_rng(6)
    cells = (
        3 * rng.normal(size=(200, 1))
        + 5 * rng.normal(size=(1, 300))
        + 7 * rng.normal(size=(200, 300))
    )
    e = effect(cells / 100, 0 * cells)
    wanted = np.hypot(
        student(199) * np.sqrt((9 + 49 / 300) / 200),
        student(299) * 5 / 300**0.5,
    )
    assert e.half_width == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize(
    "wrong, says",
    [
        (lambda: effect(np.zeros((3, 4)), np.zeros((2, 4))), r"\(3, 4\) and \(2, 4\)"),
        (lambda: effect(np.full((1, 2), np.nan), np.zeros((1, 2))), "a finite difference of each"),
        (lambda: Effect.of([1.0, np.inf]), "a finite difference of each seed or world"),
        (lambda: Effect.of([]), "a finite difference of each seed or world"),
    ],
)
def test_what_does_not_pair_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


CLIP = 100 / 14


@pytest.mark.parametrize(
    "each, clips, half",
    [
        # three worlds that gain one clip each: +7.1 ± 17.7
        ([CLIP] * 3, 14, student(2) * CLIP / 3**0.5),
        ([0.0] * 10, 440, student(9) * 100 / 440 / 10**0.5),  # equal predictions
        ([0.0, 0.0, CLIP], 14, student(2) * CLIP / 3**0.5),  # a spread below one clip
        # the smallest number of clips counts
        ([CLIP] * 3, [14, 30, 440], student(2) * CLIP / 3**0.5),
        # a real spread stays as it is
        ([-CLIP, 4 * CLIP, 0.0], 14, student(2) * 7**0.5 * CLIP / 3**0.5),
        ([2.0, 2.0], np.inf, np.inf),  # milliseconds, mAP: of equal numbers no resolution is known
        # equal but for rounding
        ([100 * k / 14 - 100 * (k - 1) / 14 for k in range(1, 12)], np.inf, np.inf),
        ([CLIP], 14, np.inf),
    ],
)
def test_an_interval_is_never_narrower_than_its_clips_allow(each, clips, half):
    e = Effect.of(each, clips=clips)
    assert e.half_width == pytest.approx(half)
    t = 0 if half == np.inf else student(len(each) - 1) * np.mean(each) / half
    assert e.p == pytest.approx(2 * stats.t.sf(abs(t), max(1, len(each) - 1)))


def test_few_shared_clips_are_no_certainty_about_others():
    """As if four of them differed; also where each seed gains another clip, so that seeds are equal."""
    floor = student(13) * 2 * CLIP
    for seeds in (1, 3):
        right = np.ones((seeds, 14))
        assert effect(right, right).half_width == pytest.approx(floor)
    gains = np.eye(3, 14)
    e = effect(gains, 0 * gains)
    assert str(e) == "+7.1 ± 30.9" and e.half_width == pytest.approx(floor)
    assert effect(gains / 2, gains / 2).half_width == np.inf  # scores that are no whole clips
    groups = np.repeat([0, 1], 7)
    assert effect(right, right, groups).half_width == pytest.approx(student(1) * 2 * CLIP)


def test_p_is_below_5_percent_where_the_interval_leaves_out_zero():
    rng = np.random.default_rng(2)
    seen = []
    for k in range(60):
        right = (rng.random((2, 1 + k % 3, 60)) < [[[0.75]], [[0.6]]]).astype(float)
        e = effect(*right)
        seen.append(e.p < 0.05)
        assert seen[-1] == (e.low > 0 or e.high < 0)
    assert 5 < sum(seen[::3]) < 20  # one seed has no t of its own, and takes that of its clips


def test_three_worlds_of_fourteen_clips_hold_the_truth():
    """Without the floor it is 76 %: equal worlds have an interval of no width."""
    rng = np.random.default_rng(0)
    gains = rng.multinomial(14, (0.03, 0.01, 0.96), (2000, 3)) @ (1, -1, 0) * CLIP
    held = [abs(e.mean - 2) <= e.half_width for e in (Effect.of(each, clips=14) for each in gains)]
    assert np.mean(held) > 0.95


def test_holm_is_the_textbooks():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == pytest.approx([1, 1])
