"""Cached features: half precision, random draws for training, the centre for evaluation."""

from pathlib import Path

import torch

from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.coviar import Segments
from kdlab.clips.windows import Batch
from kdlab.papers.progressive.exits import extract
from kdlab.train.loop import seeded


class Numbers:
    """Clips whose picture is their number, plus a random part in training."""

    def __init__(self, count):
        self.records = [ClipRecord(f"c{i}", None, i % 3, "train", "g") for i in range(count)]
        self.window = Segments(2)

    def length(self, record):
        return 10

    def collate(self, indices, draws):
        return self._made(indices, torch.zeros(len(indices)))

    def training(self, indices, generator):
        return self._made(indices, torch.rand(len(indices), generator=generator))

    def _made(self, indices, extra):
        x = (torch.tensor(indices) + extra)[:, None, None, None, None].expand(-1, 1, 2, 4, 4)
        labels = torch.tensor([self.records[i].label for i in indices])
        return Batch({"a": x, "b": 2 * x}, labels, tuple(self.records[i].id for i in indices))


def network(x):
    """One stage that is the picture itself, and logits that are its first pixel and its negative."""
    return [x.transpose(1, 2).flatten(0, 1)], torch.stack([x[:, 0, 0, 0, 0], -x[:, 0, 0, 0, 0]], 1)


def test_features_are_those_of_the_networks():
    clips = Numbers(40)  # more than one batch
    found = extract({"a": network, "b": network}, clips, [])
    batch = next(found.evaluation())
    assert [f.shape for f in batch.views["a"]] == [(40, 2, 1, 4, 4)] and batch.views["finals"].shape == (40, 2, 2)
    assert torch.equal(batch.views["b"][0][:, 0, 0, 0, 0], 2 * torch.arange(40.0))
    assert torch.equal(batch.views["finals"][:, 1, 1], -2 * torch.arange(40.0))
    assert batch.labels.tolist() == [i % 3 for i in range(40)] and batch.ids[-1] == "c39"
    assert found.maps["a"][0].dtype == torch.float16


def test_training_takes_each_clip_under_one_of_its_draws_and_its_logits_with_it():
    found = extract({"a": network}, Numbers(6), [seeded(0), seeded(1), seeded(2)])
    assert found.finals.shape[0] == 3
    batch = found.training([4, 4, 4, 4, 1], seeded(7))
    value = batch.views["finals"][:, 0, 0]
    assert torch.allclose(value, batch.views["a"][0][:, 0, 0, 0, 0], atol=4e-3), "features and logits of one draw"
    assert value[:4].unique().numel() > 1 and ((value[:4] >= 4) & (value[:4] <= 5)).all()
    assert torch.equal(value, found.training([4, 4, 4, 4, 1], seeded(7)).views["finals"][:, 0, 0])
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.views["a"][0], batch.views["a"][0]) and moved.labels.tolist() == [1, 1, 1, 1, 1]


def test_features_that_exceed_the_memory_lie_on_the_disk_and_have_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    generators = [0, 1]

    def made():
        return extract({"a": network, "b": network}, Numbers(40), [seeded(n) for n in generators])

    kept = made()
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("KDLAB_MEMORY_GB", "0")
    mapped = made()
    assert (tmp_path / "cache").is_dir() and not list((tmp_path / "cache").iterdir()), "a file without a name"
    assert all(torch.equal(a, b) for name in "ab" for a, b in zip(kept.maps[name], mapped.maps[name], strict=True))
    one, other = (some.training([7, 39, 7], seeded(5)) for some in (kept, mapped))
    assert torch.equal(one.views["b"][0], other.views["b"][0]) and one.views["b"][0].dtype == torch.float32
    if (maps := Path("/proc/self/maps")).exists():
        assert str(tmp_path / "cache") in maps.read_text(), "mapped, not read"
