"""The paper profile: its numbers, its costs on the meta device, the dry run, and the whole of it in miniature."""

import re
import shutil
from functools import partial

import pytest
from torch import nn

from kdlab import paths
from kdlab.clips import released
from kdlab.clips.enhance import Gamma
from kdlab.clips.paper_window import ConsecutiveWindow
from kdlab.clips.views import Enhanced, Raw
from kdlab.measure.cost import macs
from kdlab.nets.attention_head import Attended
from kdlab.nets.pretrained import untrained
from kdlab.nets.video import TinyR2Plus1D
from kdlab.papers.dual_light import paper_size
from kdlab.papers.dual_light.both_lights import BothLights
from kdlab.papers.dual_light.enhancer import TrainedCurves
from kdlab.papers.dual_light.method import DualLight
from kdlab.papers.dual_light.paper_size import SETS, dry_run, gpu_hours, recipes, run
from kdlab.papers.dual_light.recipes import dual_light
from kdlab.papers.dual_light.two_lights import TwoLights
from kdlab.papers.paper_size import PaperSet, activation_bytes, cost, look
from kdlab.train.loop import Settings
from kdlab.train.sizes import DEMO, Profile
from tests.clips.test_released import arid_tree
from tests.conftest import encode, pattern

ARID = SETS[0]
SMOKE = Profile("paper", DEMO.night, Settings(1, 16, precision="bf16"), ConsecutiveWindow(8, 20, 16),
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
    monkeypatch.setattr(paper_size, "SETS", (PaperSet("ARID v1.0", "arid", 11, (88,), (), ("1",)), *SETS[1:]))
    return tmp_path / "sets"


def test_the_numbers_are_those_of_the_reference():
    size = paper_size.profile()
    assert size.settings == Settings(200, 8, 1e-5, 1e-3, "one_cycle", "bf16")
    assert (size.window.frames, size.window.crop, size.window.scales) == (64, 112, (1.0, 0.875, 0.75, 0.66))
    assert (size.net.backbone.depth, size.net.tokens, size.net.heads, size.net.dropout) == (34, 8, 8, 0.8)
    student = dual_light(size)["dlkdd"]
    assert (student.method, student.teacher.view) == (DualLight(4.0, 0.5), Enhanced(Gamma(1.8)))
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
    spec = Attended(TinyR2Plus1D(), tokens=4)
    net, shape = spec.make(11), (1, 3, 16, 32, 32)
    number = sum(p.numel() for p in net.parameters())
    assert cost(spec, 11, 16, 32) == (macs(net, shape), activation_bytes(net, shape), number)


def test_activations_of_a_known_network():
    """Kept: the input of the convolution, of the batch norm (with its two statistics), of the ReLU its output."""
    net = nn.Sequential(nn.Conv3d(3, 8, 1, bias=False), nn.BatchNorm3d(8), nn.ReLU())
    places = 2 * 4 * 5 * 5
    assert activation_bytes(net, (2, 3, 4, 5, 5)) == 4 * (places * (3 + 8 + 8) + 2 * 8)


def test_the_papers_network_has_the_published_cost():
    """R(2+1)D-34 has 152 GFLOPs (of one multiply and add) and 63.5 M parameters at 32 × 112² in the literature."""
    macs_of_32 = cost(untrained(paper_size.profile().net.backbone), 400, 32, 112)[0]
    assert macs_of_32 / 1e9 == pytest.approx(152, abs=1)
    forward, kept, parameters = cost(paper_size.profile().net, 11, 64, 112)
    assert forward / macs_of_32 == pytest.approx(2, rel=1e-3) and parameters > 63.5e6
    assert kept > 64 * 3 * 112**2 * 4


def test_hours_are_counted_once_for_a_shared_teacher():
    def some(*conditions):
        return [dual_light(SMOKE)[name] for name in conditions]

    hour = dict(clips=100, clip_macs=10, flops=2 * 10 * 100 / 3600)  # one pass over the clips takes an hour
    assert gpu_hours(some("ce_raw"), **hour) == pytest.approx(3)
    assert gpu_hours(some("ce_2x"), **hour) == pytest.approx(6)
    assert gpu_hours(some("dlkdd"), **hour) == pytest.approx(3 + 4)
    assert gpu_hours(some("dlkdd", "label_smoothing"), **hour) == pytest.approx(3 + 4 + 3)
    assert gpu_hours(some("two_lights"), **hour) == pytest.approx(2 * 3)


def test_the_dry_run_tells_what_is_there_and_what_it_takes(root):
    text = dry_run(root, SMOKE, tflops=100)
    found = re.findall(r"^  found +(.*)$", text, re.MULTILINE)
    assert [line.split(":")[0] for line in found] == ["yes", "no", "no"]
    train = len(look(paper_size.SETS[0], root)[0].split("train"))
    assert f"1: {train} training clips" in text and f"{train // 16} steps" in text
    assert "1: 2,972, 2,972, 2,972" not in text and "5,642, 5,642, 5,642 training clips" in text
    for word in ("DL-KDD: unknown", "DarkLight, R(2+1)D-34 84.13", "48.96", "100 TFLOP/s × 0.35", "gamma1.8, zerodce",
                 "list_cvt/mapping_table", str(root / "dark48"), "GiB"):
        assert word in text
    assert not (paths.runs_dir()).exists()


def test_another_data_set_in_the_folder_is_not_taken_for_it(root):
    shutil.rmtree(root / "arid" / "list_cvt")  # class folders without lists are ARID v1.5's way
    assert "holds ARID v1.5" in look(paper_size.SETS[0], root)


def test_without_data_the_command_says_where_to_put_it(tmp_path, command):
    call = partial(command, "paper", "dual_light", "--data-root", tmp_path)
    code, _, error = call()
    assert code == 2 and error.count("is left out: no folder") == 3 and str(tmp_path / "arid15") in error
    code, out, _ = call("--dry-run", "--tflops", "800")
    assert code == 0 and "304.7 GMACs" in out and "66.7 M parameters" in out and "800 TFLOP/s" in out
    assert call("--weights", str(tmp_path / "none.pth"))[0] == 2


@pytest.mark.slow
def test_the_whole_profile_in_miniature(root, monkeypatch):
    monkeypatch.setattr(paper_size, "ENHANCERS", {
        "gamma1.8": lambda clips: Gamma(1.8),
        "zerodce": lambda clips: TrainedCurves(clips, width=2, side=16, clips=4, batch=4, steps=2)})
    said = []
    table = run(root, SMOKE, say=said.append)
    assert sum("is left out" in line for line in said) == 2
    assert list(table.index) == [("ARID v1.0", e, c) for _, e, c in recipes(paper_size.SETS[0], root, SMOKE)]
    assert table.top1.between(0, 100).all() and len(table) == 11
    trained = sum("trained in" in line for line in said)
    assert trained == 14  # eleven conditions, and three teachers of another seed
    run(root, SMOKE, say=said.append)
    assert sum("trained in" in line for line in said) == trained
