"""What test_processes.py trains in one process and in two, in fp64: ``python ranks.py FOLDER``, also under torchrun."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from kdlab.clips.windows import Batch
from kdlab.distill.method import CrossEntropy
from kdlab.nets.i3d import TinyC3D
from kdlab.nets.video import build
from kdlab.papers.generative.method import FeatureRepresentation, GenerativeDistillation
from kdlab.papers.generative.networks import Gated
from kdlab.train import processes
from kdlab.train.loop import Settings, fit
from kdlab.train.processes import launched

CLIP = (4, 8, 8)
TEACHER = Gated(TinyC3D((2, 3, 4, 4)), CLIP)
STUDENT = Gated(TinyC3D((2, 2, 2, 4), (False, False, True, True)), CLIP)


@dataclass
class Clips:
    """Two classes, a bright left or right half, in memory, the noise on it drawn clip by clip."""

    records: list = field(default_factory=lambda: list(range(40)))

    def _batch(self, indices, generator, part=slice(None)):
        labels = torch.tensor([i % 2 for i in indices])
        x = torch.rand(len(indices), 3, *CLIP, generator=generator, dtype=torch.float64)
        x[labels == 0, ..., : CLIP[-1] // 2] += 0.5
        views = {"student": x[part], "teacher": x[part].sqrt()}
        return Batch(views, labels[part], tuple(map(str, indices))[part])

    def training(self, indices, generator, part=slice(None)):
        return self._batch(indices, generator, part)

    def evaluation(self):
        yield self._batch(self.records, torch.Generator().manual_seed(7))


def grouped(net):
    """``net`` with group norms in place of batch norms."""
    for name, layer in net.named_children():
        own = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        setattr(net, name, nn.GroupNorm(1, layer.num_features) if own else grouped(layer))
    return net


def networks(method, norms=grouped):
    torch.manual_seed(0)
    nets = {"student": norms(build(STUDENT, 2, 0)),
            "teacher": norms(build(TEACHER, 2, 9)).eval().requires_grad_(False)}
    if isinstance(method, GenerativeDistillation):
        nets["teacher_cvae"] = nets["teacher"].net.new_cvae(deterministic=True).eval().requires_grad_(False)
    if hasattr(method, "extra_nets"):
        nets |= method.extra_nets(nets, iter(()), 0)
    return {name: net.double() for name, net in nets.items()}


losses = []  # of each step of each optimiser, over all processes


def noted(weights, loss, sum_gradients=processes.sum_gradients):
    found = sum_gradients(weights, loss)
    losses.append(float(found))
    return found


def trained(method=None, norms=grouped, clips=None, settings=None, steps=iter, **more):
    """Loss by loss, epoch by epoch, and the weights."""
    method, settings = method or CrossEntropy(), {"epochs": 4, "batch_size": 16, "lr": 1e-2} | (settings or {})
    losses.clear()
    found = fit(method, networks(method, norms), clips or Clips(), Settings(**settings), 3, progress=steps,
                validation=None if clips else Clips(), **more)
    weights = {f"{name}.{k}": v.tolist() for name in found.owned for k, v in found.nets[name].state_dict().items()}
    return {"losses": [*losses], "rows": found.history, "first": found.first_losses, "weights": weights}


def interrupted(place):
    """A training that is left after its third epoch, and goes on."""
    few = {"settings": {"epochs": 5}, "norms": lambda net: net, "checkpoint": place}
    trained(steps=lambda steps: range(7), **few)
    return trained(**few)


def refused(call):
    try:
        call()
    except ValueError as error:
        return f"{type(error).__name__}: {error}"


def main(folder):
    torch.set_default_dtype(torch.float64)
    processes.PRECISIONS["fp32"], processes.sum_gradients = "64-true", noted
    found = {
        "ce": trained(settings={"epochs": 25}),
        "uneven": trained(clips=Clips(list(range(15)))),
        "accumulate": trained(settings={"accumulate": 2}),
        "alternating": trained(FeatureRepresentation(deterministic=True, alternating=4)),
        "genkd": trained(GenerativeDistillation(deterministic=True)),
    }
    if launched().world > 1:
        rank = launched().rank
        found["batch_norm"] = trained(norms=lambda net: net, settings={"epochs": 5})
        found["resumed"] = interrupted(folder / "checkpoint.pt")
        found["told"] = processes.result_of_first(lambda: rank)
        found["refused"] = refused(lambda: trained(settings={"batch_size": 15}))
    (folder / f"{launched().rank}of{launched().world}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
