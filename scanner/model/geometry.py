"""How does a place in one space become a place in another?

Spaces: stage µm (what the XY hardware reports), slide µm (origin top-left of the glass, label to the left,
x right 75 mm, y down 25 mm), camera px (raw sensor, origin at its top-left pixel) and mosaic px (level 0 of the image).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


class Space(StrEnum):
    """The four spaces a point can be in."""

    STAGE = "stage"
    SLIDE = "slide"
    CAMERA = "camera"
    MOSAIC = "mosaic"


@dataclass(frozen=True, slots=True)
class Point:
    """A place or a displacement; its unit is that of the space it is used in."""

    x: float
    y: float

    def __add__(self, other: "Point") -> "Point":
        return Point(self.x + other.x, self.y + other.y)

    def __sub__(self, other: "Point") -> "Point":
        return Point(self.x - other.x, self.y - other.y)

    def distance(self, other: "Point") -> float:
        """Euclidean distance to ``other``."""
        return math.hypot(self.x - other.x, self.y - other.y)


@dataclass(frozen=True, slots=True)
class Rect:
    """An axis-parallel rectangle, top-left corner and size; ``w`` and ``h`` are positive."""

    x: float
    y: float
    w: float
    h: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (self.x, self.y, self.w, self.h)):
            raise ValueError("a rectangle needs finite numbers")
        if self.w <= 0 or self.h <= 0:
            raise ValueError("a rectangle needs a positive width and height")

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.w

    @property
    def bottom(self) -> float:
        """The bottom edge."""
        return self.y + self.h

    @property
    def centre(self) -> Point:
        """The middle."""
        return Point(self.x + self.w / 2, self.y + self.h / 2)

    def contains(self, point: Point) -> bool:
        """Is ``point`` inside or on the edge?"""
        return self.x <= point.x <= self.right and self.y <= point.y <= self.bottom

    def covers(self, other: "Rect") -> bool:
        """Does ``other`` lie wholly inside?"""
        inside_x = self.x <= other.x and other.right <= self.right
        return inside_x and self.y <= other.y and other.bottom <= self.bottom

    def overlaps(self, other: "Rect") -> bool:
        """Do the two share an area?"""
        apart_x = other.x >= self.right or self.x >= other.right
        return not apart_x and other.y < self.bottom and self.y < other.bottom

    def grown(self, margin: float) -> "Rect":
        """The same rectangle, ``margin`` wider on every side."""
        return Rect(self.x - margin, self.y - margin, self.w + 2 * margin, self.h + 2 * margin)

    def union(self, other: "Rect") -> "Rect":
        """The smallest rectangle around both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Rect(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)


@dataclass(frozen=True, slots=True)
class Affine:
    """``target = matrix @ source + offset``; the only thing that turns one space into another.

    ``matrix`` is ((xx, xy), (yx, yy)) in target units per source unit, ``offset`` in target units.
    """

    source: Space
    target: Space
    matrix: tuple[tuple[float, float], tuple[float, float]]
    offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        numbers = (*self.matrix[0], *self.matrix[1], *self.offset)
        if not all(math.isfinite(v) for v in numbers):
            raise ValueError("an affine needs finite numbers")
        if self.determinant == 0:
            raise ValueError("an affine needs an invertible matrix")

    @classmethod
    def from_array(
        cls, source: Space, target: Space, matrix: ArrayLike, offset: ArrayLike = (0.0, 0.0)
    ) -> "Affine":
        """From a (2, 2) matrix and a (2,) offset of anything array-like."""
        m = np.asarray(matrix, float)
        o = np.asarray(offset, float)
        rows = ((float(m[0, 0]), float(m[0, 1])), (float(m[1, 0]), float(m[1, 1])))
        return cls(source, target, rows, (float(o[0]), float(o[1])))

    @classmethod
    def identity(cls, source: Space, target: Space) -> "Affine":
        """The map that changes only the name of the space."""
        return cls(source, target, ((1.0, 0.0), (0.0, 1.0)))

    @property
    def array(self) -> FloatArray:
        """The (2, 2) matrix."""
        return np.array(self.matrix)

    @property
    def determinant(self) -> float:
        """Negative where the map mirrors."""
        (a, b), (c, d) = self.matrix
        return a * d - b * c

    @property
    def scale(self) -> float:
        """Target units per source unit, the geometric mean of both axes."""
        return math.sqrt(abs(self.determinant))

    @property
    def rotation(self) -> float:
        """Angle in radians of the image of the x axis, in [-pi, pi]."""
        return math.atan2(self.matrix[1][0], self.matrix[0][0])

    def apply(self, point: Point) -> Point:
        """A place in the target space."""
        (a, b), (c, d) = self.matrix
        x = a * point.x + b * point.y + self.offset[0]
        return Point(x, c * point.x + d * point.y + self.offset[1])

    def apply_vector(self, vector: Point) -> Point:
        """A displacement in the target space: the offset does not count."""
        (a, b), (c, d) = self.matrix
        return Point(a * vector.x + b * vector.y, c * vector.x + d * vector.y)

    def apply_many(self, points: ArrayLike) -> FloatArray:
        """(n, 2) places of the source as (n, 2) places of the target."""
        result: FloatArray = np.asarray(points, float) @ self.array.T + np.array(self.offset)
        return result

    def inverse(self) -> "Affine":
        """From target back to source."""
        inverse = np.linalg.inv(self.array)
        return Affine.from_array(self.target, self.source, inverse, -inverse @ np.array(self.offset))

    def after(self, first: "Affine") -> "Affine":
        """The map that does ``first`` and then this one.

        Raises:
            ValueError: where ``first`` does not end in this map's source space.
        """
        if first.target is not self.source:
            raise ValueError(f"cannot follow {first.source}→{first.target} by {self.source}→{self.target}")
        offset = self.array @ np.array(first.offset) + np.array(self.offset)
        return Affine.from_array(first.source, self.target, self.array @ first.array, offset)

    def shifted(self, by: Point) -> "Affine":
        """The same map, its result moved by ``by`` (target units)."""
        return Affine(self.source, self.target, self.matrix, (self.offset[0] + by.x, self.offset[1] + by.y))


def quarter_turns_and_flips(camera_to_slide: Sequence[Sequence[float]]) -> NDArray[np.int64]:
    """The signed permutation nearest to a (2, 2) camera→slide matrix: which flips and quarter turns to undo.

    Returns:
        (2, 2) int64 of -1, 0, 1 with one entry a row and a column.
    """
    m = np.asarray(camera_to_slide, float)
    straight = abs(m[0, 0]) + abs(m[1, 1]) >= abs(m[0, 1]) + abs(m[1, 0])
    pattern = np.eye(2) if straight else np.fliplr(np.eye(2))
    turned: NDArray[np.int64] = (np.sign(m) * pattern).astype(np.int64)
    return turned
