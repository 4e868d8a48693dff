import copy

import pytest
import torch
from torch import nn

from kdlab.clips.views import Batch
from kdlab.distill.check import DistillationError, check_distillation


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
    with pytest.raises(DistillationError) as caught:
        check_distillation(teacher, student, batch_for(teacher))
    assert str(caught.value).count("\n  ") == len(caught.value.findings)
    return caught.value.findings


def test_a_good_pair_passes_without_a_word():
    teacher = make()
    assert check_distillation(teacher, Net(2), batch_for(teacher)) == []


def test_a_teacher_in_training_mode_is_told_with_its_moving_statistics():
    mode, statistics = findings(make().train(), Net(2))
    assert "training mode" in mode and "teacher.eval()" in mode
    assert "statistics move" in statistics and "norm.running_mean" in statistics


def test_one_layer_in_training_mode_is_named():
    teacher = make()
    teacher.drop.train()
    (mode,) = findings(teacher, Net(2))
    assert "drop" in mode and "teacher.eval()" in mode


def test_statistics_that_move_in_eval_mode_are_told():
    class Restless(Net):
        def forward(self, x):
            self.norm.running_mean.mul_(0.9).add_(0.1)
            return super().forward(x)

    (statistics,) = findings(Restless(1).eval().requires_grad_(False), Net(2))
    assert "1 buffers, first: norm.running_mean" in statistics


def test_a_teacher_with_gradients():
    teacher = make()
    teacher.fc.bias.requires_grad_(True)
    (gradients,) = findings(teacher, Net(2))
    assert "1 parameters, first: fc.bias" in gradients and "requires_grad_(False)" in gradients


def test_the_same_object_twice():
    teacher = make()
    assert ["same object" in finding for finding in findings(teacher, teacher)] == [True]


@pytest.mark.parametrize("share", [
    lambda teacher, student: setattr(student, "fc", teacher.fc),
    lambda teacher, student: student.load_state_dict(teacher.state_dict(), assign=True),  # other objects, one memory
])
def test_shared_parameters(share):
    teacher, student = make(), Net(2)
    share(teacher, student)
    (shared,) = findings(teacher, student)
    assert "share" in shared and "copy.deepcopy" in shared


def test_another_number_of_classes():
    (classes,) = findings(make(classes=3), Net(2))
    assert "teacher knows 3 classes, the student 2" in classes


def test_features_may_be_of_another_shape():
    assert check_distillation(make(width=5), Net(2), batch_for(make(width=5))) == []


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_probabilities_where_logits_belong(who):
    nets = {"teacher": make(), "student": Net(2)}
    nets[who] = nn.Sequential(nets[who], nn.Softmax(1)).train(who == "student")
    (probabilities,) = findings(**nets)
    assert f"The {who} answers with probabilities" in probabilities


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


def test_each_network_sees_its_own_view():
    teacher = make()
    batch = batch_for(teacher)
    batch.views["student"] = X[:, :3]  # of a width that only this student reads
    assert check_distillation(teacher, nn.Sequential(nn.Linear(3, 4), Net(2)), batch) == []


@pytest.mark.parametrize("break_it", ["nothing", "train", "width"])
def test_networks_gradients_and_random_state_are_left_as_found_to_the_bit(break_it):
    teacher, student = make().train(break_it == "train"), Net(2)
    student.norm.eval()  # a mixed mode
    student(X).sum().backward()
    batch = batch_for(teacher)
    if break_it == "width":
        batch.views["student"] = X[:, :3]

    def everything():
        nets = {"teacher": teacher, "student": student}
        state = {f"{n}.{k}": v.clone() for n, net in nets.items() for k, v in net.state_dict().items()}
        state |= {f"{n}.{k}.grad": p.grad.clone() for n, net in nets.items() for k, p in net.named_parameters()
                  if p.grad is not None}
        rest = {(n, k): (m.training, len(m._forward_hooks)) for n, net in nets.items() for k, m in net.named_modules()}
        flags = [p.requires_grad for net in nets.values() for p in net.parameters()]
        return state | {"rng": torch.get_rng_state()}, rest, flags, torch.is_grad_enabled()

    before = everything()
    if break_it == "nothing":
        check_distillation(teacher, student, batch)
    else:
        with pytest.raises((ValueError, RuntimeError), match="shapes" if break_it == "width" else "training mode"):
            check_distillation(teacher, student, batch)
    after = everything()
    assert before[1:] == after[1:] and before[0].keys() == after[0].keys()
    assert len([k for k in before[0] if k.endswith("grad")]) == 6  # all of the student's
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])
