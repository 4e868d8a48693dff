"""The paper profile of GenKD for recognition: its numbers, its costs, the dry run, and the whole of it in miniature."""

import re
import shutil
from dataclasses import replace

import pytest

from kdlab import paths
from kdlab.clips import released
from kdlab.clips.flow import Flow, FlowFiles
from kdlab.clips.paper_window import ConsecutiveWindow
from kdlab.nets.i3d import I3D, STAGES, TOP, TinyC3D
from kdlab.papers.generative import paper_size
from kdlab.papers.generative.nets import Gated
from kdlab.papers.generative.paper_size import CONDITIONS, PAPER, SETS, STREAMS, profile, recipes
from kdlab.papers.paper_size import PaperSet, cost
from tests.conftest import encode, pattern
from tests.papers.progressive.test_paper_size import ucf_tree


def test_the_numbers_are_those_of_the_reference():
    size = profile()
    assert size.teachers == (I3D(), I3D(channels=2)) and size.students == (I3D(TOP), I3D(TOP, channels=2))
    assert size.teachers[0].temporal == STAGES
    assert [(s.epochs, s.batch_size, s.weight_decay) for s in size.settings] == [(200, 6, 5e-4), (200, 12, 5e-4)]
    assert [w.scales for w in size.windows] == [(1, 0.875, 0.75, 0.66), (1, 0.875, 0.75)]
    assert {(w.frames, w.side, w.crop) for w in size.windows} == {(64, 256, 224)}
    for one, rate, other in zip(size.settings, (1e-3, 1e-2), profile(as_released=True).settings, strict=True):
        assert (one.lr, other.lr, one.as_released) == (1e-4, rate, None)
        rules = dict(other.as_released.rules)
        assert (rules["net"].kind, rules["net"].momentum) == ("sgd", 0.9) and rules["cvae"].betas == (0.8, 0.999)
        assert rate * rules["cvae"].share == pytest.approx(1e-4) and rules["cvae"].decay == 0
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nowhere.pth"):
        profile({"flow": "/nowhere.pth"})


def test_recipes_alternate_and_their_teachers_are_of_the_same_stream(tmp_path):
    made = recipes(SETS[0], tmp_path, profile(flow_folder=tmp_path))
    assert set(made) == {(split, stream, c) for split in "123" for stream in STREAMS for c in CONDITIONS}
    for (split, stream, name), recipe in made.items():
        assert recipe.data.test_fold == split
        assert isinstance(recipe.view, FlowFiles) == (stream == "flow")
        if recipe.teacher:
            assert recipe.teacher.view == recipe.view and recipe.teacher.window == recipe.window
            assert recipe.teacher.seed == recipe.seed + 1
        if name in ("teacher_fr", "genkd", "untrained"):
            assert recipe.method.alternating == recipe.settings.epochs == 400 and recipe.net.dropout == 0.5
        else:
            assert recipe.settings.epochs == 200 and not isinstance(recipe.net, Gated)
    assert isinstance(recipes(SETS[0], tmp_path, profile())["1", "flow", "kd"].view, Flow)


def test_every_number_has_an_owner_in_the_docs():
    text = (paths.project_root() / "docs" / "methods.md").read_text(encoding="utf-8")
    section = text.split("### 2.2 ")[1].split("\n## ")[0].split("\n### ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]
    told = {what: (value, whose) for what, value, whose in rows[1:]}
    assert all(re.fullmatch(r"(paper|reference code|ours)(, (paper|reference code|ours))*", whose)
               for _, whose in told.values())
    size = profile()
    for what, numbers in {"epochs": [size.settings[0].epochs], "batch": [s.batch_size for s in size.settings],
                          "crops": size.windows[0].scales, "rate": ["1e-4"], "weight decay": ["5e-4"],
                          "clip": [64, 224]}.items():
        assert all((f"{n:g}" if isinstance(n, float) else str(n)) in told[what][0] for n in numbers), what


def test_a_step_counts_both_passes_the_cvaes_and_the_teacher(tmp_path):
    made = recipes(SETS[0], tmp_path, profile())
    kd, genkd = (cost(made["1", "rgb", name], 101) for name in ("kd", "genkd"))
    teacher = cost(made["1", "rgb", "kd"].teacher, 101)
    assert f"{teacher.forward / 1e9:.1f}" == "111.2" and kd.frozen == teacher.trained
    assert kd.training == pytest.approx(3 * kd.forward + teacher.forward, rel=0.02)
    assert 2 * genkd.training == pytest.approx(4 * genkd.forward + teacher.forward, rel=0.02)  # passes take turns
    assert genkd.trained - kd.trained > 112e6 and genkd.frozen > 112e6 + teacher.trained  # a CVAE each


def small():
    """The paper's size with smaller numbers."""
    whole, spec = profile(), TinyC3D((2, 2, 2, 4))
    return replace(
        whole, teachers=(spec, replace(spec, channels=2)), students=(spec, replace(spec, channels=2)),
        windows=(ConsecutiveWindow(16, 36, 32, (1.0, 0.75)), ConsecutiveWindow(16, 36, 32, (1.0, 0.75))),
        settings=tuple(replace(s, epochs=1, batch_size=16, precision="fp32") for s in whole.settings))


def test_the_dry_run_says_what_is_missing_and_what_it_costs(tmp_path, command, monkeypatch):
    said = PAPER.dry_run(tmp_path, small())
    assert f"no folder {tmp_path / 'ucf101'}" in said and "kdlab paper generative --dry-run" in said
    assert len(re.findall(r"GPU time +([\d.]+) h", said)) == 2 and "64.1 / 82.1" in said
    assert len(re.findall(r"^ +(rgb|flow) .* genkd, untrained$", said, re.MULTILINE)) == 4
    assert len(re.findall(r"CPU time +about [\d,]+ h a seed .*\n +cache +about KDLAB_CACHE_GB=\d+ ", said)) == 2
    monkeypatch.setattr(paper_size, "profile", lambda **options: small())
    code, out, _ = command("paper", "generative", "--dry-run", "--data-root", tmp_path)
    assert code == 0 and out.strip() == said.strip()
    with pytest.raises(FileNotFoundError, match="no data set of the paper can be opened"):
        PAPER.run(tmp_path, profile())


@pytest.mark.slow
def test_the_whole_of_it_in_miniature(tmp_path, monkeypatch):
    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name))
    monkeypatch.setattr(paths, "pretrained_dir", lambda: tmp_path / "pretrained")
    monkeypatch.setitem(released.UCF_COUNTS, "1", ucf_tree(tmp_path / "sets" / "ucf101"))
    film = encode(tmp_path / "film.avi", pattern(18, 48, 40), codec="mpeg4")
    for clip in (tmp_path / "sets").rglob("*.avi"):
        shutil.copy(film, clip)
    miniature = replace(PAPER, sets=(PaperSet("UCF-101", "ucf101", 3, (66,), (), ("1",)), SETS[1]))
    lines = []
    table = miniature.run(tmp_path / "sets", small(), say=lines.append)
    assert table.index.tolist() == [("UCF-101", "rgb"), ("UCF-101", "flow"), ("UCF-101", "both")]
    assert list(table.columns) == list(CONDITIONS) and table.notna().all().all()
    assert any("HMDB-51 is left out" in line for line in lines)
