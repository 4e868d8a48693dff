import pytest
import torch

from kdlab.nets.video import WrongWeights, build
from kdlab.nets.wrappers import IMAGENET, Narrowed, WithStatistics, for_classes


def test_a_network_that_knows_more_classes_answers_for_the_wanted_ones_in_their_order():
    net = build(WithStatistics(), 4, seed=0).eval()
    x = torch.rand(2, 3, 8, 20, 20)
    few = for_classes(net, ["Jump", "Run", "Sit", "Walk"], ["Walk", "Run"])
    assert isinstance(few, Narrowed) and torch.equal(few(x), net(x)[:, [3, 1]])
    assert for_classes(net, ["a", "b"], ("a", "b")) is net
    assert few.state_dict().keys() == {f"net.{k}" for k in net.state_dict()}


def test_a_class_the_teacher_does_not_know_is_named():
    with pytest.raises(WrongWeights, match="does not know Swim; it was trained on Run, Walk"):
        for_classes(torch.nn.Identity(), ["Run", "Walk"], ["Run", "Swim"])


def test_a_dark_clip_is_nearly_constant_under_imagenet_statistics():
    """At 12 of 255 all three colours stand near −2, a grey level less than 0.02 apart: docs/methods.md, 1."""
    net = build(WithStatistics(), 3, 0, *map(torch.tensor, IMAGENET))
    shown = lambda level: (torch.full((1, 3, 1, 1, 1), level / 255) - net.mean) / net.std  # noqa: E731
    assert torch.all((shown(12) < -1.5) & (shown(12) > -2.2)) and float((shown(13) - shown(12)).max()) < 0.02
