"""Every study of kdlab's that goes shard after shard gives what it gives as a whole."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kdlab import paths
from kdlab.night.untrimmed import Untrimmed
from kdlab.papers.dual_light import controls, regimes_study
from kdlab.papers.dual_light import study as dual_light
from kdlab.papers.generative import alignment, detection_study
from kdlab.papers.generative import study as generative_study
from kdlab.papers.progressive import study as progressive
from kdlab.papers.progressive import wise_study
from kdlab.studies import attention, every, flatness, map_cells, map_drawn
from kdlab.study import Study
from kdlab.study.shards import _arrays
from tests.papers.progressive.test_study import miniature_people  # noqa: F401 (a fixture)

#: They are small, or tuned on real clips, so that they run whole.
WHOLE = {"dual_light_arid6", "dual_light_weizmann", "enhancers", "transfer", "night_audit",
         "regimes_arid6", "regime_starts", "streams", "teachers", "exit_calibration"}
#: Of the pre-trained regime the cells that differ in what is asked of them.
CELLS = "bn_none", "gn_few", "bn_none_unbalanced"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Clips and runs of all these tests, many of which are several studies'."""
    return tmp_path_factory.mktemp("kept")


def fewer(monkeypatch) -> None:
    """Of the conditions those that differ in what is asked of them."""
    made, sets = progressive._recipes, {"night_bright": ("teacher_fr", "student_ce", "student_2x", "genkd"),
                                        "night_bright_ablations": ("genkd", "attention"),
                                        "night_bright_once": ("student_gate", "student_fr"),
                                        "weizmann": ("student_ce", "genkd")}
    few = ("ce_ic", "pkd", "own_final", "reversed", "random_teacher")
    monkeypatch.setattr(progressive, "_recipes", lambda *a: {k: v for k, v in made(*a).items() if k in few})
    monkeypatch.setattr(progressive, "CONTEXTS", (0.0, 0.5, 0.9))
    every_set = wise_study.data_sets
    monkeypatch.setattr(wise_study, "data_sets", lambda size: {
        name: folds for name, folds in every_set(size).items() if name != "night_bright"})
    monkeypatch.setattr(generative_study, "SETS", sets)
    monkeypatch.setattr(alignment, "UNTRIMMED", Untrimmed(("Jump", "Wave"), (1, 1, 1), (12.0, 13.0)))
    monkeypatch.setattr(map_cells, "METHODS", ("dlkdd", "genkd"))
    monkeypatch.setattr(map_cells, "TEACHERS", ("pretrained",))
    monkeypatch.setattr(flatness, "SETS", {"night_context": 0.9})
    monkeypatch.setattr(flatness, "NETS", {"tiny": flatness.NETS["tiny"]})


def found(study: Study) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Its rows and arrays, but for those that tell how long something took."""
    place = paths.figures_dir()
    rows = pd.read_csv(place / f"{study.name}.csv", keep_default_na=False, dtype=str)
    timed = rows.metric.isin(["cpu_ms", "seconds", "seconds_decoded"]) | rows.condition.str.startswith("cost:") | (
        rows.metric.str.startswith("cpu_seconds_ratio"))
    arrays = {f"{file.stem}/{name}": values for file in sorted((place / "predictions").glob("*.npz"))
              for name, values in _arrays(file).items() if not name.startswith("cost/seconds")}
    return rows[~timed | (rows.metric == "macs")].reset_index(drop=True), arrays


@pytest.mark.slow
@pytest.mark.parametrize("study", [
    dual_light.study, controls.study, generative_study.study, detection_study.study, progressive.study,
    wise_study.study, flatness.study, attention.study, regimes_study.study, map_drawn.study,
], ids=lambda study: study.name)
def test_shards_together_are_the_whole(study, miniature_people, kept, monkeypatch):  # noqa: F811
    for name in ("RUNS", "CACHE", "DATA"):
        monkeypatch.setenv(f"KDLAB_{name}", str(kept / name))
    fewer(monkeypatch)
    if study is regimes_study.study:
        study = replace(study, parts=lambda *how, its=study.parts: [part for part in its(*how) if part.data in CELLS])
    small, said = replace(study, size=study.sized("smoke"), seeds=2, claims=()), []
    scores = small.run(workers=1, say=said.append)
    assert [k for k in (0, 1) if f"shard {k} of 2 of {study.name}" in "\n".join(said)] == [0, 1]
    by_shards = found(study)
    monkeypatch.setenv("KDLAB_FIGURES", str(miniature_people / "whole"))
    whole = replace(small, seedwise=False).run(workers=1, say=lambda _: None)
    (rows, one), (others, other) = by_shards, found(study)
    assert len(rows) == len(others)
    assert not [pair for pair in zip(rows.to_numpy().tolist(), others.to_numpy().tolist(), strict=True)
                if pair[0] != pair[1]]
    assert list(one) == list(other) and len(one) or study.name == "flatness"
    for name in one:
        assert np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f"), name
    assert {data: s.seeds for data, s in scores.items()}.items() <= {data: s.seeds for data, s in whole.items()}.items()


def test_all_other_studies_run_whole(monkeypatch, tmp_path):
    monkeypatch.setenv("KDLAB_REAL_CLIPS", str(tmp_path))
    assert {study.name for study in every().values() if not study.seedwise} == WHOLE
    for study in (study for study in every().values() if study.seedwise):
        shards = study.shards()
        assert shards.count == max(part.seeds for part in study.chosen())
        once = sum(len(column) for part in shards.parts for column in part.recipes.values())
        assert once == sum(len(part.recipes) for k in range(shards.count) for part in shards.cut(k))
