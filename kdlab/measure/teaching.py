"""Does a network say in use what it said in training? One whose batch statistics drifted is no fair teacher."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from kdlab.train.loop import one_thread, seeded
from kdlab.train.runs import Run, batches


def teaching_losses(run: Run) -> tuple[float, float]:
    """Cross-entropy in nats of a trained network on one random draw of its training clips, for
    ``papers.progressive.method.gate``: as it is used, and with the statistics of each batch (without dropout). What is
    left of a last batch is not seen."""
    clips, size = batches(run.recipe, "train"), run.recipe.settings.batch_size
    net = run.net()
    drifting = copy.deepcopy(net)
    for module in drifting.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    draw, rows = seeded(run.recipe.seed, 5), []
    order = torch.randperm(len(clips.records), generator=draw)
    with torch.no_grad(), one_thread():
        for some in order[: max(1, len(order) // size) * size].split(size):
            batch = clips.training(some.tolist(), draw)
            rows.append((batch.labels, net(batch.views["student"]), drifting(batch.views["student"])))
    labels, *logits = (torch.cat(column) for column in zip(*rows, strict=True))
    return tuple(float(F.cross_entropy(z, labels)) for z in logits)
