"""What is made ahead is what ClipBatches gives, to the bit, also after a resume."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.clips.enhance import Gamma
from kdlab.clips.records import ClipRecord
from kdlab.clips.views import Enhanced, Raw
from kdlab.clips.windows import ClipBatches, Window
from kdlab.papers.dual_light.method import DualLight
from kdlab.train.feeding import clips_of_batch, made_ahead
from kdlab.train.loop import fit
from kdlab.train.settings import Settings
from tests.conftest import interrupted_at

SETTINGS, SEED = Settings(epochs=2, batch_size=4), 5


class Memory:
    """A cache over arrays in memory that counts its readers."""

    def __init__(self, clips):
        self.clips, self.read_by = clips, []

    def length(self, path, side, read, tag):
        return len(self.clips[path])

    def frames(self, path, indices, side, read, tag):
        self.read_by.append(threading.current_thread().name)
        return (Gamma(1.8)(self.clips[path]) if "gamma" in tag else self.clips[path])[indices]


def made():
    rng = np.random.default_rng(0)
    clips = {
        f"c{i}": rng.integers(0, 60, (12 + i, 20, 22 + i % 3, 3), dtype=np.uint8) for i in range(11)
    }
    records = [ClipRecord(p, p, i % 3, "train", "g") for i, p in enumerate(clips)]
    views = {"student": Raw(), "teacher": Enhanced(Gamma(1.8))}
    return ClipBatches(records, views, Window(8, 20, 16), Memory(clips))


def test_batches_are_made_ahead_by_threads_and_only_once():
    clips, begun = made(), []
    wanted = (clips_of_batch(11, SETTINGS, SEED, step) for step in range(4))
    for number, _ in enumerate(
        made_ahead(clips.training, (begun.append(r) or r for r in wanted), 2)
    ):
        # no more than two are made before they are asked for
        assert len(begun) == min(number + 3, 4)
    assert len(clips.cache.read_by) == 2 * 4 * 4  # views, clips, steps
    assert all(name.startswith("feeding") for name in clips.cache.read_by)


def tiny():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(24, 3))


def test_a_training_that_reads_ahead_has_the_bits_of_one_that_does_not(tmp_path, monkeypatch):
    """Whole trainings, with a kill and a resume."""

    def train(checkpoint=None, progress=iter):
        trained = fit(
            DualLight(),
            {"student": tiny(), "teacher": tiny()},
            made(),
            SETTINGS,
            SEED,
            checkpoint=checkpoint,
            validation=made(),
            progress=progress,
        )
        return trained.nets["student"][2].weight, trained.history

    weight, history = train()
    told = []
    monkeypatch.setattr(
        "kdlab.train.loop.batches_on_device",
        lambda clips, given, device: made_ahead(
            clips.training, (told.append(r) or r for r in given)
        ),
    )
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "c", interrupted_at(3))
    for checkpoint in (None, tmp_path / "c"):
        again, rows = train(checkpoint)
        assert torch.equal(weight, again) and rows == history
    assert len(told) == 4 + 4 + 2


def test_parts_of_a_batch_are_the_whole_batch_cut():
    clips = made()
    whole = clips.training(*clips_of_batch(11, SETTINGS, SEED, 2))
    parts = [
        clips.training(*clips_of_batch(11, SETTINGS, SEED, 2), part)
        for part in (slice(0, 1), slice(1, 4))
    ]
    assert parts[0].ids + parts[1].ids == whole.ids
    for name, view in whole.views.items():
        assert torch.equal(torch.cat([part.views[name] for part in parts]), view)
