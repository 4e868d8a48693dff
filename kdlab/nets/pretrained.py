"""Weights that others trained, read from files on this machine: nothing is ever fetched (docs/methods.md, 1.3)."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from kdlab.nets.video import WrongWeights, load_weights

__all__ = ["KINETICS", "MissingWeights", "Statistics", "Weights", "load_pretrained", "untrained"]

Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean, standard deviation per channel, pixels in [0, 1]
#: What the R(2+1)D weights of torchvision (Kinetics) and of IG-65M were trained with.
KINETICS: Statistics = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


class MissingWeights(FileNotFoundError):
    """A checkpoint that is not where it should be."""


@dataclass(frozen=True)
class Weights:
    """A checkpoint on this machine, ``Weights.of(path)``: a recipe's identity has its content, not its path."""

    path: str = field(metadata={"identity": False})
    sha256: str

    @classmethod
    def of(cls, path: str | Path) -> "Weights":
        """The file at ``path`` with the SHA-256 of its bytes. Raises :class:`MissingWeights`."""
        return cls(str(path), _sha256(path))

    @property
    def name(self) -> str:
        return self.sha256[:12]

    def into(self, net: nn.Module) -> nn.Module:
        """``net`` with these weights (:func:`load_pretrained`). Raises :class:`WrongWeights` for another content."""
        if (found := _sha256(self.path)) != self.sha256:
            raise WrongWeights(f"{self.path} has SHA-256 {found[:12]}…, the recipe was made for {self.name}…: put that "
                               "file back, or make a new recipe with Weights.of(path)")
        load_pretrained(net, self.path)
        return net


def untrained(spec):
    """The architecture of ``spec`` without its checkpoints, at any depth: for weights that come from a run's folder."""
    inner = {f.name: v for f in dataclasses.fields(spec) if dataclasses.is_dataclass(v := getattr(spec, f.name))}
    return dataclasses.replace(spec, **{k: None if isinstance(v, Weights) else untrained(v) for k, v in inner.items()})


def load_pretrained(net: nn.Module, path: str | Path) -> str:
    """Put a state dict (``.safetensors``, or what ``torch.save`` wrote) into ``net``; say in one line what was done.

    Names are torchvision's; the prefixes ``module.`` and ``base_model.`` (CoViAR's) are dropped. The last layer ``fc``
    keeps its own weights where the file's has another number of classes. Raises :class:`MissingWeights`, and
    :class:`WrongWeights` for a file that cannot be read or belongs to another architecture, naming the first tensors
    that do not fit.
    """
    own, said = net.state_dict(), f"weights from {path}"
    read = _read(_present(path))
    state = {name.removeprefix("module.").removeprefix("base_model."): tensor for name, tensor in read.items()}
    # files from before torch 0.4.1 do not count batches
    state |= {k: own[k] for k in own.keys() - state.keys() if k.endswith("num_batches_tracked")}
    head, theirs = own.get("fc.weight"), state.get("fc.weight")
    if head is not None and theirs is not None and theirs.shape[1:] == head.shape[1:] and len(theirs) != len(head):
        state |= {name: own[name] for name in ("fc.weight", "fc.bias")}
        said += f"; its head of {len(theirs)} classes is left out, ours of {len(head)} begins at random"
    try:
        load_weights(net, state, str(path))
    except WrongWeights as error:
        what = str(error).partition(". Build")[0]  # what follows mends a run, not a checkpoint
        raise WrongWeights(f"{what}. Give the file of the network that the recipe names.") from None
    return said


def _present(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise MissingWeights(f"no checkpoint at {path}: put the file there (kdlab downloads none), or use weights=None")
    return Path(path)


def _sha256(path: str | Path) -> str:
    with open(_present(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes make the unpickler raise anything, from KeyError to struct.error
        why = (str(error) or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise WrongWeights(f"{path} cannot be read ({why}): it is cut short, or no plain tensors. Copy it again or "
                           "save net.state_dict()") from error
    if isinstance(state, dict):
        state = state.get("state_dict", state)  # a trainer's own file has the epoch beside it
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise WrongWeights(f"{path} holds no state dict: names and tensors, as net.state_dict() gives them")
    return state
