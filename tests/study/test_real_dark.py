"""The study of real dark clips: clips that run backwards, several teachers, and a fold that is read once."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kdlab.clips.windows import Batch
from kdlab.night import Night
from kdlab.train.loop import Progress

sys.path.append(str(Path(__file__).parents[2] / "studies"))
import both_ways
import real_dark as study


def test_reversed_clips_show_the_opposite_or_a_class_of_their_own(own_places):
    night = Night(("Jump", "Sit", "Stand"), (2, 1, 1), 1.0)
    for others, shown in ((True, [3, 2, 1, 3, 2, 1]), (False, [2, 1, 2, 1])):
        data = both_ways.BothWays(night, others)
        records = data.catalogue().split("train")
        assert [r.label for r in records[6:]] == shown
        assert data.catalogue().classes[3:] == ("Reversed",) * others
    window = both_ways.BothWaysWindow(6, 32, 28)
    view = both_ways.Exposed()
    clips = window.batches(data.catalogue(), "train", {"student": view})
    twin = next(n for n, r in enumerate(clips.records) if n > 5 and r.path == clips.records[1].path)
    ahead, back = (clips.pixels(clips.records[n], view, np.arange(6)) for n in (1, twin))
    assert np.array_equal(back, ahead[::-1]) and not np.array_equal(back, ahead)


def test_the_members_teach_by_the_mean_of_what_they_see():
    views = {
        "student": torch.zeros(2, 3),
        "member0": torch.tensor([[4.0, 0, 0]] * 2),
        "member1": torch.zeros(2, 3),
    }
    nets = dict.fromkeys(views, torch.nn.Identity())
    targets = both_ways.EnsembleKD().soft_targets(
        nets, Batch(views, torch.zeros(2), ("a", "b")), Progress(0, 1)
    )
    assert torch.allclose(targets[0], (torch.tensor([1.0, 0, 0]).softmax(0) + 1 / 3) / 2)


def test_fold_b_is_read_once_and_by_a_committed_choice(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "CHOICE", tmp_path / "choice.json")
    monkeypatch.setattr(study, "READ", tmp_path / "read.json")

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True)

    git("init", "-q")
    git("commit", "-qm", "x", "--allow-empty")
    for content, why in (
        (None, "there is no"),
        ({"try": "forwards"}, "not committed"),
        ({"try": "ensemble"}, "not"),
    ):
        if content:
            study.CHOICE.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=why):
            study.committed_choice()
        git("add", "-A")
    git("commit", "-qm", "choice")
    assert study.committed_choice() == {"try": "ensemble"}
    study.READ.touch()
    with pytest.raises(ValueError, match="is read once"):
        study.committed_choice()
