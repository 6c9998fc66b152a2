"""How are hundreds of thousands of patches a minute cut and changed? All fields and all sampling stay on the device.

The same augmentations as ``detection.targets`` makes one by one, but for JPEG, which the fields bring along.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from detection.decoding import STRIDE_PX
from detection.normalisation import MOST_DENSITY
from detection.targets import IGNORED_LABEL, Augmentation
from detection.training import Wanted
from scripts.default_package.stream import MOST_CELLS, SIDE_PX

LEAST_DENSITY = -0.2
UM_PER_PX = 0.5
BLURRED, BLURS = 0.4, 8
"""How many patches are blurred, in so many groups of one width each."""
HEAT_REACH, BOX_REACH = 6, 1.5


class Bank:
    """Fields on a device: (n, 512, 512, 3) uint8, padded boxes (n, 128, 4) px and labels (n, 128), -1 where none."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.device, self.count = device, 0
        self.rgb = torch.empty((capacity, SIDE_PX, SIDE_PX, 3), dtype=torch.uint8, device=device)
        self.white = torch.ones((capacity, 3), device=device)
        self.zoom = torch.ones(capacity, device=device)
        self.boxes = torch.zeros((capacity, MOST_CELLS, 4), device=device)
        self.labels = torch.full((capacity, MOST_CELLS), IGNORED_LABEL, dtype=torch.long, device=device)
        self._known: set[Path] = set()

    def take(self, folder: Path) -> range:
        """Add the shards that are new, as far as there is room; which fields came."""
        before = self.count
        for file in sorted(folder.glob("[0-9]*.npz")):
            if file in self._known or self.count >= len(self.rgb):
                continue
            self._known.add(file)
            with np.load(file) as opened:
                self._add(dict(opened))
        return range(before, self.count)

    def _add(self, shard: dict[str, NDArray[np.generic]]) -> None:
        much = min(len(shard["rgb"]), len(self.rgb) - self.count)
        own = slice(self.count, self.count + much)
        self.rgb[own] = torch.from_numpy(shard["rgb"][:much]).to(self.device)
        self.white[own] = torch.from_numpy(shard["white"][:much]).to(self.device)
        self.zoom[own] = torch.from_numpy(shard["um_per_px"][:much] / UM_PER_PX).float().to(self.device)
        ends = np.cumsum(shard["counts"])
        boxes = np.zeros((much, MOST_CELLS, 4), np.float32)
        labels = np.full((much, MOST_CELLS), IGNORED_LABEL, np.int64)
        for index in range(much):
            part = slice(ends[index] - shard["counts"][index], ends[index])
            boxes[index, : shard["counts"][index]] = shard["boxes"][part]
            labels[index, : shard["counts"][index]] = shard["labels"][part]
        self.boxes[own] = torch.from_numpy(boxes).to(self.device)
        self.labels[own] = torch.from_numpy(labels).to(self.device)
        self.count += much

    def density(self, index: Tensor) -> Tensor:
        """(b, 3, 512, 512) densities of whole fields, as they are."""
        return density_of(self.rgb[index].permute(0, 3, 1, 2).float(), self.white[index])


def density_of(rgb: Tensor, white: Tensor) -> Tensor:
    """``optical_density`` of (b, 3, h, w) levels 0 to 255 against (b, 3) white."""
    found = torch.log10((white[:, :, None, None] + 1) / (rgb + 1))
    return found.clamp(LEAST_DENSITY, MOST_DENSITY)


@dataclass(frozen=True, slots=True)
class Placed:
    """How patches lie: patch px = ``turn`` (b, 2, 2) × (image px - ``centre`` (b, 2)) + half a patch.

    ``factor`` (b,) is the scale and ``swaps`` (b,) whether width and height change places.
    """

    turn: Tensor
    centre: Tensor
    factor: Tensor
    swaps: Tensor
    size_px: int

    def boxes(self, boxes: Tensor) -> Tensor:
        """(b, m, 4) boxes of the images in px of the patches."""
        middles = boxes[..., :2] + boxes[..., 2:] / 2 - self.centre[:, None]
        middles = middles @ self.turn.transpose(1, 2) + self.size_px / 2
        sides = torch.where(self.swaps[:, None, None], boxes[..., [3, 2]], boxes[..., 2:])
        sides = sides * self.factor[:, None, None]
        return torch.cat([middles - sides / 2, sides], -1)


def placed(centre: Tensor, zoom: Tensor, how: Augmentation, size_px: int) -> Placed:
    """Random scale, turn and mirror image as ``detection.targets.cut`` draws them."""
    much, device = len(centre), centre.device
    factor = zoom * torch.exp((2 * torch.rand(much, device=device) - 1) * how.scale)
    quarter = torch.randint(4 if how.turns else 1, (much,), device=device)
    mirror = torch.ones(much, device=device)
    if how.turns:
        mirror[torch.rand(much, device=device) < 0.5] = -1
    angle = quarter * (np.pi / 2) + (2 * torch.rand(much, device=device) - 1) * how.tilt
    cos, sin = torch.cos(angle), torch.sin(angle)
    turn = torch.stack([torch.stack([cos * mirror, -sin], -1), torch.stack([sin * mirror, cos], -1)], 1)
    return Placed(turn * factor[:, None, None], centre, factor, quarter % 2 == 1, size_px)


def shown(bank: Bank, index: Tensor, place: Placed, how: Augmentation, window_px: int) -> Tensor:
    """(b, 3, s, s) densities of the patches ``place`` of the fields ``index``, seen by another scanner.

    ``window_px`` of the image are read around each centre, mirrored beyond its edges.
    """
    low = torch.floor(place.centre).long() - window_px // 2
    span = torch.arange(window_px, device=bank.device)
    rows = _mirrored(low[:, 1:] + span)
    cols = _mirrored(low[:, :1] + span)
    window = bank.rgb[index[:, None, None], rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2).float()
    at = torch.arange(place.size_px, device=bank.device) - place.size_px / 2
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).reshape(1, -1, 2)
    back = (
        place.turn / (place.factor**2)[:, None, None]
    )  # the inverse's transpose: turn is orthogonal but for its scale
    source = grid @ back + (place.centre - low)[:, None]
    wanted = (2 * source / (window_px - 1) - 1).reshape(len(index), place.size_px, place.size_px, 2)
    patch = functional.grid_sample(window, wanted, "bilinear", "reflection", align_corners=True)
    return _seen(patch, bank.white[index], how)


def _mirrored(index: Tensor) -> Tensor:
    turned = index.abs() % (2 * (SIDE_PX - 1))
    return torch.minimum(turned, 2 * (SIDE_PX - 1) - turned)


def _seen(patch: Tensor, white: Tensor, how: Augmentation) -> Tensor:
    """As ``detection.targets.seen``: exposure, defocus, stain, noise."""
    much, device = len(patch), patch.device
    exposure = torch.exp((2 * torch.rand((much, 3), device=device) - 1) * how.exposure)
    density = density_of(patch, white * exposure)
    if how.defocus_px:
        group = max(1, round(much * BLURRED / BLURS))
        for number in range(BLURS):
            own = slice(number * group, (number + 1) * group)
            density[own] = _blurred(density[own], float(np.random.uniform(0.3, how.defocus_px)))
    if how.stain:
        strength = torch.exp((2 * torch.rand(much, device=device) - 1) * how.stain)
        mix = torch.eye(3, device=device) * strength[:, None, None]
        mix = mix + torch.randn((much, 3, 3), device=device) * (how.stain / 3)
        density = torch.einsum("bij,bjhw->bihw", mix, density)
    if how.noise:
        level = how.noise * torch.rand((much, 1, 1, 1), device=device)
        density = density + level * torch.randn_like(density)
    return density


def _blurred(planes: Tensor, sigma: float) -> Tensor:
    if not len(planes):
        return planes
    reach = max(1, round(4 * sigma))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=planes.device) / sigma) ** 2)
    line = (line / line.sum()).to(planes.dtype)
    padded = functional.pad(planes, (reach, reach, reach, reach), mode="reflect").flatten(0, 1)[:, None]
    blurred = functional.conv2d(functional.conv2d(padded, line[None, None, None]), line[None, None, :, None])
    return blurred[:, 0].reshape(planes.shape)


def wanted(boxes: Tensor, labels: Tensor, size_px: int) -> Wanted:
    """The maps of (b, m, 4) boxes in px of the patches and (b, m) labels, -1 where there is none."""
    n = size_px // STRIDE_PX
    inner = boxes / STRIDE_PX
    middle = inner[..., :2] + inner[..., 2:] / 2
    there = (labels != IGNORED_LABEL) & (middle >= 0).all(-1) & (middle < n).all(-1)
    grid = torch.arange(n, device=boxes.device) + 0.5
    sigma = (inner[..., 2] * inner[..., 3]).clamp(min=0).sqrt().div(4).clamp(0.6, 2.0)[..., None]
    dx, dy = middle[..., :1] - grid, middle[..., 1:] - grid
    off_x, off_y = torch.floor(middle[..., :1]) + 0.5 - grid, torch.floor(middle[..., 1:]) + 0.5 - grid
    near_x = torch.where(off_x.abs() <= HEAT_REACH, torch.exp(-(off_x**2) / (2 * sigma**2)), 0)
    near_y = torch.where(off_y.abs() <= HEAT_REACH, torch.exp(-(off_y**2) / (2 * sigma**2)), 0)
    blob = near_y[..., :, None] * near_x[..., None, :] * there[..., None, None]
    close = (dy.abs() <= BOX_REACH)[..., :, None] & (dx.abs() <= BOX_REACH)[..., None, :]
    weight, owner = torch.where(close, blob, 0).max(1)
    asked = weight > 0
    each = torch.arange(len(boxes), device=boxes.device)[:, None, None]
    own = middle[each, owner]
    size = torch.log(inner[each, owner][..., 2:].clamp(min=0.2))
    regression = torch.stack(
        [own[..., 0] - grid[None, None, :], own[..., 1] - grid[None, :, None], size[..., 0], size[..., 1]], 1
    )
    named = torch.where(asked, labels[each, owner], IGNORED_LABEL)
    heat = blob.amax(1)
    return Wanted(heat, regression * asked[:, None], named, weight, torch.ones_like(heat))
