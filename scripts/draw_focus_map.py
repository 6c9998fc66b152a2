"""What does a focus map of a slide look like? Draws docs/pictures/focus-map.png from a simulated glass.

python scripts/draw_focus_map.py [FILE.png]
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.focus_map import FocusMap, FocusPoint
from autofocus.point_choice import choose_points
from autofocus.relief import Relief
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM
from scripts.focus_map_rows import Glass, Kind

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "focus-map.png"
FIELD_UM, FIELD_PX, MARGIN_PX = 461.0, 9, 20
REACH = 21.7
POINTS = 60
SIGMA_UM = 0.1
Picture = NDArray[np.uint8]


def fields() -> NDArray[np.float64]:
    """(n, 2) field centres of a liquid-based deposit, slide µm."""
    reach = range(-22, 23)
    cells = np.array([(c, r) for r in reach for c in reach if np.hypot(r, c) <= REACH], float)
    places: NDArray[np.float64] = np.array(DEPOSIT_CENTRE_UM) + cells * FIELD_UM
    return places


def surveyed(places: NDArray[np.float64]) -> tuple[FocusMap, NDArray[np.float64]]:
    """A map of a simulated glass, and where its points lie."""
    kind = Kind("relief of 6 mm by 2 mm", 1.0, (6000.0, 2000.0), scatter_um=0.3)
    glass = Glass(kind, 5)
    chosen = places[choose_points(places, np.ones(len(places)), POINTS, Relief())]
    heights = glass.surface(chosen) + glass.normal(np.hypot(glass.scatters(POINTS), SIGMA_UM))
    rows = np.column_stack([chosen, heights, np.full(POINTS, SIGMA_UM)]).tolist()
    return FocusMap.of([FocusPoint(*row) for row in rows]), chosen


def at_px(places: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n, 2) slide µm as pixels of a panel."""
    cells = np.round((places - DEPOSIT_CENTRE_UM) / FIELD_UM).astype(np.int64) + 22
    pixels: NDArray[np.int64] = MARGIN_PX + cells * FIELD_PX + FIELD_PX // 2
    return pixels


def panel(
    places: NDArray[np.float64], values: NDArray[np.float64], points: NDArray[np.float64], colours: int
) -> Picture:
    """Fields in the colour of their value, points as rings, a bar with the least and the greatest value."""
    side = 45 * FIELD_PX + 2 * MARGIN_PX
    picture: Picture = np.full((side, side + 70, 3), 255, np.uint8)
    low, high = float(values.min()), float(values.max())
    levels = np.round(255 * (values - low) / (high - low)).astype(np.uint8)
    shades = cv2.applyColorMap(levels[:, None], colours)[:, 0]
    half = FIELD_PX // 2
    for (x, y), shade in zip(at_px(places), shades, strict=True):
        picture[y - half : y + half + 1, x - half : x + half + 1] = shade
    for x, y in at_px(points):
        cv2.circle(picture, (int(x), int(y)), 5, (255, 255, 255), 2, cv2.LINE_AA)
        cv2.circle(picture, (int(x), int(y)), 5, (40, 40, 40), 1, cv2.LINE_AA)
    bar = cv2.applyColorMap(np.arange(255, -1, -1, dtype=np.uint8)[:, None], colours)
    picture[90:346, side : side + 14] = bar
    for value, y in ((high, 84), (low, 362)):
        cv2.putText(picture, f"{value:.1f}", (side - 4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1)
    return picture


def main() -> None:
    """Heights on the left, their uncertainty on the right."""
    places = fields()
    focus_map, points = surveyed(places)
    z_um, sigma_um = focus_map.predict_many(places)
    both = [
        panel(places, z_um, points, cv2.COLORMAP_VIRIDIS),
        panel(places, sigma_um, points, cv2.COLORMAP_CIVIDIS),
    ]
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    cv2.imwrite(str(file), np.hstack(both), [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
