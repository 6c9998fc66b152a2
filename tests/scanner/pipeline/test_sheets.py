"""Does the ledger say which blocks were scanned, also where those are as white as what never was?"""

from pathlib import Path

import numpy as np
import pytest

from scanner.model.events import Kind
from scanner.model.profile import CameraNoise
from scanner.model.rounding import Rounding, Stored
from scanner.pipeline.mosaic import BlockId, Strokes
from scanner.pipeline.pyramid import Block
from scanner.pipeline.sheets import Sheet
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore

SLIDE = "1-sheet"
WHITE, BARE = (0, 0), (0, 1)
ROUNDING = Rounding.within(CameraNoise(electrons_per_dn=39, read_dn=0.4), "test", np.dtype(np.uint8))


def store(folder: Path, stored: Stored) -> PyramidStore:
    size = {"width_px": 4096, "height_px": 2048}
    spec = ImageSpec(name="s", dtype="uint8", channels=3, um_per_px=0.5, storage=stored, **size)
    return PyramidStore.create(folder / "image.ome.zarr", spec)


@pytest.mark.parametrize("stored", [Stored(), Stored(rounding=ROUNDING)], ids=["lossless", "noise-limited"])
def test_glass_scanned_as_white_is_stored_and_booked_and_glass_never_scanned_is_neither(
    tmp_path: Path, stored: Stored
) -> None:
    def paint(block: BlockId, _: Strokes) -> Block | None:
        return np.full((3, 2048, 2048), 255, np.uint8) if block == WHITE else None

    image = store(tmp_path, stored)
    sheet = Sheet(image, paint)
    with Ledger.open(tmp_path / "run.sqlite", create=True) as ledger:
        sheet.draw([(WHITE, []), (BARE, [])])
        sheet.book(ledger, SLIDE)
        booked = {event.key for event in ledger.events(Kind.BLOCK, SLIDE)}
    assert booked == {"0.0.0", "1.0.0", "2.0.0", "3.0.0"}
    assert image.has(0, *WHITE)
    assert not image.has(0, *BARE)
    assert (image.read(0, 0, 0, 2048, 4096) == 255).all()


def test_what_is_stored_is_rounded_and_what_stands_above_is_the_mean_of_that(tmp_path: Path) -> None:
    shown = np.random.default_rng(1).integers(0, 256, (3, 2048, 2048), dtype=np.uint8)
    image = store(tmp_path, Stored(rounding=ROUNDING))
    sheet = Sheet(image, lambda block, _: shown.copy() if block == WHITE else None)
    sheet.draw([(WHITE, []), (BARE, [])])
    rounded = ROUNDING.table(np.dtype(np.uint8))[shown]
    assert np.array_equal(image.block(0, 0, 0), rounded)
    wide = rounded.astype(np.uint16)
    mean = (wide[:, ::2, ::2] + wide[:, 1::2, ::2] + wide[:, ::2, 1::2] + wide[:, 1::2, 1::2] + 2) >> 2
    assert np.array_equal(image.block(1, 0, 0)[:, :1024, :1024], mean)
