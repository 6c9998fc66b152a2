"""Small simulated images: suspicious, harmless and empty ones, and runs that hold such an image."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from scanner.devices.simulated.scene import Look, render_scene
from scanner.devices.simulated.truth import CellClass
from scanner.model.events import Kind
from scanner.model.report import Outcome, SlideReport, Verdict
from scanner.offline.detect import opened
from scanner.offline.look_back import look_back
from scanner.storage.atomic import write_atomic
from scanner.storage.facts import BlockFact, block_key
from scanner.storage.hashes import file_hash
from scanner.storage.ledger import Ledger
from scanner.storage.ngff import ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.run_folder import FrozenFile, RunFolder, RunSettings

Pictures = dict[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]
MakeRun = Callable[..., Path]
COUNTS = {
    "suspicious": {CellClass.HSIL: 8, CellClass.INTERMEDIATE: 6},
    "harmless": {CellClass.SUPERFICIAL: 8},
    "empty": {},
}
SIMULATED = Path(__file__).parents[4] / "hardware_profiles" / "simulated.yaml"


_opened_once = functools.cache(opened)


@pytest.fixture(autouse=True)
def _one_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped detector passes its self-test once, not once a test."""
    monkeypatch.setattr(look_back, "opened", _opened_once)


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    """(400, 600, 3) RGB at 0.5 µm/px, by what they show."""
    look = Look(clumping=0.0)
    return {
        name: render_scene((400, 600), 4, look, counts=counts).rgb.astype(np.uint8)
        for name, counts in COUNTS.items()
    }


@pytest.fixture
def save(pictures: Pictures) -> Callable[[str, Path], Path]:
    """Write one of the pictures as a PNG."""

    def write(name: str, file: Path) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), np.ascontiguousarray(pictures[name][:, :, ::-1]))
        return file

    return write


@pytest.fixture
def make_run(pictures: Pictures) -> MakeRun:
    """A run folder of one slide with its image, verdict and ledger."""

    def make(root: Path, shows: str, verdict: Verdict, complete: bool = True, **report: object) -> Path:
        settings = RunSettings(run="r1", begun=datetime.now(UTC), profile=FrozenFile.of(SIMULATED))
        folder = RunFolder.create(root, settings)
        paths = folder.slide("1-r1")
        with Ledger.open(folder.ledger, create=True) as ledger:
            ledger.append(Kind.RUN_STARTED, "", "", {})
            ledger.append(Kind.SLIDE_LOADED, "1-r1", "1", {"slot": 1})
            pixels = pictures[shows]
            spec = ImageSpec(
                name="1-r1",
                width_px=pixels.shape[1],
                height_px=pixels.shape[0],
                dtype="uint8",
                channels=3,
                um_per_px=0.5,
            )
            store = PyramidStore.create(paths.image, spec)
            block = np.full((3, 2048, 2048), 255, np.uint8)
            block[:, : pixels.shape[0], : pixels.shape[1]] = np.moveaxis(pixels, -1, 0)
            store.write(0, 0, 0, block)
            fact = BlockFact(level=0, row=0, col=0, sha256=file_hash(store.file(0, 0, 0)))
            ledger.append(Kind.BLOCK, "1-r1", block_key(0, 0, 0), fact.body())
            if complete:
                store.complete({})
            for name in ("label.png", "thumbnail.png"):
                cv2.imwrite(str(paths.folder / name), pixels)
            told = SlideReport.model_validate(
                {
                    "slot": 1,
                    "slide_id": "1-r1",
                    "outcome": Outcome.DONE,
                    "verdict": verdict,
                    "image": folder.relative(paths.image),
                    "um_per_px": 0.5,
                    **report,
                }
            )
            write_atomic(paths.report, told.model_dump_json())
            ledger.append(Kind.SLIDE_FINISHED, "1-r1", "", {"outcome": told.outcome, "verdict": told.verdict})
        return root

    return make


@pytest.fixture
def archive(tmp_path: Path, save: Callable[[str, Path], Path]) -> Path:
    root = tmp_path / "archive"
    save("suspicious", root / "Doe-1.png")
    save("harmless", root / "Doe-2.png")
    return root


@pytest.fixture
def signed_out(tmp_path: Path) -> Path:
    file = tmp_path / "signed-out.csv"
    file.write_text("case,diagnosis\nDoe-1,NILM\nDoe-2,HSIL\n")
    return file
