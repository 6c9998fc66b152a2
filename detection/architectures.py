"""Which networks can a package name, and how are they built?"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from detection.package import Network

OUTPUTS_BEFORE_CLASSES = 5


class ConvNorm(nn.Sequential):
    """3 × 3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class CellNet(nn.Module):
    """A fully convolutional net of stride 8: three halving convolutions, dilated residual blocks, one linear head.

    Input (n, 3, h, w) optical densities, h and w multiples of 8; output (n, 5 + k, h/8, w/8): object logit,
    centre offset x and y, log width and height (all in strides), k class logits.
    """

    def __init__(self, network: Network, classes: int) -> None:
        super().__init__()
        first, second, third = network.channels
        self.stem = nn.Sequential(
            ConvNorm(3, first, 2), ConvNorm(first, second, 2), ConvNorm(second, third, 2)
        )
        self.blocks = nn.ModuleList([ConvNorm(third, third, 1, dilation) for dilation in network.dilations])
        self.head = nn.Conv2d(third, OUTPUTS_BEFORE_CLASSES + classes, 1)
        with torch.no_grad():  # most places hold no cell: start there
            self.head.get_parameter("bias")[0] = -4.0

    def forward(self, density: Tensor) -> Tensor:
        """The maps of a batch."""
        features = self.stem(density)
        for block in self.blocks:
            features = features + block(features)
        maps: Tensor = self.head(features)
        return maps


ARCHITECTURES: dict[str, Callable[[Network, int], nn.Module]] = {"cellnet-s8": CellNet}


def build(name: str, network: Network, classes: int) -> nn.Module:
    """The named architecture with fresh weights.

    Raises:
        KeyError: for a name that is not in ``ARCHITECTURES``.
    """
    return ARCHITECTURES[name](network, classes)


def receptive_field_px(network: Network) -> int:
    """How many px of the image one output sees."""
    return 15 + 16 * sum(network.dilations)


def device_here() -> torch.device:
    """CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
