"""Marks for what students write: what a difference looks like is told."""

from functools import partial
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import kdlab
from kdlab.show.compare import fault_of
from kdlab.show.writing import _definitions, fault_of_function, functions


@pytest.mark.parametrize("name", functions())
def test_the_chapters_own_function_is_right(name):
    own = attrgetter(name[3:])(SimpleNamespace(**_definitions(name[:2])))
    assert fault_of_function(name, own) is None


def kd_loss(z, q, labels, t=4.0, alpha=0.9, scale=1.0, turned=False):
    log_p, log_q = (F.log_softmax(each / t, 1) for each in ((q, z) if turned else (z, q)))
    kl = (log_q.exp() * (log_q - log_p)).sum(1).mean()
    return scale * ((1 - alpha) * F.cross_entropy(z, labels) + alpha * t**2 * kl)


def unwritten(*given):
    raise NotImplementedError


@pytest.mark.parametrize(
    "answer, told",
    [
        (lambda *a: kd_loss(*a, scale=-1.0), "the sign is the opposite one"),
        (
            lambda z, q, y, t=4.0, a=0.9: kd_loss(z, q, y, t, a, 1 / t**2),
            "the factor t² is missing",
        ),
        (lambda *a: kd_loss(*a, scale=5.0), "the factor 5 (a number of clips"),
        (lambda *a: kd_loss(*a, turned=True), "if z_student and z_teacher change places"),
        (lambda z, q, y, t=4.0, a=0.9: kd_loss(z, q, y, t, 1 - a), "if alpha is 1 − alpha"),
        (lambda *a: kd_loss(*a).detach(), "lacks the gradient through it"),
        (lambda z, *a: kd_loss(z.detach().requires_grad_(), *a), "(the gradient through it['z'])"),
        (lambda *a: kd_loss(*a)[None], "gives the shape (1,) where () is right"),
        (lambda *a: 1 / 0, "raises ZeroDivisionError"),
        (unwritten, "is not written yet"),
        (3, "takes a function of yours, by its name, and got 3"),
    ],
)
def test_a_hint_depends_on_the_error(answer, told):
    assert told in fault_of_function("03.kd_loss", answer)


def test_a_function_is_marked_by_itself(capsys, own_places):
    names = {}
    exec("def kd_loss(*given): return 1 / 0\n\n\ndef dual(*given): return helper(*given)", names)
    names["helper"] = lambda *given: torch.zeros(())
    assert "gives 0 where" in fault_of_function("04.dual_light_loss", names["dual"])
    soft_nms = _definitions("06")["soft_nms"]
    soft_nms.__globals__["tiou"] = unwritten  # what stands around it may be wrong
    kdlab.check("06.soft_nms", soft_nms)
    kdlab.check()
    right, done, *_ = capsys.readouterr().out.splitlines()
    assert right == "06.soft_nms: right." and done == "done: 06.soft_nms"


@pytest.mark.parametrize("made", [list, tuple, np.array, torch.tensor])
@pytest.mark.parametrize("name", ["11.interval", "10.upsampled"])  # a pair, and four axes
def test_values_count_and_not_their_container(name, made):
    own = _definitions(name[:2])[name[3:]]

    def answer(*given, factor=1):
        return made((factor * np.array(own(*given))).tolist())

    assert fault_of_function(name, answer) is None
    assert "gives" in fault_of_function(name, partial(answer, factor=2))
    if name == "11.interval":
        longer = fault_of_function(name, lambda *given: made([*own(*given), 0]))
        assert "gives 3 parts where 2" in longer


def test_units_are_told_and_other_factors_only_of_arrays():
    right = np.array([0.25, 0.5])
    for factor, told in (
        (100, "are percent and shares mixed up?"),
        (3, "it is 3 times the right one"),
    ):
        assert told in fault_of(factor * right, right, 1e-6)
    assert "bits and nats" in fault_of(0.5 / np.log(2), np.array(0.5), 1e-6)
    assert fault_of(1.5, np.array(0.5), 1e-6) == "gives 1.5 where 0.5 is right"
