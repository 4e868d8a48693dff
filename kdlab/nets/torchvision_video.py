"""torchvision's video networks, by their names; weights from local files of torchvision's names (kdlab fetches none).

Statistics and the size of input are those of torchvision's metadata of the public Kinetics-400 weights.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import nn
from torchvision.models import get_model, get_model_weights

from kdlab.nets.pretrained import Statistics, Weights

_RESNET = "fc", ("layer1", "layer2", "layer3", "layer4")
#: Architecture → the layer with a row a class, and the layers that give features ``(B, C, T, H, W)``; transformers have
#: none of that shape.
_LAYERS = {
    "r3d_18": _RESNET, "mc3_18": _RESNET, "r2plus1d_18": _RESNET,
    "s3d": ("classifier.1", ("features.3", "features.6", "features.12", "features.15")),
    "swin3d_t": ("head", ()),
    "mvit_v2_s": ("head.1", ()),
}


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
        return self.weights.into(net, self.head) if self.weights else net


@cache
def _metadata(arch: str):
    return get_model_weights(arch).DEFAULT
