"""Do metrics that a plane of a recorded z-stack was not chosen with like it too? Rows for ``scripts/bench focus``.

A judge is a plain mean over the pixels of a block of a fixed 4 × 4 grid, without noise floor or normalisation. None of
these is a view that the plane is chosen with: Tenengrad, the normalised variance, Vollath's F5, a Haar wavelet and
block cosines measure other things or at other scales, the variance of the Laplacian and Brenner's gradient are those
that most tools have. Run alone, it also degrades the stacks: ``python scripts/bench_stack.py [--json]``.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from autofocus.metrics import FocusMetric, VarianceOfLaplacian
from autofocus.stack import GRID, focus_stack
from scanner.storage.stacks import read_stack

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
STACKS = ("B_isbi2014_zstack", "B_ypm_zstack_426566")
SHARE, BAR = 0.95, 0.97
LIKED = "blocks where other metrics reach ≥ 95 % of their peak"
Gray = NDArray[Any]
Planes = list[NDArray[Any]]
Row = dict[str, Any]


def tenengrad(gray: Gray) -> float:
    """Mean squared Sobel gradient (Krotkov 1987)."""
    across, down = (cv2.Sobel(gray, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    return float(np.mean(across * across + down * down))


def vollath(gray: Gray) -> float:
    """Vollath's F5: covariance of neighbours along a row (J. Microscopy 147, 1987)."""
    return float(np.mean(gray[:, :-1] * gray[:, 1:]) - np.mean(gray) ** 2)


def haar(gray: Gray) -> float:
    """Energy of the details of three levels of a Haar wavelet (after Yang and Nelson, ICPR 2003)."""
    energy = 0.0
    for _ in range(3):
        rows, columns = gray.shape[0] // 2 * 2, gray.shape[1] // 2 * 2
        a, b, c, d = (gray[y:rows:2, x:columns:2] for y in (0, 1) for x in (0, 1))
        energy += float(np.mean((a - b + c - d) ** 2 + (a + b - c - d) ** 2 + (a - b - c + d) ** 2)) / 4
        gray = (a + b + c + d) / 2
    return energy


def cosines(gray: Gray) -> float:
    """Energy of the middle frequencies of 8 × 8 cosine transforms (after Lee et al., 2009)."""
    rows, columns = gray.shape[0] // 8, gray.shape[1] // 8
    tiles = gray[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).swapaxes(1, 2)
    order = np.add.outer(np.arange(8), np.arange(8))
    return float(np.mean(dctn(tiles, axes=(2, 3), norm="ortho")[..., (order >= 2) & (order <= 8)] ** 2))


JUDGES: dict[str, Callable[[Gray], float]] = {
    "variance of Laplacian": lambda gray: float(cv2.Laplacian(gray, cv2.CV_32F).var()),
    "Tenengrad": tenengrad,
    "Brenner": lambda gray: float(np.mean((gray[:, 2:] - gray[:, :-2]) ** 2)),
    "normalised variance": lambda gray: float(gray.var() / gray.mean()),
    "Vollath F5": vollath,
    "Haar wavelet": haar,
    "cosines": cosines,
}


def real_rows() -> list[Row]:
    """Blocks of real stacks whose chosen plane other metrics also like."""
    rows: list[Row] = []
    for name in STACKS:
        label = f"real stack {name}"
        if (REAL / name).is_dir():
            rows += _stack_rows(label, list(read_stack(REAL / name).planes))
            continue
        rows.append({"name": f"{label}: {LIKED}", "value": None, "bar": BAR, "met": None})
    return rows


def _stack_rows(label: str, planes: Planes) -> list[Row]:
    answer = focus_stack(planes, np.arange(len(planes)))
    chosen = [block.best_plane for block in answer.blocks]
    share = _shares(planes, chosen)
    usual = _shares(planes, _peaks(planes, VarianceOfLaplacian()), skip=("variance of Laplacian",))
    agreed = float(np.mean(np.median(share, axis=0) >= SHARE))
    states = [
        block.reason.split(":")[0].split(" at ")[0] for block in answer.blocks if block.state != "found"
    ]
    thick = sum(block.thick for block in answer.blocks)
    return [
        {"name": f"{label}: {LIKED}", "value": round(agreed, 4), "bar": BAR, "met": agreed >= BAR},
        _plain(f"{label}: all pairs of metric and block", float(np.mean(share >= SHARE))),
        _plain(
            f"{label}: with the variance of the Laplacian",
            float(np.mean(np.median(usual, axis=0) >= SHARE)),
        ),
        _plain(
            f"{label}: blocks found, thick, otherwise refused",
            f"{16 - len(states)}, {thick}, {len(states) - thick} ({'; '.join(states) or 'none'})",
        ),
    ]


def _plain(name: str, value: float | str) -> Row:
    shown = round(value, 4) if isinstance(value, float) else value
    return {"name": name, "value": shown, "bar": None, "met": None}


def _shares(planes: Planes, chosen: Sequence[int | None], skip: Sequence[str] = ()) -> NDArray[np.float64]:
    """(judges, blocks found): of its own peak, what each judge reaches in the chosen plane."""
    found = [n for n, plane in enumerate(chosen) if plane is not None]
    shares = []
    for judge in (judge for name, judge in JUDGES.items() if name not in skip):
        curves = np.array([[judge(part) for part in _parts(plane)] for plane in planes])
        shares.append([curves[chosen[n], n] / curves[:, n].max() for n in found])
    return np.array(shares)


def _peaks(planes: Planes, metric: FocusMetric) -> list[int]:
    curves = [[metric(np.rint(part).astype(plane.dtype)) for part in _parts(plane)] for plane in planes]
    return [int(peak) for peak in np.argmax(curves, axis=0)]


def _parts(plane: NDArray[Any]) -> Iterator[Gray]:
    """The 4 × 4 blocks of the green channel or the only one."""
    gray = (plane[..., 1] if plane.ndim == 3 else plane).astype(np.float32)
    for rows in np.array_split(gray, GRID, axis=0):
        yield from (np.ascontiguousarray(part) for part in np.array_split(rows, GRID, axis=1))


def degraded(planes: Planes) -> Iterator[tuple[str, Planes]]:
    """The same stack as other cameras and files would hold it."""
    rng = np.random.default_rng(0)
    yield "half size", [cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in planes]
    yield "JPEG 60", [_jpeg(p) for p in planes]
    yield (
        "noise of 6 levels",
        [np.clip(p + rng.normal(0, 6, p.shape), 0, 255).astype(np.uint8) for p in planes],
    )
    yield "every second plane", planes[::2]
    yield "16 bit gray", [_gray(p).astype(np.uint16) * 257 for p in planes]
    yield "12 bit in 16", [_gray(p).astype(np.uint16) * 16 for p in planes]
    yield "backwards", planes[::-1]


def _jpeg(plane: NDArray[Any]) -> NDArray[Any]:
    file = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_UNCHANGED))


def _gray(plane: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_RGB2GRAY)) if plane.ndim == 3 else plane


def main() -> None:
    """Print the rows of the stacks as they are, and degraded."""
    cv2.setNumThreads(1)
    rows = real_rows()
    for name in (name for name in STACKS if (REAL / name).is_dir()):
        for how, planes in degraded(list(read_stack(REAL / name).planes)):
            rows += _stack_rows(f"{name}, {how}", planes)
    if "--json" in sys.argv:
        print(json.dumps({"rows": rows}))
        return
    for row in rows:
        mark = {True: "met", False: "short", None: ""}[row["met"]]
        print(f"{row['name']}: {row['value']}" + (f" (bar {row['bar']}) {mark}" if row["bar"] else ""))


if __name__ == "__main__":
    main()
