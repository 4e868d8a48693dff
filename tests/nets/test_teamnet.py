import torch

from kdlab.nets.compressed import CHANNELS
from kdlab.nets.exits import ORDER
from kdlab.nets.teamnet import TinyTeam
from kdlab.recipe import from_json, to_json


def made():
    torch.manual_seed(0)
    assert from_json(to_json(TinyTeam())) == TinyTeam()
    return TinyTeam().make(5).eval(), {m: torch.rand(2, c, 3, 64, 80) for m, c in CHANNELS.items()}


@torch.no_grad()
def test_four_exits_the_last_of_which_is_the_mean_of_the_finals():
    net, views = made()
    out = net(views)
    pooled, finals = net.features(views)
    assert [tuple(p.shape) for p in pooled] == [(2, 32), (2, 64), (2, 128)]
    assert out.exits.shape == (2, 4, 5) and torch.equal(out.exits[:, 3], out.logits)
    assert torch.allclose(out.logits, sum(out.taps[m] for m in ORDER) / 3)
    assert torch.allclose(out.exits[:, 1], pooled[1] @ net.exits[1].weight.T + net.exits[1].bias, atol=1e-6)
    frames = torch.stack([net({m: x[:, :, t : t + 1] for m, x in views.items()}).exits for t in range(3)])
    assert torch.allclose(out.exits, frames.mean(0), atol=1e-5)  # linear exits on means are means over segments


@torch.no_grad()
def test_the_modalities_inform_each_other():
    net, views = made()
    changed = views | {"motion": torch.rand(2, 2, 3, 64, 80)}
    before, after = net(views).taps, net(changed).taps
    assert all(not torch.allclose(before[m], after[m], atol=1e-6) for m in ORDER)
    for exchange in net.exchanges:  # gates of 2·σ(0) = 1: three columns that do not see each other
        exchange.excite.weight.zero_()
        exchange.excite.bias.zero_()
    before, after = net(views).taps, net(changed).taps
    assert [torch.equal(before[m], after[m]) for m in ORDER] == [True, False, True]
    alone = net.columns["residual"](views["residual"])
    assert torch.allclose(before["residual"], alone, atol=1e-6)


def test_every_weight_learns():
    net, views = made()
    net.train()(views).exits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
