"""Do report, ``verify`` and its page show how well a mosaic fits, and name in words what is in doubt?"""

import re
from pathlib import Path

import pytest

from scanner.errors import BadInput
from scanner.model.geometry import Point
from scanner.offline.verify import verify
from scanner.review.mosaic_view import SEAMS_OF_REPORT, known_backlash
from scanner.review.report import write_report
from scanner.storage.ledger import Ledger
from scanner.storage.profiles import read_profile
from scanner.storage.run_folder import RunFolder
from scanner.storage.tables import tiles_table
from tests.scanner.offline.mosaic_run import BACKLASH_UM, MOVED, PROFILE, SLIDE, scanned

MIDDLE = 5  # the moved field's number: the serpentine's second row comes from the right


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One field lies 2 px from where its overlaps say."""
    return scanned(tmp_path_factory.mktemp("torn") / "run", Point(1.6, -1.2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return scanned(tmp_path_factory.mktemp("whole") / "run", Point(0.0, 0.0))


def text_of(page: Path) -> str:
    plain = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page.read_text(encoding="utf-8"), flags=re.S)
    return re.sub(r"\s+", " ", plain)


def test_the_report_says_that_nothing_is_in_doubt_by_saying_nothing(whole: RunFolder) -> None:
    text = text_of(write_report(whole.root))
    assert "The mosaic: how well its tiles fit" in text
    assert "24, of which 24 could be measured; 0 in doubt" in text
    assert "in doubt at" not in text
    looked_at = re.search(r"of (\d+) looked at", text)
    assert looked_at is not None
    assert SEAMS_OF_REPORT // 2 < int(looked_at[1]) <= SEAMS_OF_REPORT


def test_the_report_names_where_a_mosaic_is_in_doubt_and_by_how_much(torn: RunFolder) -> None:
    text = text_of(write_report(torn.root))
    (doubt,) = re.findall(r"The image is in doubt at ([\d.]+), ([\d.]+) mm: (.*?) there, and a cell", text)
    assert doubt[2].startswith(f"tile {MIDDLE} does not fit its neighbours ")
    assert set(re.findall(r"\d+", doubt[2].split("by up to")[0])) == {"5", "2", "4", "6", "10"}
    assert doubt[2].endswith("by up to 2.0 pixels (1.0 µm)")
    shown = re.findall(r"Tiles (\d+) and (\d+) 2.00 px off", text)
    assert len(shown) == 4
    assert float(doubt[0]) == pytest.approx(44.93, abs=0.03)
    assert float(doubt[1]) == pytest.approx(12.47, abs=0.03)


def test_backlash_is_told_beside_what_the_profile_says(whole: RunFolder) -> None:
    assert re.search(r"backlash [23]\.\d ± 0\.\d µm \(profile 2\.6\)", text_of(write_report(whole.root)))


def test_verify_gives_the_figures_and_changes_no_key(torn: RunFolder) -> None:
    (figures,) = verify(torn.root).mosaics
    assert (figures.slide_id, figures.pairs, figures.measured, figures.doubtful) == (SLIDE, 24, 24, 4)
    assert figures.worst_px == pytest.approx(2.0, abs=0.05)
    assert figures.median_px == 0.0
    assert figures.x is not None
    assert figures.x.backlash_um is not None
    assert figures.x.backlash_um.value == pytest.approx(BACKLASH_UM, abs=0.5)
    assert figures.seams is None
    assert len(figures.doubts) == 1
    assert set(verify(torn.root).model_dump()) == {"ok", "slides", "problems", "mosaics"}


def test_a_doubt_is_no_contradiction_of_the_ledger(torn: RunFolder) -> None:
    """The places are what the ledger says; the mosaic is less good than it could be."""
    said = verify(torn.root)
    assert not [problem for problem in said.problems if "fit" in problem.detail]
    assert any("doubt" in line for line in said.lines())


def test_the_page_shows_every_seam_and_the_torn_ones_first(
    torn: RunFolder, whole: RunFolder, tmp_path: Path
) -> None:
    bad, good = (
        verify(folder.root, tmp_path / f"{k}.html").mosaics[0].seams for k, folder in enumerate((torn, whole))
    )
    assert bad is not None
    assert good is not None
    assert (bad.looked_at, bad.scored) == (24, 24)
    assert bad.misfit is not None
    assert good.misfit is not None
    assert good.misfit < 1.1 < bad.misfit
    page = tmp_path / "0.html"
    shown = re.findall(r"Tiles (\d+) and (\d+) ([\d.]+) px off, score ([\d.]+)", text_of(page))
    assert len(shown) >= 4
    assert all(str(MIDDLE) in pair[:2] for pair in shown[:4])
    assert all(float(pair[2]) == pytest.approx(2.0, abs=0.05) for pair in shown[:4])
    raw = page.read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', raw) == []
    assert "<script" not in raw
    assert "by up to 2.0 pixels" in raw
    assert "No two tiles lie more than 0.75 px" in text_of(tmp_path / "1.html")


def test_the_page_is_not_written_into_the_run_nor_where_it_cannot(torn: RunFolder, tmp_path: Path) -> None:
    for place in (torn.root / "mosaic.html", tmp_path, tmp_path / "none" / "mosaic.html"):
        with pytest.raises(BadInput):
            verify(torn.root, place)


def test_the_moved_field_has_the_number_that_is_meant(torn: RunFolder) -> None:
    with Ledger.read(torn.ledger) as ledger:
        rows = tiles_table(ledger, SLIDE).to_pylist()
    assert [(row["row"], row["col"]) for row in rows if row["tile"] == MIDDLE] == [MOVED]


def test_the_profiles_backlash_is_told_along_the_slides_axes() -> None:
    profile = read_profile(PROFILE)
    turned = profile.slide.model_copy(update={"axes": ((0.0, -1.0), (1.0, 0.0))})
    assert known_backlash(profile) == (2.56, 3.25)
    assert known_backlash(profile.model_copy(update={"slide": turned})) == (3.25, 2.56)
