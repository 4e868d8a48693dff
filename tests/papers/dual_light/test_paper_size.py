"""The paper profile: its numbers, its costs on the meta device, the dry run, and the whole of it in miniature."""

import importlib
import re
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from kdlab import paths
from kdlab.clips import released
from kdlab.clips.enhance import Gamma
from kdlab.clips.paper_window import ConsecutiveWindow
from kdlab.clips.views import Enhanced, Raw
from kdlab.nets.attention_head import Attended
from kdlab.nets.pretrained import untrained
from kdlab.nets.video import TinyR2Plus1D
from kdlab.papers import paper_size as papers_size
from kdlab.papers.dual_light import paper_size
from kdlab.papers.dual_light.both_lights import BothLights
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.paper_size import PAPER, SETS, recipes
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.dual_light.two_lights import TwoLights
from kdlab.papers.paper_size import Paper, PaperSet, activation_bytes, cost, either, in_precision, sharing
from kdlab.train.loop import Settings
from kdlab.train.many import in_order
from kdlab.train.optimisers import Rule
from kdlab.train.recipe import Recipe
from kdlab.train.sizes import DEMO, Profile
from tests.clips.test_released import arid_tree
from tests.conftest import encode, pattern

ARID = SETS[0]
MINIATURE = replace(PAPER, sets=(PaperSet("ARID v1.0", "arid", 11, (88,), (), ("1",)), *SETS[1:]))
SMOKE = Profile("paper", DEMO.night, Settings(1, 16), ConsecutiveWindow(8, 20, 16),
                Attended(TinyR2Plus1D((4, 8)), tokens=8, dropout=0.1), seeds=1)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with a miniature of ARID v1.0: the released layout, one split, real little videos."""
    for name in ("runs", "cache"):
        monkeypatch.setenv(f"KDLAB_{name.upper()}", str(tmp_path / name))
    counts = arid_tree(tmp_path / "sets" / "arid")
    monkeypatch.setattr(released, "ARID_COUNTS", {"1": counts})
    one = encode(tmp_path / "one.mp4", pattern(10, 32, 24))
    for clip in (tmp_path / "sets" / "arid").rglob("*.mp4"):
        shutil.copy(one, clip)
    return tmp_path / "sets"


def test_the_numbers_are_those_of_the_reference():
    size = paper_size.profile()
    assert size.settings == Settings(200, 8, 1e-5, 1e-3, "one_cycle", "bf16")
    assert (size.window.frames, size.window.crop, size.window.scales) == (64, 112, (1.0, 0.875, 0.75, 0.66))
    assert (size.net.backbone.depth, size.net.tokens, size.net.heads, size.net.dropout) == (34, 8, 8, 0.8)
    student = dual_light(size)["dlkdd"]
    assert (student.method, student.teacher.view) == (DualLight(4.0, 0.5), Enhanced(Gamma(1.8)))
    other = paper_size.profile(as_released=True).settings
    assert other.as_released.patience == 5 and dict(other.as_released.rules) == {"net": Rule("adamw")}
    assert (other.batch_size, other.accumulate) == (16 * size.settings.batch_size, 16)
    assert replace(other, as_released=None, batch_size=8, accumulate=1) == size.settings  # its rate is the released one
    both = dual_light(size)["two_lights"]
    assert (both.net, both.view) == (TwoLights(size.net.backbone, 16, 8, 0.8), BothLights(Gamma(1.8)))
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nowhere.pth"):
        paper_size.profile("/nowhere.pth")


def test_every_number_has_an_owner_in_the_docs():
    text = (paths.project_root() / "docs" / "methods.md").read_text(encoding="utf-8")
    section = text.split("### 1.5 ")[1].split("\n## ")[0].split("\n### ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]
    told = {what: (value, whose) for what, value, whose, _ in rows[1:]}
    assert all(re.fullmatch(r"(paper|reference code|ours)(, (paper|reference code|ours))*", whose)
               for _, whose in told.values())
    size = paper_size.profile()
    for what, number in (("rate", f"{size.settings.lr:.0e}".replace("e-0", "e-")), ("batch", size.settings.batch_size),
                         ("epochs", size.settings.epochs), ("clip", size.window.frames),
                         ("test crop", size.window.crop), ("loss", DualLight().alpha)):
        assert re.search(rf"\b{number}\b", told[what][0]), what


def test_conditions_are_the_profiles_and_an_enhancer_makes_only_what_it_enters(tmp_path):
    made = recipes(ARID, tmp_path, SMOKE, seed=3)
    assert {split for split, _, _ in made} == {"1", "2", "3"} and len(made) == 33 == len(set(made.values()))
    assert {c for _, _, c in made} == set(dual_light(SMOKE))
    assert {c for s, name, c in made if name == "zerodce"} == {"ce_enhanced", "dlkdd", "label_smoothing", "two_lights"}
    taught = made["2", "zerodce", "dlkdd"]
    assert taught.data.test_fold == "2" and taught.view == Raw() and taught.seed == 3
    assert taught.teacher.view == Enhanced(TrainedCurves(taught.data, width=32, side=256))


def test_counts_on_the_meta_device_are_those_of_a_real_pass():
    for recipe in dual_light(SMOKE).values():
        assert cost(recipe, 11) == pytest.approx(cost(recipe, 11, device="cpu"), rel=2e-3)  # attention has two ways


def test_activations_of_a_known_network():
    """Kept: the input of the convolution, of the batch norm (with its two statistics), of the ReLU its output."""
    net = nn.Sequential(nn.Conv3d(3, 8, 1, bias=False), nn.BatchNorm3d(8), nn.ReLU())
    places = 2 * 4 * 5 * 5
    losses = (net(torch.zeros(2, 3, 4, 5, 5)).sum() for _ in range(2))  # of which the larger counts
    assert activation_bytes(net, losses) == 4 * (places * (3 + 8 + 8) + 2 * 8)


def test_the_papers_network_has_the_published_cost():
    """R(2+1)D-34 has 152 GFLOPs (of one multiply and add) and 63.5 M parameters at 32 × 112² in the literature."""
    base = Recipe("", DEMO.night, net=untrained(paper_size.profile().net.backbone), window=ConsecutiveWindow(32))
    macs_of_32 = cost(base, 400).forward
    assert macs_of_32 / 1e9 == pytest.approx(152, abs=1)
    whole = cost(dual_light(paper_size.profile())["ce_raw"], 11)
    assert whole.forward / macs_of_32 == pytest.approx(2, rel=1e-3) and whole.trained > 63.5e6 and not whole.frozen
    assert (f"{whole.forward / 1e9:.1f}", f"{whole.trained / 1e6:.1f}") == ("304.7", "66.7")
    assert whole.training / whole.forward == pytest.approx(3, rel=0.01) and whole.kept > 64 * 3 * 112**2 * 4


def test_a_live_teacher_and_a_second_light_cost_what_they_do():
    made = {name: cost(recipe, 11) for name, recipe in dual_light(SMOKE).items()}
    plain = made["ce_raw"]
    assert 2.5 * plain.forward < plain.training < 3 * plain.forward  # no gradient goes into the pixels
    assert made["dlkdd"].training == plain.training + plain.forward and made["dlkdd"].frozen == plain.trained
    assert plain == made["ce_enhanced"] == made["label_smoothing"] == made["ce_2x"]
    assert made["two_lights"].forward == pytest.approx(2 * plain.forward, rel=1e-2)


def test_hours_are_counted_once_for_a_shared_teacher():
    some = dual_light(SMOKE)
    assert in_order([some["dlkdd"], some["label_smoothing"]]) == [
        some["dlkdd"].teacher, some["dlkdd"], some["label_smoothing"]]
    made = {("1", "gamma", name): some[name] for name in ("ce_raw", "dlkdd", "label_smoothing", "ce_2x")}
    made |= {("2", "gamma", "dlkdd"): replace(some["dlkdd"], seed=9)}  # another split takes the same
    plain, taught = (cost(some[name], 11).training for name in ("ce_raw", "dlkdd"))
    table = PAPER._table(ARID, made, [48, 52], flops=2 * 100 * plain)  # an epoch of plain training is an hour
    assert table.trainings.tolist() == ["ce_raw, ce_enhanced, label_smoothing", "dlkdd", "ce_2x"]
    assert table.n.tolist() == [3, 1, 1] and table.steps.tolist() == ["3, 3", "3, 3", "6, 6"]
    assert table.h.tolist() == pytest.approx([1, taught / plain, 2], abs=1e-3)


def test_the_dry_run_tells_what_is_there_and_what_it_takes(root):
    text = MINIATURE.dry_run(root, SMOKE, tflops=100)
    found = re.findall(r"^  found +(.*)$", text, re.MULTILINE)
    assert [line.split(":")[0] for line in found] == ["yes", "no", "no"]
    train = len(MINIATURE.look(MINIATURE.sets[0], root)[0].split("train"))
    assert f"1: {train} training clips" in text and re.search(rf" {train // 16} +8 × 16² ", text)
    assert "1: 2,972, 2,972, 2,972" not in text and "5,642, 5,642, 5,642 training clips" in text
    for word in ("DL-KDD: unknown", "DarkLight, R(2+1)D-34 84.13", "48.96", "100 TFLOP/s × 0.35", "gamma1.8", "zerodce",
                 "list_cvt/mapping_table", str(root / "dark48"), "GiB"):
        assert word in text
    assert re.findall(r"clips of (\d+ frames of \d+ × \d+, \w+)", text) == [
        "10 frames of 32 × 24, of", "182 frames of 320 × 240, assumed", "182 frames of 320 × 240, assumed"]
    assert text.count("h a seed to read and prepare all clips once") == 3 and "KDLAB_CACHE_GB=1 holds all" in text
    assert not (paths.runs_dir()).exists()


def test_another_data_set_in_the_folder_is_not_taken_for_it(root):
    shutil.rmtree(root / "arid" / "list_cvt")  # class folders without lists are ARID v1.5's way
    assert "holds ARID v1.5" in MINIATURE.look(MINIATURE.sets[0], root)


def test_without_data_the_command_says_where_to_put_it(tmp_path, command, monkeypatch):
    call = partial(command, "paper", "dual_light", "--data-root", tmp_path)
    code, _, error = call()
    assert code == 2 and error.count("is left out: no folder") == 3 and str(tmp_path / "arid15") in error
    assert call("--weights", str(tmp_path / "none.pth"))[0] == 2
    monkeypatch.setattr(paper_size, "profile", lambda **options: SMOKE)
    code, out, _ = call("--dry-run", "--tflops", "800")
    assert code == 0 and "800 TFLOP/s" in out and "same_light, dlkdd" in out


def test_a_gpus_work_is_refused_where_the_hardware_has_no_bf16(root, monkeypatch):
    half = in_precision(SMOKE, "bf16")
    assert half.settings == replace(SMOKE.settings, precision="bf16") and in_precision(half, "fp32") == SMOKE
    monkeypatch.setattr(papers_size, "bf16", lambda: (False, "compute capability 7.5 against 8.0"))
    with pytest.raises(ValueError, match="which this hardware has not .compute capability 7.5.*--precision fp32"):
        MINIATURE.run(root, half)
    assert not paths.runs_dir().exists()


def test_a_data_sets_rows_are_said_before_the_next_which_may_fail(tmp_path, monkeypatch):
    said, made = [], []

    def rows(which, runs, size, say):
        assert made == [which.title for which in SETS], "all are looked at before the first training"
        if which.folder == "dark48":
            raise ValueError("its fifth clip is damaged")
        return [("gamma1.8", "ce_raw", "top1", 12.345)]

    monkeypatch.setattr(Paper, "look", lambda self, which, root: [])
    paper = replace(PAPER, recipes=lambda which, *more: made.append(which.title) or {}, rows=rows)
    with pytest.raises(ValueError, match="its fifth clip"):
        paper.run(tmp_path, SMOKE, say=said.append)
    assert len(said) == 2 and said[1].startswith("ARID v1.5 is through:") and "ce_raw" in said[1] and "12.3" in said[0]


def test_processes_that_cannot_share_a_batch_are_refused_before_any_clip_is_opened(root, monkeypatch):
    for name, value in {"WORLD_SIZE": 3, "LOCAL_WORLD_SIZE": 3, "RANK": 0, "LOCAL_RANK": 0,
                        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29611}.items():  # where nobody is met
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("kdlab.papers.paper_size.obtain", lambda recipe, say: pytest.fail("waits for the other two"))
    with pytest.raises(ValueError, match=r"dual_light trains in batches of 16, which 3 processes .* 1, 2, 4, 8 or 16"):
        MINIATURE.run(root, SMOKE)
    assert not paths.runs_dir().exists()


@pytest.mark.parametrize("module", ["dual_light.paper_size", "progressive.paper_size", "generative.paper_size",
                                    "generative.detection_paper_size"])
def test_the_document_says_how_many_processes_can_share_each_papers_batches(module, tmp_path):
    found = importlib.import_module(f"kdlab.papers.{module}")
    made = [[*found.recipes(found.SETS[0], tmp_path, found.profile(as_released=released)).values()]
            for released in (False, True)]
    assert sharing(made[0]) == sharing(made[1]), "with --as-released, too"
    text = (paths.project_root() / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert f"`kdlab paper {found.PAPER.name}` | {either(sharing(made[0]))} |" in text


@pytest.mark.slow
def test_the_whole_profile_in_miniature(root, monkeypatch):
    monkeypatch.setattr(paper_size, "ENHANCERS", {
        "gamma1.8": lambda clips: Gamma(1.8),
        "zerodce": lambda clips: TrainedCurves(clips, width=2, side=16, clips=4, batch=4, steps=2)})
    said = []
    table = MINIATURE.run(root, SMOKE, say=said.append)
    assert sum("is left out" in line for line in said) == 2
    assert list(table.index) == [("ARID v1.0", e, c) for _, e, c in recipes(MINIATURE.sets[0], root, SMOKE)]
    assert table.top1.between(0, 100).all() and len(table) == 11
    assert said[-1].startswith("ARID v1.0 is through:")
    trained = sum("trained in" in line for line in said)
    assert trained == 14  # eleven conditions, and three teachers of another seed
    MINIATURE.run(root, SMOKE, say=said.append)
    assert sum("trained in" in line for line in said) == trained
