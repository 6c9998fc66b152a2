"""What does a person say about a slide's findings? Each word is on disk when the call comes back.

It writes corrections and nothing else: findings and verdict stay what they are. No window is needed for it.
"""

import getpass
import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from scanner.errors import BadInput
from scanner.export.geojson import object_id
from scanner.model.correction import WHO, Asked, Correction, Said, Via, standing
from scanner.review.rows import finding_rows
from scanner.review.slide_page import um_per_px
from scanner.storage.corrections import keep_answers
from scanner.storage.hashes import file_hash
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader

ADDED_UM = 20.0
"""Side of the box of a cell that is pointed at where there are no findings to take it from."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class FoundCell:
    """A finding: its box in mosaic px (x, y, w, h), its centre in slide µm."""

    cell: UUID
    rank: int
    name: str
    score: float
    box_px: Box
    centre_um: tuple[float, float]


class Desk:
    """One person before one slide.

    Attributes:
        found: the findings, rank 1 first.
        said: the last word on every cell that anything was said of, also by others.
    """

    def __init__(self, reader: RunReader, slide_id: str, by: str, via: Via) -> None:
        """``slide_id`` has an image."""
        self._folder = reader.paths(slide_id).corrections
        self._store = PyramidStore.open(reader.paths(slide_id).image)
        self.asked = _asked(reader, slide_id, by, via)
        self.found = found_cells(reader, slide_id)
        self.said = standing(reader.corrections(slide_id))
        self._before: list[tuple[Correction, Correction | None]] = []

    def name(self, cell: FoundCell, name: str) -> Correction:
        """This finding is a cell of that class, its own or another."""
        return self._keep(self._of(cell, Said.CELL, name))

    def reject(self, cell: FoundCell) -> Correction:
        """This finding is no cell."""
        return self._keep(self._of(cell, Said.NO_CELL))

    def add(self, x_um: float, y_um: float, name: str) -> Correction:
        """A cell that was missed lies here (slide µm); its box is as large as the findings mostly are.

        Raises:
            BadInput: the place is outside the image.
        """
        um, (left, top) = um_per_px(self._store), self._store.spec.origin_um
        w, h = self._usual_px(um)
        box = (float((x_um - left) / um - w / 2), float((y_um - top) / um - h / 2), w, h)
        return self._keep(self.missed(uuid4(), box, name))

    def missed(self, cell: UUID, box_px: Box, name: str) -> Correction:
        """What is said of a cell that the detector missed; not kept yet.

        Raises:
            BadInput: its centre is outside the image.
        """
        return Correction(cell=cell, said=Said.CELL, name=name, **self._place(box_px))

    def changed(self, cell: FoundCell, box_px: Box, name: str) -> Correction:
        """What is said of a finding whose box was drawn anew; not kept yet.

        Raises:
            BadInput: its centre is outside the image.
        """
        place = self._place(box_px)
        return self._of(cell, Said.CELL, name).model_copy(update=place)

    def rejected(self, cell: FoundCell) -> Correction:
        """What is said of a finding that is no cell; not kept yet."""
        return self._of(cell, Said.NO_CELL)

    def keep(self, corrections: Sequence[Correction]) -> None:
        """Keep what was said at once, all or nothing.

        Raises:
            RackscanError: the disk refuses.
        """
        if corrections:
            keep_answers(self._folder, self.asked, corrections)
        for each in corrections:
            self._before.append((each, self.said.get(each.cell)))
            self.said[each.cell] = each

    def undo(self) -> Correction | None:
        """Take back the last word that was said here, by a further one: what was said before it holds again."""
        if not self._before:
            return None
        last, before = self._before[-1]
        again = before or last.model_copy(update={"said": Said.WITHDRAWN, "name": ""})
        keep_answers(self._folder, self.asked, [again])
        self._before.pop()
        if before is None:
            del self.said[last.cell]
        else:
            self.said[last.cell] = before
        return again

    def added(self) -> list[Correction]:
        """The cells that the detector missed."""
        return [each for each in self.said.values() if each.rank is None]

    def _keep(self, correction: Correction) -> Correction:
        self.keep([correction])
        return correction

    def _of(self, cell: FoundCell, said: Said, name: str = "") -> Correction:
        x, y, w, h = cell.box_px
        return Correction(
            cell=cell.cell,
            rank=cell.rank,
            said=said,
            name=name,
            found=cell.name,
            score=cell.score,
            x_px=x,
            y_px=y,
            w_px=w,
            h_px=h,
            x_um=cell.centre_um[0],
            y_um=cell.centre_um[1],
        )

    def _place(self, box_px: Box) -> dict[str, float]:
        um, (left, top), (x, y, w, h) = um_per_px(self._store), self._store.spec.origin_um, box_px
        centre = x + w / 2, y + h / 2
        if not (0 <= centre[0] <= self._store.spec.width_px and 0 <= centre[1] <= self._store.spec.height_px):
            at = f"x {centre[0]:.0f}, y {centre[1]:.0f} px"
            raise BadInput.one(f"a cell at {at} lies outside the image", "point at a cell of the slide")
        in_px = {"x_px": x, "y_px": y, "w_px": w, "h_px": h}
        return in_px | {"x_um": left + centre[0] * um, "y_um": top + centre[1] * um}

    def _usual_px(self, um: float) -> tuple[float, float]:
        if not self.found:
            return ADDED_UM / um, ADDED_UM / um
        middle = len(self.found) // 2
        w, h = (sorted(cell.box_px[axis] for cell in self.found)[middle] for axis in (2, 3))
        return w, h


def found_cells(reader: RunReader, slide_id: str) -> tuple[FoundCell, ...]:
    """The findings of a slide with the ids of their objects, rank 1 first."""
    rows = finding_rows(reader.findings(slide_id))
    return tuple(
        FoundCell(
            object_id(slide_id, int(rows.rank[i])),
            int(rows.rank[i]),
            str(rows.name[i]),
            float(rows.score[i]),
            (float(rows.x_px[i]), float(rows.y_px[i]), float(rows.w_px[i]), float(rows.h_px[i])),
            (float(rows.x_um[i]), float(rows.y_um[i])),
        )
        for i in range(len(rows))
    )


def reviewer(given: str | None) -> str:
    """Who answers: the name given, else the one of the account.

    Raises:
        BadInput: it is more than a short name.
    """
    if given is None:
        return re.sub(r"[^A-Za-z0-9._-]", "-", getpass.getuser())[:32] or "reviewer"
    if not re.fullmatch(WHO, given):
        what = f"{given!r} is no short name"
        raise BadInput.one(what, "give up to 32 letters, digits, dots and dashes, such as --by AB")
    return given


def _asked(reader: RunReader, slide_id: str, by: str, via: Via) -> Asked:
    findings = reader.paths(slide_id).findings
    return Asked(
        slide_id=slide_id,
        by=by,
        via=via,
        detector_hash=reader.folder.settings.detector_hash,
        findings=file_hash(findings) if findings.is_file() else None,
    )
