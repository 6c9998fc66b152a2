"""Which networks can look at a candidate a second time?

One knows statistics of its patch, whatever the patch's size: that is what crops of single cells are told apart by.
The other keeps what lies where, so that the nucleus in the middle counts for itself and its neighbours do not.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from detection.architectures import ConvNorm, Trunk
from detection.package import AROUND, Network, SecondLook

SPREAD_FLOOR = 1e-4


class CropNet(Trunk):
    """The second look: what is the cell in the middle of this patch?

    Of every level of the trunk the mean, spread and maximum over the patch and the mean and maximum over its middle go
    into one linear layer, so that chromatin's grain and the cell's surroundings both count.

    Input (n, 3, p, p) optical densities; output (n, k + 1) logits, the last for "none of the classes".
    """

    def __init__(self, look: SecondLook) -> None:
        super().__init__(look.network)
        self.norm = nn.BatchNorm1d(look.features)
        self.head = nn.Linear(look.features, look.outputs)

    def features(self, density: Tensor) -> Tensor:
        """(n, f) statistics of a batch, not yet normalised."""
        return torch.cat([_statistics(level) for level in self.levels(density)], 1)

    def forward(self, density: Tensor) -> Tensor:
        """The logits of a batch."""
        logits: Tensor = self.head(self.norm(self.features(density)))
        return logits


def _statistics(maps: Tensor) -> Tensor:
    """(n, 5 c) of (n, c, s, s): mean, spread and maximum everywhere, mean and maximum in the middle half."""
    quarter = maps.shape[-1] // 4
    middle = maps[..., quarter:-quarter, quarter:-quarter]
    mean = maps.mean((2, 3))
    spread = ((maps * maps).mean((2, 3)) - mean * mean).clamp(min=0).add(SPREAD_FLOOR).sqrt()
    return torch.cat([mean, spread, maps.amax((2, 3)), middle.mean((2, 3)), middle.amax((2, 3))], 1)


class View(Trunk):
    """What lies where in a patch: the last level of the trunk, as a few numbers of every place and as its mean."""

    def __init__(self, network: Network, places: int) -> None:
        super().__init__(network)
        self.places = ConvNorm(network.channels[2], places, kernel=1)

    def features(self, density: Tensor) -> Tensor:
        """(n, f) of a batch of (n, 3, p, p)."""
        *_, last = self.levels(density)
        return torch.cat([last.mean((2, 3)), self.places(last).flatten(1)], 1)


class PlaceNet(View):
    """The second look that keeps places: what is in the middle of this patch, and where does it end?

    Chromatin needs every px, the cell's outline and neighbours need width: with ``look.around`` the network sees the
    middle of its patch as it is and the whole at half the scale. All features go into one linear layer.

    Input (n, 3, s, s) optical densities, s = ``look.seen_px``; output (n, k + 5): the k classes' logits, that of "none
    of the classes", and the box as ``second_look.placed`` reads it.
    """

    def __init__(self, look: SecondLook) -> None:
        super().__init__(look.network, look.places)
        self.around = None if look.around is None else View(look.around, look.places)
        self.norm = nn.BatchNorm1d(look.features)
        self.head = nn.Linear(look.features, look.outputs)
        self._edge = (look.seen_px - look.patch_px) // 2

    def forward(self, density: Tensor) -> Tensor:
        """The logits and boxes of a batch."""
        if self.around is None:
            features = self.features(density)
        else:
            inner = slice(self._edge, -self._edge)
            whole = self.around.features(functional.avg_pool2d(density, AROUND))
            features = torch.cat([self.features(density[..., inner, inner]), whole], 1)
        answers: Tensor = self.head(self.norm(features))
        return answers


def second_network(look: SecondLook) -> nn.Module:
    """The network that a package's second look names, with fresh weights."""
    return PlaceNet(look) if look.places else CropNet(look)
