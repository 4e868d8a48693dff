"""The paper profile of PKD and WISE: its numbers, its costs, the dry run, and the whole of it in miniature."""

import re
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from kdlab import paths
from kdlab.clips import released
from kdlab.clips.segments import PaperSegments
from kdlab.clips.transcode import CoviarFormat
from kdlab.nets.compressed import CoViARNet, tiny
from kdlab.papers.paper_size import PaperSet, in_precision
from kdlab.papers.progressive import paper_size
from kdlab.papers.progressive.budgets import everything, parts
from kdlab.papers.progressive.method import PAPER, LabelExits, Progressive, only
from kdlab.papers.progressive.nets import ORDER, Exit
from kdlab.papers.progressive.paper_size import CONDITIONS, SETS, fits, profile, recipes, scores
from kdlab.train.runs import Predictions
from tests.clips.test_released import HMDB, UCF, hmdb_tree, write
from tests.conftest import encode, pattern

COVIAR = {"codec": "mpeg4", "qmin": "2", "qmax": "2", "bf": "0", "g": "12"}
UCF_SET, HMDB_SET = (PaperSet("UCF-101", "ucf101", 3, (66,), (), ("1",)),
                     PaperSet("HMDB-51", "hmdb51", 2, (16,), (), ("1",)))
MINIATURE = replace(paper_size.PAPER, sets=(UCF_SET, HMDB_SET), fits=partial(fits, form=CoviarFormat(48, 32)))


def small(epochs: int = 1, as_released: bool = False):
    """The paper's recipe with smaller numbers."""
    size = in_precision(profile(as_released=as_released), "fp32")
    backbones = tuple(replace(b, net=tiny(b.condition), window=PaperSegments(3, 32, 28, b.window.scales),
                              settings=replace(b.settings, epochs=epochs, batch_size=16)) for b in size.backbones)
    return replace(size, settings=replace(size.settings, epochs=epochs), backbones=backbones)


def ucf_tree(root):
    """As released, with eleven groups to train on: enough for two in validation."""
    clips = {g: [f"{c}/v_{c}_g{g:02}_c{n:02}.avi" for c in UCF for n in (1, 2)] for g in range(1, 14)}
    lists = root / "ucfTrainTestlist"
    write(lists / "classInd.txt", [f"{i} {c}" for i, c in enumerate(UCF, 1)])
    train, test = (sum((clips[g] for g in some), []) for some in (range(3, 14), (1, 2)))
    write(lists / "trainlist01.txt", [f"{name} {1 + UCF.index(name.split('/')[0])}" for name in train])
    write(lists / "testlist01.txt", test)
    for name in train + test:
        (root / "UCF-101" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "UCF-101" / name).touch()
    return {"train": 66, "test": 12}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Miniatures of both sets in their released layout: one split, real little MPEG-4 videos."""
    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"KDLAB_{name}", str(tmp_path / name))
    monkeypatch.setattr(paths, "pretrained_dir", lambda: tmp_path / "pretrained")
    sets = tmp_path / "sets"
    monkeypatch.setitem(released.UCF_COUNTS, "1", ucf_tree(sets / "ucf101"))
    monkeypatch.setitem(released.HMDB_COUNTS, "1", hmdb_tree(sets / "hmdb51"))
    films = [encode(tmp_path / f"{k}.avi", np.roll(pattern(14 + k, 48, 32), 9 * k, 2), **COVIAR) for k in range(3)]
    for k, clip in enumerate(sorted(sets.rglob("*.avi"))):
        shutil.copy(films[k % 3], clip)
    return sets


def test_the_numbers_are_those_of_the_reference():
    size = profile()
    nets = size.needs()
    assert [nets[m].net for m in ORDER] == [CoViARNet(m, 50 if m == "iframe" else 18) for m in ORDER]
    assert [nets[m].settings.epochs for m in ORDER] == [510] * 3
    assert [nets[m].settings.batch_size for m in ORDER] == [80, 80, 40]
    assert [nets[m].window.scales for m in ORDER] == [(1, 0.875, 0.75)] * 2 + [(1, 0.875, 0.75, 0.66)]
    assert {(w.frames, w.side, w.crop) for w in (b.window for b in size.backbones)} == {(3, 256, 224)}
    assert (size.settings.epochs, size.settings.batch_size, size.settings.weight_decay) == (300, 32, 0)
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nowhere.pth"):
        profile({"motion": "/nowhere.pth"})


def test_as_released_each_layer_has_its_share_of_the_rate():
    """The rates of single weights, as the released scripts come to them."""
    size = profile(as_released=True)
    for modality, (base, first, inner) in {"motion": (1e-2, 1e-3, 1e-4), "residual": (5e-3, 5e-4, 5e-5),
                                           "iframe": (3e-4, 3e-6, 3e-6)}.items():
        settings, net = size.needs()[modality].settings, size.needs()[modality].net
        with torch.device("meta"):
            named = [(f"student.net.{name}", weight) for name, weight in net.make(51).named_parameters()]
        groups = settings.as_released.groups("net", named, settings.weight_decay)
        said = {name: (settings.lr * group["share"], group["weight_decay"]) for name, weight in named
                for group in groups if any(weight is one for one in group["params"])}
        assert said["student.net.fc.weight"] == pytest.approx((base, 1e-4))
        assert said["student.net.fc.bias"] == pytest.approx((base, 0))
        assert said["student.net.conv1.weight"] == pytest.approx((first, 1e-4))
        assert said["student.net.layer1.0.conv1.weight"] == pytest.approx((inner, 1e-4)), "not the network's first"
        assert said["student.net.layer4.0.bn1.bias"] == pytest.approx((inner, 0))
        assert settings.as_released.falls == (150, 270, 390)
    rules, heads = size.settings.as_released, recipes(SETS[0], paths.data_dir(), size)["1", "pkd"].net.make(51)
    groups = rules.groups("net", [(f"student.{n}", w) for n, w in heads.named_parameters()], 0.0)
    assert sorted(size.settings.lr * group["share"] for group in groups) == pytest.approx([3e-4, 5e-3, 1e-2])
    assert rules.falls == (150, 200, 250) and profile().settings.as_released is None


def test_every_number_has_an_owner_in_the_docs():
    text = (paths.project_root() / "docs" / "methods.md").read_text(encoding="utf-8")
    section = text.split("### 3.6 ")[1].split("\n## ")[0].split("\n### ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]
    told = {what: (value, whose) for what, value, whose, _ in rows[1:]}
    assert all(re.fullmatch(r"(paper|reference code|ours)(, (paper|reference code|ours))*", whose)
               for _, whose in told.values())
    size = profile()
    for what, numbers in {
        "training of a network": [size.backbones[0].settings.epochs, *(b.settings.batch_size for b in size.backbones)],
        "its rate": [f"{b.settings.lr:.0e}".replace("e-0", "e-") for b in size.backbones],
        "training of the exits": [size.settings.epochs, size.settings.batch_size],
        "their rate": [f"{size.settings.lr:.0e}".replace("e-0", "e-")],
        "segments": [size.backbones[0].window.frames],
        "training crop": [*size.backbones[2].window.scales[1:], size.backbones[0].window.crop],
    }.items():
        for number in numbers:
            assert re.search(rf"(?<![\d.]){number}(?!\.?\d)", told[what][0]), (what, number)


def test_recipes_differ_in_their_method_alone_and_share_networks(tmp_path):
    made = recipes(SETS[0], tmp_path, profile(draws=2), seed=3)
    assert set(made) == {(split, condition) for split in "123" for condition in CONDITIONS}
    base = made["2", "ce_ic"]
    assert all(replace(made["2", c], condition="ce_ic", method=base.method) == base for c in CONDITIONS)
    assert [made["1", c].method for c in CONDITIONS] == [
        LabelExits(), Progressive(), Progressive(schedule=(*PAPER[:2], ("iframe", PAPER[2][1]))),
        Progressive(schedule=only("own"))]
    assert base.data.test_fold == "2" and base.seed == 3 and base.backbones[0].seed == 3
    assert base.net.iframe == (Exit(256, 64), Exit(512, 256), Exit(1024, 1024))
    assert base.net.motion[0] == Exit(64, 64, kernel=7) and base.view.pooled is None and base.view.draws == 2
    assert base.needs()["iframe"].data == base.data and base.window == base.needs()["residual"].window


def test_the_dry_run_tells_what_is_there_and_what_it_takes(root):
    shutil.rmtree(root / "hmdb51")
    text = MINIATURE.dry_run(root, small(epochs=4), tflops=100)
    assert re.findall(r"^  found +(\w+)", text, re.MULTILINE) == ["yes", "no"]
    train = len(MINIATURE.look(UCF_SET, root)[0].split("train"))
    assert f"1: {train} training clips" in text and re.search(rf" 4 +16 +{4 * (train // 16)} +3 × 28² ", text)
    for word in ("100 TFLOP/s × 0.35", "kdlab data transcode", str(root / "hmdb51"), "ucfTrainTestlist/classInd.txt",
                 "hmdb51/mpeg4_videos/<class>",
                 "GiB", "Only with --as-released: Adam with eps 1e-3"):
        assert word in text
    assert not paths.runs_dir().exists()


def test_clips_of_another_codec_are_sent_to_be_transcoded(root):
    clip = min((root / "ucf101").rglob("*.avi"))
    encode(clip.with_suffix(".mp4"), pattern(4, 48, 32))
    clip.unlink()
    assert re.search(r"kdlab data transcode .* --out FOLDER", MINIATURE.look(UCF_SET, root))


def test_originals_are_not_taken_for_clips_in_the_papers_format(root):
    """One in the middle, of the right codec: of another size, or of another distance between I-frames."""
    assert not isinstance(MINIATURE.look(UCF_SET, root), str)
    clip = released.ucf101(root / "ucf101").records[40].path
    for size, frames, change, words in (((64, 48), 14, {}, "64x48 pixels and up to 12 frames"),
                                        ((48, 32), 40, {"g": "300"}, "48x32 pixels and up to 40 frames")):
        encode(clip, pattern(frames, *size), **COVIAR | change)
        why = MINIATURE.look(UCF_SET, root)
        assert f"{clip} has {words} from I-frame to I-frame, where 48x32 and 12 are the paper's" in why
        assert f"kdlab data transcode {root / 'ucf101'} --out FOLDER" in why
    for clip in (root / "hmdb51").rglob("*.avi"):
        encode(clip, pattern(14, 48, 32), **COVIAR | {"g": "6"})
    assert "no clip has more than 6 frames from I-frame to I-frame" in MINIATURE.look(HMDB_SET, root)
    assert "where 340x256 and 12" in paper_size.PAPER.look(UCF_SET, root)


def test_without_data_the_command_tells_the_papers_costs(tmp_path, command, monkeypatch):
    call = partial(command, "paper", "progressive", "--data-root", tmp_path)
    code, _, error = call()
    assert code == 2 and error.count("is left out: no folder") == 2 and "kdlab paper progressive --dry-run" in error
    monkeypatch.setattr(paper_size, "PAPER", replace(paper_size.PAPER, sets=SETS[:1]))  # the other's cost the same
    code, out, _ = call("--dry-run", "--tflops", "800", "--draws", "2")
    assert code == 0 and "800 TFLOP/s" in out
    assert out.count("3 × 224²    5.4 ") == 1 and out.count("3 × 224²   12.3 ") == 1
    # by hand: 7,630 clips of split 1; heads of 0.774 + 0.774 + 3.239 GMACs a frame
    assert f"{510 * (7630 // 80):,}, " in out and out.count("3 × 224²   14.4 ") == 1 and "WISE trains nothing" in out
    maps = 3 * sum(c * s * s for widths in ((64, 128, 256), (64, 128, 256), (256, 512, 1024))
                   for c, s in zip(widths, (56, 28, 14), strict=True))
    seen = (7699 + 9624 + 3696) * 2 * maps  # the largest split, its training clips once more, two bytes a number
    assert f"{seen / 2**30:,.0f} GiB of features for a split" in out
    assert "5.87" in out and "92.77" in out
    assert all(published in " ".join(SETS[1].published) for published in ("11.42", "68.50", "60.31"))
    assert call("--weights", "motion", str(tmp_path / "none.pth"))[0] == 2


def test_scores_are_those_of_the_twelve_exits(monkeypatch):
    rng = np.random.default_rng(0)

    def made(count):
        labels = np.arange(count) % 3
        logits = rng.normal(size=(count, 12, 3)) + 2 * np.eye(3)[labels][:, None] * np.linspace(0, 1, 12)[:, None]
        return Predictions(np.arange(count), np.array([f"g{i % 4}" for i in range(count)]), labels, logits)

    told = {split: made(60) for split in ("train", "val", "test")}
    nets = tuple(SimpleNamespace(name=f"run-{m}") for m in ORDER)
    found = {"run-residual": 9.0, "run-motion": 0.0, "run-iframe": 9.0}  # the last cross-entropies in training
    monkeypatch.setattr(paper_size, "find", lambda net, pretrained: SimpleNamespace(
        history=pd.DataFrame({"ce": [5.0, found[net.name]]})))
    answers = SimpleNamespace(predictions=lambda split="test": told[split], recipe=SimpleNamespace(backbones=nets))
    said, right = [], told["test"].correct
    got = scores(answers, (0.5, 0.0, 2.0), np.arange(1, 13), said.append)
    assert got["motion alone"] == pytest.approx(100 * right[:, 7].mean())
    nine = [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert got["nine exits"] == pytest.approx(100 * right[:, nine].mean()) != pytest.approx(100 * right.mean())
    test = told["test"]
    mixed = (0.5 * test.logits[:, 3] + 2 * test.logits[:, 11]).argmax(1) == test.labels
    assert got["faithful_mix"] == pytest.approx(100 * mixed.mean()) and got["wise"] > got["nine exits"]
    ways = [everything(some, np.arange(1, 13), np.tile(np.arange(1, 5), 3))[0]["wise"] for some in parts(answers)]
    assert got["wise"] == pytest.approx(100 * np.mean([way == test.labels for way in ways]))
    assert [line.split(" is no sound")[0] for line in said] == ["run-motion (motion)"]  # its loss was 0 in training
    assert "drifted" in said[0]


@pytest.mark.slow
def test_the_whole_profile_in_miniature(root, monkeypatch):
    said = []
    # Whether a network of one epoch passes the real one depends on the bits of this CPU.
    monkeypatch.setattr(paper_size, "gate", lambda ce, last: f"{ce:.2f} and {last:.2f} nats" * (ce > 0 and last > 0))
    table = MINIATURE.run(root, small(), say=said.append)
    assert list(table.columns) == list(CONDITIONS)
    assert set(table.index.get_level_values("data")) == {"UCF-101", "HMDB-51"}
    ways = set(table.loc["UCF-101"].index)
    assert {"iframe alone", "nine exits", "wise", "wise@50%", "best_single", "late_fusion", "faithful_mix"} <= ways
    assert np.isfinite(table.to_numpy()).all() and table.to_numpy().min() >= 0 and table.to_numpy().max() <= 100
    assert table.loc[("UCF-101", "motion alone")].nunique() == 1, "all exits stand on the same networks"
    assert sum("trained in" in line for line in said) == 2 * (3 + len(CONDITIONS))
    unsound = {line.split(" (")[0] for line in said if "is no sound teacher: " in line and line.endswith(" nats")}
    assert len(unsound) == 2 * 3, "each of them is named, with its losses"
    count = sum("trained in" in line for line in said)
    MINIATURE.run(root, small(), say=said.append)
    assert sum("trained in" in line for line in said) == count
    monkeypatch.setattr(paper_size, "_COVIAR_SEGMENTS", 4)
    again = MINIATURE.run(root, small(as_released=True), say=said.append)
    assert sum("trained in" in line for line in said) == 2 * count, "other settings, other runs"
    assert again.loc[("UCF-101", "motion alone, 4 × 10 crops")].between(0, 100).all()


def test_the_papers_own_lists_can_be_used(root):
    """CoViAR's, whose catalogue has a name of its own."""
    clips = sorted((root / "hmdb51").rglob("*.avi"))
    shutil.rmtree(next((root / "hmdb51").glob("testTrainMulti*")))
    for part, some in (("train", [c for k, c in enumerate(clips) if k % 5]), ("test", clips[::5])):
        rows = [(f"{c.parent.name}/{c.name}", c.parent.name, HMDB.index(c.parent.name)) for c in some]
        write(root / f"hmdb51/datalists/hmdb51_split1_{part}.txt", [" ".join(map(str, row)) for row in rows])
        released.HMDB_COUNTS["1"] = released.HMDB_COUNTS["1"] | {part: len(rows)}
    (found,) = MINIATURE.look(HMDB_SET, root)
    assert found.name == "HMDB-51 (CoViAR)" and found.root == root / "hmdb51"
