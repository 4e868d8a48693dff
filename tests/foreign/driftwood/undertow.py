"""A method: the student's features, projected, shall pass for the teacher's before a critic that learns meanwhile."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from kdlab.nets.layers import evaluating, outputs
from kdlab.protocols import Method


@dataclass(frozen=True)
class Undertow(Method):
    """``taps`` and ``mine`` are the teacher's and the student's layer; ``other`` teaches features of other clips."""

    taps: tuple[str, ...] = ("net.stern",)
    mine: str = "net.stern"
    beta: float = 0.3
    other: bool = False

    def swim(self, nets, batch, who):
        layer = self.mine if who == "student" else self.taps[0]
        seen = outputs(nets[who], batch.views[who], [layer])
        return seen.logits, seen.taps[layer].mean((2, 3, 4))

    def extra_nets(self, nets, batches, seed, needed):
        batch = next(iter(batches))
        with torch.no_grad(), evaluating(nets["student"]), torch.random.fork_rng(devices=[]):
            ours, theirs = (
                self.swim(nets, batch, who)[1].shape[1] for who in ("student", "teacher")
            )
            torch.manual_seed(seed)
            return {
                "projector": nn.Linear(ours, theirs),
                "critic": nn.Sequential(nn.Linear(theirs, 16), nn.ReLU(), nn.Linear(16, 1)),
            }

    def networks_by_optimiser(self, nets):
        return {"judge": ["critic"], "swimmer": ["student", "projector"]}

    def losses(self, nets, batch, progress):
        with torch.no_grad():
            theirs = self.swim(nets, batch, "teacher")[1].roll(int(self.other), 0)
        logits, ours = self.swim(nets, batch, "student")
        ours = nets["projector"](ours)
        yield (
            "judge",
            (
                F.softplus(-nets["critic"](theirs)) + F.softplus(nets["critic"](ours.detach()))
            ).mean(),
            {},
        )
        ce = F.cross_entropy(logits, batch.labels)
        fooled = F.softplus(-nets["critic"](ours)).mean()
        pull = F.mse_loss(ours, theirs)
        yield (
            "swimmer",
            ce + self.beta * (fooled + pull),
            {"ce": ce, "fooled": fooled, "pull": pull},
        )
