"""How much detail does a fused plane keep, how much noise, how alike are neighbours? Rows for ``scripts/bench focus``.

Detail is the squared gradient of green after a Gaussian of 1 px, summed over the fused plane, against the most that any
plane has on average around each pixel (a Gaussian of 6 px). With noise the most of many planes is more than any plane
holds, so that the bar is put to simulated planes without noise and to real stacks; the noisy figure stands beside.
Run alone: ``python scripts/focus_fusing_rows.py [--json]``.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from autofocus.edf import extended_focus
from scanner.devices.simulated.field import WHITE
from scanner.devices.simulated.optics import PSF_UM, psf_kernel
from scanner.pipeline.fusing import fuse
from scanner.storage.stacks import read_stack
from scripts.focus_field import Place, SimulatedField

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
STACKS = ("B_isbi2014_zstack", "B_ypm_zstack_426566")
AROUND_UM = np.arange(-7.0, 7.1, 1.0)
FIELDS, SIDE_PX, OVERLAP_PX, LEAST_NUCLEI = 3, 1024, 104, 12
SEED = 700_003
KEPT = "fused plane: gradient energy kept"
Row = dict[str, Any]
Planes = Sequence[NDArray[Any]]


def line(name: str, value: float | None, bar: float | None = None, most: bool = False) -> Row:
    """One row; the bar is the least, or the ``most``."""
    met = None if value is None or bar is None else bool(value <= bar if most else value >= bar)
    return {"name": name, "value": None if value is None else round(value, 4), "bar": bar, "met": met}


def green(plane: NDArray[Any]) -> NDArray[Any]:
    """(h, w) of (h, w[, 3])."""
    return plane if plane.ndim == 2 else plane[..., 1]


def gradient(plane: NDArray[Any]) -> NDArray[np.float32]:
    """(h, w) squared gradient of green after a Gaussian of 1 px."""
    smooth = cv2.GaussianBlur(green(plane).astype(np.float32), (0, 0), 1.0)
    return np.asarray(
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(smooth, cv2.CV_32F, 0, 1) ** 2, np.float32
    )


def kept(fused: NDArray[Any], planes: Planes) -> float:
    """Gradient energy of the fused plane over the best around each pixel."""
    best = np.max([cv2.GaussianBlur(gradient(plane), (0, 0), 6.0) for plane in planes], axis=0)
    return float(gradient(fused).sum() / best.sum())


def without_noise(field: SimulatedField, place: Place, z_um: float) -> NDArray[np.uint8]:
    """(1024, 1024) uint8: green of a field as a camera without noise and vignetting reads it."""
    u, v = field.grid.from_slide(*place)
    od, kernel = (
        np.zeros((3, SIDE_PX, SIDE_PX), np.float32),
        psf_kernel(0, PSF_UM / field.grid.um_per_px),
    )
    field.slide.absorb(od, (round(u - SIDE_PX / 2), round(v - SIDE_PX / 2)), z_um)
    light = 255 * WHITE[1] * np.exp(-cv2.sepFilter2D(od[1], -1, kernel, kernel))
    return np.asarray(np.rint(light), np.uint8)


def textured(field: SimulatedField) -> list[Place]:
    """Random places with nuclei enough to speak of detail."""
    return [p for p in field.random_places(20 * FIELDS) if field.truth(p).nuclei >= LEAST_NUCLEI]


def simulated_rows(kind: str) -> list[Row]:
    """Detail kept with and without noise, over a few fields."""
    field = SimulatedField(SEED, kind)
    clean, noisy = [], []
    for place in textured(field)[:FIELDS]:
        heights = field.base_um(place) + AROUND_UM
        planes: list[Planes] = [
            [look(place, z) for z in heights.tolist()]
            for look in (lambda p, z: without_noise(field, p, z), field.frame)
        ]
        clean.append(kept(extended_focus(planes[0], heights).image, planes[0]))
        noisy.append(kept(extended_focus(planes[1], heights).image, planes[1]))
    return [
        line(f"{KEPT}, simulated {kind} without noise", min(clean), 0.97),
        line(f"{KEPT}, simulated {kind} with the noise of each frame", min(noisy)),
    ]


def real_stack_rows() -> list[Row]:
    """Detail kept of recorded stacks."""
    rows = []
    for name in STACKS:
        planes = read_stack(REAL / name).planes if (REAL / name).is_dir() else []
        share = kept(extended_focus(planes, np.arange(len(planes))).image, planes) if planes else None
        rows.append(line(f"{KEPT}, real stack {name}", share, 0.97))
    return rows


def glass_row() -> Row:
    """Noise over empty glass against that of one plane."""
    rng = np.random.default_rng(SEED)
    planes = [np.clip(rng.normal(235, 2.4, (512, 512)), 0, 255).astype(np.uint8) for _ in AROUND_UM]
    share = float(extended_focus(planes, AROUND_UM).image.std() / planes[0].std())
    return line("fused plane: noise over empty glass, share of one plane's", share, 1.0, most=True)


def seam_rows() -> list[Row]:
    """Two tiles of one field with the usual overlap, their planes half a step apart: what differs along the seam."""
    field = SimulatedField(SEED)
    place, middle = textured(field)[0], (SIDE_PX + OVERLAP_PX) // 2
    heights = (field.base_um(place) + AROUND_UM).tolist()
    left = fuse((z, field.frame(place, z)[:, :middle]) for z in heights).image[:, -OVERLAP_PX:]
    right = fuse((z + 0.5, field.frame(place, z + 0.5)[:, middle - OVERLAP_PX :]) for z in heights).image
    a, b = (cv2.GaussianBlur(green(p).astype(np.float32), (0, 0), 2.0) for p in (left, right[:, :OVERLAP_PX]))
    apart = np.abs(a - b)[:, 20:-20]
    said = "fused plane: neighbours' difference in their overlap, grey levels"
    return [
        line(f"{said}: mean", float(apart.mean())),
        line(f"{said}: 99 % below", float(np.quantile(apart, 0.99))),
    ]


def fusing_rows() -> list[Row]:
    """What ``scripts/bench focus`` prints of fusing."""
    return [
        *simulated_rows("cytology"),
        *simulated_rows("histology"),
        *real_stack_rows(),
        glass_row(),
        *seam_rows(),
    ]


def main() -> None:
    """Print the rows, as a table or as JSON."""
    cv2.setNumThreads(1)
    rows = fusing_rows()
    if "--json" in sys.argv:
        print(json.dumps({"rows": rows}))
        return
    for row in rows:
        mark = {True: "met", False: "short", None: ""}[row["met"]]
        bar = f" (bar {row['bar']}) {mark}" if row["bar"] is not None else ""
        print(f"{row['name']}: {row['value']}{bar}")


if __name__ == "__main__":
    main()
