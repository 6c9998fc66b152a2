"""Do reports come back from their files, and do focus states mean what the design says?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scanner.model.report import Outcome, RunResult, Seconds, SlideReport, SlideResult, TileCounts, Verdict
from scanner.model.tile import FocusState

counts = st.integers(0, 10**6)
numbers = st.floats(0, 1e9)
results = st.builds(
    SlideResult,
    slot=st.integers(1, 400),
    slide_id=st.from_regex(r"[0-9]{1,3}-[a-z0-9-]{4,20}", fullmatch=True),
    outcome=st.sampled_from(Outcome),
    verdict=st.sampled_from(Verdict),
    image=st.none() | st.just("slides/1-a/image.ome.zarr"),
    tiles=st.builds(
        TileCounts, planned=counts, captured=counts, skipped=counts, failed=counts, retaken=counts
    ),
    seconds=st.builds(Seconds, scan=numbers, floor=numbers, focus=numbers, tail=numbers),
    frames_per_tile=numbers,
    sample_covered=st.none() | st.floats(0, 1),
    cells=counts,
    peak_bytes=counts,
)
KEYS = {
    "slot",
    "slide_id",
    "outcome",
    "verdict",
    "image",
    "tiles",
    "seconds",
    "frames_per_tile",
    "sample_covered",
    "cells",
    "peak_bytes",
}


@given(slides=st.lists(results, max_size=4))
def test_a_result_comes_back_from_json_bit_for_bit(slides: list[SlideResult]) -> None:
    result = RunResult(run="20261123-012508-3f9a", slides=tuple(slides))
    assert RunResult.model_validate_json(result.model_dump_json()) == result


@given(result=results)
def test_a_slide_report_says_everything_that_the_short_result_says(result: SlideResult) -> None:
    report = SlideReport.model_validate(result.model_dump())
    assert {name: getattr(report, name) for name in KEYS} == {name: getattr(result, name) for name in KEYS}


def test_the_keys_are_those_that_other_programs_read() -> None:
    assert set(SlideResult.model_fields) == KEYS | {"second_reading"}
    assert set(TileCounts.model_fields) == {"planned", "captured", "skipped", "failed", "retaken"}
    assert set(Seconds.model_fields) == {"scan", "floor", "focus", "tail"}


def test_a_patient_number_is_no_part_of_what_is_printed() -> None:
    assert "accession" in SlideReport.model_fields
    assert "accession" not in SlideResult.model_fields


@pytest.mark.parametrize("word", ["negative", "DONE", ""])
def test_a_word_that_the_design_does_not_know_is_refused(word: str) -> None:
    known = {"slot": 1, "slide_id": "1-a", "outcome": "done", "verdict": "review"}
    SlideResult.model_validate(known)
    for key in ("outcome", "verdict"):
        with pytest.raises(ValidationError):
            SlideResult.model_validate(known | {key: word})


def test_soft_means_with_sample_and_not_sharp() -> None:
    assert {state for state in FocusState if state.soft} == {FocusState.USABLE, FocusState.UNREADABLE}
