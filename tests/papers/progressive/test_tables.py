"""Tables of notebook 07: named sets alone, and nothing that nobody measured."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kdlab.papers.progressive import tables
from kdlab.papers.progressive.budgets import THETAS
from kdlab.papers.progressive.method import LabelExits, Progressive
from kdlab.papers.progressive.nets import ORDER
from kdlab.papers.progressive.recipes import SMOKE, night, trio
from kdlab.papers.progressive.tables import (
    beside,
    choices,
    chosen,
    gates,
    halves,
    minus_controls,
    network_table,
    said_beyond_labels,
    saved_at,
    titled,
    units,
    unread,
)
from kdlab.study import Scores
from tests.conftest import public
from tests.papers.progressive.test_teachers import rows


def scores(**wrong: int) -> Scores:
    """Ten clips, two seeds; condition → of how many clips its first exit is wrong."""
    labels, predicted = np.arange(10) % 2, {}
    for name, count in wrong.items():
        said = np.repeat(labels[None, :, None], 12, 2).repeat(2, 0)
        said[:, :count, 0] = 1 - said[:, :count, 0]
        predicted[name] = said
    ids = np.array([str(i) for i in range(10)])
    return Scores(("a", "b"), (0, 1), ids, ids, labels, predicted, {}, {name: ["", ""] for name in predicted})


SOME = scores(ce_ic=9, pkd=0, own_final=9, iframe_kd=0, ce_half=0)
CROSSED = scores(ce_ic_unseen=9, pkd_unseen=0)


def test_sets_are_named_and_in_the_studys_order():
    found = chosen({"weizmann": SOME, "night_context_crossed_fresh": CROSSED, "night_context": SOME})
    assert list(found) == ["night_context", "weizmann"]
    assert unread({"night_context": SOME, "night_context_crossed_fresh": CROSSED}) == {
        "night_context_crossed_fresh": CROSSED}


def test_controls_are_subtracted_where_they_differ():
    found = minus_controls({"night_context": SOME})["night_context"]
    assert list(found) == ["− CE on labels", "− own final throughout", "− I-frame throughout"]
    assert found["− CE on labels"].mean == pytest.approx(10) and found["− I-frame throughout"].mean == 0
    with_letters = minus_controls({"night_context": replace(SOME, predicted=SOME.predicted | {
        "reversed": SOME.predicted["pkd"]})})["night_context"]
    assert "− reversed: own, residual, motion (R, I)" in with_letters, "for the motion network both are one training"


def test_an_order_is_called_by_its_teachers():
    assert titled("motion-own-residual") == "order motion, own, residual"
    assert titled("ce_ic") == "CE on labels" and titled("ce_2x") == "ce_2x"


def test_controls_of_exits_with_strange_teachers_are_theirs():
    both = minus_controls({"night_context": SOME, "night_context_crossed_fresh": CROSSED}, ("ce_ic", "own_final"))
    assert list(both["night_context_crossed_fresh"]) == ["− CE on labels"]
    assert both["night_context_crossed_fresh"]["− CE on labels"].mean == pytest.approx(10)


def test_halves_tell_what_was_trained():
    found = halves(CROSSED)
    assert list(found) == ["PKD − CE, exits on the other half"] and found.popitem()[1].mean == pytest.approx(10)


def test_choices_that_nobody_trained_are_empty():
    table = choices({"night_context": SOME, "weizmann": scores(ce_ic=1, pkd=0)})
    row = table.set_index(table.columns[0]).loc["CE, half the steps − CE"]
    assert row["night, places tell"].startswith("+10.0") and row["ten real actions"] == ""
    assert (table["night, places tell"] == "").sum() == 4


def test_units_are_told():
    assert units({"weizmann": SOME}) == "ten real actions: 2 seeds, 10 people"
    assert units({"night_bright": SOME}) == "night, places tell nothing: 2 seeds, 10 clips"


def row(data, condition, nats):
    return dict(data=data, condition=condition, metric="target_entropy", value=nats)


def test_effects_stand_beside_what_teachers_said_on_every_set_that_is_there():
    found = {"night_context": SOME, "night_context_fresh": SOME, "night_context_crossed_fresh": CROSSED,
             "night_bright": SOME}
    rows = pd.DataFrame([row("night_context", "pkd", 0.25), row("night_context_crossed_fresh", "pkd_unseen", 1.5)])
    table = beside(found, rows)
    unread = "night, places tell, unread"
    p3 = table[table.claim.isin(["P3", "P3u"]) & table.minus.isin(["CE on labels", "ce_ic_unseen"])].set_index("on")
    assert p3.nats["night, places tell"] == 0.25 == p3.nats[unread], "of the same teachers"
    assert p3["nats of the other"]["night, places tell"] == 0 and p3.effect[unread].startswith("+10.0")
    assert p3.nats["night, unread, teachers of other scenes"] == 1.5 and set(p3.seeds) == {len(SOME.seeds)}
    nobody = p3.loc["night, places tell nothing"]
    assert np.isnan(nobody.nats) and np.isnan(nobody["nats of the other"])
    assert beside({}, rows).empty


def test_what_a_threshold_saves():
    stops = np.zeros((1, len(THETAS), 2, 2), np.uint8)
    stops[:, -1], stops[:, list(THETAS).index(0.9), 0] = 11, 3  # one of two clips goes on to the fourth exit
    right = np.ones(stops.shape, bool)
    right[:, list(THETAS).index(0.9), 1] = False
    curves = {"stops/pkd": stops, "right/pkd": right, "cost/macs": np.arange(1.0, 13), "cost/seconds": np.full(12, 2.0),
              "cost/seconds_decoded": np.arange(2.0, 14)}
    found = saved_at(curves, 0.9)
    assert found == {"macs": pytest.approx(100 * 2.5 / 12), "seconds": 100, "points": -50,
                     "seconds_decoded": pytest.approx(100 * 3.5 / 13)}
    with pytest.raises(ValueError, match="theta=0.91 was not swept"):
        saved_at(curves, 0.91)


def test_networks_stand_in_a_table(monkeypatch):
    recipes = trio(SMOKE, night(SMOKE))
    losses = dict(zip(recipes, [(0.1, 0.1), (2.0, 0.1), (0.1, 0.1)], strict=True))
    runs = {recipe: SimpleNamespace(recipe=recipe, net=lambda: __import__("torch").nn.Linear(2, 1),
                                    predictions=lambda split: SimpleNamespace(accuracy=70.0 + (split == "test")))
            for recipe in recipes}
    monkeypatch.setattr(tables, "teaching_losses", lambda run: losses[run.recipe])
    found = network_table([recipes], runs)
    assert found.network.tolist() == list(ORDER) and found.parameters.tolist() == [3, 3, 3]
    assert found["validation %"].tolist() == 3 * [70] and found["test %"].tolist() == 3 * [71]
    assert found.gate[0] == "may teach" != found.gate[1] and found["CE (nats)"][1] == 2


def test_what_teachers_said_is_a_mean_over_seeds(monkeypatch):
    def run(method, nats):
        return SimpleNamespace(recipe=SimpleNamespace(method=method), nats=nats)

    monkeypatch.setattr(tables, "target_entropy", lambda run: np.array(run.nats))
    found = said_beyond_labels({"ce_ic": [run(LabelExits(), None)],
                                "pkd": [run(Progressive(), (0.1, 0.2, 0)), run(Progressive(), (0.3, 0.2, 0))]})
    assert found.values.tolist() == [["PKD (motion, residual, own)", pytest.approx(0.2), pytest.approx(0.2), 0]]


def test_every_function_is_tested_here():
    assert public(tables) <= globals().keys()


def test_sets_whose_gate_was_not_kept_are_named_once():
    said = gates(rows("weizmann", without=("twice",)), {"night_bright": "one", "weizmann": "people", "night": "two"})
    assert [line.split()[0] for line in said.splitlines()] == ["people", "one"] and "all may teach" in said
    assert said.splitlines()[1].startswith("one and two: whether their networks may teach was not kept")
    assert len(gates(rows("weizmann", without=("twice",)), {"weizmann": "people"}).splitlines()) == 1
