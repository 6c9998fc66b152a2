import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import jinja2
import numpy as np
import pytest

from scanner.errors import BadInput
from scanner.model.report import Outcome, Verdict
from scanner.review.report import compile_templates, templates, write_report
from scanner.review.words import OUTCOMES, VERDICTS, minutes
from scanner.storage.run_folder import RunFolder, slide_id


@pytest.fixture(scope="module")
def page(finished_run: RunFolder) -> str:
    return write_report(finished_run.root).read_text(encoding="utf-8")


class Closed(HTMLParser):
    """Every element that opens is closed, in order."""

    VOID = frozenset({"meta", "img", "br", "image", "rect", "circle", "polyline", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def text_of(page: str) -> str:
    return re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", " ", page))


def pictures(page: str, css_class: str) -> list[np.ndarray]:
    found = re.findall(rf'class="{css_class}".*?src="data:image/jpeg;base64,([^"]+)"', page, re.S)
    return [
        np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(f), np.uint8), cv2.IMREAD_COLOR))
        for f in found
    ]


def test_the_page_is_whole_and_fetches_and_runs_nothing(page: str) -> None:
    parser = Closed()
    parser.feed(page)
    assert parser.open == []
    assert not parser.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page) == []
    assert "default-src 'none'" in page


def test_every_slide_says_its_verdict_outcome_and_reasons_in_words(page: str) -> None:
    text = text_of(page)
    for words in (VERDICTS[Verdict.URGENT], VERDICTS[Verdict.INCOMPLETE], OUTCOMES[Outcome.RERUN]):
        assert words.sentence in text
    assert "one cell scored 0.93" in text
    assert "not a medical device" in text
    assert OUTCOMES[Outcome.EMPTY].sentence in text


def test_coverage_and_cell_count_stand_beside_the_verdict(page: str) -> None:
    text = text_of(page)
    assert "Sample seen 99.8 %" in text
    assert "Squamous cells 20\u202f112" in text
    assert "an adequate slide shows 5\u202f000" in text


def test_a_slide_that_is_not_finished_is_named_and_not_judged(page: str) -> None:
    assert page.count('<section class="slide"') == 3
    assert "not finished" in text_of(page)


def test_hostile_text_stays_text(page: str) -> None:
    assert "tile 7 &lt;failed&gt;" in page
    assert "<failed>" not in page


def test_the_gallery_shows_the_pixels_around_each_finding_also_at_the_border(page: str) -> None:
    cells = pictures(page, "cell")
    assert len(cells) == 2
    assert all(cell.shape[0] == cell.shape[1] for cell in cells)
    assert all(cell.std() > 1 for cell in cells)


def test_the_measured_pixel_size_and_the_counts_are_told(page: str) -> None:
    text = text_of(page)
    assert "0.5012 µm" in text
    assert re.search(r"(\d+) planned = (\d+) captured \+ 1 skipped \+ 0 failed", text)


def test_the_whole_glass_shows_where_the_captured_tiles_lie(page: str) -> None:
    glass = page[page.index('<svg class="glass"') :]
    glass = glass[: glass.index("</svg>")]
    assert 'x="-500.0" y="0.0" width="76000.0" height="25000.0"' in glass
    assert '<rect x="40000.0" y="8000.0" width="1500.0" height="1500.0"/>' in glass
    assert page.count('<svg class="glass"') == 1
    assert "rig bench" in text_of(page)


def test_a_retaken_tile_counts_with_its_last_state(page: str, finished_run: RunFolder) -> None:
    first = page[page.index('<section class="slide"') :]
    legend = re.findall(
        r'<span class="key"[^>]*><i[^>]*></i>([a-z ]+)&nbsp;(\d+)', first[: first.index("gallery")]
    )
    assert sum(int(n) for _, n in legend) == 16


def test_the_thumbnail_is_a_picture_of_the_whole_slide(page: str, finished_run: RunFolder) -> None:
    assert page
    thumbnail = cv2.imread(str(finished_run.slide(slide_id(1, finished_run.settings.run)).thumbnail))
    assert thumbnail is not None
    assert max(thumbnail.shape) <= 900
    assert thumbnail.shape[0] == thumbnail.shape[1]


def test_a_section_is_made_anew_when_its_report_changed(finished_run: RunFolder) -> None:
    report = finished_run.slide(slide_id(2, finished_run.settings.run)).report
    write_report(finished_run.root)
    text = report.read_text(encoding="utf-8")
    report.write_text(text.replace("tile 7", "tile 77"), encoding="utf-8")
    assert "tile 77 " in write_report(finished_run.root).read_text(encoding="utf-8")
    report.write_text(text, encoding="utf-8")


def test_a_section_stays_when_only_the_times_of_its_report_changed(finished_run: RunFolder) -> None:
    paths = finished_run.slide(slide_id(1, finished_run.settings.run))
    write_report(finished_run.root)
    section = (paths.folder / "section.html").stat()
    text = paths.report.read_text(encoding="utf-8")
    paths.report.write_text(re.sub(r'"tail":\s*[0-9.]+', '"tail": 98.76', text), encoding="utf-8")
    assert "98.76 s" in write_report(finished_run.root).read_text(encoding="utf-8")
    again = (paths.folder / "section.html").stat()
    assert (again.st_ino, again.st_mtime_ns) == (section.st_ino, section.st_mtime_ns)
    paths.report.write_text(text, encoding="utf-8")


def test_a_page_compiles_nothing_once_its_templates_are_ready(
    finished_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates.cache_clear()
    compile_templates()
    monkeypatch.delattr(jinja2.Environment, "compile")
    for section in finished_run.slides.glob("*/section.html"):
        section.unlink()
    page = write_report(finished_run.root)
    assert page.stat().st_size > 10_000
    assert len(list(finished_run.slides.glob("*/section.html"))) > 0


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "said"), [(4.25, "4.2 s"), (192.4, "3 min 12 s"), (3725.0, "1 h 02 min")]
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert minutes(seconds) == said
