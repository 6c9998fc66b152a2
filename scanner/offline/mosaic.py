"""How well do the mosaics of a finished run fit, in figures, in words and on a page?"""

from collections.abc import Sequence
from pathlib import Path

from scanner.errors import BadInput, DamagedRun
from scanner.model.base import Value
from scanner.pipeline.stage_errors import AxisErrors, Known
from scanner.review.mosaic_page import Named
from scanner.review.mosaic_view import MosaicView, mosaic_view, slide_subject
from scanner.storage.reader import RunReader
from scanner.storage.tables import tiles_table


class Figure(Value):
    """A number and its standard deviation."""

    value: float
    sigma: float


class StageFigures(Value):
    """One axis of the stage: backlash and thread error (peak to peak) in µm; null where the scan does not tell."""

    backlash_um: Figure | None
    thread_um: Figure | None
    scale: Figure
    turn_rad: Figure


class SeamFigures(Value):
    """The seams of the image: how many show enough to be scored, and how they look (1 is seamless)."""

    looked_at: int
    scored: int
    score: float | None
    misfit: float | None
    brightness_step: float
    worst_brightness_step: float


class MosaicFigures(Value):
    """How one mosaic fits: ``pairs`` of neighbours, ``doubts`` in words, ``seams`` where the image was looked at."""

    slide_id: str
    pairs: int
    measured: int
    doubtful: int
    median_px: float | None
    worst_px: float | None
    doubts: tuple[str, ...]
    x: StageFigures | None
    y: StageFigures | None
    seams: SeamFigures | None

    def lines(self) -> list[str]:
        """What a person wants to know of it on a terminal."""
        worst = "" if self.worst_px is None else f", worst misfit {self.worst_px:.2f} px"
        score = (
            "" if self.seams is None or self.seams.misfit is None else f", seam score {self.seams.misfit:.2f}"
        )
        head = f"{self.slide_id}  mosaic: {self.measured} of {self.pairs} pairs measured{worst}{score}"
        return [head, *(f"{self.slide_id}  doubt: {doubt}" for doubt in self.doubts)]


def check_page(page: Path | None, root: Path) -> None:
    """Before anything is read: can the page be written there, outside the run?

    Raises:
        BadInput: it is a folder, lies in none, or would lie inside the run folder, which stays as it was written.
    """
    if page is None:
        return
    if page.is_dir() or not page.absolute().parent.is_dir():
        raise BadInput.one(
            "the page cannot be written there", "give a file in a folder that exists", file=str(page)
        )
    if page.resolve().is_relative_to(root.resolve()):
        raise BadInput.one(
            "lies in the run folder, which is never changed", "give another place", file=str(page)
        )


def views_of(reader: RunReader, slides: Sequence[str], seams: bool) -> list[Named]:
    """The mosaic of every slide, with its ``seams`` where they are wanted: those are read from the image.

    A slide whose mosaic cannot be read has none; what is wrong with it is for the checks to say.
    """
    return [(slide_id, _view(reader, slide_id, None if seams else 0)) for slide_id in slides]


def _view(reader: RunReader, slide_id: str, seams: int | None) -> MosaicView | None:
    try:
        subject = slide_subject(reader, slide_id, tiles_table(reader.ledger, slide_id))
        return mosaic_view(subject, seams) if subject else None
    except DamagedRun:
        return None


def figures(slide_id: str, view: MosaicView) -> MosaicFigures:
    """A view's numbers."""
    seen, stage = view.seams, view.stage
    return MosaicFigures(
        slide_id=slide_id,
        pairs=view.borders,
        measured=view.measured,
        doubtful=view.doubtful,
        median_px=view.median_px,
        worst_px=view.worst[0].size_px if view.worst else None,
        doubts=view.doubts,
        x=_stage(stage.x) if stage else None,
        y=_stage(stage.y) if stage else None,
        seams=SeamFigures(
            looked_at=seen.seams,
            scored=seen.scored,
            score=seen.score,
            misfit=seen.misfit,
            brightness_step=seen.step,
            worst_brightness_step=seen.worst_step,
        )
        if seen.seams
        else None,
    )


def _stage(axis: AxisErrors) -> StageFigures:
    return StageFigures(
        backlash_um=_figure(axis.backlash) if axis.backlash else None,
        thread_um=_figure(axis.thread) if axis.thread else None,
        scale=_figure(axis.scale),
        turn_rad=_figure(axis.turn),
    )


def _figure(known: Known) -> Figure:
    return Figure(value=known.value, sigma=known.sigma)
