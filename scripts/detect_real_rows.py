"""Does a detector that saw simulated cells alone know real ones? Rows for the bench, and a picture.

    python -m scripts.detect_real_rows [--picture OUT.png]

Single cells of Herlev lost their scale: each is brought to one size, fixed beforehand. The cells and the field are not
ours to give away: without them the rows say so, and nothing made from them is kept here.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.classes import Role
from detection.detections import Image
from detection.evaluation import auc, auc_interval
from detection.labelled import read_pixels
from detection.normalisation import optical_density, white_level
from detection.onnx_detector import OnnxDetector
from detection.opening import open_detector
from detection.package import DetectorPackage, default_package
from detection.seen import AS_IT_IS, STRAINS, crop_shares
from scripts.rows import Row, at_least, row, tell

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HERLEV = DATA / "B_herlev_dev" / "labels.csv"
FIELD = DATA / "B_tct_field" / "tct_field.jpg"
FIELD_UM_PER_PX = 0.25
WANTED = 0.85
SHOWN = 48
THUMB_PX = 120


def real_rows() -> Iterator[Row]:
    """Herlev abnormal against superficial and intermediate cells, as they are and strained, beside darkness."""
    if not HERLEV.is_file():
        yield row("AUC of Herlev cells: no data here", None, WANTED)
        return
    images, abnormal = _herlev()
    detector = OnnxDetector(DetectorPackage.load(default_package()))
    which = detector.package.of_role(Role.ABNORMAL)
    for strain in (AS_IT_IS, *STRAINS):
        said = [float(crop_shares(detector, image, strain)[which].sum()) for image in images]
        area = auc(said, abnormal)
        if strain is AS_IT_IS:
            words = f"95 % {auc_interval(np.array(said), abnormal)}"
            yield at_least(
                f"AUC of Herlev cells, abnormal against superficial and intermediate, {words}", area, WANTED
            )
        else:
            yield row(f"AUC of Herlev cells, {strain.name}", area)
    darkness = [float(optical_density(image, white_level(image)).mean()) for image in images]
    yield row("AUC of Herlev cells, darkness alone (control)", auc(darkness, abnormal))


def _herlev() -> tuple[list[Image], NDArray[np.bool_]]:
    images, abnormal = [], []
    with HERLEV.open(encoding="utf-8") as lines:
        for entry in csv.DictReader(lines):
            if entry["label"] != "normal_columnar":
                images.append(read_pixels(HERLEV.parent / entry["file"]))
                abnormal.append(not entry["label"].startswith("normal"))
    return images, np.array(abnormal)


def picture(out: Path) -> None:
    """The most suspicious cells of the real field, highest first."""
    image = read_pixels(FIELD)
    (found,) = open_detector(default_package(), "onnx").detect([image], FIELD_UM_PER_PX)
    order = np.argsort(-found.abnormal)[:SHOWN]
    tiles = []
    for box, chance in zip(found.boxes[order], found.abnormal[order], strict=True):
        x, y = (int(v) for v in box[:2] + box[2:] / 2)
        wide = cv2.copyMakeBorder(image, 128, 128, 128, 128, cv2.BORDER_REFLECT_101)
        cell = cv2.resize(wide[y : y + 256, x : x + 256], (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)
        cv2.putText(cell, f"{chance:.2f}", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (200, 0, 0), 1)
        tiles.append(cell)
    rows = [np.hstack(tiles[n : n + 12]) for n in range(0, len(tiles) - 11, 12)]
    cv2.imwrite(str(out), np.ascontiguousarray(np.vstack(rows)[:, :, ::-1]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=Path, default=None)
    given = parser.parse_args()
    tell(real_rows())
    if given.picture:
        picture(given.picture)
