"""Do real Micro-Manager configurations become profile skeletons, or say why they cannot?"""

import shutil
from pathlib import Path

import pytest

from scanner.errors import BadInput
from scanner.storage.mm_config import read_cfg
from scanner.storage.model_problems import FILL_IN
from scanner.storage.profile_import import import_cfg
from scanner.storage.profiles import check_profile, read_profile

REAL = Path(__file__).parents[4] / "shared" / "data" / "A_mm_cfg"
WITHOUT_STAGE = {"MMConfig_dcam", "MMConfig_NikonTE2000", "MMConfig_uEye", "MMConfig_uberzeiss"}
SINGLE_AXES = {"MMConfig_DTOL", "MMConfig_andor_cascade", "MMConfig_prior", "MMConfig_pvcam"}

needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason="the real configurations are not beside this checkout"
)


def real_files() -> list[Path]:
    return sorted(REAL.glob("*.cfg"))


def kind(file: Path) -> str:
    return file.stem.split("__")[-1]


@needs_real
@pytest.mark.parametrize("cfg", real_files(), ids=kind)
def test_each_real_configuration_imports_or_says_why_not(cfg: Path, tmp_path: Path) -> None:
    if kind(cfg) in WITHOUT_STAGE:
        with pytest.raises(BadInput, match="has no XY stage"):
            import_cfg(cfg)
        return
    shutil.copy(cfg, tmp_path)
    skeleton = tmp_path / "rig.yaml"
    skeleton.write_text(import_cfg(cfg), encoding="utf-8")
    rest = [p for p in check_profile(skeleton) if p.problem != "is still to be filled in"]
    # Two single-axis stages become one in the .cfg first; everything else only needs its blanks filled in.
    assert [p.field for p in rest] == (["devices.xy"] if kind(cfg) in SINGLE_AXES else [])


@needs_real
@pytest.mark.parametrize(
    "cfg", [f for f in real_files() if kind(f) not in WITHOUT_STAGE | SINGLE_AXES], ids=kind
)
def test_a_filled_skeleton_is_a_profile_that_only_lacks_its_measurements(cfg: Path, tmp_path: Path) -> None:
    shutil.copy(cfg, tmp_path)
    text = import_cfg(cfg)
    blanks = {
        "[FILL_IN, FILL_IN]": "[-100, 100]",
        "z_safe_um: FILL_IN": "z_safe_um: 50",
        "na: FILL_IN": "na: 0.5",
    }
    blanks |= {"width_px: FILL_IN, height_px: FILL_IN": "width_px: 1024, height_px: 1024"}
    blanks |= {"channels: FILL_IN, bits: FILL_IN": "channels: 3, bits: 8", FILL_IN: "10"}
    for blank, value in blanks.items():
        text = text.replace(blank, value)
    filled = tmp_path / "rig.yaml"
    filled.write_text(text, encoding="utf-8")
    assert read_profile(filled, need_measured=False).devices.cfg == cfg.name
    assert all(p.field.startswith("measured.") for p in check_profile(filled))


def cfg_of(folder: Path, *lines: str) -> Path:
    file = folder / "rig.cfg"
    file.write_text("\n".join(lines), encoding="latin-1")
    return file


def test_objectives_bring_their_numbers_with_them(tmp_path: Path) -> None:
    cfg = cfg_of(
        tmp_path,
        "Device,Cam,Some,Camera",
        "Device,XY,Some,XYStage",
        "Device,Nose,Some,Nosepiece",
        "Label,Nose,2,Plan Apo 20x/0.75",
        "Label,Nose,0,Empty",
        "ConfigPixelSize,Res20,Nose,Label,Plan Apo 20x/0.75",
        "PixelSize_um,Res20,0.325",
    )
    (entry,) = [line for line in import_cfg(cfg).splitlines() if line.startswith("  - {")]
    assert entry == (
        "  - {name: Plan Apo 20x/0.75, magnification: 20, na: 0.75, working_distance_um: FILL_IN, "
        "um_per_px: 0.325, state: 2}"
    )


def test_python_devices_are_devices(tmp_path: Path) -> None:
    config = read_cfg(
        cfg_of(tmp_path, "#py pyDevice,Cam,my.module,MyCamera", "# a word", "#py Property,Cam,Gain,2")
    )
    (device,) = config.devices
    assert (device.label, device.library, device.name, device.line) == ("Cam", "my.module", "MyCamera", 1)


def test_a_role_stated_directly_wins_over_one_of_a_preset(tmp_path: Path) -> None:
    config = read_cfg(
        cfg_of(
            tmp_path,
            "Device,A,Lib,Camera",
            "ConfigGroup,Channel,Red,Core,Camera,C",
            "ConfigGroup,System,Startup,Core,Camera,B",
            "Property,Core,Camera,A",
            "ConfigGroup,Channel,Red,Core,Shutter,S",
        )
    )
    assert config.roles["camera"] == "A"
    assert config.roles["shutter"] == "S"


def test_bytes_of_an_old_code_page_are_read(tmp_path: Path) -> None:
    assert (
        read_cfg(cfg_of(tmp_path, "# 40µ", "Device,Kamera für X,Lib,Cam")).devices[0].label == "Kamera für X"
    )


@pytest.mark.parametrize("raw", [b"", b"\0\1\2", b"hello\n", b"Device,OnlyALabel\n"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "rig.cfg"
    file.write_bytes(raw)
    with pytest.raises(BadInput):
        import_cfg(file)
