"""How is a crop of one cell shown to a network that was made for fields?

Every crop is brought to one size first: how large a crop was cut says something about its class, and must not count.
"""

import numpy as np

from detection.decoding import CLASSES, sigmoid, softmax
from detection.detections import Floats, Image
from detection.evaluation import Numbers
from detection.normalisation import optical_density, white_level
from detection.targets import NONE, Cells, cut

CROP_PX = 144
CENTRE_PX = 40.0
PATCH_PX = 256
VOTERS = 3


def zoom_of(image: Image) -> float:
    """What brings the crop's longer side to 144 px."""
    return float(CROP_PX / max(image.shape[:2]))


def centre_box(image: Image) -> Floats:
    """(1, 4) the box that a crop's label is taught at: 40 px wide after zooming, in its middle."""
    side = CENTRE_PX / zoom_of(image)
    return np.array([[(image.shape[1] - side) / 2, (image.shape[0] - side) / 2, side, side]], np.float32)


def crop_density(image: Image, size: float = 1.0) -> Floats:
    """(3, 256, 256) float32: the crop in the middle of a patch, mirrored beyond its edges; ``size`` times as large."""
    nothing = Cells(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    centre = (image.shape[1] / 2, image.shape[0] / 2)
    patch, _ = cut(image, nothing, centre, zoom_of(image) * size, NONE, PATCH_PX, np.random.default_rng(0))
    return optical_density(patch, white_level(image))


def crop_views(image: Image, side_px: int, size: float = 1.0) -> Floats:
    """(8, 3, s, s) float32: the crop filling a patch, mirrored beyond its edges, laid down in 8 ways."""
    nothing = Cells(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    centre = (image.shape[1] / 2, image.shape[0] / 2)
    zoom = side_px / max(image.shape[:2]) * size
    patch, _ = cut(image, nothing, centre, zoom, NONE, side_px, np.random.default_rng(0))
    density = optical_density(patch, white_level(image))
    turned = [np.rot90(density, quarter, (1, 2)) for quarter in range(4)]
    return np.ascontiguousarray(np.stack([*turned, *(view[:, :, ::-1] for view in turned)]))


def class_shares(maps: Floats) -> Numbers:
    """(k,) class probabilities: the votes of the 6 × 6 places in the middle, weighted by their object score."""
    rows, cols = maps.shape[1] // 2, maps.shape[2] // 2
    middle = maps[:, rows - VOTERS : rows + VOTERS, cols - VOTERS : cols + VOTERS].reshape(len(maps), -1)
    weight = sigmoid(middle[0]) + 1e-3
    votes = (middle[CLASSES:] * (weight / weight.sum())).sum(axis=1)
    return np.asarray(softmax(votes[None])[0])
