from dataclasses import dataclass, field

import torch

from kdlab.clips.windows import Batch


@dataclass
class TwoSides:
    """Two classes, a bright left or right half, in memory: all that the loop asks of clips."""

    side: int = 8
    frames: int = 4
    records: list = field(default_factory=lambda: list(range(16)))

    def _batch(self, indices, generator):
        labels, half = torch.tensor([i % 2 for i in indices]), self.side // 2
        x = 0.1 * torch.rand(
            len(indices), 3, self.frames, self.side, self.side, generator=generator
        )
        x[labels == 0, ..., :half] += 0.5
        x[labels == 1, ..., half:] += 0.5
        return Batch({"student": x, "teacher": x.sqrt()}, labels, tuple(map(str, indices)))

    def training(self, indices, generator):
        return self._batch(indices, generator)

    def evaluation(self):
        yield self._batch(self.records, torch.Generator().manual_seed(7))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bits(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in net.state_dict().items()}


def same(net: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
