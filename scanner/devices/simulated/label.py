"""What does the overview camera see: glass, its edge, the label with its barcode, the sample?"""

import math

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from scanner.devices.simulated.motion import draw
from scanner.devices.simulated.specimen import OVERVIEW_SHAPE, OVERVIEW_UM_PER_PX, Specimen

LABEL_UM = (1_000.0, 1_500.0, 20_000.0, 22_000.0)
_BACKGROUND = (64, 66, 70)
_GLASS = (226, 228, 230)
_PAPER = (244, 243, 238)
_INK = (28, 28, 34)
_NOISE_DN = 1.2


def accession(seed: int, slot: int) -> str:
    """The number on the label of the slide in ``slot``."""
    rng = draw("accession", seed, slot)
    return f"C26-{int(rng.integers(10_000, 99_999))}-{slot:02d}"


def overview_picture(
    specimen: Specimen | None, label: str | None, seating_um: tuple[float, float], key: tuple[int, ...]
) -> NDArray[np.uint8]:
    """(1250, 3750, 3) uint8 RGB; pixel (0, 0) is the origin of a slide that lies exactly in its place.

    Args:
        specimen: what lies on the glass; None where there is no glass.
        label: the text in the barcode, None where it is smeared over.
        seating_um: by how much the slide lies beside its place.
        key: fixes the noise.
    """
    h, w = OVERVIEW_SHAPE
    picture = np.full((h, w, 3), _BACKGROUND, np.float32)
    if specimen is not None:
        glass = np.exp(-specimen.overview_od()) * np.array(_GLASS, np.float32)
        _bevel(glass)
        _stick_label(glass, label, key)
        picture = _seated(glass, seating_um)
    picture += _noise(key)
    return np.asarray(cv2.convertScaleAbs(picture), np.uint8)


def _noise(key: tuple[int, ...]) -> NDArray[np.float32]:
    """(1250, 3750, 3) float32: rows from random places of one list, which is cheaper than fresh numbers."""
    rng = draw("overview", *key)
    h, length = OVERVIEW_SHAPE[0], OVERVIEW_SHAPE[1] * 3
    rows = np.lib.stride_tricks.sliding_window_view(rng.standard_normal(400_003, dtype=np.float32), length)
    return rows[rng.integers(0, len(rows), h)].reshape(*OVERVIEW_SHAPE, 3) * np.float32(_NOISE_DN)


def _seated(glass: NDArray[np.float32], seating_um: tuple[float, float]) -> NDArray[np.float32]:
    """The slide where it really lies; what it leaves free shows the stage."""
    dx, dy = (value / OVERVIEW_UM_PER_PX for value in seating_um)
    move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    size = (OVERVIEW_SHAPE[1], OVERVIEW_SHAPE[0])
    moved = cv2.warpAffine(glass, move, size, borderMode=cv2.BORDER_CONSTANT, borderValue=_BACKGROUND)
    return np.asarray(moved, np.float32)


def _bevel(glass: NDArray[np.float32]) -> None:
    """The ground edge of the glass is darker."""
    h, w = glass.shape[:2]
    cv2.rectangle(glass, (0, 0), (w - 1, h - 1), (150, 152, 155), 3)


def _stick_label(glass: NDArray[np.float32], label: str | None, key: tuple[int, ...]) -> None:
    """White paper with a DataMatrix and a linear code, a little askew, as printed labels are."""
    x, y, w, h = (round(value / OVERVIEW_UM_PER_PX) for value in LABEL_UM)
    rng = draw("label", *key[:2])
    paper = np.full((h, w, 3), _PAPER, np.float32)
    text = label if label is not None else "UNREADABLE"
    _print(paper, _code(text, zxingcpp.BarcodeFormat.DataMatrix, 22), (60, 90))
    _print(paper, _code(text, zxingcpp.BarcodeFormat.Code128, 5), (60, 700))
    if label is None:
        _smear(paper, rng)
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), math.degrees(float(rng.normal(0, 0.015))), 1.0)
    turn[:, 2] += (x, y)
    size = (glass.shape[1], glass.shape[0])
    mask = cv2.warpAffine(np.ones((h, w), np.float32), turn, size)[..., None]
    glass += (cv2.warpAffine(paper, turn, size) - glass) * mask


def _code(text: str, kind: zxingcpp.BarcodeFormat, scale: int) -> NDArray[np.uint8]:
    """(h, w) uint8: a barcode without text, black on white."""
    made = zxingcpp.create_barcode(text, kind)
    return np.asarray(made.to_image(scale=scale, add_quiet_zones=True, add_hrt=False), np.uint8)


def _print(paper: NDArray[np.float32], code: NDArray[np.uint8], at: tuple[int, int]) -> None:
    x, y = at
    h, w = min(code.shape[0], paper.shape[0] - y), min(code.shape[1], paper.shape[1] - x)
    ink = 1 - code[:h, :w, None].astype(np.float32) / 255
    paper[y : y + h, x : x + w] += (np.array(_INK, np.float32) - paper[y : y + h, x : x + w]) * ink


def _smear(paper: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Stain ran over the print: no code can be read."""
    for _ in range(70):
        start = rng.integers(0, paper.shape[1], 2)
        end = start + rng.integers(-500, 500, 2)
        cv2.line(paper, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), (90, 70, 120), 26)
