"""Is a table of diagnoses read as it was meant, and refused with all its faults otherwise?"""

from pathlib import Path

import pytest

from scanner.errors import BadInput
from scanner.offline.look_back.archive import Place
from scanner.offline.look_back.diagnoses import read_diagnoses, with_diagnoses
from scanner.offline.look_back.past import DEFAULT_POINT, NOTHING_SAID, Case, Says, stand_alone


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "signed-out.csv"
    file.write_bytes(text.encode(encoding))
    return file


def cases(*names: str) -> list[Case]:
    return [stand_alone(Place(Path("/archive") / name, name), None) for name in names]


def words(file: Path, *names: str) -> list[str]:
    return [case.past.word for case in with_diagnoses(cases(*names), read_diagnoses(file), file).cases]


def problems(file: Path) -> list[tuple[int | None, str]]:
    with pytest.raises(BadInput) as refused:
        read_diagnoses(file)
    return [(problem.line, problem.problem) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("case,diagnosis\nB7,NILM\n", "utf-8"),
        ("\ufeffCase;Date;Diagnosis\r\n B7 ;2024;nilm\r\n\r\n", "utf-8"),
        ("diagnosis\tcase\nNILM\tb7", "utf-8"),
        ('case,diagnosis\n"B7","NILM"\n', "utf-8"),
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    assert words(table(tmp_path, text, encoding), "B7.svs", "B8.svs") == ["NILM", ""]


@pytest.mark.parametrize(
    ("said", "word", "says"),
    [
        ("nilm", "NILM", Says.NEGATIVE),
        ("ASCUS", "ASC-US", Says.ABNORMAL),
        ("asc-h", "ASC-H", Says.ABNORMAL),
        ("Adenocarcinoma", "adenocarcinoma", Says.ABNORMAL),
        ("Unsatisfactory", "unsatisfactory", Says.NOTHING),
    ],
)
def test_bethesda_names_are_known_however_they_are_spelled(
    tmp_path: Path, said: str, word: str, says: Says
) -> None:
    (one,) = read_diagnoses(table(tmp_path, f"case,diagnosis\nB7,{said}\n"))
    assert (one.past.word, one.past.says) == (word, says)


def test_all_faults_are_named_at_once_by_line_and_never_by_case(tmp_path: Path) -> None:
    file = table(tmp_path, "case,diagnosis\nDoe-1,CIN2\nDoe-2,NILM\n,HSIL\nDoe-3,\nDoe-2,HSIL\nDoe-4,NILM?\n")
    assert [line for line, _ in problems(file)] == [2, 4, 5, 6, 7]
    with pytest.raises(BadInput) as refused:
        read_diagnoses(file)
    assert "Doe" not in str(refused.value)
    assert "'CIN2' is no diagnosis of the Bethesda system" in str(refused.value)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "case,file,diagnosis\nx,y,NILM\n", "case\nB7\n"])
def test_what_is_no_table_of_diagnoses_is_refused(tmp_path: Path, text: str) -> None:
    assert problems(table(tmp_path, text)) == [(None, "is no table of diagnoses")]


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    assert "UTF-8" in problems(table(tmp_path, "case,diagnosis\nä,NILM\n", "latin-1"))[0][1]
    assert "cannot be read" in problems(tmp_path / "none.csv")[0][1]


def test_a_file_is_named_by_its_path_or_where_that_is_clear_by_its_name(tmp_path: Path) -> None:
    file = table(tmp_path, "file,diagnosis\na/x.svs,NILM\nb\\x.svs,HSIL\ny.svs,LSIL\n")
    assert words(file, "a/x.svs", "b/x.svs", "c/y.svs") == ["NILM", "HSIL", "LSIL"]
    unclear = table(tmp_path, "file,diagnosis\nx.svs,NILM\n")
    with pytest.raises(BadInput, match="names 2 images"):
        words(unclear, "a/x.svs", "b/x.svs")


def test_a_case_is_the_name_of_its_image_or_of_a_folder_it_lies_in(tmp_path: Path) -> None:
    file = table(tmp_path, "case,diagnosis\nB7,NILM\nB8,HSIL\n")
    assert words(file, "2024/B7.ome.zarr", "B8/1.svs", "B8/old/2.svs", "B9.tif") == [
        "NILM",
        "HSIL",
        "HSIL",
        "",
    ]


def test_the_accession_number_of_a_run_names_its_slide(tmp_path: Path) -> None:
    file = table(tmp_path, "case,diagnosis\nP23-1,HSIL\n")
    place = Place(Path("/r/slides/1-r/image.ome.zarr"), "slides/1-r/image.ome.zarr")
    case = Case(place, NOTHING_SAID, DEFAULT_POINT, ("P23-1", "1-r", "slides"), True)
    (told,) = with_diagnoses([case], read_diagnoses(file), file).cases
    assert told.past.word == "HSIL"


def test_lines_that_contradict_each_other_over_one_image_are_refused(tmp_path: Path) -> None:
    file = table(tmp_path, "case,diagnosis\nB7,NILM\nlast-year,HSIL\n")
    with pytest.raises(BadInput, match="an image that line 2 names too"):
        words(file, "last-year/B7.svs")


def test_lines_without_an_image_are_counted_and_a_table_of_another_archive_refused(tmp_path: Path) -> None:
    file = table(tmp_path, "case,diagnosis\nB7,NILM\nB9,HSIL\n")
    matched = with_diagnoses(cases("B7.svs"), read_diagnoses(file), file)
    assert (matched.lines, matched.without_image) == (2, 1)
    with pytest.raises(BadInput, match="no line names an image"):
        words(file, "C1.svs")
