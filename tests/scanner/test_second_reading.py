"""Does a run send a slide that the lot draws to a person, blind, and the same one when it is replayed?"""

import json
from pathlib import Path

import pytest

from scanner.model.report import RunResult, Verdict
from scanner.offline.verify import verify
from scanner.pipeline import closing
from scanner.pipeline.second_reader import REASON, SecondReader
from scanner.pipeline.verdict import Decision
from scanner.run import replay_run
from scanner.storage.atomic import write_atomic
from tests.scanner.test_run import scan

SHARE = 0.1
DRAWN = next(seed for seed in range(1, 200) if SecondReader(f"seed {seed}", SHARE).draws(1))
LEFT = next(seed for seed in range(1, 200) if not SecondReader(f"seed {seed}", SHARE).draws(1))


@pytest.fixture(autouse=True)
def could_be_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slide that fulfils every condition takes half an hour to scan; here they all hold."""
    monkeypatch.setattr(closing, "decide", lambda _: Decision(Verdict.NEGATIVE_EXCLUDED, ()))


def slide_report(run: Path) -> Path:
    (report,) = run.glob("slides/*/report.json")
    return report


def test_a_drawn_slide_is_reviewed_blind_also_when_it_is_replayed(tmp_path: Path) -> None:
    result = scan(tmp_path, detector=None, keep_tiles=True, seed=DRAWN)
    run = tmp_path / "run"
    (slide,) = result.slides
    assert (slide.verdict, slide.second_reading) == (Verdict.REVIEW, True)
    assert (result.excluded_before, result.excluded) == (1, 0)
    assert RunResult.model_validate_json((run / "report.json").read_text()) == result
    told = json.loads(slide_report(run).read_text())
    assert told["reasons"] == [REASON]
    assert told["slide_score"] is not None
    page = (run / "report.html").read_text(encoding="utf-8")
    assert REASON in page
    assert "1 before the second reader, 0 after it" in page
    section = page.split('<section class="slide"')[1]
    assert f"{told['slide_score']:.2f}</b>" not in section.split("panels")[0]
    assert "operating point" not in section
    assert "Negative" not in section
    assert verify(run).problems == ()
    (again,) = replay_run(run, tmp_path / "again").slides
    assert (again.verdict, again.second_reading) == (Verdict.REVIEW, True)


def test_a_slide_that_is_not_drawn_stays_excluded_and_verify_knows_the_lot(tmp_path: Path) -> None:
    result = scan(tmp_path, seed=LEFT)
    run = tmp_path / "run"
    assert [slide.verdict for slide in result.slides] == [Verdict.NEGATIVE_EXCLUDED]
    assert (result.excluded_before, result.excluded) == (1, 1)
    assert verify(run).problems == ()
    settings = json.loads((run / "run.json").read_text())
    assert settings["salt"] == f"seed {LEFT}"
    write_atomic(run / "run.json", json.dumps({**settings, "salt": f"seed {DRAWN}"}))
    assert [problem.detail for problem in verify(run).problems] == [
        "the slide is excluded, though the lot says that a person reads it"
    ]
