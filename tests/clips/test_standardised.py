import torch

from kdlab.clips.enhance import Gamma
from kdlab.clips.views import Enhanced, MotionMix, Standardised


def test_every_clip_has_zero_mean_and_unit_deviation_by_itself():
    x = torch.rand(3, 3, 4, 9, 9) * torch.tensor([0.05, 0.4, 1.0]).view(3, 1, 1, 1, 1) + 0.1
    out = Standardised().finish(x)
    assert torch.allclose(out.mean((1, 2, 3, 4)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(out.std((1, 2, 3, 4), correction=0), torch.ones(3), atol=0.1)
    assert torch.allclose(out[2], Standardised().finish(x[2:])[0], atol=1e-5)


def test_exposure_and_black_level_make_no_difference():
    x = torch.rand(1, 3, 4, 9, 9)
    bright, dark = Standardised().finish(x), Standardised().finish(0.3 * x + 0.02)
    assert torch.allclose(bright, dark, atol=0.05)


def test_it_is_cached_under_the_name_of_what_it_standardises_and_finishes_that_first():
    of = Enhanced(Gamma(1.8))
    assert Standardised(of).name == of.name
    x = torch.rand(1, 3, 4, 9, 9)
    mixed = MotionMix(of).finish(x)
    assert torch.allclose(Standardised(MotionMix(of)).finish(x), Standardised().finish(mixed))
