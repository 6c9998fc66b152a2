"""How far may a pixel be rounded without being changed by more than its own noise?

A photon transfer curve says the noise at every level; the steps that follow from it are powers of two, so that the
lowest bits of what is stored are zero and any reader reads it as it stands.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scanner.model.base import Value
from scanner.model.profile import CameraNoise, StorageCodec, StorageMode

Levels = NDArray[np.uint8] | NDArray[np.uint16]


class Step(Value):
    """From ``from_dn`` on values are multiples of ``step_dn``; ``sigma_dn`` is the noise there, the least of them."""

    from_dn: int = Field(ge=0)
    step_dn: int = Field(ge=1)
    sigma_dn: float = Field(ge=0)


class Rounding(Value):
    """What is done to the pixels of an image, and why it may be.

    ``noise`` is that of one pixel of the image, ``source`` says how it is known. Half a step is never more than the
    noise. A value goes to the nearest multiple, from the middle to the even one, which leaves means where they were.
    One that would come to the brightest value or beyond takes a smaller step, and the brightest itself stays.
    """

    noise: CameraNoise
    source: str
    steps: tuple[Step, ...]

    @classmethod
    def within(cls, noise: CameraNoise, source: str, dtype: "np.dtype[Any]") -> "Rounding":
        """The coarsest rounding within this noise, for pixels of ``dtype`` (uint8 or uint16)."""
        top, steps = int(np.iinfo(dtype).max), [Step(from_dn=0, step_dn=1, sigma_dn=_sigma(noise, 0))]
        step = 2
        while (start := _first(noise, step)) <= top - step:
            while steps and steps[-1].from_dn >= start:
                steps.pop()
            steps.append(Step(from_dn=start, step_dn=step, sigma_dn=_sigma(noise, start)))
            step *= 2
        return cls(noise=noise, source=source, steps=tuple(steps))

    def table(self, dtype: "np.dtype[Any]") -> Levels:
        """What every value of ``dtype`` becomes."""
        top = int(np.iinfo(dtype).max)
        values = np.arange(top + 1)
        table = values.copy()
        for step in self.steps:
            for size in _halvings(step.step_dn):
                nearest = np.rint(values / size).astype(np.int64) * size
                moved = (values >= step.from_dn) & (nearest < top) & (values < top)
                table[moved] = nearest[moved]
        found: Levels = table.astype(dtype)
        return found


class Stored(Value):
    """How an image is kept: its codec, and its rounding where it is not kept to the last bit."""

    codec: StorageCodec = StorageCodec.LZ4
    rounding: Rounding | None = None

    @property
    def mode(self) -> StorageMode:
        """In the words of the profile."""
        return StorageMode.LOSSLESS if self.rounding is None else StorageMode.NOISE_LIMITED


def _halvings(step_dn: int) -> list[int]:
    """A step's own halves first, so that what may not be moved by the whole step is moved by the largest that may."""
    return [1 << k for k in range(1, int(math.log2(step_dn)) + 1)]


def _sigma(noise: CameraNoise, level_dn: int) -> float:
    return round(math.sqrt(noise.read_dn**2 + level_dn / noise.electrons_per_dn), 4)


def _first(noise: CameraNoise, step_dn: int) -> int:
    """The first multiple of a step where half of it is within the noise."""
    level = ((step_dn / 2) ** 2 - noise.read_dn**2) * noise.electrons_per_dn
    return step_dn * math.ceil(max(0.0, level) / step_dn)
