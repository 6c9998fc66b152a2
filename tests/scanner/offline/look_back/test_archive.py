"""Is every image of an archive found once, and nothing that is none?"""

from collections.abc import Callable
from pathlib import Path

import pytest

from scanner.errors import BadInput
from scanner.model.report import Verdict
from scanner.offline.look_back.archive import holdings, is_archive
from tests.scanner.offline.look_back.conftest import MakeRun

Save = Callable[[str, Path], Path]


def names(source: Path) -> list[str]:
    found = holdings(source, source.parent / "out")
    return [place.name for place in (*found.images, *found.slides)]


def touched(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def test_images_are_found_in_all_folders_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    touched(root, "b.SVS", "a/x.tif", "a/y/z.jpeg", "a/y/p.PNG", "notes.txt", "a/scan.ndpi")
    assert names(root) == ["a/x.tif", "a/y/p.PNG", "a/y/z.jpeg", "b.SVS"]


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    touched(tmp_path / "archive", ".a.png", ".trash/b.png", "c.png")
    assert names(tmp_path / "archive") == ["c.png"]


def test_a_zarr_is_one_image_however_it_is_called(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    touched(root, "a.ome.zarr/0/c.png", "plain/zarr.json", "plain/0/d.tif", "old/.zgroup", "old/e.png")
    assert names(root) == ["a.ome.zarr", "old", "plain"]


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    touched(root, "z/deep/x.png", "z/i.ome.zarr/zarr.json")
    touched(tmp_path, "elsewhere/y.png")
    (root / "a").symlink_to(root / "z")
    (root / "a.png").symlink_to(root / "z" / "deep" / "x.png")
    (root / "z" / "deep" / "up").symlink_to(root)
    (root / "i.ome.zarr").symlink_to(root / "z" / "i.ome.zarr")
    (root / "me.png").symlink_to("me.png")
    (root / "outside").symlink_to(tmp_path / "elsewhere")
    assert names(root) == ["me.png", "outside/y.png", "z/deep/x.png", "z/i.ome.zarr"]


def test_of_a_run_the_slides_are_cases_and_its_pictures_are_not(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "archive" / "monday" / "r1", "empty", Verdict.REVIEW)
    touched(
        tmp_path / "archive",
        "x.png",
        "monday/r1/tiles/a/tile1.tif",
        "monday/r1/slides/1-r1/edf.ome.zarr/zarr.json",
    )
    assert names(tmp_path / "archive") == ["x.png", "monday/r1/slides/1-r1"]
    assert names(tmp_path / "archive" / "monday" / "r1") == ["slides/1-r1"]
    assert names(tmp_path / "archive" / "monday" / "r1" / "slides") == ["1-r1"]
    image = tmp_path / "archive" / "monday" / "r1" / "slides" / "1-r1" / "image.ome.zarr"
    assert names(image.parent) == names(image) == ["1-r1"]


def test_the_folder_that_is_written_to_is_left_out(tmp_path: Path) -> None:
    touched(tmp_path, "a.png", "out/cases/0001/cells.png")
    assert [place.name for place in holdings(tmp_path, tmp_path / "out").images] == ["a.png"]


def test_a_name_that_is_no_text_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (Path(str(tmp_path / "archive")) / b"Pr\xe4parat.svs".decode("utf-8", "surrogateescape")).touch()
    assert names(tmp_path / "archive") == ["Pr\\udce4parat.svs"]


def test_a_folder_without_an_image_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with pytest.raises(BadInput, match="holds no image"):
        names(tmp_path / "archive")
    with pytest.raises(BadInput, match="no such image or folder"):
        names(tmp_path / "nowhere")


def test_folders_that_cannot_be_looked_into_are_all_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched(tmp_path / "archive", "a/x.png", "b/y.png", "c/z.png")
    entries = Path.iterdir

    def refuse(folder: Path) -> object:
        if folder.name in "ab":
            raise PermissionError(13, "Permission denied")
        return entries(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may look into every folder
    with pytest.raises(BadInput) as refused:
        names(tmp_path / "archive")
    assert [Path(problem.file).name for problem in refused.value.problems] == ["a", "b"]


def test_an_image_is_no_archive_and_a_folder_of_them_is(tmp_path: Path) -> None:
    touched(tmp_path, "a.png", "b.ome.zarr/zarr.json")
    assert is_archive(tmp_path)
    assert not is_archive(tmp_path / "a.png")
    assert not is_archive(tmp_path / "b.ome.zarr")
