"""The bench of distillers (studies/bench.py): what it compares, the rows of its page, and one distiller more."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kdlab.cli.main import cli
from kdlab.study import Scores
from kdlab.study.question import rows_of
from kdlab.system import paths

STUDIES = Path(__file__).resolve().parents[2] / "studies"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    return import_module("bench")


def test_every_student_has_the_network_of_its_labels_alone_and_is_tuned(bench):
    recipes = bench.base(bench.SIZE, 3)
    for name, recipe in recipes.items():
        if name.startswith("teacher"):
            assert recipe.seed == 3001
            continue
        assert recipe.seed == 3000
        assert len(bench.CANDIDATES[name]["settings.lr"]) >= 2
        alone = recipes[bench.plain(name)].net
        # SimKD's student ends with a projector to its teacher's channels
        own = replace(recipe.net, projector=0) if "SimKD" in name else recipe.net
        assert own == alone or name == bench.GATED
    teachers = {name.rpartition(", ")[2]: r.net for name, r in recipes.items() if "teacher" in name}
    assert teachers["equal"] == recipes[bench.ALONE].net
    # GenKD compares features of the last stage
    of_genkd = recipes["GenKD, wide"].teacher.net.backbone.widths
    assert of_genkd == (*teachers["wide"].widths[:-1], bench.STUDENT.widths[-1])


def test_a_row_has_the_differences_over_worlds_and_what_the_teacher_answers(
    bench, monkeypatch, tmp_path
):
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    names = [*bench.base(bench.SIZE, 0)]
    base = {name: 60.0 for name in names} | {bench.TWICE: 62.0, bench.GATED: 50.0}
    base |= {"KD, wide": 65.0, "matched smoothing, wide": 61.0}
    measured = pd.DataFrame([base] * len(bench.CURVES), bench.CURVES)
    measured["KD, wide"] += [0, 0, 0, 0, 20]
    labels, ids = np.arange(20) % 6, np.arange(20)
    right = np.eye(6)[labels][None]
    half = np.where(ids % 2, 1, -1)[None, :, None] * right
    for world in bench.CURVES:
        logits = dict.fromkeys(names, right) | {"KD, wide": half}
        scores = Scores(tuple("abcdef"), (0,), ids, ids, labels, logits=logits)
        scores.save(tmp_path / f"bench-{world}.npz")
    rows = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in bench.lines(measured)
    }
    # t of four degrees of freedom is 2.776; equal differences of 20 clips count as one clip, 5 points, apart
    assert rows["KD, wide"][:4] == ["69.0", "+9.0 ± 11.1", "+7.0 ± 11.1", "+8.0 ± 11.1"]
    assert rows["KD, wide"][4] == "50.0"
    assert rows["GenKD, wide"][1] == "+10.0 ± 6.2"
    assert rows["SimKD, equal"][4:] == ["100.0", f"{np.log(np.e + 5) - 1:.2f} |"]
    assert rows["labels alone"][1] == ""


@pytest.mark.slow
def test_a_distiller_of_your_own_is_one_line_more(bench, own_places):
    text, top = (STUDIES / "bench.py").read_text("utf-8"), "METHODS = {\n"
    assert text.count(top) == 1
    file = own_places / "my_bench.py"
    file.write_text(
        text.replace(top, top + '    "mine": (FitNet(), "weight", (0.1, 1.0)),\n'), "utf-8"
    )
    done = CliRunner().invoke(cli, ["study", str(file), "--profile", "smoke", "--world", "0"])
    assert done.exit_code == 0, done.output
    for name, row in (("bench", "mine, wide"), ("bench_tuning", "mine, wide, weight 0.1")):
        table = rows_of(paths.runs_dir() / "studies" / f"{name}.csv")
        assert row in table.condition.values
