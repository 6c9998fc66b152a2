"""What do labelled images look like? ``python -m scanner.offline.simulated_labels OUT`` writes small simulated fields.

For trying ``rackscan evaluate`` and ``train`` without labels of one's own: COCO boxes, a few fields a slide.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

from scanner.devices.simulated.scene import ABNORMAL_MIX, NORMAL_MIX, Look, Scene, render_scene
from scanner.devices.simulated.truth import ABNORMAL, SQUAMOUS

SEED = 41
SLIDES = 10
FIELDS = 2
SIDE_PX = 320
UM_PER_PX = 0.5
ABNORMAL_TIMES = 4.0
"""Many abnormal cells on one field: it is small."""
NORMAL = "NILM"


def fields(slide: int) -> list[Scene]:
    """The fields of a slide; every other slide is abnormal, and half of them come from another laboratory."""
    rng = np.random.default_rng((SEED, slide))
    look = Look.random(rng, UM_PER_PX) if slide % 4 >= 2 else Look()
    mix = dict(NORMAL_MIX)
    if slide % 2:
        mix |= {kind: ABNORMAL_TIMES * count for kind, count in ABNORMAL_MIX.items()}
    return [
        render_scene((SIDE_PX, SIDE_PX), SEED * 1000 + slide * FIELDS + k, look, mix) for k in range(FIELDS)
    ]


def write(out: Path, slides: int = SLIDES) -> None:
    """OUT/images/*.png and OUT/boxes.json: epithelial cells alone are labelled."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    scenes = [(f"slide{slide}", scene) for slide in range(slides) for scene in fields(slide)]
    names = [NORMAL, *sorted(kind.value for kind in ABNORMAL)]
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, (slide, scene) in enumerate(scenes):
        file = f"{slide}_{number}.png"
        cv2.imwrite(str(out / "images" / file), np.ascontiguousarray(scene.rgb[:, :, ::-1]))
        images.append({"id": number, "file_name": file, "width": SIDE_PX, "height": SIDE_PX, "slide": slide})
        for box, name in _labelled(scene):
            annotations.append({"image_id": number, "category_id": names.index(name), "bbox": box})
    met = {annotation["category_id"] for annotation in annotations}
    body = {
        "info": {"um_per_px": UM_PER_PX},
        "categories": [{"id": label, "name": name} for label, name in enumerate(names) if label in met],
        "images": images,
        "annotations": annotations,
    }
    (out / "boxes.json").write_text(json.dumps(body))


def _labelled(scene: Scene) -> list[tuple[list[float], str]]:
    """Box and name of every epithelial cell."""
    kinds = zip(scene.boxes_px.tolist(), scene.classes, strict=True)
    wanted = ((box, kind) for box, kind in kinds if kind in ABNORMAL or kind in SQUAMOUS)
    return [(box, kind.value if kind in ABNORMAL else NORMAL) for box, kind in wanted]


if __name__ == "__main__":
    write(Path(sys.argv[1]))
