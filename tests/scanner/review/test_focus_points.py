"""Can the focus points of a run be edited and given to the next one?"""

from pathlib import Path

from scanner.model.geometry import Point
from scanner.review.focus_points import points_in_mm, rack_with_points
from scanner.storage.ledger import Ledger
from scanner.storage.racks import read_rack
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder


def test_the_rack_file_of_a_run_is_read_again_with_the_points_that_had_a_height(
    finished_run: RunFolder, tmp_path: Path
) -> None:
    with RunReader.open(finished_run.root) as reader:
        text = rack_with_points(reader)
    file = tmp_path / "rack.yaml"
    file.write_text(text, encoding="utf-8")
    (entry,) = read_rack(file).slots
    assert (entry.slot, entry.focus_points) == (1, ((40.6, 8.6), (40.9, 8.7)))
    assert "# - [41.200, 9.000]  no-sample: clear glass" in text
    assert "# z 101.50 ± 0.06 µm, found" in text


def test_a_run_without_focus_points_gives_no_rack(tmp_path: Path, finished_run: RunFolder) -> None:
    folder = RunFolder.create(tmp_path / "run", finished_run.settings)
    Ledger.open(folder.ledger, create=True).close()
    with RunReader.open(folder.root) as reader:
        assert rack_with_points(reader) == ""


def test_what_a_viewer_holds_becomes_lines_of_a_rack_file(tmp_path: Path) -> None:
    file = tmp_path / "rack.yaml"
    lines = points_in_mm([(12_500.0, 45_000.0), (12_000.4, 44_999.6)])
    file.write_text(f"slots:\n  - slot: 2\n    focus_points:\n{lines}\n", encoding="utf-8")
    assert read_rack(file).slots[0].focus_points_um == (Point(45_000, 12_500), Point(45_000, 12_000))
