"""Temporal attention: DarkLight's block by hand, any number of tokens, tiny and large backbones."""

import pytest
import torch
from torch.nn import functional as F

from kdlab.measure.cost import macs, parameters
from kdlab.nets.attention_head import Attended, AttendedNet, TemporalAttention
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.layers import outputs
from kdlab.nets.torchvision_video import TorchvisionVideo
from kdlab.nets.video import TinyR2Plus1D, build

TINY = Attended(TinyR2Plus1D((8, 16)), tokens=4, heads=4)


def by_hand(head: TemporalAttention, tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """The formulas of docs/methods.md, 1.3, one after the other."""
    p = {k.removeprefix("block."): v for k, v in head.named_parameters()}
    x = torch.cat([p["cls"].expand(len(tokens), -1, -1), tokens], 1)
    x = x + p["positions"][:, : x.shape[1]]
    b, n, c = x.shape
    y = F.layer_norm(x, (c,), p["norm1.weight"], p["norm1.bias"])
    q, k, v = (
        (y @ p["self_attn.in_proj_weight"].T + p["self_attn.in_proj_bias"])
        .view(b, n, 3, heads, -1)
        .unbind(2)
    )
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / (c / heads) ** 0.5
    mixed = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).reshape(b, n, c)
    x = x + mixed @ p["self_attn.out_proj.weight"].T + p["self_attn.out_proj.bias"]
    y = (
        F.layer_norm(x, (c,), p["norm2.weight"], p["norm2.bias"]) @ p["linear1.weight"].T
        + p["linear1.bias"]
    )
    y = 0.5 * y * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (y + 0.044715 * y**3)))
    return (x + y @ p["linear2.weight"].T + p["linear2.bias"])[:, 0]


@pytest.mark.parametrize("length, width, heads", [(8, 512, 8), (3, 24, 4), (1, 8, 8)])
@torch.no_grad()
def test_the_block_is_the_one_written_down(length, width, heads):
    head = TemporalAttention(width, 8, heads).eval()
    tokens = torch.randn(2, length, width)
    assert torch.allclose(head(tokens), by_hand(head, tokens, heads), atol=1e-5)


def test_cost_by_hand():
    """Per token: 4 C² in the projections, 8 C² in the feed-forward; 2 N C where tokens look at each other."""
    head = TemporalAttention(512, 8)
    assert macs(head, (1, 8, 512)) == 9 * (12 * 512**2 + 2 * 9 * 512)
    # matrices; biases and norms; class and positions
    assert parameters(head) == 12 * 512**2 + 13 * 512 + 10 * 512


class Stageless(TinyC3D):
    stages = ()


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match=r"9 tokens.*positions for 8: make it with tokens=9"):
        TemporalAttention(16, 8)(torch.zeros(1, 9, 16))
    with pytest.raises(ValueError, match="Stageless names no stages"):
        Attended(Stageless()).make(2)


@pytest.mark.parametrize(
    "spec, shape",
    [(TINY, (16, 4, 8, 8)), (Attended(TorchvisionVideo("r2plus1d_18"), tokens=2), (512, 1, 2, 2))],
)
def test_any_backbone_is_read_before_its_pooling(spec, shape):
    net = build(spec, 11, 0)
    assert isinstance(net.net, AttendedNet)
    assert net.net.dropout.p == 0.8
    assert not net.net.fc.bias.any()
    clip = torch.rand(2, 3, 8, 32, 32)
    out = outputs(net.eval(), clip, ["net.features", "net.attention"])
    features = out.taps["net.features"]
    assert features.shape == (2, *shape) and out.logits.shape == (2, 11)
    tokens = torch.stack(
        [features[:, :, t].flatten(2).mean(-1) for t in range(features.shape[2])], 1
    )
    assert torch.allclose(net.net.attention(tokens), out.taps["net.attention"], atol=1e-5)
    assert torch.allclose(net.net.fc(out.taps["net.attention"]), out.logits, atol=1e-6)
