"""The page of results says what the committed evidence says, and nothing in it is typed."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kdlab import paths
from kdlab.measure.paired import Effect
from kdlab.show.claims import Told
from kdlab.studies import gallery, results
from kdlab.study import Scores, load_rows
from kdlab.system.contents import hashes
from kdlab.system.ours import NotOurs
from tests.show.test_scoreboard_cells import CLAIM, STUDY, WAITING, cell

FILE = paths.project_root() / "docs" / "results.md"
#: Tables that take seconds of computing.
SLOW = (results.exits_table, results.detection_table, results.errors_table, results.generative_errors_table,
        results.exits_errors_table, results.ledger_table)
TABLES = [table for section in results.SECTIONS for table in section.tables]


@pytest.mark.parametrize("table", [pytest.param(table, marks=pytest.mark.slow if table in SLOW else (),
                                                id=table.__name__) for table in TABLES])
def test_each_table_is_that_of_todays_evidence(table):
    assert table() in FILE.read_text("utf-8"), "the evidence has changed: run `kdlab results`"


@pytest.mark.slow
def test_the_page_is_that_of_todays_evidence():
    assert results.page() == FILE.read_text("utf-8"), "the evidence has changed: run `kdlab results`"


def test_the_committed_ledger_vouches_for_the_committed_evidence():
    folder = paths.figures_dir()
    rows = json.loads((folder / paths.LEDGER).read_text("utf-8"))
    named = {name: its for row in rows for name, its in row["provenance"]["files"].items()}
    assert any(row["provenance"]["in_time"] for row in rows)
    of_p2 = {row["reading"]: set(row["provenance"]["files"]) for row in rows if row["claim"] == "P2"}
    assert of_p2 == {"registered": {"flatness_gap.csv"}, "second reading": {"flatness.csv"}}
    of_m1 = next(row for row in rows if row["claim"] == "M1" and row["reading"] == "second reading")
    assert set(of_m1["provenance"]["files"]) == {"map_drawn.csv", "predictions/map_drawn-night.npz"}
    entropies = load_rows("dual_light").query("condition == 'dlkdd' and metric == 'target_entropy' and data == 'night'")
    found = {row["claim"]: row["entropy"] for row in rows if row["reading"] == "registered"}
    assert found["D1"] == pytest.approx(entropies.value.astype(float).mean(), abs=1e-4) and found["D4"] is None
    assert named == hashes(folder, map(folder.joinpath, named)), "it has changed: run `kdlab claims --ledger`"


def test_every_reading_of_the_ledger_is_on_the_page():
    rows = json.loads((paths.figures_dir() / paths.LEDGER).read_text("utf-8"))
    lines = FILE.read_text("utf-8").partition("## Every reading")[2].splitlines()
    told = [tuple(cell.strip() for cell in line.split("|")[1:4]) for line in lines if line.startswith("| ")][2:]
    assert [(claim, data.partition(", ")[0], reading) for claim, data, reading in told] == [
        (row["claim"], f"`{row['data']}`".replace(" and ", "` and `"), row["reading"]) for row in rows if row["seeds"]]
    assert len(set(told)) == len(told), "two readings that cannot be told apart: their studies are named"


def test_pictures_and_chapters_of_the_sections_exist():
    notebooks = {path.stem for path in (paths.project_root() / "notebooks").glob("*.ipynb")}
    for section in results.SECTIONS:
        assert section.chapter in notebooks and set(section.pictures) <= gallery.PICTURES.keys()


def test_what_is_awaited_is_left_out_and_shown_once_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "SECTIONS", [section for section in results.SECTIONS if section.pictures in (
        ("regimes_and_claims",), ("when_it_helps",))])
    monkeypatch.setattr(results, "told", lambda names: [])
    monkeypatch.setenv("KDLAB_FIGURES", str(tmp_path))
    assert "In order of cost" not in results.page() and results.page().count(".png") == 1, "the scoreboard's"
    (tmp_path / "map_drawn.csv").touch()
    assert "figures/when_it_helps.png" in results.page() and "regimes_and_claims" not in results.page()
    (tmp_path / "regimes.csv").touch()
    ways = pd.DataFrame({"way": ["as it is", "entropy minimisation"], "labels": "none", "at inference": False,
                         "before": False, "seconds": [0.0, 12.0], "accuracy": [20.0, 72.5], "half_width": 1.0,
                         "gain": ["", "+52.5 ± 2.0"], "seeds": 10, "more": ["", "+52.5 ± 2.0"], "chosen": True})
    monkeypatch.setattr(results.regimes_list, "committed", lambda norm: ways[: 2 * (norm == "gn")])
    monkeypatch.setattr(results.regimes_list, "side_by_side", lambda norm, labelled: pd.DataFrame(
        {"": ["as it is"], "gamma, 10 seeds": ["20.0 ± 1.0"]})[: int(norm == "gn" and not labelled)])
    text = results.page()
    assert "| as it is | 20.0 ± 1.0 |" in text and text.count("without dark labels: accuracy") == 1
    assert text.count("In order of cost") == 1 and "With each clip first normalised by itself. In order of cost" in text
    assert "figures/regimes_and_claims.png" in text and "**entropy minimisation** (unlabelled dark clips)" in text
    assert "| entropy minimisation | unlabelled dark clips | 12 | 72.5 ± 1.0 | +52.5 ± 2.0 |" in text


def test_each_claim_leads_to_its_own_sentence(monkeypatch):
    """A picture has no links where the page is read on a code host."""
    said = [replace(cell("supported, small").said, claim=replace(CLAIM, claim=name)) for name in ("D9", "D9r", "D8")]
    said[2] = Told(STUDY, said[2].claim, "new", None, WAITING)
    monkeypatch.setattr(results, "told", lambda names: said if names == ("D9", "D9r", "D8") else [])
    sections = results.Section("Mine", "03_mine", ("D9", "D9r", "D8")), results.Section("Empty", "04_mine", ("D7",))
    monkeypatch.setattr(results, "SECTIONS", sections)
    before, after = results.page().split("## Mine")
    small = "supported, small"
    assert f"[D9](#claim-d9) {small} · [D9r](#claim-d9r) {small} · [D8](#claim-d8) not there yet\n" in before
    assert before.index("scoreboard.png") < before.index("(#claim-d9)") and "Empty" not in before
    for name in ("D9", "D9r", "D8"):
        assert after.count(f'- <a id="claim-{name.lower()}"></a>**{name}** says that') == 1


def test_a_table_has_means_deviations_and_what_the_method_gains():
    right = np.array([[1, 1, 0, 1], [1, 1, 1, 1]])
    ids = np.arange(4).astype(str)
    scores = Scores(("a", "b"), (0, 1), ids, ids, np.ones(4, int), {"new": right, "old": 0 * right})
    said = results._conditions("night", scores, {"new": "ours", "old": "theirs", "gone": "none"}, "new", "Ours")
    assert said.startswith("On `night`; chance is 50.0 %.")
    assert "| ours | 87.5 ± 17.7 |  | 2 | 4 |" in said
    assert "| theirs | 0.0 ± 0.0 | +87.5 ± " in said and "none" not in said


@pytest.mark.parametrize(("low", "high", "text"), [(1, 3, "**+2.0 ± 1.0**"), (-3, -1, "**−2.0 ± 1.0**"),
                                                   (-1, 1, "+0.0 ± 1.0")])
def test_an_interval_without_zero_is_bold(low, high, text):
    assert results._signed(Effect((low + high) / 2, low, high, low, high, 9, 9, 1, 1)) == text


def test_somebodys_page_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    monkeypatch.setattr(results, "page", lambda: f"# Results\n\n{results.MARK}\n")
    (tmp_path / "docs").mkdir()
    assert results.write().read_text().startswith("# Results") and results.write().is_file()
    (tmp_path / "docs" / "results.md").write_text("mine")
    with pytest.raises(NotOurs, match="no page of results of kdlab's"):
        results.write()
