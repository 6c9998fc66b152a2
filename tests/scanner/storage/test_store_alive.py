"""Is nothing torn, lost or mixed where a writer is killed at any moment, or its image is read while it grows?"""

from pathlib import Path

import pytest

from scripts.mosaic_store_rows import finished, killed, looked_at

CANVAS_PX = 4096


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that was left in peace; what its tiles show was held against it."""
    return finished(tmp_path_factory.mktemp("store") / "truth", CANVAS_PX)


def test_a_writer_killed_at_any_moment_tears_and_loses_nothing_and_goes_on_to_the_same_bytes(
    truth: Path, tmp_path: Path
) -> None:
    found = killed(tmp_path, truth, 4, CANVAS_PX)
    assert found.kills == 4
    assert found.finished >= 1
    assert (found.torn, found.lost, found.invalid, found.unlike) == (0, 0, 0, 0), found.notes
    assert not found.refused_strictly


def test_a_reader_beside_the_writer_sees_blocks_that_are_empty_or_final(truth: Path, tmp_path: Path) -> None:
    seen = looked_at(tmp_path, truth, 150, CANVAS_PX, 0.02)
    assert seen["reads"] >= 150
    assert (seen["errors"], seen["mixed"]) == (0, 0)
    assert seen["final"] > 0
