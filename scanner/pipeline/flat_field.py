"""How do raw camera pixels become upright, undistorted, evenly lit ones?

Upright: the profile's flips and quarter turns undone, so that x runs right and y down in the slide frame up to the
camera's small rotation, which is never resampled. A frame is resampled only where the profile says that the lens bends
or splits the picture.
"""

from dataclasses import dataclass
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.model.geometry import quarter_turns_and_flips
from scanner.model.profile import FlatField, Profile
from scanner.model.tile import Pixels
from scanner.pipeline.lens import Lens
from scanner.storage.light_facts import FlatFieldFact, Source

P = TypeVar("P", NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32], Pixels)


@dataclass(frozen=True, slots=True)
class Correction:
    """What is done to every frame of a rig.

    ``turns`` is the (2, 2) signed permutation camera → upright. ``gain`` is (h, w, c) float32 in upright pixels, or
    None where there is no flat field. ``lens`` is None where the frame stays as the lens drew it.
    """

    turns: NDArray[np.int64]
    gain: NDArray[np.float32] | None
    lens: Lens | None = None

    @classmethod
    def of(cls, profile: Profile) -> "Correction":
        """From the measured camera → stage matrix, lens and flat field; what was not measured is left alone."""
        field = profile.measured.flat_field
        return cls.lit(profile, None if field is None else field.value)

    @classmethod
    def lit(cls, profile: Profile, field: FlatField | None) -> "Correction":
        """The same with another flat field, or none."""
        turns = np.eye(2, dtype=np.int64)
        if profile.measured.camera_to_stage is not None:
            matrix = np.array(profile.slide.axes) @ np.array(profile.measured.camera_to_stage.value)
            turns = quarter_turns_and_flips(matrix.tolist())
        lens = Lens.of(profile, turns)
        if field is None:
            return cls(turns, None, lens)
        shape = (profile.camera.height_px, profile.camera.width_px)
        gain = upright(np.float32(1) / illumination(field, shape), turns)
        if lens is not None:
            whole = slice(None), slice(None)
            gain = np.stack([lens.plane(gain[..., n], n, *whole) for n in range(gain.shape[2])], axis=-1)
        return cls(turns, gain, lens)

    @classmethod
    def decided(cls, profile: Profile, light: FlatFieldFact) -> "Correction":
        """With the flat field that was decided for a slide."""
        return cls.of(profile) if light.source is Source.PROFILE else cls.lit(profile, light.field)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Raw (h, w, 3) or (h, w) pixels upright and flat, in the same dtype, rounded to nearest."""
        if self.gain is None and self.lens is None:
            return upright(pixels, self.turns)
        return self.cut(pixels, slice(None), slice(None))

    def cut(self, pixels: Pixels, rows: slice, cols: slice) -> Pixels:
        """Some rows and columns of what the whole frame would become."""
        turned = upright(pixels, self.turns)
        turned = turned[rows, cols] if self.lens is None else self.lens(turned, rows, cols)
        if self.gain is None:
            return turned
        gain = (self.gain if pixels.ndim == 3 else self.gain[..., 0])[rows, cols]
        depth = cv2.CV_16U if pixels.dtype == np.uint16 else cv2.CV_8U
        return cast(Pixels, cv2.multiply(turned, gain, dtype=depth))


def upright(pixels: P, turns: NDArray[np.int64]) -> P:
    """Camera pixels (h, w[, c]) with a signed permutation applied; a copy only where something turns."""
    if np.array_equal(turns, np.eye(2)):
        return pixels
    turned = pixels if turns[0, 0] else np.swapaxes(pixels, 0, 1)
    if turns[0].sum() < 0:
        turned = turned[:, ::-1]
    if turns[1].sum() < 0:
        turned = turned[::-1]
    return cast(P, np.ascontiguousarray(turned))


def illumination(field: FlatField, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The relative light at every pixel: (h, w, c) float32."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float64) for n in shape)
    x, y = x[None, :], y[:, None]
    terms = (
        x**0 * y**0,
        x + 0 * y,
        y + 0 * x,
        x**2 + 0 * y,
        x * y,
        y**2 + 0 * x,
        x**4 + 0 * y,
        x**2 * y**2,
        y**4 + 0 * x,
    )
    planes = [sum(c * term for c, term in zip(channel, terms, strict=True)) for channel in field.coefficients]
    return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=-1)
