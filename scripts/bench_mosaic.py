"""How true, quick and safe is the mosaic? Run by ``scripts/bench mosaic [--json] [--quick] [--only NAME]...``.

Each part is a file of its own: place, peers, export, light, blend, store, writer.
"""

import itertools
import json
import sys
from collections.abc import Callable

import cv2

from scripts import (
    mosaic_blend_rows,
    mosaic_export_rows,
    mosaic_light_rows,
    mosaic_peer_rows,
    mosaic_place_rows,
    mosaic_store_rows,
    mosaic_writer_rows,
)
from scripts.rows import Row, line

PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "place": mosaic_place_rows.rows,
    "peers": mosaic_peer_rows.rows,
    "export": lambda _: mosaic_export_rows.rows(),
    "light": lambda _: mosaic_light_rows.rows(),
    "blend": lambda _: mosaic_blend_rows.rows(),
    "store": mosaic_store_rows.rows,
    "writer": mosaic_writer_rows.rows,
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
