"""Which simulated fields does the shipped detector learn from? Writes them as COCO boxes with wide random looks.

    python scripts/make_training_set.py OUT --scenes 900 --seed 1

OUT/images/*.png|jpg and OUT/scenes.json; the same arguments write the same files.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scanner.devices.simulated.scene import ABNORMAL_MIX, NORMAL_MIX, Look, Scene, render_scene
from scanner.devices.simulated.truth import ABNORMAL, CellClass

UM_PER_PX = 0.5
SIZE_PX = 512
NORMAL_SHARE = 0.25
RIG_SHARE = 0.3
LABEL_OF: dict[CellClass, str] = {
    **{kind: kind.value for kind in ABNORMAL},
    **dict.fromkeys(
        (
            *(CellClass.SUPERFICIAL, CellClass.INTERMEDIATE, CellClass.PARABASAL),
            *(CellClass.METAPLASTIC, CellClass.REACTIVE),
        ),
        "NILM",
    ),
    CellClass.ENDOCERVICAL: "endocervical",
    CellClass.LEUCOCYTE: "leucocyte",
    CellClass.LEUCOCYTE_CLUMP: "leucocyte",
    CellClass.CANDIDA: "organism",
    CellClass.TRICHOMONAS: "organism",
    CellClass.FLORA: "organism",
    CellClass.DEBRIS: "debris",
    CellClass.BARE_NUCLEUS: "debris",
}
"""What the detector calls each kind of object; mucus and bubbles are background."""
CATEGORIES = tuple(sorted(set(LABEL_OF.values())))


def main() -> int:
    """Write a set; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=900)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    (given.out / "images").mkdir(parents=True, exist_ok=True)
    coco = _empty(given.seed)
    for number in range(given.scenes):
        _add(coco, number, given.out, np.random.default_rng((given.seed, number)))
        if number % 50 == 49:
            print(f"{number + 1} of {given.scenes} scenes", file=sys.stderr)
    (given.out / "scenes.json").write_text(json.dumps(coco))
    return 0


def _empty(seed: int) -> dict[str, Any]:
    return {
        "info": {"description": f"simulated liquid-based cytology, seed {seed}", "um_per_px": UM_PER_PX},
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CATEGORIES)],
        "images": [],
        "annotations": [],
    }


def random_scene(rng: np.random.Generator, size_px: int = SIZE_PX) -> tuple[Scene, Look]:
    """A field as the shipped rig or any other laboratory sees it; a quarter of all hold normal cells only."""
    look = (
        Look(defocus_um=float(rng.normal(0, 0.7)))
        if rng.random() < RIG_SHARE
        else Look.random(rng, UM_PER_PX)
    )
    mix = {kind: n * float(rng.uniform(0.5, 1.5)) for kind, n in NORMAL_MIX.items()}
    if rng.random() >= NORMAL_SHARE:
        mix |= {kind: n * float(rng.uniform(0.5, 2.5)) for kind, n in ABNORMAL_MIX.items()}
    return render_scene((size_px, size_px), int(rng.integers(2**31)), look, mix), look


def _add(coco: dict[str, Any], number: int, out: Path, rng: np.random.Generator) -> None:
    scene, look = random_scene(rng)
    compressed = rng.random() < 0.3
    name = f"{number:05d}.{'jpg' if compressed else 'png'}"
    options = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 96))] if compressed else []
    if not cv2.imwrite(str(out / "images" / name), np.ascontiguousarray(scene.rgb[:, :, ::-1]), options):
        raise OSError(f"cannot write {out / 'images' / name}")
    height, width = scene.rgb.shape[:2]
    coco["images"].append(
        {"id": number, "file_name": name, "width": width, "height": height, "um_per_px": look.um_per_px}
    )
    for box, kind in zip(scene.boxes_px.tolist(), scene.classes, strict=True):
        if kind in LABEL_OF:
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]),
                    "image_id": number,
                    "category_id": CATEGORIES.index(LABEL_OF[kind]) + 1,
                    "bbox": [round(value, 2) for value in box],
                    "area": round(box[2] * box[3], 1),
                    "iscrowd": 0,
                }
            )


if __name__ == "__main__":
    sys.exit(main())
