"""Released optimiser rules: their formulas by hand, torch's plateau, and a resume that ends in the same bits."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from kdlab.train.settings import AsReleased, Rule, Settings, learning_rate, optimiser_for
from tests.conftest import interrupted_at
from tests.distill.conftest import bits, same
from tests.train.test_loop import Blobs, trained

STEPS = AsReleased(
    (("net", Rule(eps=1e-3)),), ((r"\.(fc|4)\.", 1.0), ("", 0.01)), biases=False, falls=(2, 3)
)
PLATEAU = AsReleased((("net", Rule("adamw")),), patience=1)
SGD = AsReleased((("net", Rule("sgd", momentum=0.9)),))
SETTINGS = Settings(epochs=6, batch_size=16, lr=1e-2, weight_decay=1e-2)


def stepped(rules, gradients):
    """One weight after a step of each of ``gradients``, one an epoch."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    settings = replace(SETTINGS, as_released=rules)
    one = optimiser_for(settings, "net", [("student.net.layer.weight", weight)], fused=False)
    for epoch, gradient in enumerate(gradients):
        (group,) = one.param_groups
        group["lr"] = learning_rate(settings, 0, 1, epoch) * group["share"]
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        one.step()
    return weight.item()


def test_a_first_step_of_each_kind_is_its_formula():
    decayed = 0.5 + 1e-2 * 2  # L2: the decay is part of the gradient
    assert stepped(SGD, [0.5]) == pytest.approx(2 - 1e-2 * decayed, abs=1e-12)
    adam = AsReleased((("net", Rule(eps=1e-3)),))
    assert stepped(adam, [0.5]) == pytest.approx(2 - 1e-2 * decayed / (decayed + 1e-3), abs=1e-12)
    adamw = AsReleased((("net", Rule("adamw", eps=1e-3)),))
    assert stepped(adamw, [0.5]) == pytest.approx(
        2 * (1 - 1e-4) - 1e-2 * 0.5 / (0.5 + 1e-3), abs=1e-12
    )
    bare = AsReleased((("net", Rule("sgd", share=0.1, decay=0.0)),))
    # with momentum
    assert stepped(bare, [0.5, 0.5]) == pytest.approx(2 - 1e-3 * 0.5 * (1 + 1.9), abs=1e-12)


def by_weight(settings, named):
    """Name of a weight → its learning rate and its decay."""
    groups = optimiser_for(settings, "net", named, False).param_groups
    return {
        name: (settings.lr * group["share"], group["weight_decay"])
        for name, weight in named
        for group in groups
        if any(weight is one for one in group["params"])
    }


def test_a_weight_has_the_share_of_the_first_pattern_in_its_name_and_biases_do_not_decay():
    weights = [
        (name, nn.Parameter(torch.ones(1)))
        for name in (
            "student.net.layer1.0.weight",
            "student.net.bn.bias",
            "student.net.fc.weight",
            "student.net.fc.bias",
        )
    ]
    settings = replace(SETTINGS, as_released=STEPS)
    said = by_weight(settings, weights).values()
    assert list(said) == [(1e-4, 1e-2), (1e-4, 0.0), (1e-2, 1e-2), (1e-2, 0.0)]
    with pytest.raises(ValueError, match="rules for net, and the method an optimiser 'cvae'"):
        optimiser_for(settings, "cvae", weights, False)


def test_the_plateau_is_torchs_replayed():
    torch.manual_seed(0)
    losses = (torch.rand(60) / torch.arange(1, 61).clamp(max=20)).tolist()
    weight = nn.Parameter(torch.zeros(1))
    one = torch.optim.SGD([weight], 1e-2)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(one, "min", patience=1)
    settings = replace(SETTINGS, as_released=PLATEAU)
    history = []
    seen = set()
    for epoch, loss in enumerate(losses):
        assert learning_rate(settings, 7, 9, epoch, history) == one.param_groups[0]["lr"]
        seen.add(one.param_groups[0]["lr"])
        scheduler.step(loss)
        history.append({"val_loss": loss})
    assert len(seen) > 3


@pytest.mark.parametrize("rules", [STEPS, PLATEAU, SGD], ids=["steps", "plateau", "sgd"])
def test_an_interrupted_training_ends_in_the_same_bits(tmp_path, rules):
    settings, place = replace(SETTINGS, as_released=rules), tmp_path / "checkpoint.pt"

    def its(progress=iter, checkpoint=None):
        how = {"progress": progress, "checkpoint": checkpoint}
        return trained(settings=settings, validation=Blobs(), **how)

    whole = its()
    with pytest.raises(KeyboardInterrupt):
        its(interrupted_at(11), place)
    went_on = []
    resumed = its(lambda steps: went_on.append(steps.start) or iter(steps), place)
    assert went_on[0] > 0 and same(resumed.nets["student"], bits(whole.nets["student"]))
    assert whole.history == resumed.history
    assert ("val_loss" in whole.history[0]) == bool(rules.patience)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda: Rule("adagrad"), "kind='adagrad'"),
        (lambda: AsReleased(shares=(("fc", 0.0),)), r"shares\[0\]=0.0"),
        (lambda: AsReleased(falls=(2,), patience=3), "give one of them"),
    ],
)
def test_nonsense_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()
