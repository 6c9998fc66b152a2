"""Which labelled simulated fields are learnt from while more are being made? Shards without end.

    python -m scripts.default_package.stream OUT --worker 0 --of 14 --seed 51 --seconds 400

A worker makes round after round: fields of a slide as the shipped rig sees it, many with an abnormal cell, and scenes
in varied looks, crowded ones, and those of what looks alike (``make_training_set``); a shard is a part of a round.
Shards of the same seed, worker and number hold the same; how many there are depends on the machine.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.normalisation import white_level
from scanner.devices.simulated.truth import ABNORMAL, CellClass
from scanner.offline.simulated_fields import SlideUnderCamera, inside
from scripts import make_training_set as fields

SIDE_PX = 512
STREAM_KEY = 1_000_007
SLIDE_FIELDS = 12
ALIKE, CROWDED, RANDOM = 30, 12, 24
RIG_SHARE = 0.35
"""Of crowded fields and of what looks alike; the rest are looks of other laboratories."""
SHARD = 30
CODED, QUALITY = 0.3, (60, 96)
MOST_CELLS = 128
LABEL_INDEX = {kind: fields.LABELS.index(name) for kind, name in fields.LABEL_OF.items()}


@dataclass(frozen=True, slots=True)
class Drawn:
    """One field: (512, 512, 3) uint8 RGB, its µm per px, (m, 4) boxes px and their (m,) label indices."""

    rgb: NDArray[np.uint8]
    um_per_px: float
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def main() -> None:
    """Make shards until the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--of", type=int, default=1, help="workers in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + given.seconds
    drawn: list[Drawn] = []
    for field in stream(given.seed, given.worker, given.of):
        drawn.append(field)
        if len(drawn) == SHARD:
            write_shard(given.out, f"{given.worker:03d}", drawn)
            drawn = []
        if time.monotonic() > ends:
            return


def stream(seed: int, worker: int, of: int) -> Iterator[Drawn]:
    """A worker's fields, without end; its first round begins with scenes, the later ones with a slide."""
    for turn in itertools.count():
        number = turn * of + worker
        if turn:
            yield from slide_fields(seed, number)
        rng = np.random.default_rng((seed, STREAM_KEY, number))
        crowded = [fields.alike_scene] * ALIKE + [fields.crowded_scene] * CROWDED
        makers: list[fields.SceneMaker] = [partial(make, rig_share=RIG_SHARE) for make in crowded]
        for make in [*makers, *[fields.random_scene] * RANDOM]:
            scene, look = make(rng)
            yield _drawn(_coded(scene.rgb, rng), look.um_per_px, scene.boxes_px, scene.classes)


def slide_fields(seed: int, number: int) -> Iterator[Drawn]:
    """The quarters of some fields of one slide."""
    rng = np.random.default_rng((seed, fields.TRAINING_KEY, number))
    most = fields.MOST_ABNORMAL
    abnormal = {kind: int(rng.integers(most // 3, most)) for kind in sorted(ABNORMAL)}
    slide = SlideUnderCamera((fields.TRAINING_KEY, seed, number), abnormal)
    suspects = [(t.x_um, t.y_um) for t in slide.truth() if t.cell_class in ABNORMAL]
    for _ in range(SLIDE_FIELDS):
        place = fields.beside(rng, suspects) if rng.random() < fields.BESIDE else fields.anywhere(rng)
        seen = slide.look(place, float(rng.normal(0, fields.DEFOCUS_UM)))
        for x, y in itertools.product((0, SIDE_PX), repeat=2):
            boxes, kept = inside(seen.boxes, (x, y), SIDE_PX)
            part = np.ascontiguousarray(seen.rgb[y : y + SIDE_PX, x : x + SIDE_PX])
            yield _drawn(part, slide.grid.um_per_px, boxes, [seen.classes[index] for index in kept])


def _coded(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Some pictures come as JPEG."""
    if rng.random() >= CODED:
        return rgb
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*QUALITY))]
    coded = cv2.imencode(".jpg", np.ascontiguousarray(rgb[:, :, ::-1]), quality)[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[:, :, ::-1], np.uint8)


def _drawn(
    rgb: NDArray[np.uint8],
    um_per_px: float,
    boxes: NDArray[np.float64],
    classes: "list[CellClass] | tuple[CellClass, ...]",
) -> Drawn:
    named = [index for index, kind in enumerate(classes) if kind in LABEL_INDEX][:MOST_CELLS]
    labels = np.array([LABEL_INDEX[classes[index]] for index in named], np.int64)
    return Drawn(rgb, um_per_px, np.asarray(boxes[named], np.float32).reshape(-1, 4), labels)


def write_shard(out: Path, worker: str, drawn: list[Drawn]) -> None:
    """One .npz that appears whole."""
    number = len(list(out.glob(f"{worker}_*.npz")))
    whole = out / f"{worker}_{number:04d}.npz"
    part = out / f".{whole.name}.part"
    with part.open("wb") as file:
        np.savez(
            file,
            rgb=np.stack([field.rgb for field in drawn]),
            um_per_px=np.array([field.um_per_px for field in drawn]),
            white=np.stack([white_level(field.rgb) for field in drawn]),
            counts=np.array([len(field.labels) for field in drawn]),
            boxes=np.concatenate([field.boxes for field in drawn]),
            labels=np.concatenate([field.labels for field in drawn]),
        )
    part.replace(whole)


if __name__ == "__main__":
    main()
