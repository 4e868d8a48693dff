"""Notebook 08's pictures say what they are given."""

import numpy as np
import pandas as pd
import pytest
import torch

from kdlab.measure.lanczos import lanczos
from kdlab.measure.surface import Path
from kdlab.papers.progressive.nets import CLAIMED
from kdlab.show import displayed, widgets
from kdlab.studies import flatness_plots
from kdlab.studies.flatness_rows import MEASURES, correlations, hierarchy, wide
from kdlab.studies.walks import Walk
from tests.figures import legible
from tests.measure.test_flatness import quadratic
from tests.studies.test_flatness import made_up

pytestmark = pytest.mark.usefixtures("styled")

LEVELS = dict(zip(CLAIMED, (1.0, 2.0, 4.0), strict=True))


def test_reliefs_are_cut_off_at_one_height(monkeypatch):
    at = np.linspace(-1, 1, 5)
    losses = 3 * at[:, None] ** 2 + at**2 + 0.2
    monkeypatch.setattr(flatness_plots, "CEILING", 2.0)
    fig = flatness_plots.surfaces(at, at, {"iframe": losses, "motion": losses})
    both = legible(fig)
    assert "iframe" in both and "motion" in both and "cut off at 2" in both
    assert [ax.get_zlim() for ax in fig.axes] == 2 * [(0, 2)]
    assert "iframe 0.20 in the middle, 2.95 along the edge; motion 0.20" in displayed.alt(fig)


def test_a_walk_shows_where_the_step_leads(monkeypatch, capsys):
    at = np.linspace(-1, 1, 5)
    walks = {m: {"random 1": Walk(at, 1 + at**2, 50 - 10 * at), "the steepest": Walk(at, 1 + 9 * at**2, 50 + 0 * at)}
             for m in CLAIMED}
    fig = flatness_plots.walk_picture(walks, "the steepest", 0.5)
    said = legible(fig)
    assert "iframe 3.25, residual 3.25, motion 3.25 nats" in said and "cut off at 6" in said
    assert fig.axes[0].get_ylim() == (0, 6)
    assert "iframe above 6" in legible(flatness_plots.walk_picture(walks, "the steepest", 1))
    monkeypatch.setattr(widgets, "headless", lambda: False)
    widget = flatness_plots.walk_widget(walks)
    direction, step = widget.children[:2]
    assert (step.min, step.max) == (-1, 1) and direction.options == ("random 1", "the steepest")
    direction.value, step.value = "the steepest", -1
    widget.update()
    assert "Error" not in capsys.readouterr().out
    monkeypatch.setattr(widgets, "headless", lambda: True)
    assert flatness_plots.walk_widget(walks) is None


def test_path_shows_the_place_and_the_barrier(monkeypatch):
    at = np.linspace(0, 1, 5)
    line = Path(at, np.array([0.1, 1, 2, 1, 0.1]), np.array([1, 0.5, 0.1, 0.5, 1]))
    text = legible(flatness_plots.path_picture({"two seeds": line}, 0.25))
    assert "barrier 1.90" in text and "at 0.25: 1.00 nats, 50 %" in text
    monkeypatch.setenv("KDLAB_HEADLESS", "1")
    assert flatness_plots.path_widget({"two seeds": line}) is None


def test_bands_densities_and_fakes():
    at = np.linspace(-1, 1, 5)
    fig = flatness_plots.bands({m: (at, np.stack([at**2, 2 * at**2])) for m in CLAIMED}, "at 0.5 nats")
    assert all(m in legible(fig) for m in CLAIMED) and len(fig.axes[0].collections) == 3
    matrix = torch.diag(torch.tensor([-1.0, 0, 0, 0, 9]).double())
    runs = {m: [lanczos(quadratic(matrix), 5)] for m in CLAIMED}
    fig = flatness_plots.densities(runs)
    assert len(fig.axes) == 3 and fig.axes[0].get_xlim()[0] < -1 and fig.axes[0].get_xlim()[1] > 9
    ratios = pd.DataFrame({"trace": [100.0, 1, 0.01], "ASAM 0.5": [1.0, 1, 1]}, index=[0.1, 1, 10])
    assert "ASAM 0.5" in legible(flatness_plots.faked(ratios))


def test_orders_scatter_and_forest():
    rows = made_up(LEVELS, skip=[("motion", 0.1, 0)])
    text = legible(flatness_plots.orders({"places tell": hierarchy(rows, "night_context")}))
    assert text.count("as claimed") == 4 and text.count("missing") == 4 and "places tell" in text
    assert all(label in text for label in MEASURES.values())
    assert "iframe, places tell" in legible(flatness_plots.scatter(wide(rows)))
    more = rows[rows.condition == "matched:motion:0.5"].assign(condition="generative:kd:end", data="night_bright")
    shown = legible(flatness_plots.scatter(wide(pd.concat([rows, more]))))
    assert "notebook 04" in shown and "notebook 03" not in shown and "motion, places tell" in shown
    table = correlations(rows, replicates=20)
    assert len(flatness_plots.forests({"alone": table}).axes) == 1
    fig = flatness_plots.forests({"stopped": table, "all": table, "registered": table})
    assert [ax.get_title() for ax in fig.axes] == ["stopped", "all", "registered"]
    assert "training loss (disc: |ρ|)" in legible(fig) and "the sharper, the larger the gap" in legible(fig)
    assert fig.axes[0].get_xlim() == pytest.approx((-1, 1))
