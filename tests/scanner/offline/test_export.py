"""Is exactly what was asked for exported, with nothing that names a patient, and is the rest refused by name?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ome_types
import pytest
import tifffile

from scanner.errors import BadInput
from scanner.offline.export import Wanted, describe, export
from tests.scanner.export.conftest import stored

if TYPE_CHECKING:
    from tests.scanner.conftest import WrittenRun

SLIDE = "2-run-1"


def said_in(file: Path) -> ome_types.OME:
    with tifffile.TiffFile(file) as tiff:
        return ome_types.from_xml(tiff.ome_metadata or "", validate=True)


def rewrite(image: Path, change: Callable[[dict[str, Any]], object]) -> None:
    group = json.loads((image / "zarr.json").read_text())
    change(group["attributes"]["rackscan"])
    (image / "zarr.json").write_text(json.dumps(group))


def test_a_run_goes_into_a_folder_one_file_a_slide(finished_run: "WrittenRun", tmp_path: Path) -> None:
    result = export(finished_run.root, tmp_path / "tiffs", Wanted())
    (image,) = result.images
    assert [path.name for path in (tmp_path / "tiffs").iterdir()] == [f"{SLIDE}.ome.tif"]
    assert (image.compression, image.complete, image.levels) == ("jpeg 90", True, 1)
    assert image.bytes == Path(image.file).stat().st_size
    told = said_in(Path(image.file)).images[0]
    begun = finished_run.folder.settings.begun.replace(microsecond=0, tzinfo=None)
    assert (told.name, told.acquisition_date) == (SLIDE, begun)


@pytest.mark.parametrize("slide", [SLIDE, "2"])
def test_one_slide_goes_into_one_file(finished_run: "WrittenRun", tmp_path: Path, slide: str) -> None:
    out = tmp_path / "new" / "one.ome.tif"
    export(finished_run.root, out, Wanted(slide=slide, lossless=True))
    with tifffile.TiffFile(out) as tiff:
        assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_an_image_in_a_run_is_called_as_its_slide(finished_run: "WrittenRun", tmp_path: Path) -> None:
    image = finished_run.folder.slide(SLIDE).image
    export(image, tmp_path / "a.ome.tif")
    export(image.parent, tmp_path / "b.ome.tif")
    image.rename(image.with_name("edf.ome.zarr"))
    export(image.with_name("edf.ome.zarr"), tmp_path / "c.ome.tif")
    names = [said_in(tmp_path / f"{n}.ome.tif").images[0].name for n in "abc"]
    assert names == [SLIDE, SLIDE, f"{SLIDE} edf"]


def test_the_name_of_a_file_does_not_go_along(tmp_path: Path) -> None:
    stored(tmp_path / "Doe-Jane-1970.ome.zarr")
    export(tmp_path / "Doe-Jane-1970.ome.zarr", tmp_path / "x.ome.tif")
    assert b"Doe" not in (tmp_path / "x.ome.tif").read_bytes()
    told = said_in(tmp_path / "x.ome.tif").images[0]
    assert (told.name, told.acquisition_date) == ("image", None)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_more_than_eight_bits_are_kept_whole(tmp_path: Path, dtype: str) -> None:
    stored(tmp_path / "x.ome.zarr", dtype, 1)
    (image,) = export(tmp_path / "x.ome.zarr", tmp_path / "x.ome.tif").images
    assert image.compression == "deflate"
    with pytest.raises(BadInput, match=f"holds {dtype}, JPEG only 8 bits"):
        export(tmp_path / "x.ome.zarr", tmp_path / "y.ome.tif", Wanted(quality=90))
    with pytest.raises(BadInput, match="was asked for lossless"):
        export(tmp_path / "x.ome.zarr", tmp_path / "y.ome.tif", Wanted(quality=90, lossless=True))


def test_an_unfinished_scan_goes_out_only_when_asked_for_and_says_so(
    broken_off_run: "WrittenRun", tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="is not complete"):
        export(broken_off_run.root, tmp_path / "tiffs")
    assert not (tmp_path / "tiffs").exists()
    result = export(broken_off_run.root, tmp_path / "tiffs", Wanted(incomplete=True))
    assert result.images[0].complete is False
    assert "INCOMPLETE" in describe(result)
    said = said_in(Path(result.images[0].file))
    assert "INCOMPLETE" in (said.images[0].description or "")
    assert said.structured_annotations is not None
    (facts,) = said.structured_annotations.map_annotations
    assert dict(facts.value)["complete"] == "false"


def test_what_is_there_is_never_replaced(finished_run: "WrittenRun", tmp_path: Path) -> None:
    out = tmp_path / "x.ome.tif"
    out.write_text("mine")
    with pytest.raises(BadInput, match="is there already"):
        export(finished_run.root, out)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BadInput, match="without a TIFF ending"):
        export(finished_run.root, tmp_path / "mine")
    with pytest.raises(BadInput, match="is a file"):
        export(finished_run.root, tmp_path / "mine" / "x.ome.tif")
    assert out.read_text() == (tmp_path / "mine").read_text() == "mine"


def test_what_is_no_image_of_ours_is_named(finished_run: "WrittenRun", tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no image"):
        export(tmp_path, tmp_path / "x.ome.tif")
    with pytest.raises(BadInput, match=f"no image of slide 7.*{SLIDE}"):
        export(finished_run.root, tmp_path / "x.ome.tif", Wanted(slide="7"))
    stored(tmp_path / "x.ome.zarr")
    with pytest.raises(BadInput, match="no run folder"):
        export(tmp_path / "x.ome.zarr", tmp_path / "x.ome.tif", Wanted(slide="1"))
    rewrite(tmp_path / "x.ome.zarr", lambda said: said.pop("image"))
    with pytest.raises(BadInput, match="not an image of rackscan"):
        export(tmp_path / "x.ome.zarr", tmp_path / "x.ome.tif")


def test_an_image_of_a_newer_rackscan_is_refused_by_name(finished_run: "WrittenRun", tmp_path: Path) -> None:
    image = finished_run.folder.slide(SLIDE).image
    rewrite(image, lambda said: said.update(version=2, surprise="new"))
    with pytest.raises(BadInput, match=r"image\.ome\.zarr: was written by a newer rackscan"):
        export(finished_run.root, tmp_path / "x.ome.tif")
    assert not (tmp_path / "x.ome.tif").exists()


def test_two_images_do_not_go_into_one_file(finished_run: "WrittenRun", tmp_path: Path) -> None:
    slides = finished_run.folder.slides
    stored(slides / "3-run-1" / "image.ome.zarr", complete=False)
    (slides / "4-run-1").mkdir()
    with pytest.raises(BadInput, match="2 images"):
        export(finished_run.root, tmp_path / "x.ome.tif")
    with pytest.raises(BadInput) as caught:
        export(finished_run.root, tmp_path / "tiffs", Wanted(quality=80, lossless=True))
    assert len(caught.value.problems) == 3
    result = export(finished_run.root, tmp_path / "tiffs", Wanted(incomplete=True))
    assert [Path(image.file).name for image in result.images] == [f"{SLIDE}.ome.tif", "3-run-1.ome.tif"]
    assert result.without_image == ("4-run-1",)
