"""Is the procedural section tissue that lies flat, looks the same from every side, and tells the truth about itself?"""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.devices.simulated.field import FieldCamera
from scanner.devices.simulated.histology import FOLD, HistologySection
from scanner.devices.simulated.optics import defocus_sigma_px
from scanner.devices.simulated.rack import SimulatedRack
from scanner.devices.simulated.section import Section, SectionSurface, cut_section, joint
from scanner.devices.simulated.slide import ProceduralSlide
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM, OVERVIEW_SHAPE, CameraGrid
from scanner.devices.simulated.tissue import BLOCK_PX, FULL_PX, PAD_PX, Drawing, TissueKind
from scanner.devices.simulated.tissue_block import NUCLEAR_PER_STEP, TissueBlock
from scanner.devices.simulated.truth import Nuclei
from scanner.devices.simulated.world import write_truth
from scanner.errors import BadInput
from tests.scanner.devices.simulated.conftest import Bench

GRID = CameraGrid()
KINDS = tuple(kind for kind in TissueKind for _ in range(5))
SIDE = 1024
TRUTH_OF_THE_FIRST_SLIDE = "e092ae6b981a0491cb514e7b8e71bb88c629e8d4338d4cbe500a2bd3f9b7b950"


@pytest.fixture(scope="module")
def tissue() -> HistologySection:
    return HistologySection((1, 1), GRID)


@pytest.fixture(scope="module")
def everything(tissue: HistologySection) -> Nuclei:
    """All nuclei; places from the pixel that ``_origin`` names."""
    return tissue.nuclei_in(_origin(), (40_000, 60_000))


@pytest.fixture(scope="module")
def section() -> Section:
    return cut_section(np.random.default_rng(1), KINDS, GRID.from_slide(*DEPOSIT_CENTRE_UM), GRID.um_per_px)


def _origin() -> tuple[int, int]:
    u, v = GRID.from_slide(*DEPOSIT_CENTRE_UM)
    return round(u) - 30_000, round(v) - 20_000


def _corner(place_um: tuple[float, float]) -> tuple[int, int]:
    u, v = GRID.from_slide(*place_um)
    return round(u) - SIDE // 2, round(v) - SIDE // 2


def _seen(
    tissue: HistologySection, corner: tuple[int, int], z_um: float, side: int = SIDE
) -> NDArray[np.float32]:
    od = np.zeros((3, side, side), np.float32)
    tissue.absorb(od, corner, z_um)
    return od


def _folded_corner(everything: Nuclei) -> tuple[int, int]:
    places = everything.places_px[everything.classes == FOLD]
    u, v = places[len(places) // 2].astype(int)
    return _origin()[0] + u - SIDE // 2, _origin()[1] + v - SIDE // 2


def _edge_corner(everything: Nuclei) -> tuple[int, int]:
    u, v = everything.places_px[np.argmin(everything.places_px[:, 0])].astype(int)
    return _origin()[0] + u - SIDE // 2, _origin()[1] + v - SIDE // 2


def _middle_height(tissue: HistologySection, corner: tuple[int, int]) -> float:
    return tissue.surface.height(*GRID.to_slide(corner[0] + SIDE / 2, corner[1] + SIDE / 2))


@pytest.mark.parametrize("defocus_um", [0.0, 1.3, -4.0])
@pytest.mark.parametrize("where", ["inside", "edge", "fold"])
def test_a_place_looks_the_same_whatever_the_corner_of_the_field(
    tissue: HistologySection, everything: Nuclei, where: str, defocus_um: float
) -> None:
    corners = {
        "inside": _corner((44_000.0, 12_000.0)),
        "edge": _edge_corner(everything),
        "fold": _folded_corner(everything),
    }
    u, v = corners[where]
    z_um = _middle_height(tissue, (u, v)) + defocus_um
    first = _seen(tissue, (u, v), z_um)
    for du, dv in ((922, 0), (301, -517), (-64, 922), (1, 1)):
        second = _seen(tissue, (u + du, v + dv), z_um)
        rows, columns = slice(max(dv, 0), SIDE + min(dv, 0)), slice(max(du, 0), SIDE + min(du, 0))
        same = second[:, rows.start - dv : rows.stop - dv, columns.start - du : columns.stop - du]
        np.testing.assert_allclose(first[:, rows, columns], same, atol=1e-5)
    assert first.max() > 0.3


def test_no_block_comes_again_the_same_way_within_three(section: Section) -> None:
    ways = section.blocks * 8 + section.turns
    for rows in range(4):
        for columns in range(-3, 4):
            if (rows, columns) > (0, 0):
                here = ways[: ways.shape[0] - rows, max(0, -columns) : ways.shape[1] - max(0, columns)]
                there = ways[rows:, max(0, columns) : ways.shape[1] + min(0, columns)]
                assert (here != there).all()


def test_a_field_resembles_no_other_one_block_away(tissue: HistologySection) -> None:
    """Registration would lock on to a period: the texture is compared with itself 1 to 3 blocks to each side."""
    corner = _corner((44_000.0, 12_000.0))
    z_um = _middle_height(tissue, corner)
    field = _seen(tissue, corner, z_um)[0]
    for blocks in (1, 2, 3):
        for du, dv in ((BLOCK_PX * blocks, 0), (0, BLOCK_PX * blocks)):
            other = _seen(tissue, (corner[0] + du, corner[1] + dv), z_um)[0]
            assert abs(np.corrcoef(field.ravel(), other.ravel())[0, 1]) < 0.1


def test_cytoplasm_of_blocks_side_by_side_adds_up_to_one() -> None:
    shown = joint(np.random.default_rng(3))
    total = np.zeros((3 * BLOCK_PX + 2 * PAD_PX,) * 2, np.float32)
    for row in range(3):
        for column in range(3):
            total[row * BLOCK_PX :, column * BLOCK_PX :][:FULL_PX, :FULL_PX] += shown
    assert np.allclose(total[BLOCK_PX : 2 * BLOCK_PX, BLOCK_PX : 2 * BLOCK_PX], 1, atol=1e-5)


def test_a_section_is_about_twenty_by_fifteen_millimetres_of_dense_nuclei(everything: Nuclei) -> None:
    width, height = np.ptp(everything.places_px, axis=0) * GRID.um_per_px / 1000
    assert 16 < width < 24
    assert 12 < height < 19
    column, row = (everything.places_px // 1000).astype(int).T
    cells = np.bincount(row * 60 + column)
    per_mm2 = cells[cells > 0] / GRID.um_per_px**2
    assert 3_000 < np.median(per_mm2) < 5_000
    assert 60 < np.median(everything.areas_px) < 250


def test_the_surface_is_that_of_the_glass_with_a_gentle_long_relief() -> None:
    surface = SectionSurface(np.random.default_rng(5))
    at = np.arange(0, 30_000, 250.0)
    relief = np.array([[surface.height(x, y) - surface._glass.height(x, y) for x in at] for y in at])
    assert 0.45 < relief.std() < 0.75
    along, across = (np.abs(np.diff(relief, axis=axis)).mean() for axis in (1, 0))
    assert 1.5 < across / along < 4.5
    assert np.abs(np.diff(relief)).max() < 0.5


def test_nuclei_scatter_by_four_tenths_of_a_micrometre_round_the_surface(tissue: HistologySection) -> None:
    corner = _corner((44_000.0, 12_000.0))
    nuclei = tissue.nuclei_in(corner, (SIDE, SIDE))
    places = [GRID.to_slide(corner[0] + u, corner[1] + v) for u, v in nuclei.places_px.tolist()]
    rest = nuclei.heights_um - [tissue.surface.height(*place) for place in places]
    assert 0.36 < rest.std() < 0.46
    assert abs(rest.mean()) < 0.1


def test_it_is_dark_where_a_nucleus_is_said_to_be(tissue: HistologySection) -> None:
    corner = _corner((44_000.0, 12_000.0))
    nuclei = tissue.nuclei_in(corner, (SIDE, SIDE))
    od = _seen(tissue, corner, float(np.median(nuclei.heights_um)))
    columns, rows = nuclei.places_px.astype(int).T
    assert len(rows) > 500
    assert np.quantile(od[0, rows, columns], 0.02) > 2.5 * np.median(od[0])


def test_fields_side_by_side_share_no_nucleus_and_lose_none(tissue: HistologySection) -> None:
    u, v = _corner((44_000.0, 12_000.0))
    whole = tissue.nuclei_in((u, v), (600, 1024))
    parts = [tissue.nuclei_in((u + du, v), (600, 512)) for du in (0, 512)]
    assert sorted(whole.heights_um) == sorted(np.concatenate([part.heights_um for part in parts]))


def test_folds_are_darker_and_raised_by_three_to_six_micrometres(
    tissue: HistologySection, everything: Nuclei
) -> None:
    folded = everything.classes == FOLD
    assert 0.0005 < folded.mean() < 0.05
    corner = _folded_corner(everything)
    nuclei = tissue.nuclei_in(corner, (SIDE, SIDE))
    raised = nuclei.classes == FOLD
    lift = np.median(nuclei.heights_um[raised]) - np.median(nuclei.heights_um[~raised])
    assert 2.5 < lift < 6.5
    od = cv2.GaussianBlur(_seen(tissue, corner, _middle_height(tissue, corner))[1], (0, 0), 12)
    columns, rows = nuclei.places_px[raised].astype(int).T
    assert np.median(od[rows, columns]) > 1.4 * np.median(od)


def test_round_the_section_is_clear_glass(tissue: HistologySection) -> None:
    assert not _seen(tissue, _corner((30_000.0, 2_500.0)), 0.0).any()
    assert not _seen(tissue, _corner((30_000.0, 2_500.0)), 40.0).any()


def _sharpness(od: NDArray[np.float32]) -> float:
    smooth = cv2.GaussianBlur(od[0], (0, 0), 0.6)
    return float(((smooth[:, 2:] - smooth[:, :-2]) ** 2).mean())


@pytest.mark.parametrize("place_um", [(44_000.0, 12_000.0), (47_500.0, 10_000.0), (41_000.0, 15_000.0)])
def test_a_field_is_sharpest_at_the_height_of_its_nuclei(
    tissue: HistologySection, place_um: tuple[float, float]
) -> None:
    corner = _corner(place_um)
    nuclei = tissue.nuclei_in(corner, (SIDE, SIDE))
    middle = float(np.average(nuclei.heights_um, weights=nuclei.areas_px))
    offsets = np.array([-12, -9, -6, -4, -2, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2, 4, 6, 9, 12])
    curve = np.array([_sharpness(_seen(tissue, corner, middle + offset)) for offset in offsets])
    assert abs(offsets[np.argmax(curve)]) <= 0.25
    assert (np.diff(curve[:6]) > 0).all()
    assert (np.diff(curve[11:]) < 0).all()
    assert curve[[4, 12]].max() < 0.8 * curve.max()


@pytest.mark.parametrize("turn", range(8))
def test_a_block_is_blurred_by_exactly_the_defocus_of_each_layer(turn: int) -> None:
    blob = np.zeros((FULL_PX, FULL_PX), np.float32)
    cv2.circle(blob, (180, 300), 6, 3.0, -1)
    nothing = np.zeros_like(blob)
    places = np.array([(180.0, 300.0)])
    drawing = Drawing(
        TissueKind.STROMA, nothing, (nothing, blob, nothing), places, np.array([1]), np.array([113])
    )
    block = TissueBlock(drawing)
    spread = []
    for defocus_um in (0.0, 1.9):
        _, nuclear = block.densities(turn, (0, 0, FULL_PX, FULL_PX), defocus_um, 0.5)
        moments = cv2.moments(nuclear)
        u, v = block.places(turn)[0]
        assert (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]) == pytest.approx(
            (u, v), abs=0.02
        )
        assert moments["m00"] * NUCLEAR_PER_STEP == pytest.approx(blob.sum(), rel=0.02)
        spread.append(moments["mu20"] / moments["m00"])
    assert spread[1] - spread[0] == pytest.approx(defocus_sigma_px(1.9, 0.5) ** 2, rel=0.04)


def test_the_overview_shows_the_section_where_its_nuclei_are(
    tissue: HistologySection, everything: Nuclei
) -> None:
    od = tissue.overview_od()
    assert od.shape == (*OVERVIEW_SHAPE, 3)
    origin = _origin()
    chosen = np.linspace(0, len(everything.areas_px) - 1, 4_000).astype(int)
    places = [GRID.to_slide(origin[0] + u, origin[1] + v) for u, v in everything.places_px[chosen].tolist()]
    columns, rows = (np.array(places) // 20).astype(int).T
    assert np.mean(od[rows, columns, 1] > 0.1) > 0.99
    assert np.median(od[rows, columns, 1]) > np.median(od[rows, columns, 0]) > 0.03
    left_um = (origin[0] + everything.places_px[:, 0].min()) * GRID.um_per_px
    assert not od[:, : int(left_um / 20) - 15].any()


def test_the_overview_is_as_dark_as_the_fields(tissue: HistologySection) -> None:
    corner = _corner((44_000.0, 12_000.0))
    field = _seen(tissue, corner, _middle_height(tissue, corner)).mean((1, 2))
    far = _seen(tissue, corner, _middle_height(tissue, corner) + 14).mean((1, 2))
    overview = tissue.overview_od()[588:612, 2188:2212].mean((0, 1))
    assert overview == pytest.approx(field, rel=0.06)
    assert far == pytest.approx(field, rel=0.04)


def test_preparations_are_said_for_all_slots_or_slot_by_slot() -> None:
    rack = SimulatedRack(seed=3)
    assert rack.preparation(1) == "liquid-based"
    rack.prepare(("histology",))
    assert {rack.preparation(slot) for slot in (1, 2, 4)} == {"histology"}
    rack.prepare(("", "histology"))
    assert [rack.preparation(slot) for slot in (1, 2, 3)] == ["liquid-based", "histology", "liquid-based"]
    assert isinstance(rack.specimen(1, GRID), ProceduralSlide)
    assert isinstance(rack.specimen(2, GRID), HistologySection)
    assert rack.label(2) == SimulatedRack(seed=3).label(2)
    with pytest.raises(BadInput, match="unknown preparation"):
        rack.prepare(("frozen",))


def test_the_slides_of_the_default_rig_stay_what_they_were(tmp_path: Path) -> None:
    """Places, sizes and heights of everything on the first slide, as published runs have seen it."""
    write_truth(SimulatedRack().specimen(1, GRID), tmp_path / "truth.csv")
    assert hashlib.sha256((tmp_path / "truth.csv").read_bytes()).hexdigest() == TRUTH_OF_THE_FIRST_SLIDE


def test_the_rig_shows_a_section_where_its_configuration_says_so(cfg: Path) -> None:
    line = "#py Property,World,Preparations,"
    cfg.write_text(cfg.read_text().replace(line, line + "histology"))
    bench = Bench(cfg)
    try:
        assert bench.core.getProperty("World", "Preparations") == "histology"
        bench.load(1)
        bench.go(44_000, 12_000)
        frame = bench.frame()
        assert frame.mean((0, 1))[1] < 200
        assert bench.overview().shape == (1250, 3750, 3)
    finally:
        bench.core.unloadAllDevices()


def test_a_section_before_the_camera_is_pink_with_purple_nuclei(tissue: HistologySection) -> None:
    place = (44_000.0, 12_000.0)
    frame = FieldCamera(1, GRID).expose(tissue, place, tissue.surface.height(*place), 5.0, 1).astype(float)
    red, green, blue = np.median(frame, axis=(0, 1))
    assert red > blue > green
    dark = frame[frame[..., 0] < np.quantile(frame[..., 0], 0.03)].mean(0)
    assert dark[2] > dark[0] > dark[1]
