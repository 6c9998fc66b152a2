"""How well do the tiles of a stitched layout fit? ``X.mosaic.html`` beside the image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from scanner.model.geometry import Point
from scanner.pipeline.joints import Joint, Station, joined
from scanner.pipeline.lattice import Lattice
from scanner.pipeline.placement import Placed
from scanner.pipeline.registration import PairMeasurement
from scanner.review.mosaic_page import write_mosaic_page
from scanner.review.mosaic_view import Subject, looking, mosaic_view
from scanner.storage.layout import LaidOut
from scanner.storage.ome_zarr import PyramidStore

Pairs: TypeAlias = dict[tuple[int, int], PairMeasurement]
"""What was measured from one tile (its index in the layout) to another."""

MOST_SEAMS = 200
_NO_WAY = Point(1.0, 1.0)  # nobody knows from where the other system's stage came


def beside(out: Path, ending: str) -> Path:
    """``X.ending`` beside ``X.ome.zarr``."""
    name = out.name
    for known in (".zarr", ".ome"):
        name = name.removesuffix(known)
    return out.with_name(f"{name}.{ending}")


def write_stitch_page(
    out: Path, listed: Sequence[LaidOut], placed: Sequence[Placed], measured: Pairs, lattice: Lattice
) -> Path:
    """Write the page of an image that was just stitched; where it is.

    Raises:
        RackscanError: the disk refused.
    """
    joints = _joints(listed, placed, measured)
    view = mosaic_view(_subject(out, joints, lattice), MOST_SEAMS) if joints else None
    return write_mosaic_page(beside(out, "mosaic.html"), out.name, [(out.name, view)])


def _subject(out: Path, joints: tuple[Joint, ...], lattice: Lattice) -> Subject:
    store = PyramidStore.open(out)
    return Subject(
        joints=joints,
        lattice=lattice,
        look=looking(store),
        size=store.sizes[0],
        stage_per_px=((1.0, 0.0), (0.0, 1.0)),
        unit="px",
        um_per_px=None,
        where=lambda at: f"x {at.x:.0f}, y {at.y:.0f} px",
        said_by="layout",
    )


def _joints(
    listed: Sequence[LaidOut], placed: Sequence[Placed], measured: Mapping[tuple[int, int], PairMeasurement]
) -> tuple[Joint, ...]:
    stations = {
        (p.row, p.col): (
            p.tile,
            Station(
                listed[p.tile].name, p.row, p.col, Point(p.x_px, p.y_px), listed[p.tile].at, _NO_WAY, p.held
            ),
        )
        for p in placed
    }
    said = {
        ends: (Point(pair.dx_px, pair.dy_px) if pair.accepted else None, pair.reason)
        for ends, pair in measured.items()
    }
    return joined(stations, said)
