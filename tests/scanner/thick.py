"""Scans of a thick sample on the simulated rig, and what their folders hold."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanner.model.events import Kind
from scanner.model.geometry import Rect
from scanner.model.plan import Plan
from scanner.model.report import RunResult
from scanner.model.tile import Pixels, Tile
from scanner.pipeline.canvas import MosaicFrame, mosaic_frame
from scanner.pipeline.flat_field import Correction
from scanner.run import RunRequest, run_rack
from scanner.storage.facts import PlacedFact, tile_from_body
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.profiles import read_profile
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import SlidePaths

PROFILES = Path(__file__).parents[2] / "hardware_profiles"
SMALL = Rect(43_000.0, 11_000.0, 900.0, 900.0)
SEED = 3


def thick_rig(folder: Path, strategy: str, layers: int, more: str = "") -> Path:
    """A simulated microscope of this test's own that takes ``layers`` a tile, 1 µm apart."""
    shutil.copytree(PROFILES, folder / "rig", ignore=shutil.ignore_patterns("*.state.json*"))
    profile = folder / "rig" / "simulated.yaml"
    text = profile.read_text(encoding="utf-8")
    asked = f"strategy: {strategy}, layers: {layers}, layer_step_um: 1.0{more}"
    assert "strategy: hybrid" in text
    profile.write_text(text.replace("strategy: hybrid", asked), encoding="utf-8")
    return profile


def thick_scan(folder: Path, strategy: str, layers: int, **options: object) -> RunResult:
    """One slide of the rig in ``folder / "rig"``, into ``folder / "run"``."""
    asked = {"slides": 1, "region_um": SMALL, "detector": "none", "seed": SEED} | options
    profile = thick_rig(folder, strategy, layers)
    return run_rack(RunRequest(profile=profile, out=folder / "run", **asked))  # type: ignore[arg-type]  # keywords of the request


@dataclass(frozen=True)
class ThickRun:
    """What the folder of a run says of its one slide."""

    root: Path
    name: str
    paths: SlidePaths
    tiles: tuple[Tile, ...]
    plan: Plan
    frame: MosaicFrame
    places: dict[int, tuple[float, float]]
    correction: Correction

    @classmethod
    def of(cls, root: Path, profile: Path) -> "ThickRun":
        with RunReader.open(root) as reader:
            (name,) = reader.slides()
            tiles = tuple(tile_from_body(event.body) for event in reader.ledger.events(Kind.TILE, name))
            plan = reader.plans(name)[0]
            rig = read_profile(profile)
            frame = mosaic_frame(rig, plan)
            facts = [PlacedFact.from_body(event.body) for event in reader.ledger.events(Kind.PLACED, name)]
            places = {fact.tile: (fact.x_px, fact.y_px) for fact in facts}
            return cls(root, name, reader.paths(name), tiles, plan, frame, places, Correction.of(rig))

    def layer(self, tile: Tile, layer: int) -> Pixels:
        """A kept frame."""
        with RunReader.open(self.root) as reader:
            place = (self.name, tile.planned.tile, tile.plan, tile.attempt)
            return reader.spool.get(*place, tile.layers[layer].content, layer)

    def upright(self, tile: Tile, layer: int) -> Pixels:
        """A kept frame, evenly lit."""
        return self.correction(self.layer(tile, layer))

    def owners(self) -> NDArray[np.int32]:
        """Which field owns each pixel of the image."""
        lattice, box = self.frame.lattice, self.frame.canvas.box
        owners = np.zeros((box.y1, box.x1), np.int32)
        for number, cell in enumerate(lattice.cells_over(box)):
            for part in lattice.owned(cell, box):
                owners[part.y0 : part.y1, part.x0 : part.x1] = number
        return owners


def whole(path: Path, layer: int = 0) -> NDArray[np.generic]:
    """The finest level of an image: (channels, h, w)."""
    store = PyramidStore.open(path)
    w, h = store.sizes[0]
    return store.read(0, 0, 0, h, w, layer)


def everything(path: Path) -> list[NDArray[np.generic]]:
    """All levels and layers of an image."""
    store = PyramidStore.open(path)
    layers = range(store.spec.layers or 1)
    return [store.read(n, 0, 0, h, w, z) for z in layers for n, (w, h) in enumerate(store.sizes)]
