"""How good, quick and safe is the shipped detector? For ``scripts/bench detect [--json] [--quick] [--only NAME]...``.

Each part is a file of its own: speed, cells, slides, scanner, real, crops, stage, kills. All of them take about an hour
and a half on two cores; ``--quick`` reads few slides.
"""

import itertools
import json
import sys
from collections.abc import Callable, Iterable

import cv2

from scripts import (
    detect_cell_rows,
    detect_crop_rows,
    detect_kill_rows,
    detect_real_rows,
    detect_scanner_rows,
    detect_slide_rows,
    detect_speed_rows,
    detect_stage_rows,
)
from scripts.rows import Row, line

MANY, FEW = 100, 6
PARTS: dict[str, Callable[[bool], Iterable[Row]]] = {
    "speed": lambda _: detect_speed_rows.speed_rows(),
    "cells": lambda _: detect_cell_rows.cell_rows(),
    "slides": lambda whole: detect_slide_rows.slide_rows(MANY if whole else FEW),
    "scanner": lambda whole: detect_scanner_rows.scanner_rows(5 if whole else 1),
    "real": lambda _: detect_real_rows.real_rows(),
    "crops": lambda _: detect_crop_rows.crop_rows(),
    "stage": lambda whole: detect_stage_rows.stage_rows(3 if whole else 1),
    "kills": lambda whole: detect_kill_rows.kill_rows(50 if whole else 5),
}


def main(arguments: list[str]) -> int:
    """Print the rows as they are found; returns the exit code."""
    cv2.setNumThreads(1)
    named = [name for flag, name in itertools.pairwise(arguments) if flag == "--only"]
    told = sys.stderr if "--json" in arguments else sys.stdout
    found: list[Row] = []
    for part in named or PARTS:
        for entry in PARTS[part]("--quick" not in arguments):
            found.append(entry)
            print(line(entry), file=told, flush=True)
    if "--json" in arguments:
        print(json.dumps({"rows": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
