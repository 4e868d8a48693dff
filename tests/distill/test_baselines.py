from collections import OrderedDict
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdlab.distill.baselines import (
    AttentionTransfer,
    DecoupledKD,
    FitNet,
    ReviewKD,
    attention_transfer_loss,
    dkd_loss,
    fitnet_loss,
)
from kdlab.distill.method import kd_loss
from kdlab.distill.relations import DIST, RelationalKD, StandardisedKD
from kdlab.nets.layers import bare, features, outputs
from kdlab.nets.video import TinyR2Plus1D, build
from kdlab.train.device import Mixed
from kdlab.train.loop import Progress, fit
from kdlab.train.settings import Settings
from tests.distill.conftest import TwoSides, bits, kind, random, same

# --- formulas --------------------------------------------------------------------------------------------------


def test_dkd_is_kd_for_a_beta_of_the_teachers_doubt():
    """The decomposition of arXiv 2203.08679: KL = KL(binary) + (1 − p_T(label)) KL(others), sample by sample."""
    student = random(6, 5)
    teacher = 3 * random(6, 5, seed=1)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    t = 2.5
    doubt = 1 - F.softmax(teacher / t, dim=1)[range(6), labels]
    for i in range(6):
        one = slice(i, i + 1)
        assert torch.allclose(
            dkd_loss(student[one], teacher[one], labels[one], t, 1.0, float(doubt[i])),
            kd_loss(student[one], teacher[one], t),
        )


def test_dkd_rests_where_logits_differ_by_a_constant_and_survives_huge_ones():
    teacher = random(4, 5)
    labels = torch.tensor([0, 1, 2, 3])
    student = (teacher + 2).requires_grad_()
    loss = dkd_loss(student, teacher, labels, 4, 1, 8)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12) and student.grad.abs().max() < 1e-12
    huge = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = dkd_loss(huge, -huge.detach(), torch.tensor([0]), 1, 1, 8)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(huge.grad).all()


def test_fitnet_is_the_mean_square_and_rests_at_equality():
    ours = torch.zeros(2, 3, 4, 2, 2, requires_grad=True)
    theirs = torch.full((2, 3, 4, 2, 2), 3.0)
    assert fitnet_loss(ours, theirs).item() == 9
    fitnet_loss(ours, torch.zeros_like(theirs)).backward()
    assert not ours.grad.any()


def test_attention_ignores_scale_sign_and_order_of_channels():
    ours = random(2, 6, 4, 3, 3)
    theirs = random(2, 5, 4, 3, 3, seed=1)
    loss = attention_transfer_loss(ours, theirs)
    assert loss > 1e-4
    assert torch.allclose(attention_transfer_loss(-7 * ours, theirs), loss)
    assert torch.allclose(attention_transfer_loss(ours.flip(1), 0.1 * theirs), loss)
    assert not torch.allclose(attention_transfer_loss(ours.flip(2), theirs), loss)  # time counts
    assert not torch.allclose(attention_transfer_loss(ours.flip(4), theirs), loss)  # and place


def test_attention_rests_at_equality_and_is_largest_for_disjoint_maps():
    theirs = random(2, 6, 4, 3, 3)
    ours = (2 * theirs).requires_grad_()
    loss = attention_transfer_loss(ours, theirs)
    loss.backward()
    assert loss.item() < 1e-15 and ours.grad.abs().max() < 1e-9
    left = torch.zeros(1, 1, 1, 1, 4)
    right = torch.zeros(1, 1, 1, 1, 4)
    left[..., 0], right[..., 3] = 5, 1
    assert float(attention_transfer_loss(left, right)) == pytest.approx(2 / 4)


# --- taps ------------------------------------------------------------------------------------------------------


def test_taps_have_the_bare_names_in_a_wrapped_network_too():
    net, wrapped = build(TinyR2Plus1D((2, 3)), 2, seed=0).eval(), nn.DataParallel
    x = torch.rand(1, 3, 4, 8, 8)
    assert bare(wrapped(net)) is bare(Mixed(wrapped(net))) is net
    plain = outputs(net, x, ["net.stages.0", "net.stages.1"])
    other = features(wrapped(net), x, ["net.stages.0", "net.stages.1"])
    assert torch.equal(plain.logits, net(x))
    assert torch.equal(plain.logits, outputs(wrapped(net), x).logits)
    taps = plain.taps
    assert taps["net.stages.0"].shape == (1, 2, 4, 4, 4)
    assert taps["net.stages.1"].shape == (1, 3, 2, 2, 2)
    assert all(torch.equal(taps[name], other[name]) for name in taps)
    assert not any(module._forward_hooks for module in net.modules())


def test_a_compiled_network_is_tapped_by_the_bare_names():
    net = nn.Sequential(OrderedDict(module=nn.Linear(2, 2)))
    assert bare(torch.compile(net, backend="eager")) is net


def test_a_layer_that_is_called_like_a_wrapper_is_a_layer():
    net = nn.Sequential(
        OrderedDict(module=nn.Sequential(OrderedDict(fc=nn.Linear(2, 3))), fc=nn.Linear(3, 4))
    )
    assert bare(net) is net
    taps = outputs(net, torch.rand(1, 2), ["fc", "module.fc"]).taps
    assert taps["fc"].shape == (1, 4) and taps["module.fc"].shape == (1, 3)
    with pytest.raises(ValueError, match=r"no layer 'fc' .* it has module, module.fc$"):
        outputs(net[:1], torch.rand(1, 2), ["fc"])


class InPlace(nn.Module):
    """A network that changes in place what a layer gave, and asks a layer twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.unused = nn.Conv3d(3, 3, 1), nn.ReLU(inplace=True), nn.Identity()
        self.rnn = nn.LSTM(3, 3, batch_first=True)

    def forward(self, x):
        y = self.act(self.conv(self.act(self.conv(x))))
        return self.rnn(y.mean((3, 4)).transpose(1, 2))[0].mean(1)


@pytest.mark.parametrize("layer", ["conv", "act"])
def test_a_tap_is_what_the_layer_gave_when_it_was_first_asked(layer):
    torch.manual_seed(0)
    net = InPlace()
    x = torch.randn(2, 3, 4, 5, 5)
    wanted = net.conv(x) if layer == "conv" else net.conv(x).relu()
    found = outputs(net, x, [layer])
    alone = features(net, x, [layer])
    assert torch.equal(found.taps[layer], wanted) and torch.equal(alone[layer], wanted)
    assert torch.equal(found.logits, net(x))
    # it lies on the way to the logits
    (slope,) = torch.autograd.grad(found.logits.sum(), found.taps[layer])
    assert slope.abs().sum() > 0


@pytest.mark.parametrize(
    "layer, words", [("rnn", "layer 'rnn' gives tuple"), ("unused", "'unused' is not called")]
)
@pytest.mark.parametrize("read", [outputs, features])
def test_what_cannot_be_tapped_is_named(read, layer, words):
    with pytest.raises(ValueError, match=words):
        read(InPlace(), torch.randn(1, 3, 2, 4, 4), [layer])


# --- methods ---------------------------------------------------------------------------------------------------


TAP = "net.stages.0"
TAPS = TAP, "net.stages.1"
METHODS = [
    DecoupledKD(),
    FitNet(TAP),
    AttentionTransfer(TAPS),
    StandardisedKD(),
    DIST(),
    RelationalKD(),
    ReviewKD(TAPS, width=4),
]


def networks(method):
    nets = {
        "student": build(TinyR2Plus1D((2, 4)), 2, 0),
        "teacher": build(TinyR2Plus1D((3, 4)), 2, 9).eval(),
    }
    return nets | method.extra_nets(nets, TwoSides().evaluation(), 0)


@pytest.mark.parametrize("method", METHODS, ids=kind)
def test_each_trains_in_the_loop_and_leaves_the_teacher_alone(method):
    nets = networks(method)
    before = {name: bits(net) for name, net in nets.items()}
    trained = fit(method, nets, TwoSides(), Settings(epochs=6, batch_size=8, lr=2e-2), seed=0)
    first, last = trained.history[0], trained.history[-1]
    falls = "loss_net" if isinstance(method, DIST) else "ce"
    assert last[falls] < first[falls]
    assert [name for name in nets if same(trained.nets[name], before[name])] == ["teacher"]
    assert trained.owned == [name for name in nets if name != "teacher"]


@pytest.mark.parametrize("method", [FitNet(TAP), AttentionTransfer((TAP,))], ids=kind)
def test_what_is_learnt_at_a_tap_reaches_the_layers_below_it_and_none_above(method):
    nets = networks(method)
    (batch,) = TwoSides().evaluation()
    ((_, loss, terms),) = method.losses(nets, batch, Progress(1, 1))
    distiller = (terms.keys() - {"ce"}).pop()
    assert torch.allclose(loss, terms["ce"] + method.weight * terms[distiller])
    terms[distiller].backward()
    student = nets["student"].net
    assert student.stages[0].spatial.weight.grad.any()
    assert student.stages[1].spatial.weight.grad is None and student.fc.weight.grad is None
    assert all(p.grad is None for p in nets["teacher"].parameters())


@pytest.mark.parametrize("kind, term", [(DecoupledKD, "dkd"), (partial(ReviewKD, TAPS), "review")])
def test_a_distiller_rises_over_its_warmup(kind, term):
    nets = networks(kind())
    (batch,) = TwoSides().evaluation()

    def share(step, **fields):
        ((_, loss, terms),) = kind(**fields).losses(nets, batch, Progress(step, 240))
        return float((loss - terms["ce"]) / terms[term])

    assert [share(step) for step in (0, 5, 20, 200)] == pytest.approx([0, 0.25, 1, 1], abs=1e-5)
    assert share(0, warmup=0, weight=3.0) == pytest.approx(3, rel=1e-5)


def test_the_regressor_is_decided_by_the_seed_and_fits_the_channels():
    method = FitNet(TAP)
    nets = networks(FitNet(TAP))
    nets["student"].train()
    buffers = [b.clone() for b in nets["student"].buffers()]
    random_state = torch.get_rng_state()
    a, b, c = (
        method.extra_nets(nets, TwoSides().evaluation(), seed)["regressor"] for seed in (0, 0, 1)
    )
    assert a.weight.shape == (3, 2, 1, 1, 1)
    assert torch.equal(a.weight, b.weight) and not torch.equal(a.weight, c.weight)
    assert nets["student"].training and not nets["teacher"].training
    assert all(map(torch.equal, buffers, nets["student"].buffers()))
    assert torch.equal(random_state, torch.get_rng_state())
