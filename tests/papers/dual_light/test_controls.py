import math

import pytest
import torch
from torch.nn import functional as F

from kdlab.clips.windows import Batch
from kdlab.distill.method import CrossEntropy
from kdlab.papers.dual_light.controls import RandomGamma, StoredTargets, shuffle
from kdlab.papers.dual_light.method import DualLight
from kdlab.train.loop import Progress

CLIPS = torch.rand(400, 1, 2, 2, 2, generator=torch.Generator().manual_seed(0))


# --- brightness augmentation -----------------------------------------------------------------------------------


def test_each_chosen_clip_has_one_gamma_in_range_and_the_others_keep_their_bits():
    torch.manual_seed(0)
    brightened = RandomGamma(0.5, 1.5, 3.0).brightened(CLIPS)
    left = (brightened == CLIPS).flatten(1).all(1)
    assert 0.4 < float(left.float().mean()) < 0.6
    gammas = (CLIPS[~left].double().log() / brightened[~left].double().log()).flatten(1)
    assert torch.allclose(gammas, gammas[:, :1].expand_as(gammas), rtol=1e-2)  # one for the whole clip
    assert 1.5 - 0.02 < gammas.median(1).values.min() and gammas.median(1).values.max() < 3.0 + 0.03
    spread = gammas.median(1).values
    assert float(spread.mean()) == pytest.approx(2.25, abs=0.15) and float(spread.std()) > 0.3


def test_gamma_keeps_black_and_white_and_the_known_value():
    x = torch.tensor([0.0, 1.0, 0.25]).view(1, 1, 1, 1, 3)
    assert RandomGamma(1.0, 2.0, 2.0).brightened(x).flatten().tolist() == pytest.approx([0, 1, 0.5])
    assert torch.equal(RandomGamma(0.0, 2.0, 2.0).brightened(x), x)


class Mean(torch.nn.Module):
    """Logits (brightness, 0): a network that sees light alone."""

    def forward(self, x):
        return F.pad(x.flatten(1).mean(1, keepdim=True), (0, 1))


def test_random_gamma_is_cross_entropy_on_brightened_clips():
    batch = Batch({"student": CLIPS}, torch.zeros(400, dtype=torch.long), tuple(map(str, range(400))))
    ((_, plain, _),) = CrossEntropy().losses({"student": Mean()}, batch, Progress(0, 1))
    ((_, never, _),) = RandomGamma(0.0).losses({"student": Mean()}, batch, Progress(0, 1))
    ((name, always, terms),) = RandomGamma(1.0, 2.0, 2.0).losses({"student": Mean()}, batch, Progress(0, 1))
    by_hand = F.cross_entropy(Mean()(CLIPS.sqrt()), batch.labels)
    assert float(never) == float(plain) and name == "net" and terms["ce"] is always
    assert float(always) == pytest.approx(float(by_hand)) and float(always) < float(plain)


# --- stored and shuffled targets -------------------------------------------------------------------------------


LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize("how", ["no", "within", "between"])
def test_shuffles_are_permutations_decided_by_the_seed(how):
    orders = [shuffle(LABELS, how, seed).tolist() for seed in range(20)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[3] == shuffle(LABELS, how, 3).tolist()
    assert len(set(map(tuple, orders))) == 1 if how == "no" else len(set(map(tuple, orders))) > 15
    crossed = [(LABELS[order] != LABELS).any() for order in orders]
    assert all(crossed) if how == "between" else not any(crossed)
    if how == "no":
        assert orders[0] == list(range(10))
    if how == "within":
        assert all(order[3] == 3 for order in orders)  # the only clip of its class keeps its own


class Table(torch.nn.Module):
    """A teacher whose logits are (its input, 0, 0)."""

    def forward(self, x):
        return F.pad(x, (0, 2))


def stored(ids, **fields):
    """Targets of the clips ``ids`` by :class:`StoredTargets`, prepared from two batches in record order."""
    method = StoredTargets(temperature=2.0, **fields)
    values = torch.arange(10.0)[:, None]
    halves = [slice(0, 6), slice(6, 10)]
    batches = [Batch({"teacher": values[h]}, LABELS[h], tuple(f"clip{i}" for i in range(10)[h])) for h in halves]
    prepared = method.prepare({"teacher": Table()}, batches)
    wanted = Batch({}, LABELS[ids], tuple(f"clip{i}" for i in ids))
    targets = method.soft_targets({}, wanted, Progress(0, 1, prepared))  # asks no teacher any more
    assert torch.allclose(targets.sum(1), torch.ones(len(ids)))
    return 2.0 * (targets[:, 0] / targets[:, 1]).log()  # the number of the clip whose targets these are


def test_stored_targets_are_looked_up_by_id():
    assert stored([7, 2, 2, 9]).tolist() == pytest.approx([7, 2, 2, 9], abs=1e-4)


@pytest.mark.parametrize("how", ["within", "between"])
def test_shuffled_targets_are_those_of_the_permutation(how):
    ids = list(range(10))
    assert stored(ids, shuffled=how, seed=5).tolist() == pytest.approx(shuffle(LABELS, how, 5).tolist(), abs=1e-4)


def test_unshuffled_equals_the_live_teacher_on_the_same_view():
    batch = Batch({"student": torch.zeros(10, 1), "teacher": torch.arange(10.0)[:, None]}, LABELS,
                  tuple(map(str, range(10))))
    nets = {"student": Table(), "teacher": Table()}
    method = StoredTargets()
    progress = Progress(0, 1, method.prepare(nets, [batch]))
    ((_, kept, _),) = method.losses(nets, batch, progress)
    ((_, live, _),) = DualLight().losses(nets, batch, Progress(0, 1))
    assert float(kept) == pytest.approx(float(live)) and not math.isclose(float(kept), 0)
