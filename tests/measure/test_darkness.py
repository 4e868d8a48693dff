"""Colours of clips whose colours are known."""

import numpy as np

from kdlab.clips.enhance import Clahe, Gamma
from kdlab.measure.darkness import colours


def test_gamma_keeps_every_dark_colour_apart_and_clahe_makes_new_ones():
    dark = np.random.default_rng(0).integers(0, 79, (2, 32, 32, 3), np.uint8)
    assert colours(Gamma()(dark)) == colours(dark)
    ramp = np.arange(8, 40, dtype=np.uint8).reshape(1, 32, 1, 1).repeat(32, 2).repeat(3, 3)
    assert colours(ramp) == 32
    # its table depends on the place
    assert colours(Clahe()(np.concatenate([ramp, ramp[:, ::-1]], 2))) > 32
