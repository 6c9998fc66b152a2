"""Which networks can a package name, and how are they built? The second look's: ``second_networks``."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from detection.package import Network

OUTPUTS_BEFORE_CLASSES = 5


class ConvNorm(nn.Sequential):
    """Convolution (3 × 3 unless said), batch norm, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1, kernel: int = 3, groups: int = 1
    ) -> None:
        pad = dilation * (kernel // 2)
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, pad, dilation, groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class SeparableBlock(nn.Sequential):
    """Each channel over its neighbourhood, then each place over its channels (Howard et al., MobileNets, 2017)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__(
            ConvNorm(channels, channels, dilation=dilation, groups=channels),
            ConvNorm(channels, channels, kernel=1),
        )


class Trunk(nn.Module):
    """Three halving convolutions, then dilated residual blocks, all of stride 8."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        first, second, third = network.channels
        self.stem = nn.Sequential(
            ConvNorm(3, first, 2), ConvNorm(first, second, 2), ConvNorm(second, third, 2)
        )
        self.blocks = nn.ModuleList([_block(third, dilation, network) for dilation in network.dilations])

    def levels(self, density: Tensor) -> Iterator[Tensor]:
        """What each layer makes of (n, 3, h, w) optical densities."""
        for layer in self.stem:
            density = layer(density)
            yield density
        for block in self.blocks:
            density = density + block(density)
            yield density


def _block(channels: int, dilation: int, network: Network) -> nn.Module:
    return (
        SeparableBlock(channels, dilation) if network.separable else ConvNorm(channels, channels, 1, dilation)
    )


class CellNet(Trunk):
    """A fully convolutional net: the trunk and one linear head.

    Input (n, 3, h, w) optical densities, h and w multiples of 8; output (n, 5 + k, h/8, w/8): object logit,
    centre offset x and y, log width and height (all in strides), k class logits.
    """

    def __init__(self, network: Network, classes: int) -> None:
        super().__init__(network)
        self.head = nn.Conv2d(network.channels[2], OUTPUTS_BEFORE_CLASSES + classes, 1)
        with torch.no_grad():  # most places hold no cell: start there
            self.head.get_parameter("bias")[0] = -4.0

    def forward(self, density: Tensor) -> Tensor:
        """The maps of a batch."""
        *_, features = self.levels(density)
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
