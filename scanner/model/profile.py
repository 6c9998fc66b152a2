"""What is a rig: its devices, limits, optics and measured values?

Reading and checking the YAML is ``scanner.storage.profiles``; measuring is ``scanner.acquisition.measure``.
"""

import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Generic, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from autofocus.stain import Stain
from scanner.model.base import Value
from scanner.model.geometry import Affine, Point, Space
from scanner.model.layers import CellCapture, odd, offsets_um
from scanner.model.optics import Chromatic, Distortion, Look

T = TypeVar("T")
Range = tuple[float, float]
Matrix = tuple[tuple[float, float], tuple[float, float]]
Positive = Annotated[float, Field(gt=0)]


class LoaderKind(StrEnum):
    """Who brings the next slide: a motor (a Micro-Manager state device), the stage's insert, or the operator."""

    MOTOR = "motor"
    INSERT = "insert"
    MANUAL = "manual"


class LoaderSpec(Value):
    """``device`` is needed for a motor only; ``slots`` is what the loader holds."""

    kind: LoaderKind
    device: str | None = None
    slots: int = Field(ge=1, le=400)
    settle_s: float = Field(default=0.0, ge=0)


class LightSpec(Value):
    """The property that switches the lamp, and its two values."""

    device: str
    property: str = "State"
    on: str = "1"
    off: str = "0"


class OverviewSpec(Value):
    """A second camera that sees glass and label; ``origin_um`` is the slide µm of its first pixel's corner."""

    camera: str
    um_per_px: Positive
    exposure_ms: Positive = 10.0
    deadline_s: Positive = 10.0
    origin_um: tuple[float, float] = (0.0, 0.0)


class Devices(Value):
    """The Micro-Manager configuration (path relative to the profile) and the labels in it."""

    cfg: str
    camera: str
    xy: str
    z: str | None = None
    light: LightSpec | None = None
    overview: OverviewSpec | None = None
    loader: LoaderSpec
    objective: str | None = None


class Limits(Value):
    """Soft limits (ours) within the hardware's travel; stage µm, z µm. ``z_safe_um`` is the retracted height."""

    x_um: Range
    y_um: Range
    z_um: Range
    travel_x_um: Range
    travel_y_um: Range
    travel_z_um: Range
    z_safe_um: float = 0.0
    retract_beyond_um: Positive = 10_000.0

    @model_validator(mode="after")
    def _limits_lie_within_travel(self) -> "Limits":
        for axis in "xyz":
            low, high = getattr(self, f"{axis}_um")
            travel_low, travel_high = getattr(self, f"travel_{axis}_um")
            if not low < high:
                raise ValueError(f"{axis}_um: the lower limit {low} must lie below the upper {high}")
            if low < travel_low or high > travel_high:
                raise ValueError(f"{axis}_um {low}..{high} leaves the travel {travel_low}..{travel_high}")
        return self


class Deadlines(Value):
    """How long each device may take before it is called stuck, seconds."""

    xy_s: Positive = 5.0
    z_s: Positive = 3.0
    camera_s: Positive = 2.0
    loader_s: Positive = 60.0


class Objective(Value):
    """``um_per_px`` is nominal; parfocal and parcentric offsets are relative to the first objective."""

    name: str
    magnification: Positive
    na: float = Field(gt=0, lt=1.6)
    working_distance_um: Positive
    um_per_px: Positive
    parfocal_um: float = 0.0
    parcentric_um: tuple[float, float] = (0.0, 0.0)
    state: int | None = None

    def depth_of_field_um(self, wavelength_um: float = 0.55) -> float:
        """λ n / NA² in air: 0.98 µm at NA 0.75."""
        return wavelength_um / self.na**2


class CameraSpec(Value):
    """The frame: ``width_px`` × ``height_px``, ``channels`` 1 or 3, ``bits`` 8 or 16."""

    width_px: int = Field(ge=64, le=16_384)
    height_px: int = Field(ge=64, le=16_384)
    channels: int = Field(default=3)
    bits: int = Field(default=8)
    exposure_ms: Positive
    readout_ms: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _known_pixel_format(self) -> "CameraSpec":
        if self.channels not in (1, 3) or self.bits not in (8, 16):
            raise ValueError("a camera has 1 or 3 channels of 8 or 16 bits")
        return self


class SlidePlace(Value):
    """Where slides lie: ``slide = axes @ (stage - origin)``; one origin a slot for an insert, else one for all."""

    axes: Matrix = ((1.0, 0.0), (0.0, 1.0))
    origins_stage_um: tuple[tuple[float, float], ...] = Field(min_length=1)


class FocusStrategy(StrEnum):
    """How tiles get their height; ``fixed`` is for rigs without focus, its tiles are unmeasured.

    ``z-stack`` keeps every tile at several heights, ``edf`` fuses those into one plane with extended depth of field.
    """

    FIXED = "fixed"
    MAP = "map"
    EVERY_TILE = "every-tile"
    HYBRID = "hybrid"
    Z_STACK = "z-stack"
    EDF = "edf"


class FocusSpec(Value):
    """``start_um`` is where the first search begins (z µm), ``range_um`` how far it looks up and down.

    ``layers`` heights ``layer_step_um`` apart, the middle one where the tile is expected to be sharp, are exposed by
    the strategies for thick samples. ``stain`` says in which colour detail is measured where one channel is enough:
    when layers are fused and the rig measures itself; tiles are focused on nuclei, which all colours tell.
    """

    strategy: FocusStrategy = FocusStrategy.EVERY_TILE
    start_um: float = 0.0
    range_um: Positive = 15.0
    usable_um: Positive = 1.5
    point_spacing_fields: Positive = 4.0
    layers: int = Field(default=9, ge=3, le=99)
    layer_step_um: Positive = 1.0
    stain: Stain = Stain.PAPANICOLAOU

    @field_validator("stain")
    @classmethod
    def _what_glows_is_not_focused(cls, stain: Stain, known: ValidationInfo) -> Stain:
        if known.data.get("strategy") is not FocusStrategy.FIXED and stain.value.startswith("fluorescence"):
            raise ValueError(
                f"tiles are focused on what absorbs light, and {stain} glows: choose strategy fixed, or another stain"
            )
        return stain

    @field_validator("layers")
    @classmethod
    def _one_layer_is_the_middle(cls, layers: int) -> int:
        return odd(layers)

    @property
    def layered(self) -> bool:
        """Is every tile exposed at several heights, for their own sake?"""
        return self.strategy in (FocusStrategy.Z_STACK, FocusStrategy.EDF)

    @property
    def layer_offsets_um(self) -> tuple[float, ...]:
        """Where the layers lie over the focus surface, µm, bottom to top."""
        return offsets_um(self.layers, self.layer_step_um)

    @property
    def stack_um(self) -> float:
        """From the lowest layer to the highest, µm; 0 where there are none."""
        return self.layer_step_um * (self.layers - 1) if self.layered else 0.0


class AcquisitionSpec(Value):
    """``overlap`` is the share of a field that neighbours share; a soft tile is taken again ``retakes`` times."""

    overlap: float = Field(default=0.10, ge=0.02, le=0.5)
    retakes: int = Field(default=1, ge=0, le=3)
    arrival_tolerance_um: Positive = 5.0


class StorageMode(StrEnum):
    """``lossless`` to the last bit, or ``noise-limited``: rounded by no more than the camera's noise at each level."""

    LOSSLESS = "lossless"
    NOISE_LIMITED = "noise-limited"


class StorageCodec(StrEnum):
    """``lz4`` (blosc with bit shuffle) costs least; ``zstd`` is smaller, and more programs can read it."""

    LZ4 = "lz4"
    ZSTD = "zstd"


class StorageSpec(Value):
    """How the images of a slide are kept on disk."""

    mode: StorageMode = StorageMode.LOSSLESS
    codec: StorageCodec = StorageCodec.LZ4


class Measured(Value, Generic[T]):
    """A value the machine measured itself: when, how, how sure, until when it may be used."""

    value: T
    when: datetime
    how: str
    sigma: float | None = None
    valid_until: datetime | None = None

    def expired(self, now: datetime) -> bool:
        """Is it past its date? A time without a zone is UTC."""
        until = self.valid_until
        return until is not None and (until if until.tzinfo else until.replace(tzinfo=UTC)) < now


class XYKinematics(Value):
    """A trapezoidal move and its settling: seconds = settle + travel(distance)."""

    settle_ms: float = Field(ge=0)
    accel_um_s2: Positive
    speed_um_s: Positive

    def seconds(self, distance_um: float) -> float:
        """How long a move over ``distance_um`` lasts; no distance, no time."""
        if distance_um <= 0:
            return 0.0
        ramp_um = self.speed_um_s**2 / self.accel_um_s2
        if distance_um <= ramp_um:
            travel_s = 2 * math.sqrt(distance_um / self.accel_um_s2)
        else:
            travel_s = 2 * self.speed_um_s / self.accel_um_s2 + (distance_um - ramp_um) / self.speed_um_s
        return self.settle_ms / 1000 + travel_s


class ZKinematics(Value):
    """``step_ms`` for every move, plus ``ms_per_um`` for what goes beyond ``step_um``."""

    step_ms: float = Field(ge=0)
    step_um: float = Field(ge=0)
    ms_per_um: float = Field(ge=0)

    def seconds(self, distance_um: float) -> float:
        """How long a move over ``distance_um`` lasts; no distance, no time."""
        if distance_um <= 0:
            return 0.0
        return (self.step_ms + max(0.0, distance_um - self.step_um) * self.ms_per_um) / 1000


class CameraNoise(Value):
    """Photon transfer: variance in DN² = read_dn² + level_dn / electrons_per_dn."""

    electrons_per_dn: Positive
    read_dn: float = Field(ge=0)


class FlatField(Value):
    """Relative illumination: per channel the coefficients of 1, x, y, x², xy, y², x⁴, x²y², y⁴ over [-1, 1]²."""

    coefficients: tuple[tuple[float, float, float, float, float, float, float, float, float], ...]


class MeasuredValues(Value):
    """What ``rackscan profile measure`` writes.

    ``camera_to_stage`` in stage µm per raw camera px: what is seen at pixel offset p from the frame's centre comes
    to the centre after moving the stage by matrix @ p. ``z_sign`` +1: a larger device z is further from the stage.
    ``background_dn`` is the mean level of empty glass over an evenly lit frame, one number a channel.
    """

    camera_to_stage: Measured[Matrix] | None = None
    backlash_um: Measured[tuple[float, float]] | None = None
    xy_kinematics: Measured[XYKinematics] | None = None
    z_kinematics: Measured[ZKinematics] | None = None
    readout_ms: Measured[float] | None = None
    z_sign: Measured[int] | None = None
    noise: Measured[CameraNoise] | None = None
    flat_field: Measured[FlatField] | None = None
    background_dn: Measured[tuple[float, ...]] | None = None
    distortion: Measured[Distortion] | None = None
    chromatic: Measured[Chromatic] | None = None


class Profile(Value):
    """A rig. ``run_properties`` names the device properties that receive a command-line value.

    Its keys are ``specimen``, ``um_per_px``, ``seed``, ``slides`` and ``truth``, its values ``DEVICE.PROPERTY``;
    an option without such a property is refused, so that no rig is asked for what it cannot do. ``second_reading`` is
    the share of the slides that could be excluded which a person reads all the same, by lot.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    description: str = ""
    devices: Devices
    run_properties: dict[str, str] = {}
    limits: Limits
    deadlines: Deadlines = Deadlines()
    camera: CameraSpec
    objectives: tuple[Objective, ...] = Field(min_length=1)
    objective: str
    slide: SlidePlace
    acquisition: AcquisitionSpec = AcquisitionSpec()
    focus: FocusSpec = FocusSpec()
    capture_cells: CellCapture = CellCapture()
    second_reading: float = Field(default=0.1, ge=0.1, le=1)
    storage: StorageSpec = StorageSpec()
    image: Look = Look()
    measured: MeasuredValues = MeasuredValues()

    @model_validator(mode="after")
    def _objective_is_listed(self) -> "Profile":
        names = [objective.name for objective in self.objectives]
        if self.objective not in names:
            raise ValueError(f"objective {self.objective} is not among {', '.join(names)}")
        return self

    @property
    def active_objective(self) -> Objective:
        """The objective that scans."""
        return next(o for o in self.objectives if o.name == self.objective)

    def stage_to_slide(self, slot: int) -> Affine:
        """Stage µm → slide µm for a slide in ``slot``, before its seating is known."""
        origins = self.slide.origins_stage_um
        origin = origins[slot - 1] if len(origins) > 1 else origins[0]
        axes = Affine(Space.STAGE, Space.SLIDE, self.slide.axes)
        moved = axes.apply_vector(Point(*origin))
        return axes.shifted(Point(-moved.x, -moved.y))
