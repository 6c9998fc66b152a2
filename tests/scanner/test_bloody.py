"""Does a scan of a slide under blood say so, and one of a clean slide not?"""

from pathlib import Path

import pytest

from scanner.devices.simulated.rack import SimulatedRack
from scanner.devices.simulated.specimen import CameraGrid
from scanner.errors import BadInput
from scanner.offline.verify import verify
from scanner.run import RunRequest, run_rack
from scanner.storage.reader import RunReader
from tests.scanner.test_run import SMALL, rig


@pytest.mark.parametrize(("flaw", "least", "most"), [("bloody", 0.75, 1.0), ("", 0.0, 0.02)])
def test_the_share_of_the_sample_under_blood_is_measured_and_said(
    tmp_path: Path, flaw: str, least: float, most: float
) -> None:
    profile = rig(tmp_path)
    cfg = profile.parent / "simulated.cfg"
    said = f"#py Property,World,Flaws,{flaw}"
    cfg.write_text(
        cfg.read_text().replace("#py Property,World,Diagnoses,", f"{said}\n#py Property,World,Diagnoses,")
    )
    request = RunRequest(
        profile=profile, out=tmp_path / "run", slides=1, region_um=SMALL, detector="none", seed=3
    )
    run_rack(request)
    assert verify(tmp_path / "run").problems == ()
    with RunReader.open(tmp_path / "run") as reader:
        (name,) = reader.slides()
        report = reader.report(name)
    assert report is not None
    assert report.blood is not None
    assert least <= report.blood <= most
    assert any("blood covers" in reason for reason in report.reasons) == bool(flaw)


def test_a_bloody_slide_looks_red_from_above_and_hides_no_cell() -> None:
    clean, bloody = SimulatedRack(), SimulatedRack()
    bloody.spoil(("bloody",))
    one, other = (rack.specimen(1, CameraGrid()) for rack in (clean, bloody))
    assert one.truth() == other.truth()
    more = other.overview_od() - one.overview_od()
    middle = more[625, 2250]
    assert middle[2] > middle[1] > middle[0] > 0
    assert (more[:, :1500] == 0).all()


def test_an_unknown_flaw_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown flaw 'torn'"):
        SimulatedRack().spoil(("", "torn"))
