"""Scans on the simulated rig that take suspicious cells again, and what their folders hold of it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from detection.record import SUFFIX, EvaluationRecord, TakenAgain, read_records
from scanner.model.events import Kind
from scanner.model.geometry import Rect
from scanner.model.plan import Plan
from scanner.model.report import CellsAgain, RunResult, SlideReport
from scanner.model.tile import Tile
from scanner.run import RunRequest, run_rack
from scanner.storage.cell_facts import CellReadFact, CellsChosenFact
from scanner.storage.facts import tile_from_body
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import SlidePaths

PROFILES = Path(__file__).parents[2] / "hardware_profiles"
SMALL = Rect(43_000.0, 11_000.0, 900.0, 900.0)
SEED, LAYERS, STEP_UM, CELLS = 3, 5, 1.5, 4
POINT = 0.9999


def again_rig(folder: Path, cells: int = CELLS, more: str = "") -> Path:
    """A simulated microscope of this test's own whose profile asks for cells to be taken again."""
    shutil.copytree(PROFILES, folder / "rig", ignore=shutil.ignore_patterns("*.state.json*"))
    profile = folder / "rig" / "simulated.yaml"
    asked = f"capture_cells: {{cells: {cells}, layers: {LAYERS}, layer_step_um: {STEP_UM}}}\n"
    profile.write_text(asked + profile.read_text(encoding="utf-8") + more, encoding="utf-8")
    if cells:
        write_record(profile, TakenAgain(cells=cells, layers=LAYERS, layer_step_um=STEP_UM))
    return profile


def write_record(profile: Path, again: TakenAgain) -> EvaluationRecord:
    """Beside the records of a rig one that was measured with its cells taken again."""
    (once,) = (record for record in read_records(profile.parent) if record.again is None)
    record = once.model_copy(update={"again": again, "operating_point": POINT})
    profile.with_name(f"own{SUFFIX}").write_text(record.model_dump_json())
    return record


def again_scan(folder: Path, **options: object) -> RunResult:
    asked = {"slides": 1, "region_um": SMALL, "seed": SEED} | options
    return run_rack(RunRequest(profile=again_rig(folder), out=folder / "run", **asked))  # type: ignore[arg-type]  # keywords of the request


@dataclass(frozen=True)
class AgainRun:
    """What the folder of a run says of its one slide."""

    name: str
    paths: SlidePaths
    plans: tuple[Plan, ...]
    tiles: tuple[Tile, ...]
    chosen: CellsChosenFact | None
    reads: tuple[CellReadFact, ...]
    report: SlideReport | None

    @classmethod
    def of(cls, root: Path) -> "AgainRun":
        with RunReader.open(root) as reader:
            (name,) = reader.slides()
            tiles = tuple(tile_from_body(event.body) for event in reader.ledger.events(Kind.TILE, name))
            chosen = reader.ledger.latest(Kind.CELLS_CHOSEN, name)
            reads = [CellReadFact.from_body(e.body) for e in reader.ledger.events(Kind.CELL_READ, name)]
            return cls(
                name,
                reader.paths(name),
                reader.plans(name),
                tiles,
                CellsChosenFact.from_body(chosen.body) if chosen else None,
                tuple(sorted(reads, key=lambda read: read.cell)),
                reader.report(name),
            )

    @property
    def plan(self) -> Plan:
        """The plan of cells."""
        (plan,) = (plan for plan in self.plans if not plan.of_image)
        return plan

    @property
    def fields(self) -> tuple[Tile, ...]:
        """What it captured."""
        return tuple(tile for tile in self.tiles if tile.plan == self.plan.number)

    @property
    def told(self) -> CellsAgain:
        """What the report says."""
        assert self.report is not None
        assert self.report.cells_again is not None
        return self.report.cells_again
