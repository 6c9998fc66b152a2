"""Which simulated fields does the shipped detector learn from? Writes them as COCO boxes.

    python -m scripts.make_training_set OUT --scenes 700 --crowded 1000 --alike 1000 --slides 16 --seed 1

Scenes are small fields of widely varied stain, light, blur and scale. Crowded ones hold up to four times as many cells
and many of the normal kinds that look abnormal, each drawn anew. Those of what looks alike hold a handful of abnormal
cells and a dozen of the normal ones taken for them, for a look at single cells. Slides are the shipped rig's own, but
with some hundred abnormal cells each, most fields beside one, seen by its camera at heights around the focus; their
seeds are not those of any rack.
OUT/images/PART_*.png|jpg and OUT/PART.json; the same arguments write the same files.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scanner.devices.simulated.scene import ABNORMAL_MIX, NORMAL_MIX, Look, Scene, render_scene
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM
from scanner.devices.simulated.truth import ABNORMAL, CellClass
from scanner.offline.simulated_fields import SlideUnderCamera

UM_PER_PX = 0.5
SIZE_PX = 512
NORMAL_SHARE = 0.25
RIG_SHARE = 0.3
CROWDED_RIG_SHARE = 0.6
CROWDING = (0.8, 4.0)
TIMES: dict[CellClass, float] = {
    CellClass.REACTIVE: 4.0,
    CellClass.PARABASAL: 2.0,
    CellClass.METAPLASTIC: 2.0,
    CellClass.ENDOCERVICAL: 2.0,
    CellClass.BARE_NUCLEUS: 1.5,
}
ALIKE_ABNORMAL: dict[CellClass, float] = {
    CellClass.ASC_US: 1.2,
    CellClass.LSIL: 1.5,
    CellClass.ASC_H: 1.2,
    CellClass.HSIL: 1.3,
    CellClass.SCC: 0.8,
    CellClass.AGC: 0.6,
}
"""Abnormal cells of a field of what looks alike, on average."""
ALIKE_NORMAL: dict[CellClass, float] = {
    CellClass.REACTIVE: 5.0,
    CellClass.PARABASAL: 2.5,
    CellClass.METAPLASTIC: 2.0,
    CellClass.ENDOCERVICAL: 1.0,
    CellClass.LEUCOCYTE_CLUMP: 0.8,
    CellClass.BARE_NUCLEUS: 1.0,
}
"""Normal ones beside those of the usual mixture."""
ALIKE_NORMAL_SHARE = 0.15
SceneMaker = Callable[[np.random.Generator], tuple[Scene, Look]]
TRAINING_KEY = 1_000_003
MOST_ABNORMAL = 90
"""Cells of an abnormal class on a slide; a third of that at least."""
FIELDS = 32
BESIDE = 0.7
"""The share of a slide's fields that lie beside an abnormal cell."""
BESIDE_UM = 150.0
FIELD_RADIUS_UM = 9_300.0
DEFOCUS_UM = 0.7
LABEL_OF: dict[CellClass, str] = {
    **{kind: kind.value for kind in ABNORMAL},
    CellClass.SUPERFICIAL: "NILM",
    CellClass.INTERMEDIATE: "NILM",
    CellClass.PARABASAL: "parabasal",
    CellClass.METAPLASTIC: "metaplastic",
    CellClass.REACTIVE: "reactive",
    CellClass.ENDOCERVICAL: "endocervical",
    CellClass.LEUCOCYTE: "leucocyte",
    CellClass.LEUCOCYTE_CLUMP: "leucocyte",
    CellClass.CANDIDA: "organism",
    CellClass.TRICHOMONAS: "organism",
    CellClass.FLORA: "organism",
    CellClass.DEBRIS: "debris",
    CellClass.BARE_NUCLEUS: "debris",
}
"""What the detector calls each kind of object; mucus and bubbles are background.

The normal cells that look most like abnormal ones have classes of their own, so that training meets them as often.
"""
LABELS = sorted(set(LABEL_OF.values()))


def main() -> int:
    """Write a set; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    for kind in ("scenes", "crowded", "alike", "slides"):
        parser.add_argument(f"--{kind}", type=int, default=0, help="how many of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--part", default="scenes", help="names the files, so that a folder can hold several sets"
    )
    given = parser.parse_args()
    (given.out / "images").mkdir(parents=True, exist_ok=True)
    coco = _empty(given.seed)
    makers: list[SceneMaker] = [
        *(random_scene for _ in range(given.scenes)),
        *(crowded_scene for _ in range(given.crowded)),
        *(alike_scene for _ in range(given.alike)),
    ]
    for number, make in enumerate(makers):
        name = f"{given.part}_scene{number:05d}"
        _add_scene(coco, name, given.out, make, np.random.default_rng((given.seed, number)))
        if number % 100 == 99:
            print(f"{number + 1} of {len(makers)} scenes", file=sys.stderr)
    for number in range(given.slides):
        _add_slide(coco, number, given.out, given.seed, given.part)
        print(f"{number + 1} of {given.slides} slides", file=sys.stderr)
    (given.out / f"{given.part}.json").write_text(json.dumps(coco))
    return 0


def _empty(seed: int) -> dict[str, Any]:
    return {
        "info": {"description": f"simulated liquid-based cytology, seed {seed}", "um_per_px": UM_PER_PX},
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(LABELS)],
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


def crowded_scene(
    rng: np.random.Generator, size_px: int = SIZE_PX, rig_share: float = CROWDED_RIG_SHARE
) -> tuple[Scene, Look]:
    """A crowded field in which the normal cells that look most abnormal are as common as those."""
    look = Look(defocus_um=float(rng.normal(0, 0.7))) if rng.random() < rig_share else Look.random(rng)
    crowding = float(np.exp(rng.uniform(*np.log(CROWDING))))
    look = replace(look, crowding=crowding, clumping=float(rng.uniform(0.1, 0.6)))
    mix = {kind: n * TIMES.get(kind, 1.0) * float(rng.uniform(0.5, 1.5)) for kind, n in NORMAL_MIX.items()}
    if rng.random() >= NORMAL_SHARE:
        mix |= {kind: n * float(rng.uniform(0.5, 2.0)) / crowding for kind, n in ABNORMAL_MIX.items()}
    return render_scene((size_px, size_px), int(rng.integers(2**31)), look, mix), look


def alike_scene(
    rng: np.random.Generator, size_px: int = SIZE_PX, rig_share: float = CROWDED_RIG_SHARE
) -> tuple[Scene, Look]:
    """A field with a handful of abnormal cells, mostly as the rig sees it, and a dozen normal ones taken for them."""
    look = (
        Look(
            defocus_um=float(rng.normal(0, 0.6)),
            strength=float(rng.uniform(0.85, 1.2)),
            nuclear_strength=float(rng.uniform(0.9, 1.15)),
        )
        if rng.random() < rig_share
        else Look.random(rng)
    )
    crowding = float(np.exp(rng.uniform(*np.log(CROWDING))))
    look = replace(look, crowding=crowding, clumping=float(rng.uniform(0.1, 0.6)))
    area_mm2 = (size_px * look.um_per_px / 1000) ** 2 * crowding
    counts = {kind: int(rng.poisson(n * area_mm2 * rng.uniform(0.5, 1.5))) for kind, n in NORMAL_MIX.items()}
    for kind, mean in ALIKE_NORMAL.items():
        counts[kind] += int(rng.poisson(mean))
    if rng.random() >= ALIKE_NORMAL_SHARE:
        counts |= {kind: int(rng.poisson(mean)) for kind, mean in ALIKE_ABNORMAL.items()}
    return render_scene((size_px, size_px), int(rng.integers(2**31)), look, counts=counts), look


def _add_scene(
    coco: dict[str, Any], name: str, out: Path, make: SceneMaker, rng: np.random.Generator
) -> None:
    scene, look = make(rng)
    compressed = rng.random() < 0.3
    quality = int(rng.integers(75, 96)) if compressed else None
    labelled = list(zip(scene.boxes_px.tolist(), scene.classes, strict=True))
    _add(coco, out, name, scene.rgb, quality, look.um_per_px, name, labelled)


def _add_slide(coco: dict[str, Any], number: int, out: Path, seed: int, part: str) -> None:
    rng = np.random.default_rng((seed, TRAINING_KEY, number))
    abnormal = {kind: int(rng.integers(MOST_ABNORMAL // 3, MOST_ABNORMAL)) for kind in sorted(ABNORMAL)}
    slide = SlideUnderCamera((TRAINING_KEY, seed, number), abnormal)
    suspects = [(t.x_um, t.y_um) for t in slide.truth() if t.cell_class in ABNORMAL]
    name = f"{part}_slide{number:03d}"
    for index in range(FIELDS):
        place = beside(rng, suspects) if rng.random() < BESIDE else anywhere(rng)
        field = slide.look(place, float(rng.normal(0, DEFOCUS_UM)))
        labelled = list(zip(field.boxes.tolist(), field.classes, strict=True))
        _add(coco, out, f"{name}_{index:03d}", field.rgb, None, slide.grid.um_per_px, name, labelled)


def beside(rng: np.random.Generator, suspects: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slide µm of a field that shows an abnormal cell."""
    x_um, y_um = suspects[int(rng.integers(len(suspects)))]
    return x_um + float(rng.uniform(-BESIDE_UM, BESIDE_UM)), y_um + float(rng.uniform(-BESIDE_UM, BESIDE_UM))


def anywhere(rng: np.random.Generator) -> tuple[float, float]:
    """The slide µm of a field anywhere in the deposit."""
    radius, angle = FIELD_RADIUS_UM * float(rng.random()) ** 0.5, float(rng.uniform(0, 2 * np.pi))
    x_um, y_um = DEPOSIT_CENTRE_UM
    return x_um + radius * float(np.cos(angle)), y_um + radius * float(np.sin(angle))


def _add(
    coco: dict[str, Any],
    out: Path,
    name: str,
    rgb: NDArray[np.uint8],
    jpeg_quality: int | None,
    um_per_px: float,
    slide: str,
    labelled: list[tuple[list[float], CellClass]],
) -> None:
    """One image and its boxes; objects that the detector has no name for are left out."""
    file = f"{name}.{'png' if jpeg_quality is None else 'jpg'}"
    options = [] if jpeg_quality is None else [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    if not cv2.imwrite(str(out / "images" / file), np.ascontiguousarray(rgb[:, :, ::-1]), options):
        raise OSError(f"cannot write {out / 'images' / file}")
    image = {"id": len(coco["images"]), "file_name": file, "width": rgb.shape[1], "height": rgb.shape[0]}
    coco["images"].append(image | {"um_per_px": um_per_px, "slide": slide})
    ids = {category["name"]: category["id"] for category in coco["categories"]}
    for box, kind in labelled:
        label = LABEL_OF.get(kind)
        if label is not None:
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]),
                    "image_id": image["id"],
                    "category_id": ids[label],
                    "bbox": [round(value, 2) for value in box],
                    "area": round(box[2] * box[3], 1),
                    "iscrowd": 0,
                }
            )


if __name__ == "__main__":
    sys.exit(main())
