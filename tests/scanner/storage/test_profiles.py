"""Are the shipped profiles good, and does a bad one say everything that is wrong with it?"""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scanner.errors import BadInput
from scanner.model.profile import Measured, MeasuredValues
from scanner.storage.profile_measured import HEADER, write_measured
from scanner.storage.profiles import cfg_path, check_profile, missing_values, profile_warnings, read_profile

MEASURED = 'when: "2026-11-26T00:00:00Z", how: a test'
BENT = "measured.distortion.value"
SHIPPED = Path(__file__).parents[3] / "hardware_profiles"
Edit = Callable[[str, str], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """The stock demo profile with one text replaced; an empty text appends."""
    shutil.copy(SHIPPED / "micromanager_demo.cfg", tmp_path)
    text = (SHIPPED / "micromanager_demo.yaml").read_text(encoding="utf-8")

    def edit(old: str, new: str) -> Path:
        assert old in text
        file = tmp_path / "rig.yaml"
        file.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")
        return file

    return edit


@pytest.mark.parametrize("name", ["simulated", "micromanager_demo"])
def test_the_rigs_of_this_repository_are_good(name: str) -> None:
    assert check_profile(SHIPPED / f"{name}.yaml") == []


def test_a_rig_that_was_never_measured_is_told_to_measure() -> None:
    file = SHIPPED / "squid.yaml"
    problems = check_profile(file)
    assert {p.field for p in problems} == {
        f"measured.{name}" for name in missing_values(read_profile(file, need_measured=False))
    }
    assert all("rackscan profile measure" in p.mend for p in problems)


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("", "not_a_key: 1\n", "not_a_key", "known key"),
        ("", "name: again\n", "name", "twice"),
        ("micromanager_demo.cfg", "nowhere.cfg", "devices.cfg", "No such file"),
        ("camera: Camera", "camera: Camra", "devices.camera", "no device is labelled Camra"),
        ("device: Lamp", "device: Sun", "devices.light.device", "no device is labelled Sun"),
        ("x_um: [0, 75000]", "x_um: [0, 750000]", "limits", "leaves the travel"),
        ("x_um: [0, 75000]", "x_um: [9, 8]", "limits", "must lie below"),
        ("x_um: [0, 75000]", "x_um: [0, inf]", "limits.x_um[1]", "finite"),
        ("objective: demo", "objective: other", "", "is not among demo"),
        ("z_safe_um: 0", "z_safe_um: 280", "limits.z_safe_um", "outside z_um"),
        ("focus: {strategy: fixed}", "focus: {range_um: 300}", "focus.start_um", "leaves z_um"),
        (
            "focus: {strategy: fixed}",
            "focus: {strategy: edf, start_um: 0, range_um: 15, layers: 8}",
            "focus.layers",
            "must be odd",
        ),
        (
            "focus: {strategy: fixed}",
            "focus: {strategy: hybrid, stain: fluorescence-red}",
            "focus.stain",
            "choose strategy fixed",
        ),
        (
            "focus: {strategy: fixed}",
            "focus: {strategy: z-stack, range_um: 15, layers: 99, layer_step_um: 4}",
            "focus.start_um",
            "99 layers",
        ),
        ("um_per_px: 1.0", "um_per_px: 1.3", "measured.camera_to_stage", "says 1.3"),
        ("kind: insert", "kind: motor", "devices.loader", "needs its device"),
        ("slots: 1", "kind: insert, slots: 2", "devices.loader.kind", "twice"),
        ("slots: 1}", "slots: 2}", "slide.origins_stage_um", "1 places for 2"),
        ("exposure_ms: 5", "exposure_ms: 5000", "deadlines.camera_s", "is over before"),
        (
            "acquisition:",
            "run_properties: {colour: Camera}\nacquisition:",
            "run_properties.colour",
            "no option",
        ),
        (
            "acquisition:",
            "run_properties: {seed: Word.Seed}\nacquisition:",
            "run_properties.seed",
            "labelled Word",
        ),
        (
            "measured:",
            f"measured:\n  distortion: {{value: {{k1: 0.4}}, {MEASURED}}}",
            BENT,
            "by more than 5 %",
        ),
        (
            "measured:",
            f"measured:\n  distortion: {{value: {{k1: 0.01, centre: [2, 0]}}, {MEASURED}}}",
            f"{BENT}.centre",
            "outside the frame",
        ),
        (
            "measured:",
            f"measured:\n  chromatic: {{value: {{red: {{x_px: 0.4}}}}, {MEASURED}}}",
            "measured.chromatic",
            "no colours to shift",
        ),
        (
            "measured:",
            f"measured:\n  chromatic: {{value: {{blue: {{magnification: 0.2}}}}, {MEASURED}}}",
            "measured.chromatic.value.blue",
            "more than lenses split",
        ),
        (
            "measured:",
            f"measured:\n  background_dn: {{value: [3], {MEASURED}}}",
            "measured.background_dn",
            "no level of lit glass",
        ),
        (
            "measured:",
            f"measured:\n  background_dn: {{value: [230, 231], {MEASURED}}}",
            "measured.background_dn",
            "2 levels",
        ),
        (
            "acquisition:",
            "image: {colour_profile: no.icc}\nacquisition:",
            "image.colour_profile",
            "no file no.icc",
        ),
        ("acquisition:", "image: {background: 255}\nacquisition:", "image.background", "less than or equal"),
    ],
)
def test_each_fault_is_named(edited: Edit, old: str, new: str, field: str, says: str) -> None:
    problems = check_profile(edited(old, new))
    assert any(p.field == field and says in p.problem for p in problems), problems
    assert all(p.file.endswith("rig.yaml") and p.mend for p in problems)
    assert any(p.line for p in problems)


def test_a_rig_without_a_focus_drive_is_good_when_its_focus_is_fixed(edited: Edit) -> None:
    assert check_profile(edited("  z: Z\n", "")) == []


def test_all_faults_come_in_one_message(edited: Edit) -> None:
    file = edited("camera: Camera", "camera: Camra")
    file.write_text(file.read_text(encoding="utf-8") + "not_a_key: 1\nnor_this_one: 2\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read_profile(file)
    assert all(word in str(caught.value) for word in ("Camra", "not_a_key", "nor_this_one"))


@pytest.mark.parametrize("raw", [b"", b"\x00\x01\x02\xff" * 99, "µ".encode("latin-1"), b"\t- broken: [\n"])
def test_what_is_no_profile_is_refused(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "rig.yaml"
    file.write_bytes(raw)
    assert check_profile(file)


def test_the_configuration_lies_beside_the_profile() -> None:
    file = SHIPPED / "micromanager_demo.yaml"
    assert cfg_path(file, read_profile(file)) == SHIPPED / "micromanager_demo.cfg"


def test_a_value_past_its_date_is_a_warning(edited: Edit) -> None:
    file = edited("how: the demo stage has none", "how: ruler, valid_until: 2026-02-01T00:00:00")
    assert profile_warnings(file, datetime(2026, 1, 31, tzinfo=UTC)) == []
    (warning,) = profile_warnings(file, datetime(2026, 2, 2, tzinfo=UTC))
    assert warning.field == "measured.backlash_um"
    assert check_profile(file) == []


def test_measured_values_are_written_without_touching_another_word(edited: Edit) -> None:
    file = edited("slots: 1}", "slots: 1}   # my own words")
    before = file.read_text(encoding="utf-8")
    when = datetime(2026, 5, 1, tzinfo=UTC)
    write_measured(
        file, MeasuredValues(backlash_um=Measured(value=(1.5, -2.0), when=when, how="dial", sigma=0.1))
    )
    after = file.read_text(encoding="utf-8")
    assert after.split(HEADER)[0] == before.split(HEADER)[0]
    measured = read_profile(file).measured
    assert measured.backlash_um is not None
    assert measured.backlash_um.value == (1.5, -2.0)
    assert (
        measured.camera_to_stage == read_profile(SHIPPED / "micromanager_demo.yaml").measured.camera_to_stage
    )


def test_writing_measured_values_twice_changes_nothing_more(edited: Edit) -> None:
    file = edited(
        "", "description: at the end\n".replace("description", "run_properties").replace(" at the end", " {}")
    )
    values = read_profile(file).measured
    write_measured(file, values)
    once = file.read_text(encoding="utf-8")
    write_measured(file, values)
    assert file.read_text(encoding="utf-8") == once
    assert "run_properties: {}" in once


def test_a_profile_that_is_bad_keeps_its_text(edited: Edit) -> None:
    file = edited("", "not_a_key: 1\n")
    before = file.read_bytes()
    with pytest.raises(BadInput):
        write_measured(file, MeasuredValues())
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir() if p.name.startswith(".")] == []
