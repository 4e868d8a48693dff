from dataclasses import dataclass

import torch

from kdlab.clips.windows import Batch


class InMemory:
    """All that the loop asks of clips; ``batch(indices, generator)`` makes them."""

    records = range(16)

    def training(self, indices, generator, part=slice(None)):
        batch = self.batch(indices, generator)
        views = {name: view[part] for name, view in batch.views.items()}
        return Batch(views, batch.labels[part], batch.ids[part])

    def evaluation(self):
        yield self.batch(self.records, torch.Generator().manual_seed(7))


@dataclass
class TwoSides(InMemory):
    """Two classes, a bright left or right half."""

    side: int = 8
    frames: int = 4

    def batch(self, indices, generator):
        labels, half = torch.tensor([i % 2 for i in indices]), self.side // 2
        x = 0.1 * torch.rand(
            len(indices), 3, self.frames, self.side, self.side, generator=generator
        )
        x[labels == 0, ..., :half] += 0.5
        x[labels == 1, ..., half:] += 0.5
        return Batch({"student": x, "teacher": x.sqrt()}, labels, tuple(map(str, indices)))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bits(net):
    return {k: v.clone() for k, v in net.state_dict().items()}


def same(net, before):
    return all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def kind(value):
    """The name of a value's class, for the names of tests."""
    return type(value).__name__
