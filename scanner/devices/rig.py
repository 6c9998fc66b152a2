"""How does a profile become the devices of a rig?"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scanner.devices.arrival import ArrivalRules, StopLatch
from scanner.devices.camera import CameraRules, MMCamera, MMOverview
from scanner.devices.frame_checks import FrameForm
from scanner.devices.loaders import Ask, InsertLoader, ManualLoader, MotorLoader
from scanner.devices.micromanager import MicroManager, MMLight, MMStage, MMStageDrive, MMZDrive, MMZStage
from scanner.devices.protocols import Camera, Light, Loader, Overview, Stage, ZStage
from scanner.devices.safety import Envelope, SafeLoader, SafeStage, SafeZStage
from scanner.errors import BadInput, DeviceFault, Problem
from scanner.model.profile import LoaderKind, Profile

Z_TOLERANCE_UM = 0.5


@dataclass(frozen=True, slots=True)
class Rig:
    """The devices of one profile, ready; a context manager. What the profile does not name is None."""

    profile: Profile
    stage: Stage
    z: ZStage | None
    camera: Camera
    light: Light | None
    loader: Loader
    overview: Overview | None
    latch: StopLatch
    mm: MicroManager
    lamp: MMLight | None

    def snapshot(self) -> dict[str, dict[str, str]]:
        """Every property of every device, as text."""
        return self.mm.snapshot()

    def stop(self) -> None:
        """Halt everything that moves and turn the light off; every wait raises ``Stopped``. Any thread.

        Raises:
            DeviceFault: a device refused to halt; the others were halted first.
        """
        self.latch.requested = True
        with contextlib.ExitStack() as every_device:
            if self.lamp is not None:
                every_device.callback(self.lamp.command, on=False)
            if self.z is not None:
                every_device.callback(self.z.stop)
            every_device.callback(self.stage.stop)

    def close(self) -> None:
        """Light off and all devices unloaded; may be called twice.

        Raises:
            DeviceFault: the lamp refused; the devices are unloaded all the same.
        """
        if not self.mm.is_open:
            return
        with contextlib.ExitStack() as steps:
            steps.callback(self.mm.close)
            if self.lamp is not None:
                self.lamp.command(on=False)

    def __enter__(self) -> "Rig":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _where: object
    ) -> None:
        try:
            self.close()
        except DeviceFault as fault:
            if error is None:
                raise
            error.add_note(str(fault))


def open_rig(profile: Profile, folder: Path, run_values: Mapping[str, str], ask: Ask | None = None) -> Rig:
    """Load the profile's Micro-Manager configuration and make its devices ready; nothing moves.

    Args:
        profile: the rig.
        folder: of the profile's file; a relative ``devices.cfg`` starts there.
        run_values: values from the command line for the keys of ``profile.run_properties``.
        ask: shows a sentence to the operator and returns whether it was done; only a manual loader needs it.

    Raises:
        BadInput: the configuration does not load, lacks a device that the profile names, or refuses a run value.
    """
    _refuse_unknown(profile, run_values)
    mm = MicroManager.open(folder / profile.devices.cfg)
    try:
        _refuse_missing(profile, mm)
        _refuse_other_objective(profile, mm)
        _hand_over(profile, run_values, mm)
        return _assemble(profile, mm, StopLatch(), ask)
    except BaseException:
        mm.close()
        raise


def _refuse_unknown(profile: Profile, run_values: Mapping[str, str]) -> None:
    unknown = [key for key in run_values if key not in profile.run_properties]
    if unknown:
        mend = "leave the option out, or choose a profile with this run property"
        raise BadInput(
            [Problem(f"the rig {profile.name} takes no such value", mend, field=key) for key in unknown]
        )


def _refuse_missing(profile: Profile, mm: MicroManager) -> None:
    devices = profile.devices
    named = {
        "camera": devices.camera,
        "xy": devices.xy,
        "z": devices.z,
        "loader.device": devices.loader.device,
    }
    named["light.device"] = devices.light.device if devices.light else None
    named["objective"] = devices.objective
    named["overview.camera"] = devices.overview.camera if devices.overview else None
    loaded = mm.labels()
    mend = f"use one of {', '.join(sorted(loaded))}"
    missing = [
        Problem(f"{devices.cfg} defines no device {label}", mend, field=f"devices.{field}")
        for field, label in named.items()
        if label is not None and label not in loaded
    ]
    if missing:
        raise BadInput(missing)


def _refuse_other_objective(profile: Profile, mm: MicroManager) -> None:
    """A turret is never turned by itself: the next objective may be longer than the one in place."""
    turret, wanted = profile.devices.objective, profile.active_objective
    if turret is None or wanted.state is None:
        return
    in_place = mm.state(turret)
    if in_place != wanted.state:
        problem = f"the turret stands at {in_place}, objective {wanted.name} is at {wanted.state}"
        raise BadInput.one(
            problem, "raise the objective, turn the turret, and start again", field="objective"
        )


def _hand_over(profile: Profile, run_values: Mapping[str, str], mm: MicroManager) -> None:
    for key, value in run_values.items():
        device, _, name = profile.run_properties[key].partition(".")
        if not mm.has_property(device, name):
            raise BadInput.one(
                f"no device property {device}.{name}", "correct it", field=f"run_properties.{key}"
            )
        try:
            mm.set(device, name, value)
        except DeviceFault as error:
            raise BadInput.one(str(error), "give another value", field=key) from error


def _assemble(profile: Profile, mm: MicroManager, latch: StopLatch, ask: Ask | None) -> Rig:
    envelope = Envelope.of(profile)
    z = _z_stage(profile, mm, envelope, latch)
    light = profile.devices.light
    lamp = MMLight(mm, light, profile.deadlines.loader_s, latch) if light else None
    if lamp is not None:
        # The lamp stays on during a scan; a shutter that opens and closes at every exposure costs its time.
        mm.core.setAutoShutter(False)
    overview = _overview(profile, mm, latch)
    return Rig(
        profile=profile,
        stage=_stage(profile, mm, envelope, z, latch),
        z=z,
        camera=_camera(profile, mm, latch),
        light=lamp,
        loader=SafeLoader(_loader(profile, mm, latch, ask), z),
        overview=overview,
        latch=latch,
        mm=mm,
        lamp=lamp,
    )


def _stage(
    profile: Profile, mm: MicroManager, envelope: Envelope, z: SafeZStage | None, latch: StopLatch
) -> SafeStage:
    kinematics = profile.measured.xy_kinematics
    expected = kinematics.value.seconds if kinematics else None
    rules = ArrivalRules(profile.deadlines.xy_s, profile.acquisition.arrival_tolerance_um, expected)
    label = profile.devices.xy
    return SafeStage(MMStage(MMStageDrive(mm, label), rules, latch), label, envelope, z)


def _z_stage(profile: Profile, mm: MicroManager, envelope: Envelope, latch: StopLatch) -> SafeZStage | None:
    label = profile.devices.z
    if label is None:
        return None
    kinematics = profile.measured.z_kinematics
    expected = kinematics.value.seconds if kinematics else None
    rules = ArrivalRules(profile.deadlines.z_s, Z_TOLERANCE_UM, expected)
    return SafeZStage(MMZStage(MMZDrive(mm, label), rules, latch), label, envelope)


def _may_leave(profile: Profile) -> bool:
    """Only a measurement shows that the sensor is done when its exposure time is over; 0 ms says that it is not."""
    readout = profile.measured.readout_ms
    return readout is not None and readout.value > 0


def _camera(profile: Profile, mm: MicroManager, latch: StopLatch) -> MMCamera:
    spec, measured = profile.camera, profile.measured.readout_ms
    rules = CameraRules(
        exposure_ms=spec.exposure_ms,
        deadline_s=spec.readout_ms / 1000 + profile.deadlines.camera_s,
        form=FrameForm.of(spec),
        overlap=_may_leave(profile),
        readout_ms=measured.value if measured else spec.readout_ms,
    )
    return MMCamera(mm, profile.devices.camera, rules, latch)


def _overview(profile: Profile, mm: MicroManager, latch: StopLatch) -> MMOverview | None:
    spec = profile.devices.overview
    if spec is None:
        return None
    rules = CameraRules(spec.exposure_ms, spec.deadline_s, form=None, overlap=False)
    return MMOverview(MMCamera(mm, spec.camera, rules, latch))


def _loader(profile: Profile, mm: MicroManager, latch: StopLatch, ask: Ask | None) -> Loader:
    spec = profile.devices.loader
    if spec.kind is LoaderKind.INSERT:
        return InsertLoader(spec.slots)
    if spec.kind is LoaderKind.MANUAL:
        if ask is None:
            raise BadInput.one(
                "a manual loader needs someone to ask", "run it in a terminal", field="devices.loader"
            )
        return ManualLoader(spec.slots, ask)
    if spec.device is None:
        raise BadInput.one(
            "a motor loader needs its device", "name the state device", field="devices.loader.device"
        )
    return MotorLoader(mm, spec.device, spec.slots, profile.deadlines.loader_s, spec.settle_s, latch)
