"""How true, quick and safe is the mosaic? Run by ``scripts/bench mosaic [--json] [--quick] [--only NAME]...``.

Each part is a file of its own: place, peers, export, light, blend, store, writer.
"""

import sys
from collections.abc import Callable

from scripts import (
    mosaic_blend_rows,
    mosaic_export_rows,
    mosaic_light_rows,
    mosaic_peer_rows,
    mosaic_place_rows,
    mosaic_store_rows,
    mosaic_writer_rows,
)
from scripts.rows import Row, bench

PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "place": mosaic_place_rows.rows,
    "peers": mosaic_peer_rows.rows,
    "export": lambda _: mosaic_export_rows.rows(),
    "light": lambda _: mosaic_light_rows.rows(),
    "blend": lambda _: mosaic_blend_rows.rows(),
    "store": mosaic_store_rows.rows,
    "writer": mosaic_writer_rows.rows,
}


if __name__ == "__main__":
    sys.exit(bench(PARTS, sys.argv[1:]))
