"""How do small pictures (overview, label, thumbnail) lie on disk? As PNG, written in one step."""

from pathlib import Path

import cv2
import numpy as np

from scanner.errors import DamagedRun
from scanner.model.tile import Pixels
from scanner.storage.atomic import write_atomic

FASTEST = 1


def write_picture(path: Path, picture: Pixels) -> None:
    """(h, w, 3) RGB or (h, w) uint8 as PNG.

    Raises:
        RackscanError: the disk is full or read-only.
    """
    turned = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    _, encoded = cv2.imencode(".png", turned, [cv2.IMWRITE_PNG_COMPRESSION, FASTEST])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, encoded.tobytes())


def read_picture(path: Path) -> Pixels:
    """(h, w, 3) RGB uint8 of a picture.

    Raises:
        DamagedRun: it is missing or cannot be read.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DamagedRun(f"{path}: the picture cannot be read")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
