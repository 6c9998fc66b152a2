"""Which slides stand in the simulated loader?"""

import threading
from pathlib import Path

from scanner.devices.simulated.flaws import BLOODY, BloodySlide
from scanner.devices.simulated.histology import HistologySection
from scanner.devices.simulated.label import accession
from scanner.devices.simulated.motion import draw
from scanner.devices.simulated.picture import PictureSlide
from scanner.devices.simulated.planes import check_specimen, open_planes
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import SMALL_DEPOSIT, WHOLE_DEPOSIT, CameraGrid, Specimen
from scanner.devices.simulated.truth import ABNORMAL, CellClass
from scanner.errors import BadInput

_NORMAL = "normal"
LIQUID_BASED, SMALL_LIQUID_BASED, HISTOLOGY = "liquid-based", "small-liquid-based", "histology"
PREPARATIONS = (LIQUID_BASED, SMALL_LIQUID_BASED, HISTOLOGY)


class SimulatedRack:
    """Procedural slides from (seed, slot), or pictures in the order given.

    Settings may change until a slide is loaded; a change forgets the slides drawn so far.
    """

    def __init__(self, seed: int = 1, slides: int = 4) -> None:
        self.seed = seed
        self.slides = slides
        self.specimens: tuple[Path, ...] = ()
        self.specimen_um_per_px: float | None = None
        self.specimen_z_step_um = 1.0
        self.diagnoses: tuple[str, ...] = ()
        self.preparations: tuple[str, ...] = ()
        self.flaws: tuple[str, ...] = ()
        self._drawn: dict[int, Specimen] = {}
        self._guard = threading.RLock()

    def filled(self, slot: int) -> bool:
        """Does a slide stand in ``slot`` (from 1)?"""
        return 1 <= slot <= (len(self.specimens) or self.slides)

    def label(self, slot: int) -> str:
        """What the barcode of the slide in ``slot`` says."""
        return accession(self.seed, slot)

    def forget(self) -> None:
        """A setting changed: draw the slides anew."""
        with self._guard:
            for specimen in self._drawn.values():
                specimen.close()
            self._drawn.clear()

    def use_pictures(self, paths: tuple[Path, ...]) -> None:
        """Lay pictures on the slides, one each, instead of procedural cells.

        Raises:
            BadInput: where one of them cannot be read; the rack stays as it was.
        """
        for path in paths:
            for plane in open_planes(path):
                plane.close()
        self.specimens = paths
        self.forget()

    def diagnose(self, diagnoses: tuple[str, ...]) -> None:
        """Say slot by slot what procedural slides hold; an empty text leaves it to the seed.

        Raises:
            BadInput: where one cannot be read.
        """
        for text in filter(None, diagnoses):
            parse_diagnosis(text)
        self.diagnoses = diagnoses
        self.forget()

    def prepare(self, preparations: tuple[str, ...]) -> None:
        """Say what procedural slides are: one word for all, or slot by slot; liquid-based where nothing is said.

        Raises:
            BadInput: where one is unknown.
        """
        for text in filter(None, preparations):
            if text not in PREPARATIONS:
                mend = f"write one of {', '.join(PREPARATIONS)}"
                raise BadInput.one(f"unknown preparation {text!r}", mend, field="World.Preparations")
        self.preparations = preparations
        self.forget()

    def spoil(self, flaws: tuple[str, ...]) -> None:
        """Say slot by slot what is wrong with liquid-based slides; an empty text means nothing.

        Raises:
            BadInput: where one is unknown.
        """
        for text in filter(None, flaws):
            if text != BLOODY:
                raise BadInput.one(f"unknown flaw {text!r}", f"write {BLOODY}", field="World.Flaws")
        self.flaws = flaws
        self.forget()

    def preparation(self, slot: int) -> str:
        """How the procedural slide of ``slot`` is prepared."""
        said = self.preparations * slot if len(self.preparations) == 1 else self.preparations
        return (said[slot - 1] if slot <= len(said) else "") or LIQUID_BASED

    def check(self, slot: int) -> None:
        """Raise BadInput where the picture for ``slot`` cannot be laid down."""
        if self.specimens and self.filled(slot):
            check_specimen(self.specimens[slot - 1], self.specimen_um_per_px)

    def specimen(self, slot: int, grid: CameraGrid) -> Specimen:
        """The sample on the slide of ``slot``; one slide at a time is kept in memory."""
        with self._guard:
            if slot not in self._drawn:
                self.forget()
                self._drawn[slot] = self._make(slot, grid)
            return self._drawn[slot]

    def _make(self, slot: int, grid: CameraGrid) -> Specimen:
        if self.specimens:
            return PictureSlide(
                self.specimens[slot - 1], self.specimen_um_per_px, self.specimen_z_step_um, grid
            )
        if self.preparation(slot) == HISTOLOGY:
            return HistologySection((self.seed, slot), grid)
        key, flaw = (self.seed, slot), self.flaws[slot - 1] if slot <= len(self.flaws) else ""
        deposit = SMALL_DEPOSIT if self.preparation(slot) == SMALL_LIQUID_BASED else WHOLE_DEPOSIT
        slide = ProceduralSlide(key, self.abnormal(slot), grid, deposit)
        return BloodySlide(slide, key, grid) if flaw == BLOODY else slide

    def abnormal(self, slot: int) -> dict[CellClass, int]:
        """How many abnormal cells of each class the procedural slide of ``slot`` holds."""
        if slot <= len(self.diagnoses) and self.diagnoses[slot - 1]:
            return parse_diagnosis(self.diagnoses[slot - 1])
        return _drawn_diagnosis(self.seed, slot)


def parse_diagnosis(text: str) -> dict[CellClass, int]:
    """``normal``, or counts such as ``HSIL:12+ASC-H:3``.

    Raises:
        BadInput: where a class is not an abnormal one or a count not a number.
    """
    if text.strip() == _NORMAL:
        return {}
    known = {kind.value: kind for kind in ABNORMAL}
    counts: dict[CellClass, int] = {}
    for part in text.split("+"):
        name, _, count = part.strip().partition(":")
        if name not in known or not count.isdigit():
            mend = f"write normal, or CLASS:COUNT joined by +, with classes {', '.join(sorted(known))}"
            raise BadInput.one(f"unknown diagnosis {text!r}", mend, field="World.Diagnoses")
        counts[known[name]] = int(count)
    return counts


def _drawn_diagnosis(seed: int, slot: int) -> dict[CellClass, int]:
    """Odd slots are normal; even ones hold a few abnormal cells of a leading class and fewer of its neighbours."""
    if slot % 2:
        return {}
    rng = draw("diagnosis", seed, slot)
    leading = (CellClass.LSIL, CellClass.HSIL, CellClass.SCC, CellClass.AGC)
    kind = leading[(slot // 2 - 1) % 2] if slot <= 4 else leading[int(rng.integers(4))]
    lesser = CellClass.ASC_US if kind is CellClass.LSIL else CellClass.ASC_H
    return {kind: int(rng.integers(5, 41)), lesser: int(rng.integers(1, 16))}
