"""How does one block of tissue get into a field quickly, at any defocus, whichever way it is laid down?"""

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.optics import defocus_sigma_px
from scanner.devices.simulated.sprites import (
    COARSE,
    LEVELS_PX,
    MOST_BLUR_PX,
    STEPS_PER_DENSITY,
    levels_around,
    turned,
    unturned_box,
)
from scanner.devices.simulated.textures import FloatImage
from scanner.devices.simulated.tissue import FULL_PX, LAYERS_UM, MAP_PX, Drawing

Box = tuple[int, int, int, int]
Densities = tuple[FloatImage, FloatImage]
"""Eosin and nuclear stain, in steps of EOSIN_PER_STEP and NUCLEAR_PER_STEP."""
EOSIN_PER_STEP = 1 / STEPS_PER_DENSITY
NUCLEAR_PER_STEP = len(LAYERS_UM) / STEPS_PER_DENSITY
_EOSIN = 0


class TissueBlock:
    """A drawing's four densities, blurred on demand by fixed amounts and kept as 8-bit pictures."""

    def __init__(self, drawing: Drawing) -> None:
        self.kind = drawing.kind
        self.places_px = drawing.places_px
        self.heights_um: NDArray[np.float64] = np.array(LAYERS_UM)[drawing.layers]
        self.areas_px = drawing.areas_px
        planes = (drawing.eosin, *drawing.nuclear)
        self._blurred: dict[tuple[int, int], NDArray[np.uint8]] = {
            (n, 0): np.asarray(cv2.convertScaleAbs(plane, alpha=STEPS_PER_DENSITY), np.uint8)
            for n, plane in enumerate(planes)
        }
        self._small: dict[int, Densities] = {}

    def densities(self, turn: int, box: Box, defocus_um: float, um_per_px: float) -> Densities:
        """What lies in a box of the block laid down that way.

        Args:
            turn: 0 to 7, see ``turned``.
            box: x, y, w, h in the block's 576 px after it was laid down.
            defocus_um: stage height less the height of the section here.
            um_per_px: the camera's scale.
        """
        x, y, w, h = unturned_box(box, FULL_PX, turn)
        keep = (slice(y, y + h), slice(x, x + w))
        eosin = self._mixed({_EOSIN: defocus_sigma_px(defocus_um, um_per_px)}, keep)
        nuclear = self._mixed(
            {1 + n: defocus_sigma_px(defocus_um - lift, um_per_px) for n, lift in enumerate(LAYERS_UM)},
            keep,
        )
        return turned(eosin, turn), turned(nuclear, turn)

    def coarse(self, turn: int) -> Densities:
        """(144, 144) float32 each: blurred by MOST_BLUR_PX and shrunk to a quarter, for fields far out of focus."""
        return self._shrunk(turn, COARSE, MOST_BLUR_PX)

    def thumbnail(self, turn: int) -> Densities:
        """(18, 18) float32 each, 32 px of the camera a pixel."""
        return self._shrunk(turn, MAP_PX, 0.0)

    def places(self, turn: int) -> NDArray[np.float64]:
        """(n, 2) middles u, v of the nuclei in the block laid down that way."""
        places = self.places_px[:, ::-1] if turn & 4 else self.places_px
        flipped = np.array([turn & 3 in (1, 3), turn & 3 in (1, 2)])
        return np.asarray(np.where(flipped, FULL_PX - 1 - places, places), np.float64)

    def _shrunk(self, turn: int, step: int, sigma_px: float) -> Densities:
        if step not in self._small:
            every, side = (slice(0, FULL_PX), slice(0, FULL_PX)), FULL_PX // step
            nuclear = {1 + n: sigma_px for n in range(len(LAYERS_UM))}
            eosin, blue = (
                cv2.resize(self._mixed(sigmas, every), (side, side), interpolation=cv2.INTER_AREA)
                for sigmas in ({_EOSIN: sigma_px}, nuclear)
            )
            self._small[step] = (np.asarray(eosin, np.float32), np.asarray(blue, np.float32))
        pink, purple = self._small[step]
        return turned(pink, turn), turned(purple, turn)

    def _mixed(self, sigmas_px: dict[int, float], keep: tuple[slice, slice]) -> FloatImage:
        """A cut of the sum of some planes in 8-bit steps, each blurred by its sigma: mixed so that variances are exact.

        ``accumulateWeighted`` is three times as fast as ``addWeighted`` from 8 bits to float; it keeps a running mean,
        which is why each picture gets its share of what was added so far.
        """
        total = np.zeros((keep[0].stop - keep[0].start, keep[1].stop - keep[1].start), np.float32)
        weight = 0.0
        for plane, sigma in sigmas_px.items():
            upper, share = levels_around(sigma)
            for level, part in ((upper - 1, 1 - share), (upper, share)):
                if part > 0:
                    weight += part
                    cv2.accumulateWeighted(self._level(plane, level)[keep], total, part / weight)
        return total

    def _level(self, plane: int, level: int) -> NDArray[np.uint8]:
        key = (plane, level)
        if key not in self._blurred:
            source = self._blurred[plane, 0].astype(np.float32)
            picture = cv2.GaussianBlur(source, (0, 0), LEVELS_PX[level])
            self._blurred[key] = np.asarray(cv2.convertScaleAbs(picture), np.uint8)
        return self._blurred[key]
