"""One training on several processes: how a step's batch is cut into parts, and how what they computed becomes one step.

Each process computes the gradient of its parts, and they are added once for each step of an optimiser, weighted by the
clips in a part: the gradient of a mean over the whole batch, up to rounding. Fabric starts the processes and moves
tensors; its wrapper (torch's DistributedDataParallel) is left out, because methods here take several optimisers in
turn, tap layers, ask a network twice and leave weights without a gradient, and each of these needs another of its
switches. What that costs: gradients are added after the backward pass, not during it.

What is not a mean over clips stays a part's own: batch norm's statistics on a CPU, and a detection loss's division by
the number of its positives.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdlab.system.launch import Launch, device, launched
from kdlab.system.ranks import connect

#: Fabric's words for the settings' precisions.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


def fabric_for(precision: str):
    """Lightning Fabric for the hardware at hand and the processes that were started; see :mod:`kdlab.system.launch`.

    The environment is named, because Fabric's own guess takes any allocation of SLURM for a start by ``srun``.
    """
    from lightning_fabric import Fabric  # seconds of imports that only training needs
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    class Together(DDPStrategy):
        def setup_module(self, module: nn.Module) -> nn.Module:
            return module  # add_up does what its wrapper would

    launch, several = launched(), launched().world > 1
    where = dict(accelerator=device(), devices=launch.local_world, num_nodes=launch.world // launch.local_world)
    if several:
        connect()
    environment = TorchElasticEnvironment() if several else LightningEnvironment()
    fabric = Fabric(**where, strategy=Together() if several else "auto", precision=PRECISIONS[precision],
                    plugins=[environment])
    fabric.launch()
    return fabric


def cuts(batch: int, wanted: int, accumulate: int, launch: Launch) -> list[slice]:
    """Places in a batch of so many clips of the parts that this process takes, one after the other.

    Parts are equal, but for a ``batch`` of fewer clips than ``wanted``: all that there are. Raises ``ValueError`` for a
    ``wanted`` batch that does not divide among the processes, and for fewer clips than parts.
    """
    if wanted % launch.world:
        below = wanted // launch.world * launch.world
        sizes = " or ".join(str(size) for size in (below, below + launch.world) if size)
        raise ValueError(f"a global batch of {wanted} does not divide among {launch.world} processes: give "
                         f"batch_size={sizes}, or start another number of them")
    if (parts := launch.world * accumulate) > batch:
        raise ValueError(f"a batch of {batch} clips has not one for each of {parts} parts ({launch.world} processes, "
                         f"accumulate={accumulate}): give fewer of either, or more clips")
    edges = [batch * part // parts for part in range(parts + 1)]
    own = range(launch.rank * accumulate, (launch.rank + 1) * accumulate)
    return [slice(edges[part], edges[part + 1]) for part in own]


def by_optimiser(parts: Sequence[Iterator[tuple]]) -> Iterator[tuple[str, Iterable[tuple]]]:
    """An optimiser's name and its turn ``(name, loss, terms)`` of each part, computed as it is asked for: the losses of
    all ``parts`` go on in step."""
    while (turn := next(parts[0], None)) is not None:
        yield turn[0], chain([turn], map(next, parts[1:]))


def add_up(weights: Sequence[nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
    """Make the gradients of ``weights`` the sums of those of all processes; the sum of their losses. A weight without a
    gradient in any keeps none: an optimiser leaves it alone, and would let it decay for a gradient of 0."""
    if launched().world == 1:
        return loss
    there = [weight.grad is not None for weight in weights]
    gradients = [weight.grad if has else torch.zeros_like(weight) for weight, has in zip(weights, there, strict=True)]
    flat = torch.cat([each.flatten() for each in (loss, torch.tensor(there, device=loss.device), *gradients)])
    torch.distributed.all_reduce(flat)
    loss, has, *sums = flat.split([1, len(there), *(each.numel() for each in gradients)])
    somewhere = there if all(there) else has.tolist()  # only asked where needed: a GPU would be waited for
    for weight, gradient, total, any_has in zip(weights, gradients, sums, somewhere, strict=True):
        if any_has:
            weight.grad = gradient.copy_(total.view(gradient.shape))
    return loss[0]


def total(value: float | torch.Tensor) -> float:
    """The sum of ``value`` over the processes."""
    if launched().world == 1:
        return float(value)
    kept = torch.as_tensor(value, device=device()).double() if device() != "mps" else torch.as_tensor(value)
    torch.distributed.all_reduce(kept)
    return float(kept)


# --- batch norm ------------------------------------------------------------------------------------------------


def batch_norms(nets: Iterable[nn.Module]) -> list[nn.Module]:
    """The layers of ``nets`` whose statistics are of the clips that one process sees, where there are several."""
    if launched().world == 1:
        return []
    layers = (layer for net in nets for layer in net.modules() if isinstance(layer, _BatchNorm))
    return [layer for layer in layers if layer.track_running_stats and not isinstance(layer, nn.SyncBatchNorm)]


def statistics_of(nets: Iterable[nn.Module]) -> str:
    """What batch norm's statistics in ``nets`` are of, where several processes train."""
    if launched().world == 1:
        return ""
    layers = [layer for net in nets for layer in net.modules() if isinstance(layer, _BatchNorm)]
    return "" if not layers else "each process's clips" if batch_norms(layers) else "all processes' clips"


def synchronised(net: nn.Module) -> nn.Module:
    """``net`` with batch norms that see the whole batch, where several processes have a GPU each; else itself."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(net) if launched().world > 1 and device() == "cuda" else net


def begin_alike(nets: Iterable[nn.Module]) -> None:
    """Give all processes the weights and buffers of the first: another processor may round statistics otherwise."""
    if launched().world > 1:
        with torch.no_grad():
            for tensor in chain.from_iterable(net.state_dict().values() for net in nets):
                sent = tensor.contiguous()
                torch.distributed.broadcast(sent, 0)
                tensor.copy_(sent)


def settle(layers: Iterable[nn.Module]) -> None:
    """Give all processes the mean of their running statistics in ``layers``: each has seen its own clips."""
    with torch.no_grad():
        for layer in layers:
            for statistic in (layer.running_mean, layer.running_var):
                torch.distributed.all_reduce(statistic.div_(launched().world))
