"""What extends torchvision's own classes, which take a second to import: so this module is imported where such a
network is made, and recipes and tiny networks do without."""

from collections.abc import Callable

import torch
from torch import nn
from torchvision.models.resnet import ResNet
from torchvision.models.video.resnet import Conv2Plus1D

from kdlab.nets.compressed import CHANNELS, StagedNet


class OwnMidplanes(Conv2Plus1D):
    """The middle channels of the original (Caffe2) networks: from this convolution's own input, not from the block's.

    The two differ in the second convolution of the first block of layers 2, 3 and 4: 288, 576 and 1152 channels here,
    230, 460 and 921 in torchvision.
    """

    def __init__(self, in_planes: int, out_planes: int, midplanes: int, stride: int = 1, padding: int = 1):
        own = in_planes * out_planes * 27 // (in_planes * 9 + out_planes * 3)
        super().__init__(in_planes, out_planes, own, stride, padding)


class FrameNet(StagedNet, ResNet):
    """torchvision's ResNet, with its names, and ``data_bn`` before it; the first stage includes the stem."""

    dropout = nn.Identity()

    def __init__(self, modality: str, block: type, blocks: list[int], num_classes: int):
        super().__init__(block, blocks, num_classes)
        if modality == "motion":
            self.conv1 = nn.Conv2d(2, 64, 7, 2, 3, bias=False)
        self.data_bn = nn.Identity() if modality == "iframe" else nn.BatchNorm2d(CHANNELS[modality])
        self.reversed = modality == "residual"

    @property
    def stages(self) -> tuple[Callable[[torch.Tensor], torch.Tensor], ...]:
        return self._first, self.layer2, self.layer3, self.layer4

    def _first(self, x: torch.Tensor) -> torch.Tensor:
        x = self.data_bn(x.flip(1) if self.reversed else x)
        return self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
