"""Which planes of a captured field are searched again, and what does the answer say of the cells it was taken for?"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from detection.detections import Detections
from detection.package import DetectorPackage
from scanner.model.geometry import Affine, Point
from scanner.model.profile import Profile
from scanner.model.tile import Pixels, Tile
from scanner.pipeline.canvas import MosaicFrame
from scanner.pipeline.cell_planes import Box, FieldPlace, find_field, read_with, said_of, sharpest
from scanner.pipeline.placement import Placed
from scanner.pipeline.searching import CellSearch, FrameJob, Job, PixelJob, as_rgb8
from scanner.session.flat_choice import FlatChoice
from scanner.storage.cell_facts import CellReadFact, CellsChosenFact
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.run_folder import RunFolder
from scanner.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class LookWork:
    """What it works with; ``flat`` is asked for once the first tile is in."""

    slide_id: str
    folder: RunFolder
    profile: Profile
    spool: Spool
    search: CellSearch
    package: DetectorPackage
    frame: MosaicFrame
    slide_to_stage: Affine
    flat: FlatChoice

    def pixels(self, tile: Tile, layer: int) -> Pixels:
        """A plane of a field, upright and flat.

        Raises:
            DamagedRun: the spool lost it.
        """
        name = (self.slide_id, tile.planned.tile, tile.plan, tile.attempt)
        return self.flat()(self.spool.get(*name, tile.layers[layer].content, layer))


@dataclass(frozen=True, slots=True)
class SharpAt:
    """A cell of a field: its number among the chosen, its box in px of the field, the layer it is sharpest in."""

    number: int
    box: Box
    layer: int


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane of a field to search for those of its ``cells`` that are sharpest in it or beside it.

    ``pixels`` None: every cell of the field was read before.
    """

    tile: Tile
    place: FieldPlace | None = None
    layer: int = 0
    cells: tuple[SharpAt, ...] = ()
    pixels: Pixels | None = None


class FieldReader:
    """Of one slide, whose image is complete; ``known`` cells were read before."""

    def __init__(
        self,
        work: LookWork,
        chosen: CellsChosenFact,
        seen: Mapping[tuple[int, int], Tile],
        placed: Mapping[int, Placed],
        known: Collection[int],
    ) -> None:
        self._work, self._chosen, self._seen, self._placed = work, chosen, seen, placed
        self._known = known
        self._said: dict[int, dict[int, tuple[float, str]]] = {}

    @cached_property
    def _image(self) -> PyramidStore:
        return PyramidStore.open(self._work.folder.slide(self._work.slide_id).image)

    def planes(self, tile: Tile) -> Iterator[Plane]:
        """The planes to search of a field, or one without pixels where nothing is left to search.

        Raises:
            DamagedRun: its frames are gone.
        """
        mine = [n for n, cell in enumerate(self._chosen.cells) if cell.field == tile.planned.tile]
        todo = [n for n in mine if n not in self._known]
        if not todo:
            yield Plane(tile)
            return
        stack = [self._work.pixels(tile, layer) for layer in range(len(tile.layers))]
        place = find_field(stack[tile.layer or 0], self._expected(tile, mine), self._seen_at)
        shown: dict[int, list[SharpAt]] = {}
        for number in todo:
            box = self._box(number, place)
            cell = SharpAt(number, box, sharpest(stack, box))
            for layer in read_with(cell.layer, len(stack)):
                shown.setdefault(layer, []).append(cell)
        for layer, cells in sorted(shown.items()):
            yield Plane(tile, place, layer, tuple(cells), stack[layer])

    def job(self, plane: Plane) -> Job | None:
        """What the detector is asked."""
        if plane.pixels is None:
            return None
        work, tile, layer = self._work, plane.tile, plane.layer
        content, um_per_px = tile.layers[layer].content, work.frame.um_per_px
        name = f"{work.slide_id}.{tile.planned.tile}.{content[:32]}"
        if not work.search.by_reference:
            return PixelJob(name, as_rgb8(plane.pixels), um_per_px)
        path = work.spool.path(work.slide_id, tile.planned.tile, tile.plan, tile.attempt, layer).resolve()
        profile, light = work.profile.model_dump_json(), work.flat.fact.model_dump_json()
        return FrameJob(name, path, content, profile, light, um_per_px, plane.pixels.nbytes)

    def facts(self, plane: Plane, found: Detections | None) -> Iterator[CellReadFact]:
        """What the planes say of every cell of which this is the last one to be searched."""
        if found is None or plane.place is None:
            return
        layers = len(plane.tile.layers)
        for cell in plane.cells:
            said = self._said.setdefault(cell.number, {})
            said[plane.layer] = said_of(cell.box, found, self._work.package.classes)
            if len(said) < len(read_with(cell.layer, layers)):
                continue
            yield CellReadFact(
                cell=cell.number,
                field=plane.tile.planned.tile,
                x_px=plane.place.x_px,
                y_px=plane.place.y_px,
                held=plane.place.held,
                layer=cell.layer,
                edge=cell.layer in (0, layers - 1),
                score=round(float(np.mean([score for score, _ in said.values()])), 4),
                name=max(said.values())[1],
            )

    def _expected(self, tile: Tile, cells: list[int]) -> Point:
        """Top-left of a field: where the stage reports it, moved as the tiles of its cells were in the image."""
        corner = self._work.frame.corner(tile.reported_x_um, tile.reported_y_um)
        moved = np.mean([self._moved(number) for number in cells], axis=0)
        return Point(corner.x + float(moved[0]), corner.y + float(moved[1]))

    def _moved(self, number: int) -> tuple[float, float]:
        cell = self._chosen.cells[number]
        taken, place = self._seen[cell.tile, cell.plan], self._placed[cell.tile]
        said = self._work.frame.corner(taken.reported_x_um, taken.reported_y_um)
        return place.x_px - said.x, place.y_px - said.y

    def _box(self, number: int, place: FieldPlace) -> Box:
        """A cell's box in px of its field."""
        cell = self._chosen.cells[number]
        tile = self._placed[cell.tile]
        x, y = tile.x_px + cell.x_px - place.x_px, tile.y_px + cell.y_px - place.y_px
        return x, y, cell.w_px, cell.h_px

    def _seen_at(self, y: int, x: int, h: int, w: int) -> Pixels:
        return self._image.picture(0, y, x, h, w)
