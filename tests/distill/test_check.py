import copy

import pytest
import torch
from torch import nn

from kdlab.clips.windows import Batch
from kdlab.distill.check import check_distillation


class Net(nn.Module):
    """Batch norm, dropout, a linear layer: all that can go wrong in a teacher."""

    def __init__(self, seed, classes=2, width=6):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.hidden, self.norm, self.drop = nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(0.5)
            self.fc = nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(self.drop(self.norm(self.hidden(x)).relu()))


def make(seed=1, **size):
    """A teacher as it should be."""
    return Net(seed, **size).eval().requires_grad_(False)


X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def batch_for(right: nn.Module, x=X):
    """A batch whose labels are what ``right`` answers in eval mode."""
    with torch.no_grad():
        labels = copy.deepcopy(right).eval()(x).argmax(1)
    return Batch({"teacher": x, "student": x}, labels, tuple(map(str, range(len(x)))))


def findings(teacher, student):
    with pytest.raises(ValueError) as caught:
        check_distillation(teacher, student, batch_for(teacher))
    return str(caught.value).split("\n  ")[1:]


@pytest.mark.parametrize("share", [
    lambda teacher, student: setattr(student, "fc", teacher.fc),
    lambda teacher, student: student.load_state_dict(teacher.state_dict(), assign=True),  # other objects, one memory
])
def test_shared_parameters(share):
    teacher, student = make(), Net(2)
    share(teacher, student)
    (shared,) = findings(teacher, student)
    assert "share" in shared and "copy.deepcopy" in shared


class SumsToOne(nn.Module):
    """Logits moved so that each row's sum is 1, some of them negative."""

    def forward(self, x):
        return 5 * (x - x.mean(1, keepdim=True)) + 1 / x.shape[1]


@pytest.mark.parametrize("last", [nn.LogSoftmax(1), nn.Softplus(), SumsToOne()])
def test_log_probabilities_positive_logits_and_rows_that_sum_to_one_are_logits(last):
    teacher = nn.Sequential(make(), last).eval()
    assert check_distillation(teacher, Net(2), batch_for(teacher)) == []


def test_every_mistake_is_told_at_once():
    teacher = nn.Sequential(Net(1, classes=3, width=5), nn.Softmax(1))
    student = nn.Sequential(Net(2), nn.Identity())
    found = findings(teacher, student)
    words = ("training mode", "takes gradients", "statistics", "probabilities", "classes")
    assert len(found) == len(words)
    assert all(word in finding for word, finding in zip(words, found, strict=True))


def test_a_worse_teacher_is_a_warning_with_both_accuracies():
    teacher, student = make(), Net(2)
    with torch.no_grad():
        teacher.fc.weight.zero_()
        teacher.fc.bias.copy_(torch.tensor([0.0, 3.0]))  # always the second class
    batch = batch_for(student)
    share = 100 * float((batch.labels == 1).float().mean())
    assert 0 < share < 100
    (warning,) = check_distillation(teacher, student, batch)
    assert f"({share:.1f} % right against 100.0 %)" in warning
    assert check_distillation(student.eval().requires_grad_(False), teacher, batch) == []


@pytest.mark.parametrize("training", [False, True])
def test_networks_gradients_and_random_state_are_left_as_found_to_the_bit(training):
    teacher, student = make().train(training), Net(2)
    student.norm.eval()  # a mixed mode
    student(X).sum().backward()
    batch, nets = batch_for(teacher), nn.ModuleList([teacher, student])

    def everything():
        tensors = [torch.get_rng_state(), *nets.state_dict().values(), *(p.grad for p in student.parameters())]
        return [t.clone() for t in tensors], [m.training for m in nets.modules()]

    tensors, modes = everything()
    if training:
        findings(teacher, student)
    else:
        assert check_distillation(teacher, student, batch) == []
    after, modes_after = everything()
    assert modes == modes_after and all(map(torch.equal, tensors, after))
