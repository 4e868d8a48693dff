"""Ten crops: which pixels they are, by hand, also of motion, whose sign a mirror turns."""

import numpy as np
import pytest
import torch
from torch import nn

from kdlab.clips.catalogue import ClipRecord
from kdlab.clips.coviar import Compressed, PaperSegments
from kdlab.clips.views import Raw
from kdlab.clips.windows import ClipBatches, Window
from kdlab.measure.accuracy import ten_cropped
from tests.train.test_feeding import Memory

SIDE, CROP = 12, 8


class Looks(nn.Module):
    """Linear in the pixels, and unlike in each: ``(B, C, T, H, W)`` → ``(B, 2)``."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, channels, CROP, CROP, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        assert not self.training
        return torch.einsum("bcthw,kchw->bk", x, self.weight) / x.shape[2]


def clips(channels, view, window):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 9, SIDE, SIDE, channels), dtype=np.uint8)
    records = [ClipRecord(f"c{k}", f"c{k}", k % 2, "test", "g") for k in range(3)]
    return pixels, ClipBatches(records, {"student": view}, window, Memory({f"c{k}": x for k, x in enumerate(pixels)}))


def by_hand(pixels, frames, net, motion=False):
    """The mean over ten crops of uint8 ``(T, h, w, C)``: cut, then mirrored, motion's x around 128."""
    rows, room = [], SIDE - CROP
    for top, left in ((0, 0), (0, room), (room, 0), (room, room), (room // 2, room // 2)):
        cut = pixels[frames][:, top : top + CROP, left : left + CROP].astype(int)
        turned = cut[:, :, ::-1].copy()
        if motion:
            turned[..., 0] = np.minimum(256 - turned[..., 0], 255)
        rows += [cut, turned]
    x = torch.tensor(np.stack(rows) / 255, dtype=torch.float32).permute(0, 4, 1, 2, 3)
    return net.eval()(x).mean(0)


@pytest.mark.parametrize("modality", ["motion", "residual", None])
def test_the_answer_is_the_mean_over_the_crops(modality):
    channels = 2 if modality == "motion" else 3
    window = PaperSegments(3, SIDE, CROP) if modality else Window(3, SIDE, CROP)
    pixels, some = clips(channels, Compressed(modality) if modality else Raw(), window)
    net = Looks(channels)
    with torch.no_grad():
        said = ten_cropped(net, some)
        frames = window.centre(9).frames
        wanted = torch.stack([by_hand(x, frames, net, modality == "motion") for x in pixels])
        one = net(next(some.evaluation()).views["student"])
    assert torch.allclose(said, wanted, atol=1e-4) and not torch.allclose(said, one, atol=1e-1)
