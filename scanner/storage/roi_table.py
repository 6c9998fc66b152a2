"""How do findings lie in an image as a table that ngio and Fractal open? As regions of interest of their labels.

No standard of OME-Zarr has tables yet; this is Fractal's, version 1: a group ``tables`` in the image, in it a group a
table, whose attributes say what the Parquet file beside them holds
(https://fractal-analytics-platform.github.io/ngio/stable/table_specs/overview).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scanner.storage import labels
from scanner.storage.tables import read_table

FOLDER, NAME, FILE = "tables", "findings", "table.parquet"
ROI_COLUMNS = pa.schema(
    [
        ("label", pa.int64()),
        ("x_micrometer", pa.float64()),
        ("y_micrometer", pa.float64()),
        ("z_micrometer", pa.float64()),
        ("len_x_micrometer", pa.float64()),
        ("len_y_micrometer", pa.float64()),
        ("len_z_micrometer", pa.float64()),
        ("class_name", pa.string()),
        ("score", pa.float64()),
        ("tile", pa.int64()),
        ("x_um", pa.float64()),
        ("y_um", pa.float64()),
    ]
)
"""One row a finding: ``label`` is its rank and its value in the labels; the box in µm from the image's outer corner;
the centre in slide µm. ``class`` would be a word of Python, which ngio cannot ask a row for."""

ATTRIBUTES = {
    "type": "masking_roi_table",
    "table_version": "1",
    "backend": "parquet",
    "index_key": "label",
    "index_type": "int",
    "instance_key": "label",
    "region": {"path": f"../{labels.FOLDER}/{labels.NAME}"},
}


def roi_table(findings: pa.Table, um_per_px: float) -> pa.Table:
    """The rows of ``findings.parquet`` as regions of interest."""
    found = {name: findings.column(name).combine_chunks() for name in findings.schema.names}
    flat = {"z_micrometer": 0.0, "len_z_micrometer": 1.0}
    sides = {
        "x_micrometer": "x_px",
        "y_micrometer": "y_px",
        "len_x_micrometer": "w_px",
        "len_y_micrometer": "h_px",
    }
    columns = {
        "label": found["rank"].cast(pa.int64()),
        **{name: pc.multiply(found[px], um_per_px) for name, px in sides.items()},
        **{name: pa.array([value] * len(findings), pa.float64()) for name, value in flat.items()},
        "class_name": found["class"],
        "score": found["score"],
        "tile": found["tile"].cast(pa.int64()),
        "x_um": found["x_um"],
        "y_um": found["y_um"],
    }
    return pa.Table.from_arrays([columns[name] for name in ROI_COLUMNS.names], schema=ROI_COLUMNS)


def write_roi_table(folder: Path, table: pa.Table) -> None:
    """``tables`` in an empty ``folder``, with one table, ``findings``.

    Raises:
        OSError: the disk refuses.
    """
    own = folder / NAME
    own.mkdir()
    pq.write_table(table, own / FILE)
    _put(own, ATTRIBUTES)
    _put(folder, {"tables": [NAME]})


def read_roi_table(image: Path) -> pa.Table | None:
    """The findings of an image, None where it has none.

    Raises:
        DamagedRun: the table is not what ``write_roi_table`` wrote.
    """
    folder = image / FOLDER / NAME
    return read_table(folder / FILE, ROI_COLUMNS) if folder.is_dir() else None


def _put(folder: Path, attributes: Mapping[str, Any]) -> None:
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (folder / "zarr.json").write_text(json.dumps(metadata, indent=1), encoding="utf-8")
