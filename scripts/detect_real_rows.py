"""Does a detector that saw simulated cells alone know real ones? Rows for the bench, and a picture.

    python -m scripts.detect_real_rows [--picture OUT.png]

Single cells of Herlev lost their scale: each is brought to one size, fixed beforehand. Liquid-based crops kept theirs:
each is laid on clear glass and looked at as a field is, first look and all, abnormal cells against organisms (no normal
cells are among them). The cells and the field are not ours to give away: without them the rows say so, and nothing made
from them is kept here.
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
from detection.seen import AS_IT_IS, STRAINS, Strain, crop_shares
from scripts.rows import Row, at_least, row, tell

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HERLEV = DATA / "B_herlev_dev" / "labels.csv"
FIELD = DATA / "B_tct_field" / "tct_field.jpg"
FIELD_UM_PER_PX = 0.25
CROPS = DATA / "B_tct_crops_dev" / "labels.csv"
CROP_UM_PER_PX = 0.5
"""Nobody says it: their superficial cells are about 100 px wide, their leucocytes 18."""
GLASS, GLASS_PX = 252, 64
LIGHT, WHOLE = 215, 0.7
WANTED = 0.85
LIKE_ABNORMAL = ("herps", "candida")
"""Herpes makes nuclei as large, many and moulded as cancer does; with candida lie reactive squamous cells."""
SHOWN = 48
THUMB_PX = 120


def real_rows() -> Iterator[Row]:
    """Single cells, and crops as fields, each as they are and strained, beside darkness."""
    detector = OnnxDetector(DetectorPackage.load(default_package()))
    yield from _cell_rows(detector)
    yield from _crop_rows(detector)


def _cell_rows(detector: OnnxDetector) -> Iterator[Row]:
    """Herlev abnormal against superficial and intermediate cells."""
    if not HERLEV.is_file():
        yield row("AUC of Herlev cells: no data here", None, WANTED)
        return
    images, abnormal = _herlev()
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
    darkness = [_darkness(image) for image in images]
    yield row("AUC of Herlev cells, darkness alone (control)", auc(darkness, abnormal))


def _crop_rows(detector: OnnxDetector) -> Iterator[Row]:
    """The highest P(abnormal) anywhere in a crop, abnormal against organisms."""
    if not CROPS.is_file():
        yield row("AUC of real crops: no data here", None)
        return
    with CROPS.open(encoding="utf-8") as lines:
        entries = list(csv.DictReader(lines))
    crops = [read_pixels(CROPS.parent / entry["file"]) for entry in entries]
    images = [_on_glass(crop) for crop in crops]
    abnormal = np.array([entry["abnormal_epithelial"] == "1" for entry in entries])
    alike = np.array([entry["label"] in LIKE_ABNORMAL for entry in entries])
    for strain in (AS_IT_IS, *STRAINS):
        said = np.array([_highest(detector, image, strain) for image in images])
        if strain is AS_IT_IS:
            words = f"abnormal cells against organisms, 95 % {auc_interval(said, abnormal)}"
            yield row(f"AUC of real crops as fields, {words}", auc(said, abnormal))
            words = f"without {' and '.join(LIKE_ABNORMAL)}"
            yield row(f"AUC of real crops as fields, {words}", auc(said[~alike], abnormal[~alike]))
            whole = np.array([_glass_around(crop) >= WHOLE for crop in crops])
            words = f"those {whole.sum()} whose edge is glass for {WHOLE:.0%} and more"
            yield row(f"AUC of real crops as fields, {words}", auc(said[whole], abnormal[whole]))
        else:
            yield row(f"AUC of real crops as fields, {strain.name}", auc(said, abnormal))
    darkness = [_darkness(image) for image in images]
    yield row("AUC of real crops as fields, darkness alone (control)", auc(darkness, abnormal))


def _glass_around(crop: Image) -> float:
    """Share of a crop's edge that is empty: elsewhere it cuts through cells, as no field does."""
    edge = np.concatenate([crop[0], crop[-1], crop[:, 0], crop[:, -1]])
    return float((edge.min(axis=1) > LIGHT).mean())


def _on_glass(image: Image) -> Image:
    edge = (GLASS_PX,) * 4
    return np.asarray(
        cv2.copyMakeBorder(image, *edge, cv2.BORDER_CONSTANT, value=(GLASS,) * 3), dtype=np.uint8
    )


def _highest(detector: OnnxDetector, image: Image, strain: Strain) -> float:
    (found,) = detector.detect([strain.lit(image)], CROP_UM_PER_PX * strain.size)
    return float(found.abnormal.max(initial=0.0))


def _darkness(image: Image) -> float:
    return float(optical_density(image, white_level(image)).mean())


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
