"""How do findings reach napari, ngio and Fractal? Inside the slide's image: as labels over it, and as their table."""

import numpy as np
import pyarrow as pa

from scanner.export.geojson import colour_of
from scanner.storage import labels, roi_table
from scanner.storage.atomic import replacing_folder
from scanner.storage.ome_zarr import PyramidStore


def write_ome_findings(image: PyramidStore, findings: pa.Table) -> None:
    """``labels/findings`` and ``tables/findings`` of an image, each by one rename, from ``findings.parquet``'s rows.

    Raises:
        RackscanError: the disk is full or read-only.
    """
    names, scores = findings.column("class").to_pylist(), findings.column("score").to_pylist()
    said = [{"class": name, "score": score} for name, score in zip(names, scores, strict=True)]
    with replacing_folder(image.path / labels.FOLDER) as folder:
        colours = [colour_of(name) for name in names]
        labels.write_labels(folder, image.spec, boxes_of(findings), said, colours)
    with replacing_folder(image.path / roi_table.FOLDER) as folder:
        roi_table.write_roi_table(folder, roi_table.roi_table(findings, image.spec.um_per_px or 1.0))


def boxes_of(findings: pa.Table) -> labels.Boxes:
    """(n, 4) float64 x, y, w, h in mosaic px."""
    sides = [np.asarray(findings.column(name), np.float64) for name in ("x_px", "y_px", "w_px", "h_px")]
    return np.stack(sides, axis=1)
