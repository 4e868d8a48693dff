"""Diagrams say what the code does, and everything in them can be read."""

import re
from fractions import Fraction
from importlib import import_module

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from kdlab.clips.views import Enhanced, Raw
from kdlab.nets.compressed import tiny
from kdlab.papers.dual_light import recipes, regimes
from kdlab.papers.dual_light.regimes_study import CLAIMS
from kdlab.papers.generative.method import GenerativeDistillation
from kdlab.papers.progressive.method import PAPER
from kdlab.papers.progressive.nets import EXITS
from kdlab.show import boxes, diagrams, displayed, plots
from kdlab.show.boxes import Arrow, Box, corners, draw
from kdlab.train.sizes import SMOKE, RegimeSize, current
from tests.conftest import public
from tests.figures import faults

NAMES = sorted(public(diagrams))


@pytest.fixture(autouse=True)
def as_in_notebooks():
    with plt.rc_context():
        plots.style()
        yield
        plt.close("all")


@pytest.fixture
def drawn(monkeypatch):
    """Name of a diagram → its figure, its boxes by name, its arrows."""
    def look(name):
        kept = []

        def keep(title, given, arrows, alt, headings=()):
            kept[:] = {box.name: box for box in given}, list(arrows)
            return draw(title, given, arrows, alt, headings)

        monkeypatch.setattr(diagrams, "draw", keep)
        fig = getattr(diagrams, name)()
        fig.canvas.draw()
        return fig, *kept

    return look


def seen(fig) -> tuple[dict, dict]:
    """Extents in pixels of what is written (by its text and place), and of boxes by name."""
    texts = {(t.get_text(), t.get_position()): t.get_window_extent() for t in fig.axes[0].findobj(Text) if t.get_text()}
    return texts, {patch.get_gid(): patch.get_window_extent() for patch in fig.axes[0].patches if patch.get_gid()}


def apart(one, other, room: float = 0) -> bool:
    return (one.x1 + room <= other.x0 or other.x1 + room <= one.x0
            or one.y1 + room <= other.y0 or other.y1 + room <= one.y0)


def within(one, other, room: float) -> bool:
    return (other.x0 + room <= one.x0 and one.x1 <= other.x1 - room
            and other.y0 + room <= one.y0 and one.y1 <= other.y1 - room)


@pytest.mark.parametrize("name", NAMES)
def test_no_text_touches_a_border_another_text_or_the_edge(name, drawn):
    fig, *_ = drawn(name)
    texts, shapes = seen(fig)
    assert not [(text, box) for (text, _), there in texts.items() for box, shape in shapes.items()
                if not (apart(there, shape, 1) or within(there, shape, 3))]
    extents = list(texts.items())
    assert not [(a[0], b[0]) for place, (a, one) in enumerate(extents) for b, other in extents[:place]
                if not apart(one, other)]
    assert not [text for text, there in extents if not within(there, fig.bbox, 2)]


@pytest.mark.parametrize("name", NAMES)
def test_no_arrow_runs_through_a_text_or_a_box(name, drawn):
    fig, by_name, arrows = drawn(name)
    texts, shapes = seen(fig)
    to_pixels = fig.axes[0].transData.transform
    crossed = []
    for arrow in arrows:
        points = to_pixels(corners(arrow, by_name))
        for start, end in zip(points, points[1:], strict=False):
            line = Bbox.from_extents(*map(min, start, end), *map(max, start, end))
            others = {k: v for k, v in shapes.items() if k not in (arrow.start, arrow.end)}
            crossed += [(arrow, what) for what, there in (texts | others).items() if not apart(line, there, 1)]
    assert not crossed


@pytest.mark.parametrize("name", NAMES)
def test_every_box_stands_for_something_and_is_connected(name, drawn):
    fig, by_name, arrows = drawn(name)
    for box in by_name.values():
        module, _, what = box.of.rpartition(".")
        assert hasattr(import_module(module), what), box.of
    joined = {end for arrow in arrows for end in (arrow.start, arrow.end)}
    loose = by_name.keys() - joined
    assert all(re.fullmatch(r"P\d|…", box) for box in loose), "only frames between the first and the last stand alone"
    assert fig.get_label()[:40] in displayed.alt(fig) and 100 < len(displayed.alt(fig)) < displayed.LONGEST
    assert faults(fig) == []


def of(box: Box):
    module, _, what = box.of.rpartition(".")
    return getattr(import_module(module), what)


@pytest.mark.parametrize(("name", "condition"), [("dual_light", "dlkdd"), ("same_light", "same_light")])
def test_teacher_and_student_see_what_the_recipe_says(name, condition, drawn):
    _, by_name, arrows = drawn(name)
    recipe = recipes.dual_light(SMOKE)[condition]
    for who, view in (("teacher", recipe.teacher.view), ("student", recipe.view)):
        (sees,) = [by_name[arrow.start] for arrow in arrows if arrow.end == who]
        assert of(sees) is type(view)
        assert of(by_name[who]) is type(recipe.net)
    assert {"net": [box.name for box in by_name.values() if box.kind == "trained"]} == recipe.method.parts({})
    assert [(arrow.start, arrow.passes) for arrow in arrows if arrow.target] == [("teacher", "soft targets")]


def test_each_claim_about_bright_networks_compares_what_it_says(drawn):
    _, by_name, arrows = drawn("bright_network")
    conditions = {"DL-KDD student": "dlkdd_re", "same-light KD": "same_light_re", "re-estimated": "re_estimated",
                  "teacher": "enhanced_re", "as it is": "as_is"}
    compared = {claim.claim: {claim.condition, claim.baseline} for claim in CLAIMS}
    for claim in (name for name, box in by_name.items() if box.kind == "loss"):
        assert {conditions[arrow.start] for arrow in arrows if arrow.end == claim} == compared.pop(claim), claim
    assert compared.keys() == {"D1r"}, "the one about bright statistics"
    recipe = regimes.conditions(current("smoke", RegimeSize), regimes.Regime(), 0)
    for name, condition in conditions.items():
        its = recipe[condition]
        teachers = {conditions[arrow.start] for arrow in arrows if arrow.end == name and arrow.target}
        assert teachers == ({its.teacher.condition} if its.teacher else set()), name
        assert type(its.view) is (Enhanced if name == "teacher" else Raw)
        assert (by_name[name].kind == "trained") == bool(its.teacher) and of(by_name[name]) is type(its.method)
    began = {conditions[arrow.start] for arrow in arrows if arrow.passes == "begins so"}
    assert began == {recipe["dlkdd_re"].start.condition, recipe["same_light_re"].start.condition}


def test_the_second_phase_trains_what_genkd_trains_with_its_weights(drawn):
    _, by_name, arrows = drawn("generative_phases")
    method = GenerativeDistillation()
    trained = {box.name for box in by_name.values() if box.kind == "trained" and "student" in box.name}
    assert trained == {"student", "student's CVAE"} and set(method.parts({"cvae": 0})) == {"cvae", "net"}
    weights = {"rebuilding of the student": method.kl, "making of the student": method.reconstruction,
               "taught attention": method.beta, "taught features": method.teaching}
    for loss, weight in weights.items():
        assert f"{weight:g}" in re.findall(r"\d+\.\d+", by_name[loss].says), loss
    assert {arrow.start for arrow in arrows if arrow.target} == {"frozen teacher", "frozen CVAE"}
    assert all(by_name[arrow.start].kind == "frozen" for arrow in arrows if arrow.target)


def test_the_teachers_of_the_exits_have_their_order_and_their_share_of_the_width(drawn):
    _, by_name, arrows = drawn("progressive")
    teachers = [by_name[arrow.start] for arrow in arrows if arrow.target]
    assert [box.name for box in sorted(teachers, key=lambda box: box.x)] == [name for name, _ in PAPER]
    whole = sum(box.width for box in teachers)
    for box, (_, share) in zip(teachers, PAPER, strict=True):
        assert box.width / whole == pytest.approx(share, abs=0.01)
        assert Fraction(re.search(r"\d/\d", box.says)[0]) == Fraction(share).limit_denominator(10)


def test_wise_asks_the_exits_in_their_order(drawn):
    _, by_name, arrows = drawn("wise")
    exits = [box.name for box in sorted(by_name.values(), key=lambda box: box.x) if box.name in EXITS]
    assert tuple(exits) == EXITS
    assert [(a.start, a.end) for a in arrows if a.end in EXITS] == list(zip(EXITS, EXITS[1:], strict=False))


def test_each_view_of_a_compressed_file_has_its_channels(drawn):
    _, by_name, _ = drawn("compressed_modalities")
    for modality, view in (("iframe", "I-frame"), ("motion", "motion vectors"), ("residual", "residual")):
        assert f"{tiny(modality).channels} channels" in by_name[view].says


def test_kinds_of_boxes_differ_without_colour():
    assert len({(width, style, rounding) for _, _, width, style, rounding in boxes.KINDS.values()}) == len(boxes.KINDS)


def test_boxes_of_one_name_and_arrows_to_nowhere_are_told():
    one = Box("net", "trained", 1, 1)
    with pytest.raises(ValueError, match="its own name"):
        draw("t", [one, one], [], "alt")
    with pytest.raises(ValueError, match=r"lead to \['loss'\]"):
        draw("t", [one], [Arrow("net", "loss")], "alt")


def test_an_arrow_is_straight_where_it_can_be_and_bends_once_or_twice():
    by_name = {"a": Box("a", "view", 1, 1), "b": Box("b", "view", 4, 1), "c": Box("c", "view", 4, 3),
               "wide": Box("wide", "loss", 3, 4, width=6)}
    assert len(corners(Arrow("a", "b"), by_name)) == 2
    assert len(corners(Arrow("a", "c"), by_name)) == 4
    assert len(corners(Arrow("a", "c", out="bottom", into="left"), by_name)) == 3
    (x, _), (to_x, to_y) = corners(Arrow("a", "wide"), by_name)
    assert x == to_x == 1 and to_y == pytest.approx(4 - 0.33)
