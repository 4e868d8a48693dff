import pytest
import torch
from torch.nn import functional as F

from kdlab.clips.windows import Batch
from kdlab.distill.method import CrossEntropy
from kdlab.papers.dual_light.controls import RandomGamma
from kdlab.train.loop import Progress

CLIPS = torch.rand(400, 1, 2, 2, 2, generator=torch.Generator().manual_seed(0))


def test_each_chosen_clip_has_one_gamma_in_range_and_the_others_keep_their_bits():
    torch.manual_seed(0)
    brightened = RandomGamma(0.5, 1.5, 3.0).brightened(CLIPS)
    left = (brightened == CLIPS).flatten(1).all(1)
    assert 0.4 < float(left.float().mean()) < 0.6
    gammas = (CLIPS[~left].double().log() / brightened[~left].double().log()).flatten(1)
    # one for the whole clip
    assert torch.allclose(gammas, gammas[:, :1].expand_as(gammas), rtol=1e-2)
    assert 1.5 - 0.02 < gammas.median(1).values.min() and gammas.median(1).values.max() < 3.0 + 0.03
    spread = gammas.median(1).values
    assert float(spread.mean()) == pytest.approx(2.25, abs=0.15) and float(spread.std()) > 0.3


def test_gamma_keeps_black_and_white_and_the_known_value():
    x = torch.tensor([0.0, 1.0, 0.25]).view(1, 1, 1, 1, 3)
    assert RandomGamma(1.0, 2.0, 2.0).brightened(x).flatten().tolist() == pytest.approx([0, 1, 0.5])


class Mean(torch.nn.Module):
    """Logits (brightness, 0): a network that sees light alone."""

    def forward(self, x):
        return F.pad(x.flatten(1).mean(1, keepdim=True), (0, 1))


def test_random_gamma_is_cross_entropy_on_brightened_clips():
    batch = Batch(
        {"student": CLIPS}, torch.zeros(400, dtype=torch.long), tuple(map(str, range(400)))
    )
    step = {"student": Mean()}, batch, Progress(0, 1)
    ((_, plain, _),) = CrossEntropy().losses(*step)
    ((_, never, _),) = RandomGamma(0.0).losses(*step)
    ((name, always, terms),) = RandomGamma(1.0, 2.0, 2.0).losses(*step)
    by_hand = F.cross_entropy(Mean()(CLIPS.sqrt()), batch.labels)
    assert float(never) == float(plain) and name == "net" and terms["ce"] is always
    assert float(always) == pytest.approx(float(by_hand))
