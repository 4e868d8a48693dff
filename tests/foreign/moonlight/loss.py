"""Adversarial distillation: a critic learns to tell the teacher's logits from the student's, who learns to fool it."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Adversarial:
    weight: float = 0.1
    hidden: int = 8

    def extra_nets(self, nets, batches, seed, needed):
        classes = len(needed["teacher"].provenance["classes"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return {"critic": nn.Sequential(nn.Linear(classes, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1))}

    def parts(self, nets):
        return {"critic": ["critic"], "net": ["student"]}

    def losses(self, nets, batch, progress):
        with torch.no_grad():
            real, fake = nets["teacher"](batch.views["teacher"]), nets["student"](batch.views["student"])
        real, fake = nets["critic"](real), nets["critic"](fake)
        told = F.softplus(-real).mean() + F.softplus(fake).mean()
        yield "critic", told, {}
        logits = nets["student"](batch.views["student"])
        ce, fooled = F.cross_entropy(logits, batch.labels), F.softplus(-nets["critic"](logits)).mean()
        yield "net", ce + self.weight * fooled, {"ce": ce, "fooled": fooled}
