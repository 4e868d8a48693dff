import pytest
import torch
from torch.nn import functional as F

from kdlab.nets.compressed import CHANNELS, CoViARNet, tiny
from kdlab.nets.video import build
from kdlab.papers.progressive.anytime import cost_per_exit
from kdlab.papers.progressive.networks import ORDER, Exit, ExitHeads, Trio, frozen_features
from tests.distill.conftest import bits, same

RELEASED = {
    "residual": CoViARNet("residual", 18),
    "motion": CoViARNet("motion", 18),
    "iframe": CoViARNet("iframe", 50),
}


def a_trio(specs, classes):
    torch.manual_seed(0)
    nets = {
        m: build(spec, classes, 0, torch.full((CHANNELS[m],), 0.5), torch.full((CHANNELS[m],), 0.2))
        for m, spec in specs.items()
    }
    return Trio(nets, ExitHeads.on(**specs).make(classes))


def views(batch, height, width):
    return {m: torch.rand(batch, c, 3, height, width) for m, c in CHANNELS.items()}


@pytest.fixture(scope="module")
def trio():
    return a_trio({m: tiny(m) for m in CHANNELS}, 5).eval()


@torch.no_grad()
def test_a_head_is_linear_in_its_maps_but_for_the_batch_norm():
    """Convolution, batch norm, pooling to 4×4, linear, written out; without a rectifier it is an affine map."""
    head = Exit(3, 6).make(5).eval()
    maps = torch.randn(2, 3, 8, 12)
    conv, norm, _, _, linear = head
    by_hand = F.adaptive_avg_pool2d(
        F.conv2d(maps, conv.weight, padding=1) / (1 + norm.eps) ** 0.5, 4
    ).flatten(1)
    assert conv.bias is None and linear.bias is not None
    assert torch.allclose(head(maps), by_hand @ linear.weight.T + linear.bias, atol=1e-5)
    assert torch.allclose(head(maps) + head(-maps), 2 * linear.bias.expand(2, 5), atol=1e-5)


@torch.no_grad()
def test_twelve_exits_in_their_order(trio):
    x = views(2, 64, 80)
    trio.eval()
    out = trio(x)
    assert ORDER == ("residual", "motion", "iframe") and out.exits.shape == (2, 12, 5)
    for place, modality in enumerate(ORDER):
        final = trio.nets[modality](x[modality])
        assert torch.allclose(out.exits[:, 4 * place + 3], final, atol=1e-5)
    assert torch.equal(out.logits, out.exits[:, 11])
    features = frozen_features(trio.nets, x)
    nine = trio.heads({key: features[key] for key in reversed(features)})
    assert torch.equal(nine, out.exits[:, [0, 1, 2, 4, 5, 6, 8, 9, 10]])
    assert torch.equal(features["finals"], out.exits[:, 3::4])
    one, two, three = (trio.heads["motion"][1](features["motion", 1][:, t]) for t in range(3))
    # the mean over segments of logits
    assert torch.allclose(nine[:, 4], (one + two + three) / 3, atol=1e-5)


def test_training_the_heads_leaves_the_networks_alone(trio):
    trio.train()
    assert not any(m.training for m in trio.nets.modules())
    assert all(m.training for m in trio.heads.modules())
    nets = bits(trio.nets)
    heads = bits(trio.heads)
    # of all, as somebody careless would write
    optimiser = torch.optim.AdamW(trio.parameters(), 1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        trio(views(4, 32, 40)).exits.square().mean().backward()
        optimiser.step()
    assert same(trio.nets, nets)
    assert all(p.grad is None and not p.requires_grad for p in trio.nets.parameters())
    still = [
        name for name, value in trio.heads.state_dict().items() if torch.equal(value, heads[name])
    ]
    assert still == []  # biases and batch statistics of all nine heads moved


def test_cumulative_cost_of_the_reference_trio():
    """GMAC a frame at 224², each modality by itself, from the layers' sizes (docs/methods.md, 3)."""
    with torch.device("meta"):
        trio = a_trio(RELEASED, 101)
    costs = cost_per_exit(trio, {m: (c, 1, 224, 224) for m, c in CHANNELS.items()})
    alone = torch.tensor(costs).diff(prepend=torch.zeros(1)).view(3, 4).cumsum(1) / 1e9
    expected = torch.tensor(
        [[1.12, 1.65, 2.18, 2.59], [1.08, 1.61, 2.14, 2.55], [1.25, 3.20, 6.51, 7.32]]
    )
    assert torch.allclose(alone.float(), expected, atol=0.0101)
    three = cost_per_exit(trio, {m: (c, 3, 224, 224) for m, c in CHANNELS.items()})
    assert (three == 3 * costs).all()  # every segment is paid
