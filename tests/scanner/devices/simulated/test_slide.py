"""Is the procedural slide the one the design froze?"""

from collections import Counter

import numpy as np
import pytest

from scanner.devices.simulated.field import FieldCamera
from scanner.devices.simulated.rack import SimulatedRack, parse_diagnosis
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import (
    DEPOSIT_CENTRE_UM,
    DEPOSIT_RADIUS_UM,
    OVERVIEW_SHAPE,
    CameraGrid,
)
from scanner.devices.simulated.truth import SQUAMOUS, CellClass
from scanner.errors import BadInput


def test_a_slide_holds_twenty_thousand_squamous_cells_in_its_deposit(
    slide: ProceduralSlide, abnormal: dict[CellClass, int]
) -> None:
    truth = slide.truth()
    counts = Counter(t.cell_class for t in truth)
    assert sum(counts[kind] for kind in SQUAMOUS) == 20_000
    assert {kind: counts[kind] for kind in abnormal} == abnormal
    at = np.array([(t.x_um, t.y_um) for t in truth]) - DEPOSIT_CENTRE_UM
    assert np.hypot(*at.T).max() < DEPOSIT_RADIUS_UM + 100


def test_a_small_slide_holds_five_and_a_half_thousand_on_five_millimetres() -> None:
    rack = SimulatedRack(seed=3)
    rack.prepare(("small-liquid-based",))
    rack.diagnose(("HSIL:4+ASC-H:1",))
    truth = rack.specimen(1, CameraGrid()).truth()
    counts = Counter(t.cell_class for t in truth)
    assert sum(counts[kind] for kind in SQUAMOUS) == 5_500
    assert (counts[CellClass.HSIL], counts[CellClass.ASC_H]) == (4, 1)
    at = np.array([(t.x_um, t.y_um) for t in truth]) - DEPOSIT_CENTRE_UM
    assert 2_200 < np.abs(at).max() < 2_600


def test_nuclei_lie_round_a_tilted_bowed_plane(slide: ProceduralSlide) -> None:
    truth = slide.truth()
    rest = np.array([t.height_um - slide.surface.height(t.x_um, t.y_um) for t in truth])
    assert rest.std() == pytest.approx(1.5, rel=0.03)
    edge = [
        slide.surface.height(45_000 + 10_000 * np.cos(a), 12_500 + 10_000 * np.sin(a))
        for a in np.arange(0, 6.28, 0.01)
    ]
    assert max(edge) - min(edge) == pytest.approx(8.0, abs=0.01)
    assert slide.surface.height(*DEPOSIT_CENTRE_UM) - np.mean(edge) == pytest.approx(3.0, abs=0.05)


def test_about_a_third_of_the_overlaps_holds_nothing_to_register(slide: ProceduralSlide) -> None:
    """Strips of 51 × 513 µm between neighbouring fields; below 0.4 % of specimen there is nothing to see."""
    covered = np.zeros((2_000, 2_000), np.float32)
    for t in slide.truth():
        column, row = int((t.x_um - 35_000) / 10), int((t.y_um - 2_500) / 10)
        if 0 <= column < 2_000 and 0 <= row < 2_000:
            covered[row, column] += 0.6 * t.w_um * t.h_um
    empty = []
    for column in range(43):
        for row in range(43):
            x, y = 46.2 * (column + 1), 46.2 * row
            if np.hypot(x - 1_000, y + 25 - 1_000) < 970:
                strip = covered[int(y) : int(y) + 51, int(x) : int(x) + 5]
                empty.append(strip.sum() < 0.004 * 51 * 513)
    assert 0.25 < np.mean(empty) < 0.42


def test_what_the_truth_names_is_there(slide: ProceduralSlide) -> None:
    grid, camera = CameraGrid(), FieldCamera(1, CameraGrid())
    cells = [t for t in slide.truth() if t.cell_class is CellClass.HSIL]
    for t in cells[:6]:
        picture = camera.expose(slide, (t.x_um, t.y_um), t.height_um, 5.0, 1)
        half = (round(t.w_um / grid.um_per_px / 2), round(t.h_um / grid.um_per_px / 2))
        box = picture[511 - half[1] : 513 + half[1], 511 - half[0] : 513 + half[0], 0]
        assert np.quantile(box, 0.1) < 0.6 * np.median(picture[..., 0])


def _corner_on_a_cell(slide: ProceduralSlide) -> tuple[int, int]:
    """First pixel of a field of 1024 with an intermediate cell in its middle."""
    cell = next(t for t in slide.truth() if t.cell_class is CellClass.INTERMEDIATE)
    u, v = CameraGrid().from_slide(cell.x_um, cell.y_um)
    return round(u) - 512, round(v) - 512


def test_a_field_tells_its_nuclei(slide: ProceduralSlide) -> None:
    """It is dark where a nucleus is said to be, and its height is that of the object's truth."""
    corner = _corner_on_a_cell(slide)
    nuclei = slide.nuclei_in(corner, (1024, 1024))
    assert nuclei.places_px.shape == (len(nuclei.areas_px), 2)
    assert len(nuclei.areas_px) == len(nuclei.heights_um) == len(nuclei.classes)
    assert set(nuclei.heights_um) <= {t.height_um for t in slide.truth()}
    od = np.zeros((3, 1024, 1024), np.float32)
    slide.absorb(od, corner, float(np.median(nuclei.heights_um)))
    squamous = np.isin(nuclei.classes, [kind.value for kind in SQUAMOUS])
    assert squamous.sum() > 10
    columns, rows = nuclei.places_px[squamous].astype(int).T
    assert od[0, rows, columns].min() > 2 * np.median(od[0])
    assert 60 < np.median(nuclei.areas_px[squamous]) < 400


def test_fields_side_by_side_share_no_nucleus_and_lose_none(slide: ProceduralSlide) -> None:
    u, v = _corner_on_a_cell(slide)
    whole = slide.nuclei_in((u - 1500, v - 1500), (4096, 4096))
    parts = [slide.nuclei_in((u - 1500 + du, v - 1500), (4096, 2048)) for du in (0, 2048)]
    assert len(whole.heights_um) > 30
    assert sorted(whole.heights_um) == sorted(np.concatenate([part.heights_um for part in parts]))


def test_a_cut_nucleus_counts_in_each_field_with_what_it_shows(slide: ProceduralSlide) -> None:
    u, v = _corner_on_a_cell(slide)
    whole = slide.nuclei_shown_in((u, v), (1024, 1024))
    parts = [slide.nuclei_shown_in((u + du, v), (1024, 512)) for du in (0, 512)]
    assert whole.areas_px.sum() == sum(part.areas_px.sum() for part in parts)
    assert len(parts[0].areas_px) + len(parts[1].areas_px) > len(whole.areas_px)
    columns, rows = whole.places_px.astype(int).T
    assert max(columns.max(), rows.max()) < 1024


def test_the_overview_shows_the_sample_where_it_lies(slide: ProceduralSlide) -> None:
    od = slide.overview_od()
    assert od.shape == (*OVERVIEW_SHAPE, 3)
    rows, columns = np.nonzero(od[..., 0] > 0.02)
    radius = np.hypot(columns * 20 - DEPOSIT_CENTRE_UM[0], rows * 20 - DEPOSIT_CENTRE_UM[1])
    assert radius.max() < DEPOSIT_RADIUS_UM + 200
    assert radius.max() > DEPOSIT_RADIUS_UM - 1_000


def test_a_seed_and_slot_fix_the_slide() -> None:
    rack = SimulatedRack(seed=5)
    one, two = rack.specimen(1, CameraGrid()).truth(), SimulatedRack(seed=5).specimen(1, CameraGrid()).truth()
    assert one == two


def test_the_rack_holds_normal_and_abnormal_slides() -> None:
    rack = SimulatedRack(seed=1)
    found = [sum(rack.abnormal(slot).values()) for slot in (1, 2, 3, 4)]
    assert found[0] == found[2] == 0
    assert all(5 <= found[n] <= 60 for n in (1, 3))


def test_a_diagnosis_can_be_given_slot_by_slot() -> None:
    rack = SimulatedRack()
    rack.diagnose(("HSIL:7+ASC-H:2", "normal", ""))
    assert rack.abnormal(1) == {CellClass.HSIL: 7, CellClass.ASC_H: 2}
    assert rack.abnormal(2) == {}
    with pytest.raises(BadInput, match="unknown diagnosis"):
        parse_diagnosis("influenza:3")
