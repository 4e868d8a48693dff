import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlab.clips.views import Batch
from kdlab.measure import transfer
from kdlab.measure.transfer import PROBES, accuracy_on, logits_on, mean_recall, narrowed, re_estimated
from kdlab.nets.video import TinyR2Plus1D, build


def test_logits_are_narrowed_by_name_not_by_place():
    logits = np.array([[1.0, 2.0, 3.0], [9.0, 1.0, 4.0]])
    assert narrowed(logits, ("a", "b", "c"), ("c", "a")).tolist() == [[3.0, 1.0], [4.0, 9.0]]
    with pytest.raises(ValueError, match="does not know d.*trained on a, b, c"):
        narrowed(logits, ("a", "b", "c"), ("d", "a"))


def test_accuracy_on_clips_of_fewer_classes_is_of_these(monkeypatch):
    """Run and Walk are 1 and 2 to the network, and 0 and 1 in the clips; what it says of Jump does not count."""
    said = np.array([[9.0, 5.0, 1.0], [9.0, 1.0, 5.0]])
    monkeypatch.setattr(transfer, "batches", lambda *_: SimpleNamespace(evaluation=lambda **_: ()))
    monkeypatch.setattr(transfer, "predict", lambda *_: (torch.tensor(said),))
    clips = SimpleNamespace(classes=("Run", "Walk"), split=lambda _: [SimpleNamespace(label=k) for k in (0, 1)])
    recipe = dataclasses.make_dataclass("Recipe", [("data", str, "clips"), ("view", str, "raw")], frozen=True)
    run = SimpleNamespace(provenance={"classes": ["Jump", "Run", "Walk"]}, recipe=recipe(), net=lambda: None)
    assert accuracy_on(run, SimpleNamespace(catalogue=lambda: clips)) == 100
    assert logits_on(run).shape == (2, 3), "of its own classes where none are asked for"


def test_every_class_counts_alike():
    labels = np.array([0] * 9 + [1])
    always_first = np.array([[1.0] * 9 + [0.0]])
    assert mean_recall(always_first, labels)[0] == pytest.approx(50)  # its accuracy is 90
    assert mean_recall(np.ones((3, 10)), labels) == (100, 100, 100)


def test_the_interval_holds_seeds_and_clips():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), 25)
    alike = np.tile(rng.random(100) < 0.5, (5, 1)).astype(float)
    apart = np.stack([np.full(100, p) for p in (0, 0, 1, 1, 1)])
    for correct, least in ((alike, 8), (apart, 30)):
        mean, low, high = mean_recall(correct, labels)
        assert low < mean < high and high - low > least


def test_probes_take_time_away():
    frames = np.arange(0, 32, 2)
    assert set(PROBES["frozen"](frames)) == {frames[8]}
    assert PROBES["reversed"](frames).tolist() == frames[::-1].tolist()
    shuffled = PROBES["shuffled"](frames)
    assert sorted(shuffled) == frames.tolist() and shuffled.tolist() != frames.tolist()


def test_statistics_move_and_weights_do_not():
    net = build(TinyR2Plus1D((4, 8)), 3, seed=0).eval()
    batches = [Batch({"student": 5 + torch.randn(4, 3, 8, 16, 16)}, torch.zeros(4), ("",) * 4) for _ in range(2)]
    other = re_estimated(net, batches, "student")
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, other.state_dict()[k])}
    assert moved and all(k.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked") for k in moved)
    assert not other.training


def test_batches_of_a_detector_have_tables_of_labels_of_their_own_length(monkeypatch):
    """Of more than one batch of windows: their labels are (B, N, 3), with N of the fullest window of each."""
    net, seen = build(TinyR2Plus1D((4, 8)), 3, seed=0).eval(), torch.randn(4, 3, 8, 16, 16)
    each = [Batch({"student": seen[i : i + 2]}, torch.zeros(2, 3 + i, 3), ("",) * 2) for i in (0, 2)]
    monkeypatch.setattr(transfer, "batches", lambda *_: SimpleNamespace(evaluation=lambda reorder=None: each))
    made = dataclasses.make_dataclass("Recipe", [("data", str, "clips"), ("view", str, "raw")], frozen=True)
    found = logits_on(SimpleNamespace(recipe=made(), net=lambda: net))
    assert np.allclose(found, net(seen).detach(), atol=1e-5)


def test_what_has_not_learnt_says_something_else_and_always_the_same(monkeypatch):
    net, seen = build(TinyR2Plus1D((4, 8)), 3, seed=0).eval(), torch.randn(4, 3, 8, 16, 16)
    before = {k: v.clone() for k, v in net.state_dict().items()}

    @dataclasses.dataclass(frozen=True)
    class Recipe:
        seed: int = 5
        data: str = "clips"
        view: str = "raw"

    clips = SimpleNamespace(evaluation=lambda reorder=None: [Batch({"student": seen}, torch.zeros(4), ("",) * 4)])
    monkeypatch.setattr(transfer, "batches", lambda *_: clips)
    run = SimpleNamespace(recipe=Recipe(), net=lambda: net)
    trained, first, again = logits_on(run), logits_on(run, trained=False), logits_on(run, trained=False)
    assert np.array_equal(first, again) and not np.allclose(first, trained)
    assert np.allclose(trained, net(seen).detach(), atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()), "the trained network stays as it is"
    other = SimpleNamespace(recipe=Recipe(seed=6), net=lambda: net)
    assert not np.allclose(first, logits_on(other, trained=False))
