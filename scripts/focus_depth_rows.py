"""How much of a thick tile is sharp in one plane, in some layer of a stack, and in the fused plane? Rows for the bench.

Counted by area over the nuclei of thick fields of liquid-based cytology. A nucleus is sharp where it reaches nine
tenths of its own sharpness, by the simulator's noise-free curve at its true height; in the fused plane, times the share
of its best layer's gradient energy that was kept. The layers are those of the default rig's profile, around a
prediction that is 0.3 µm off. Run alone: ``python scripts/focus_depth_rows.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.truth import Nuclei
from scanner.model.profile import FocusStrategy
from scanner.pipeline.fusing import fuse
from scanner.storage.profiles import read_profile
from scripts.focus_field import SHARP_SHARE, Place, SimulatedField
from scripts.focus_fusing_rows import Row, gradient, line
from scripts.focus_tiles import PROFILE

SEED = 700_011
FIELDS, LEAST_NUCLEI, THICK_UM = 16, 12, 1.5
PREDICTED_UM = 0.3
_AROUND_PX = 3
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Depth:
    """Of n nuclei: how much each counts, and what it reaches in each way, relative to its own best."""

    areas: FloatArray
    one_plane: FloatArray
    layers: FloatArray
    fused: FloatArray
    height_off_um: FloatArray

    def share(self, reached: FloatArray) -> float:
        """By area, how much is sharp."""
        return float(np.average(reached >= SHARP_SHARE, weights=self.areas))


def depth_rows() -> list[Row]:
    """What one plane, a stack and a fused plane show of thick fields."""
    field = SimulatedField(SEED)
    spec = read_profile(PROFILE).focus.model_copy(update={"strategy": FocusStrategy.Z_STACK})
    offsets = np.array(spec.layer_offsets_um)
    seen = [_depth(field, place, nuclei, offsets) for place, nuclei in _thick(field)]
    all_of = Depth(*(np.concatenate([getattr(d, name) for d in seen]) for name in Depth.__slots__))
    said = f"thick fields ({len(seen)}, {len(all_of.areas)} nuclei)"
    return [
        line(f"{said}, the best single plane: nuclear area that is sharp", all_of.share(all_of.one_plane)),
        line(f"{said}, z-stack: sharp in one of {len(offsets)} layers", all_of.share(all_of.layers)),
        line(f"{said}, edf: sharp in the fused plane", all_of.share(all_of.fused)),
        line(f"{said}, edf: median error of the height map, µm", float(np.median(all_of.height_off_um))),
        line(f"{said}, edf: 95 % below, µm", float(np.quantile(all_of.height_off_um, 0.95))),
    ]


def _thick(field: SimulatedField) -> Iterator[tuple[Place, Nuclei]]:
    """Fields whose nuclei scatter by more than a depth of field."""
    found = 0
    for place in field.random_places(40 * FIELDS):
        nuclei = field.nuclei(place)
        if len(nuclei.heights_um) >= LEAST_NUCLEI and np.std(nuclei.heights_um) > THICK_UM:
            yield place, nuclei
            found += 1
        if found == FIELDS:
            return


def _depth(field: SimulatedField, place: Place, nuclei: Nuclei, offsets: FloatArray) -> Depth:
    heights = field.base_um(place) + field.rng.normal(0, PREDICTED_UM) + offsets
    frames = [field.frame(place, float(z)) for z in heights]
    fused = fuse(zip(heights.tolist(), frames, strict=True))
    boxes = [
        _box(float(x), float(y), int(a)) for (x, y), a in zip(nuclei.places_px, nuclei.areas_px, strict=True)
    ]
    energies = np.array([_energies(frame, boxes) for frame in frames])
    told = np.array([float(np.median(fused.height_um[box])) for box in boxes])
    layers = _reached(field, np.abs(nuclei.heights_um[:, None] - heights).min(axis=1))
    kept = np.minimum(_energies(fused.image, boxes) / energies.max(axis=0), 1.0)
    return Depth(
        areas=nuclei.areas_px.astype(float),
        one_plane=_reached(field, nuclei.heights_um - field.truth(place).peak_um),
        layers=layers,
        fused=layers * kept,
        height_off_um=np.abs(told - nuclei.heights_um),
    )


def _reached(field: SimulatedField, defocus_um: FloatArray) -> FloatArray:
    reached: FloatArray = np.interp(np.abs(defocus_um), *field.nucleus)
    return reached


def _box(x: float, y: float, area: int) -> tuple[slice, slice]:
    half = round(np.sqrt(area / np.pi)) + _AROUND_PX
    row, column = max(round(y) - half, 0), max(round(x) - half, 0)
    return np.s_[row : round(y) + half, column : round(x) + half]


def _energies(image: NDArray[np.uint8], boxes: list[tuple[slice, slice]]) -> FloatArray:
    energy = gradient(image)
    return np.array([float(energy[box].sum()) for box in boxes])


def main() -> None:
    """Print the rows."""
    cv2.setNumThreads(1)
    for row in depth_rows():
        print(f"{row['name']}: {row['value']}")


if __name__ == "__main__":
    main()
