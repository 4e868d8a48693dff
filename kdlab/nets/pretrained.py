"""Published weights, read from local files; kdlab never downloads any (docs/methods.md, 1.3).

A file that is missing at its path is searched for by name in ``$TORCH_HOME/hub/checkpoints``.
"""

import hashlib
import re
from dataclasses import dataclass, field
from os.path import commonprefix
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from kdlab.nets.video import load_weights

#: Some checkpoints also hold other values, such as the epoch: the keys of their weights, and prefixes of wrappers.
_WRAPPERS = ("state_dict", "model_state", "model", "module")
_PREFIXES = ("module.", "model.", "_orig_mod.")
_INNER = "base_model."  # CoViAR's prefix of some names


@dataclass(frozen=True)
class Weights:
    """A local checkpoint, ``Weights.of(path)``; the identity of a recipe contains its content, not its path."""

    path: str = field(metadata={"identity": False})
    sha256: str

    @classmethod
    def of(cls, path: str | Path) -> "Weights":
        """The file at ``path``, or of that name in torch's hub, with the SHA-256 of its bytes. Raises
        ``FileNotFoundError``, and ``ValueError`` where the eight hex digits in its name differ from the start of that
        hash."""
        return cls(str(_present(path)), _sha256(path))

    @property
    def name(self) -> str:
        return self.sha256[:12]

    def into(self, net: nn.Module, head: str = "fc") -> nn.Module:
        """``net`` with these weights, from ``.safetensors`` or from a state dict written by ``torch.save``.

        Names are torchvision's. A prefix of a wrapper (``module.``, ``model.``, ``_orig_mod.``) is removed where all
        names have it and none matches the network; CoViAR's ``base_model.`` is always removed. The last layer ``head``
        keeps its own weights where the file has a different number of classes. Raises ``FileNotFoundError``. Raises
        ``ValueError`` for a file with another content, an unreadable file, or a file of another architecture; the error
        names the first tensors that do not fit.
        """
        if (present := _sha256(self.path)) != self.sha256:
            raise ValueError(
                f"{self.path} has SHA-256 {present[:12]}…, the recipe was made for {self.name}…: put that "
                "file back, or make a new recipe with Weights.of(path)"
            )
        own, path = net.state_dict(), _present(self.path)
        state = _bare(read_state(path), own)
        # files from before torch 0.4.1 have no count of batches
        state |= {k: own[k] for k in own.keys() - state.keys() if k.endswith("num_batches_tracked")}
        init, loaded = own.get(f"{head}.weight"), state.get(f"{head}.weight")
        if (
            init is not None
            and loaded is not None
            and loaded.shape[1:] == init.shape[1:]
            and len(loaded) != len(init)
        ):
            state |= {name: own[name] for name in (f"{head}.weight", f"{head}.bias") if name in own}
        return load_weights(
            net, state, str(path), "Give the file of the network that the recipe names."
        )


def _bare(state: dict, own: dict) -> dict:
    """``state`` under the names of ``own``. A prefix that all names share belongs to a wrapper; otherwise it belongs to
    a layer."""
    while state.keys().isdisjoint(own):
        start = commonprefix(list(state))
        prefix = next(filter(start.startswith, _PREFIXES), "")
        if not prefix:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    bare = {k if k in own else k.removeprefix(_INNER): tensor for k, tensor in state.items()}
    return bare if len(bare) == len(state) else state


def _present(path: str | Path) -> Path:
    """The file at ``path``, else the file of that name in the folder of torch's hub."""
    hub = Path(torch.hub.get_dir(), "checkpoints")
    for place in (Path(path), hub / Path(path).name):
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"no checkpoint at {path}, nor in {hub}: put the file there (kdlab downloads none), or use "
        "weights=None"
    )


def _sha256(path: str | Path) -> str:
    with open(_present(path), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    tag = re.search(r"-([0-9a-f]{8})\.[^.]+$", Path(path).name)  # torch hub's file names
    if tag and not digest.startswith(tag[1]):
        raise ValueError(
            f"{path} has SHA-256 {digest[:8]}…, its name says {tag[1]}: it is cut short or another one. "
            "Copy it again, or take the digits out of its name"
        )
    return digest


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file of weights. Raises ``ValueError`` for a file that cannot be read or holds none."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes make the unpickler raise anything
        why = (str(error) or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise ValueError(
            f"{path} cannot be read ({why}): it is cut short, or no plain tensors. Copy it again or "
            "save net.state_dict()"
        ) from error
    while isinstance(state, dict) and (
        inner := next((k for k in _WRAPPERS if isinstance(state.get(k), dict)), "")
    ):
        state = state[inner]
    if not isinstance(state, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in state.values()
    ):
        raise ValueError(
            f"{path} holds no state dict: names and tensors, as net.state_dict() gives them"
        )
    return state
