"""Video networks from torchvision, and R(2+1)D with 34 layers from torchvision's blocks (docs/methods.md, 1.3).

Weights come from local files under torchvision's names; kdlab downloads none. The import of torchvision takes a second,
so it happens where a network is made.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import nn

from kdlab.nets.pretrained import Weights
from kdlab.protocols import Net, Statistics

#: The input statistics of torchvision's R(2+1)D weights (Kinetics) and of the IG-65M weights.
KINETICS: Statistics = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_RESNET = "fc", ("layer1", "layer2", "layer3", "layer4")
#: Architecture → the classifier layer (one row per class), and the layers with features ``(B, C, T, H, W)``;
#: transformers have no features of that shape.
_LAYERS = {
    "r3d_18": _RESNET,
    "mc3_18": _RESNET,
    "r2plus1d_18": _RESNET,
    "s3d": ("classifier.1", ("features.3", "features.6", "features.12", "features.15")),
    "swin3d_t": ("head", ()),
    "mvit_v2_s": ("head.1", ()),
}


@dataclass(frozen=True)
class R2Plus1D(Net):
    """R(2+1)D with 34 layers in the layout of the public IG-65M weights, for clips of 112² pixels (Tran et al., arXiv
    1711.11248). With 18 layers it is ``TorchvisionVideo("r2plus1d_18")``.

    Video ``(B, 3, T, H, W)`` → logits ``(B, K)``; layer ``layer4`` gives ``(B, 512, T/8, H/16, W/16)``.
    """

    weights: Weights | None = None
    stages: ClassVar = _RESNET[1]

    @property
    def statistics(self) -> Statistics | None:
        """The mean and standard deviation with which the weights were trained; None without weights."""
        return KINETICS if self.weights else None

    def make(self, num_classes: int) -> nn.Module:
        from torchvision.models.video.resnet import (
            BasicBlock,
            Conv2Plus1D,
            R2Plus1dStem,
            VideoResNet,
        )

        class OwnMidplanes(Conv2Plus1D):
            """The middle channels of the original (Caffe2) networks: computed from the convolution's own input, not
            from the block's. The second convolution in the first block of layers 2, 3 and 4 has 288, 576 and 1152 of
            them here, and 230, 460 and 921 in torchvision."""

            def __init__(self, channels_in: int, channels: int, midplanes: int, *stride: int):
                own = channels_in * channels * 27 // (channels_in * 9 + channels * 3)
                super().__init__(channels_in, channels, own, *stride)

        blocks = [3, 4, 6, 3]
        net = VideoResNet(BasicBlock, [OwnMidplanes] * 4, blocks, R2Plus1dStem, num_classes)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eps = 1e-3  # Caffe2's
        return self.weights.into(net) if self.weights else net


@dataclass(frozen=True)
class TorchvisionVideo(Net):
    """torchvision's ``arch``: ``r3d_18``, ``mc3_18``, ``r2plus1d_18``, ``s3d``, ``swin3d_t`` or ``mvit_v2_s``.

    Video ``(B, 3, T, H, W)`` → logits ``(B, K)``. ``Window(*spec.clip)`` is the test setting of the public weights; the
    last two architectures and s3d need at least this size. The head of ``weights`` is ignored where its number of
    classes differs.
    """

    arch: str = "r3d_18"
    weights: Weights | None = None

    def __post_init__(self):
        if self.arch not in _LAYERS:
            raise ValueError(
                f"no architecture {self.arch!r}: use one of {', '.join(_LAYERS)}, or bring a network of "
                "your own"
            )

    @classmethod
    def of(cls, path: str | Path) -> "TorchvisionVideo":
        """The network for the weights in the file ``path``. The file has torchvision's name, such as
        ``r3d_18-b3b3357e.pth``; a bare name is also searched for in the folder of torch's hub."""
        return cls(re.match(r"[a-z0-9_]*", Path(path).name)[0], Weights.of(path))

    @property
    def head(self) -> str:
        return _LAYERS[self.arch][0]

    @property
    def stages(self) -> tuple[str, ...]:
        return _LAYERS[self.arch][1]

    @property
    def statistics(self) -> Statistics | None:
        """The mean and standard deviation with which the weights were trained, from the metadata of torchvision's
        public Kinetics-400 weights; None without weights."""
        preset = self._metadata().transforms()
        return (tuple(preset.mean), tuple(preset.std)) if self.weights else None

    @property
    def clip(self) -> tuple[int, int, int]:
        """Frames, short side and crop in pixels: the arguments of ``Window``."""
        weights = self._metadata()
        preset, tested = weights.transforms(), re.search(r"clip_len=(\d+)", weights.meta["_docs"])
        return int(tested[1]), min(preset.resize_size), preset.crop_size[0]

    def make(self, num_classes: int) -> nn.Module:
        from torchvision.models import get_model

        net = get_model(self.arch, weights=None, num_classes=num_classes)
        return self.weights.into(net, self.head) if self.weights else net

    def _metadata(self):
        from torchvision.models import get_model_weights

        return get_model_weights(self.arch).DEFAULT
