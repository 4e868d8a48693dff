"""torchvision's video networks, by their names; weights from local files of torchvision's names (kdlab fetches none).

Statistics and the size of input are those of torchvision's metadata of the public Kinetics-400 weights.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.video.mvit import MViT
from torchvision.models.video.swin_transformer import SwinTransformer3d

from kdlab.layers import Grid
from kdlab.nets.pretrained import Statistics, Weights

_RESNET = "fc", ("layer1", "layer2", "layer3", "layer4")
#: Architecture → the layer with a row a class, and the layers that give features ``(B, C, T, H, W)``.
_LAYERS = {
    "r3d_18": _RESNET, "mc3_18": _RESNET, "r2plus1d_18": _RESNET,
    "s3d": ("classifier.1", ("features.3", "features.6", "features.12", "features.15")),
    "swin3d_t": ("head", ("maps",)),
    "mvit_v2_s": ("head.1", ("maps",)),
}


class _MappedMViT(MViT):
    """torchvision's, whose patches pass ``maps`` before the last block: behind it only the class token is read."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pos_encoding(self.conv_proj(x).flatten(2).transpose(1, 2))
        thw = (self.pos_encoding.temporal_size, *self.pos_encoding.spatial_size)
        for block in self.blocks[:-1]:
            x, thw = block(x, thw)
        patches = self.maps(x[:, 1:].unflatten(1, thw)).flatten(2).transpose(1, 2)
        x, _ = self.blocks[-1](torch.cat([x[:, :1], patches], 1), thw)
        return self.head(self.norm(x)[:, 0])


@dataclass(frozen=True)
class TorchvisionVideo:
    """torchvision's ``arch``: ``r3d_18``, ``mc3_18``, ``r2plus1d_18``, ``s3d``, ``swin3d_t`` or ``mvit_v2_s``.

    Video ``(B, 3, T, H, W)`` → logits ``(B, K)``. ``Window(*spec.clip)`` is what the public weights were tested with;
    the last two architectures and s3d cannot do with less. A head of ``weights`` of other classes is left out.
    """

    arch: str = "r3d_18"
    weights: Weights | None = None

    def __post_init__(self):
        if self.arch not in _LAYERS:
            raise ValueError(f"no architecture {self.arch!r}: use one of {', '.join(_LAYERS)}, or bring a network of "
                             "your own")

    @classmethod
    def of(cls, path: str | Path) -> "TorchvisionVideo":
        """The network whose weights the file ``path`` holds, by its name as torchvision gives it, such as
        ``r3d_18-b3b3357e.pth``; a bare name is also looked for in ``$TORCH_HOME``. Raises ``ValueError`` for a name of
        no such network, and what ``Weights.of`` does."""
        arch = re.match(r"[a-z0-9_]*", Path(path).name)[0]
        if arch not in _LAYERS:
            raise ValueError(f"{path}: its name begins with none of {', '.join(_LAYERS)}. Give the architecture: "
                             "TorchvisionVideo(arch, Weights.of(path))")
        return cls(arch, Weights.of(path))

    @property
    def head(self) -> str:
        return _LAYERS[self.arch][0]

    @property
    def stages(self) -> tuple[str, ...]:
        return _LAYERS[self.arch][1]

    @property
    def statistics(self) -> Statistics | None:
        """Mean and standard deviation that the weights were trained with; None without weights."""
        preset = _metadata(self.arch).transforms()
        return (tuple(preset.mean), tuple(preset.std)) if self.weights else None

    @property
    def clip(self) -> tuple[int, int, int]:
        """Frames, short side and crop in pixels: the arguments of ``Window``."""
        weights = _metadata(self.arch)
        preset, tested = weights.transforms(), re.search(r"clip_len=(\d+)", weights.meta["_docs"])
        return int(tested[1]), min(preset.resize_size), preset.crop_size[0]

    def make(self, num_classes: int) -> nn.Module:
        net = get_model(self.arch, weights=None, num_classes=num_classes)
        if isinstance(net, SwinTransformer3d):  # its layers, by its names, in the order of its forward pass
            before = OrderedDict((name, getattr(net, name)) for name in ("patch_embed", "pos_drop", "features", "norm"))
            net = nn.Sequential(before | OrderedDict(maps=Grid(), avgpool=net.avgpool, flatten=nn.Flatten(1),
                                                     head=net.head))
        if isinstance(net, MViT):
            net.maps, net.__class__ = Grid(), _MappedMViT  # made by a function, not by a class that one could extend
        if self.weights:
            self.weights.into(net, self.head)
        net.register_forward_pre_hook(partial(_fits, self.arch))
        return net


@cache
def _metadata(arch: str):
    return get_model_weights(arch).DEFAULT


def _fits(arch: str, _net: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Raise ``ValueError`` for a clip that the architecture cannot see, before its layers fail one by one."""
    meta, (frames, *size) = _metadata(arch).meta, inputs[0].shape[2:]
    least = meta.get("min_temporal_size", 1), *meta["min_size"]
    exactly = arch == "mvit_v2_s"
    if exactly and (frames, *size) != least or any(n < m for n, m in zip((frames, *size), least, strict=True)):
        spec = TorchvisionVideo(arch)
        raise ValueError(f"{arch} needs clips of {'exactly' if exactly else 'at least'} {least[0]} frames of "
                         f"{least[1]}x{least[2]} pixels, got {frames} of {size[0]}x{size[1]}: use Window{spec.clip}")
