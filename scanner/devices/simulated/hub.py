"""Which settings does the simulated world take from the .cfg, and which faults?"""

from pymmcore_plus.experimental.unicore import GenericDevice, pymm_property

from scanner.devices.simulated.faults import FaultPlan
from scanner.devices.simulated.wiring import Neighbours
from scanner.devices.simulated.world import World
from scanner.errors import BadInput


class SimulatedWorld(GenericDevice):
    """The physical world: slides, seed, and the file that remembers the mechanics.

    Relative paths start at the folder of the .cfg. ``Specimens`` are pictures separated by ``;``, none for procedural
    slides; ``Diagnoses`` says slot by slot what those hold, such as ``normal;HSIL:12+ASC-H:3``, and ``Preparations``
    what they are: ``histology`` for every slot, ``liquid-based;histology`` slot by slot, liquid-based where empty;
    ``small-liquid-based`` is a deposit of 5 × 5 mm with 5,500 squamous cells. ``Flaws`` says slot by slot what is wrong
    with liquid-based ones: ``bloody``, or nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Neighbours().folder
        self.world = World()
        self._state_file = ""
        self._truth_dir = ""

    def shutdown(self) -> None:
        """Give the microscope back."""
        self.world.release()
        self.world.rack.forget()

    @pymm_property(name="Seed")
    def seed(self) -> int:
        """Fixes slides, noise and every error of the mechanics."""
        return self.world.rack.seed

    @seed.setter
    def _set_seed(self, value: int) -> None:
        self.world.rack.seed = _whole("Seed", value, 0)
        self.world.rack.forget()

    @pymm_property(name="Slides")
    def slides(self) -> int:
        """How many slots from the first hold a procedural slide."""
        return self.world.rack.slides

    @slides.setter
    def _set_slides(self, value: int) -> None:
        self.world.rack.slides = _whole("Slides", value, 0)

    @pymm_property(name="Specimens")
    def specimens(self) -> str:
        """Pictures that lie on the slides instead of procedural cells."""
        return ";".join(str(path) for path in self.world.rack.specimens)

    @specimens.setter
    def _set_specimens(self, value: str) -> None:
        paths = [self.folder / part.strip() for part in str(value).split(";") if part.strip()]
        self.world.rack.use_pictures(tuple(paths))

    @pymm_property(name="SpecimenUmPerPx")
    def specimen_um_per_px(self) -> float:
        """Scale of pictures that do not say it themselves; 0 where none is given."""
        return self.world.rack.specimen_um_per_px or 0.0

    @specimen_um_per_px.setter
    def _set_specimen_um_per_px(self, value: float) -> None:
        self.world.rack.specimen_um_per_px = float(value) or None
        self.world.rack.forget()

    @pymm_property(name="SpecimenZStepUm")
    def specimen_z_step_um(self) -> float:
        """Distance between the planes of a focal stack."""
        return self.world.rack.specimen_z_step_um

    @specimen_z_step_um.setter
    def _set_specimen_z_step_um(self, value: float) -> None:
        self.world.rack.specimen_z_step_um = float(value)
        self.world.rack.forget()

    @pymm_property(name="Diagnoses")
    def diagnoses(self) -> str:
        """What the procedural slides hold, slot by slot."""
        return ";".join(self.world.rack.diagnoses)

    @diagnoses.setter
    def _set_diagnoses(self, value: str) -> None:
        self.world.rack.diagnose(tuple(part.strip() for part in str(value).split(";")) if value else ())

    @pymm_property(name="Preparations")
    def preparations(self) -> str:
        """Whether the procedural slides are liquid-based or histology."""
        return ";".join(self.world.rack.preparations)

    @preparations.setter
    def _set_preparations(self, value: str) -> None:
        self.world.rack.prepare(tuple(part.strip() for part in str(value).split(";")) if value else ())

    @pymm_property(name="Flaws")
    def flaws(self) -> str:
        """What is wrong with the procedural slides, slot by slot."""
        return ";".join(self.world.rack.flaws)

    @flaws.setter
    def _set_flaws(self, value: str) -> None:
        self.world.rack.spoil(tuple(part.strip() for part in str(value).split(";")) if value else ())

    @pymm_property(name="StateFile")
    def state_file(self) -> str:
        """Where the mechanics are remembered; empty to forget them."""
        return self._state_file

    @state_file.setter
    def _set_state_file(self, value: str) -> None:
        self.world.keep_state_in(self.folder / value if value else None)
        self._state_file = value

    @pymm_property(name="TruthDir")
    def truth_dir(self) -> str:
        """Where what lies on each loaded slide is written; empty for nowhere."""
        return self._truth_dir

    @truth_dir.setter
    def _set_truth_dir(self, value: str) -> None:
        self._truth_dir = value
        self.world.truth_folder = self.folder / value if value else None


class SimulatedFaults(GenericDevice):
    """Faults to show, such as ``lost-move@40;zero-frame@55``; none where ``Plan`` is empty."""

    def __init__(self) -> None:
        super().__init__()
        self._neighbours = Neighbours()
        self._plan = ""

    @pymm_property(name="Plan")
    def plan(self) -> str:
        """The fault plan."""
        return self._plan

    @plan.setter
    def _set_plan(self, value: str) -> None:
        self._neighbours.world.faults = FaultPlan.parse(value)
        self._plan = value


def _whole(name: str, value: object, least: int) -> int:
    """A whole number from whatever Micro-Manager handed over."""
    try:
        number = int(str(value))
    except ValueError:
        number = least - 1
    if number < least:
        raise BadInput.one(f"{value!r} is no whole number from {least}", "correct it", field=f"World.{name}")
    return number
