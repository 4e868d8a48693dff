"""R(2+1)D at the papers' size, 18 and 34 layers (Tran et al., arXiv 1711.11248; docs/methods.md, 1.3)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from kdlab.nets.pretrained import KINETICS, Statistics, Weights
from kdlab.system.values import fraction


@dataclass(frozen=True)
class R2Plus1D:
    """R(2+1)D of ``depth`` 34 in the layout of the public IG-65M weights, or 18 in torchvision's; for 112² clips.

    Video ``(B, 3, T, H, W)`` → logits ``(B, K)``; layer ``layer4`` gives ``(B, 512, T/8, H/16, W/16)``. ``momentum`` is
    torch's for batch norm: the weight of the newest batch in the running statistics.
    """

    depth: int = 34
    weights: Weights | None = None
    momentum: float = 0.1
    stages: ClassVar = ("layer1", "layer2", "layer3", "layer4")

    def __post_init__(self):
        if self.depth not in (18, 34):
            raise ValueError(f"depth must be 18 or 34, got {self.depth}")
        fraction(momentum=self.momentum)

    @property
    def statistics(self) -> Statistics | None:
        """Mean and standard deviation that the weights were trained with; None without weights."""
        return KINETICS if self.weights else None

    def make(self, num_classes: int) -> nn.Module:
        from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

        from kdlab.nets.torchvision_parts import OwnMidplanes

        convolution, blocks = {18: (Conv2Plus1D, [2, 2, 2, 2]), 34: (OwnMidplanes, [3, 4, 6, 3])}[self.depth]
        net = VideoResNet(BasicBlock, [convolution] * 4, blocks, R2Plus1dStem, num_classes)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = self.momentum
                if self.depth == 34:
                    module.eps = 1e-3  # Caffe2's
        return self.weights.into(net) if self.weights else net
