"""How does the quality of a run's mosaics, or of one stitched image, become a page for an engineer?

The page is self-contained, runs no script, and is written where it is asked for, never into the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scanner.review.mosaic_view import MosaicView
from scanner.review.report import templates
from scanner.storage.atomic import write_atomic

Named = tuple[str, MosaicView | None]


@dataclass(frozen=True, slots=True)
class MosaicPage:
    """All that the page shows: mosaics by name."""

    name: str
    written: datetime
    mosaics: tuple[Named, ...]


def write_mosaic_page(out: Path, name: str, mosaics: Sequence[Named]) -> Path:
    """Write the page; where it is.

    Raises:
        RackscanError: the disk is full or read-only.
    """
    page = MosaicPage(name, datetime.now(UTC), tuple(mosaics))
    write_atomic(out, templates().get_template("mosaic.html.j2").render(page=page))
    return out
