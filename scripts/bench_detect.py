"""How good, quick and safe is the shipped detector? For ``scripts/bench detect [--json] [--quick] [--only NAME]...``.

Each part is a file of its own: speed, cuda, cells, slides, scanner, real, crops, stage, kills. All of them take about
two hours on two cores; ``--quick`` reads few slides.
"""

import sys
from collections.abc import Callable, Iterable

from scripts import (
    detect_cell_rows,
    detect_crop_rows,
    detect_cuda_rows,
    detect_kill_rows,
    detect_real_rows,
    detect_scanner_rows,
    detect_slide_rows,
    detect_speed_rows,
    detect_stage_rows,
)
from scripts.rows import Row, bench

MANY, FEW = 100, 6
PARTS: dict[str, Callable[[bool], Iterable[Row]]] = {
    "speed": lambda _: detect_speed_rows.speed_rows(),
    "cuda": lambda _: detect_cuda_rows.cuda_rows(),
    "cells": lambda _: detect_cell_rows.cell_rows(),
    "slides": lambda whole: detect_slide_rows.slide_rows(MANY if whole else FEW),
    "scanner": lambda whole: detect_scanner_rows.scanner_rows(5 if whole else 1),
    "real": lambda _: detect_real_rows.real_rows(),
    "crops": lambda _: detect_crop_rows.crop_rows(),
    "stage": lambda whole: detect_stage_rows.stage_rows(3 if whole else 1),
    "kills": lambda whole: detect_kill_rows.kill_rows(50 if whole else 5),
}


if __name__ == "__main__":
    sys.exit(bench(PARTS, sys.argv[1:]))
