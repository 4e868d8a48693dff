"""Published points agree with what they are said to be: a sweep of segments in which hardly a clip stops early."""

import pytest

from kdlab import paths
from kdlab.papers.progressive.paper_size import SETS
from kdlab.papers.progressive.published import OTHERS, POINTS, unstopped


def test_costs_are_those_of_the_segments_with_hardly_an_early_exit():
    saved = {point: 1 - point.gmacs / unstopped(point) for point in POINTS}
    last = POINTS[-1]
    assert all(-1e-3 < share < 0.01 for point, share in saved.items() if point != last)
    assert saved[last] == pytest.approx(0.07, abs=0.005) and unstopped(last) == pytest.approx(13.19)
    assert all(saved[point] == pytest.approx(0, abs=1e-4) for point in POINTS if point.theta == 1)


def test_points_are_those_that_the_paper_size_and_the_methods_quote():
    methods = (paths.project_root() / "docs" / "methods.md").read_text("utf-8")
    said = {"UCF-101": " ".join(SETS[0].published), "HMDB-51": " ".join(SETS[1].published)}
    for point in POINTS:
        assert f"{point.accuracy:.2f} (" in methods
        its = [word for word in said[point.data].split() if word == f"{point.accuracy:.2f}"]
        assert not its or f"at {point.gmacs:.1f}" in said[point.data].split(its[0], 1)[1].split(",")[0]
    for name, gmacs, _ in OTHERS:
        assert f"{name} " in methods and f"{gmacs:g}" in methods


def test_each_set_begins_with_its_dearest_point():
    for name in ("UCF-101", "HMDB-51"):
        costs = [point.gmacs for point in POINTS if point.data == name]
        assert len(costs) >= 4 and costs == sorted(costs, reverse=True)
