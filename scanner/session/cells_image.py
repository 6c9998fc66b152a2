"""How are the planes of suspicious cells kept? ``cells.ome.zarr``: the slide's canvas with a z axis, white elsewhere.

A box of the findings is the same box here, so that a viewer shows both images over each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from scanner.model.events import Json, Kind
from scanner.model.plan import Plan
from scanner.model.profile import Profile
from scanner.model.rounding import Stored
from scanner.model.tile import Pixels, Tile
from scanner.pipeline.canvas import MosaicFrame
from scanner.pipeline.mosaic import BlockId, Strokes
from scanner.pipeline.pyramid import Block
from scanner.pipeline.sheets import Sheet
from scanner.session.layering import image_spec, opened
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import SHARD_PX
from scanner.storage.run_folder import SlidePaths

CELLS = "cells"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the plan of cells, and its top-left in mosaic px: drawn to the nearest pixel."""

    tile: Tile
    x_px: float
    y_px: float


@dataclass(frozen=True, slots=True)
class CellsImage:
    """What the image is made of; ``pixels`` gives a plane of a tile, upright and flat.

    ``white`` is what each channel is multiplied with, as in the slide's image; None: nothing.
    """

    slide_id: str
    paths: SlidePaths
    frame: MosaicFrame
    profile: Profile
    plan: Plan
    pixels: Callable[[Tile, int], Pixels]
    white: tuple[float, ...] | None = None

    def drawn(self, tile: Tile, layer: int) -> Pixels:
        """A plane in the light of the slide's image."""
        pixels = self.pixels(tile, layer)
        if self.white is None:
            return pixels
        gains = np.array([*self.white, *(0.0,) * (4 - len(self.white))])
        depth = cv2.CV_16U if pixels.dtype == np.uint16 else cv2.CV_8U
        return cast(Pixels, cv2.multiply(pixels, gains, dtype=depth))


def paint_cells(made: CellsImage, fields: Sequence[Field], ledger: Ledger) -> None:
    """Every plane of every field, halved down to the smallest level, each block a fact; the first field lies on top."""
    asked = made.profile.capture_cells
    layers = {"layers": len(made.plan.layers_um), "layer_um": asked.layer_step_um}
    spec = image_spec(made.frame, made.slide_id, Stored(codec=made.profile.storage.codec))
    offsets: list[Json] = list(made.plan.layers_um)
    facts: dict[str, Json] = {"cells": {"layer_offsets_um": offsets, "fields": len(fields)}}
    store = opened(made.paths.cells, spec.model_copy(update=layers), facts)
    booked = [event.key for event in ledger.events(Kind.BLOCK, made.slide_id)]
    w, h = store.sizes[0]
    blocks = [(row, col) for row in range(-(-h // SHARD_PX)) for col in range(-(-w // SHARD_PX))]
    for layer in range(len(made.plan.layers_um)):
        planes = [(field, made.drawn(field.tile, layer)) for field in reversed(fields)]

        def paint(block: BlockId, _: Strokes, planes: list[tuple[Field, Pixels]] = planes) -> Block | None:
            return _painted(block, planes, store.spec.fill)

        sheet = Sheet(store, paint, image=CELLS, layer=layer)
        sheet.draw((block, []) for block in blocks)
        sheet.book(ledger, made.slide_id)
        sheet.book_found(ledger, made.slide_id, booked)


def _painted(block: BlockId, planes: Sequence[tuple[Field, Pixels]], fill: float) -> Block | None:
    """(channels, side, side) of a block, None where no field reaches it."""
    top, left = block[0] * SHARD_PX, block[1] * SHARD_PX
    sheet: Pixels | None = None
    for field, pixels in planes:
        y, x = round(field.y_px) - top, round(field.x_px) - left
        h, w = pixels.shape[:2]
        rows, cols = slice(max(0, y), min(SHARD_PX, y + h)), slice(max(0, x), min(SHARD_PX, x + w))
        if rows.start >= rows.stop or cols.start >= cols.stop:
            continue
        if sheet is None:
            sheet = np.full((SHARD_PX, SHARD_PX, *pixels.shape[2:]), fill, pixels.dtype)
        sheet[rows, cols] = pixels[rows.start - y : rows.stop - y, cols.start - x : cols.stop - x]
    if sheet is None:
        return None
    return sheet[None] if sheet.ndim == 2 else sheet.transpose(2, 0, 1)
