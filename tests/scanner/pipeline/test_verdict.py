from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.record import EvaluationRecord, TakenAgain, matching
from scanner.model.layers import CellCapture
from scanner.model.report import Verdict
from scanner.model.slide import Preparation
from scanner.pipeline.verdict import Evidence, decide, rig_hash, taken_again
from scanner.storage.profiles import read_profile

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
RECORD = EvaluationRecord(
    detector="a" * 64,
    profile="rig",
    rig="b" * 64,
    operating_point=0.2,
    urgent_point=0.8,
    slides={"abnormal": 10, "normal": 10},
    auc=0.99,
    auc_ci95=(0.9, 1.0),
    sensitivity=1.0,
    excluded=0.8,
    data="simulated",
    command="none",
)
CLEAN = Evidence(
    missing=0,
    failed=0,
    unmeasured=0,
    unreadable=0,
    undetected=0,
    region_given=False,
    sample_outside=False,
    sample_covered=1.0,
    preparation=Preparation.THINPREP,
    cells=18_000,
    slide_score=0.05,
    top=(),
    record=RECORD,
)
FLAWS: dict[str, tuple[dict[str, Any], str]] = {
    "a missing tile": ({"missing": 1}, "not captured"),
    "a failed tile": ({"failed": 2}, "2 tiles failed"),
    "an unmeasured tile": ({"unmeasured": 1}, "without a focus measurement"),
    "an unreadable tile": ({"unreadable": 1}, "out of focus"),
    "a tile the detector did not see": ({"undetected": 1}, "not seen by the detector"),
    "a region": ({"region_given": True}, "chosen by hand"),
    "sample outside the plan": ({"sample_outside": True}, "no plan covers"),
    "no overview": ({"sample_covered": None}, "no overview"),
    "sample not covered": ({"sample_covered": 0.97}, "97.0 %"),
    "too few cells": ({"cells": 4_999}, "needs 5,000"),
    "no detector": ({"slide_score": None}, "no detector"),
    "no record": ({"record": None}, "no evaluation record"),
    "a cell that was not taken again": ({"not_again": ("1 suspicious cell was not",)}, "1 suspicious cell"),
    "a record that excludes none": (
        {"record": RECORD.model_copy(update={"operating_point": 0.0})},
        "excludes no slide of this rig",
    ),
    "a score at the operating point": ({"slide_score": 0.2}, "not under the operating point"),
    "blood": ({"blood": 0.6}, "blood covers 60 % of the sample"),
    "cells that more planes make suspicious": ({"score_again": 0.2}, "with more planes"),
}


def test_a_slide_without_any_flaw_may_be_excluded() -> None:
    decision = decide(CLEAN)
    assert decision.verdict is Verdict.NEGATIVE_EXCLUDED
    assert decision.reasons == ()


@pytest.mark.parametrize("flaw", FLAWS)
def test_any_single_flaw_forbids_a_negative_and_is_said(flaw: str) -> None:
    change, words = FLAWS[flaw]
    decision = decide(replace(CLEAN, **change))
    assert decision.verdict is not Verdict.NEGATIVE_EXCLUDED
    assert any(words in reason for reason in decision.reasons)


@given(st.sets(st.sampled_from(sorted(FLAWS)), min_size=1))
def test_no_combination_of_flaws_makes_a_negative(flaws: set[str]) -> None:
    evidence = CLEAN
    for flaw in flaws:
        evidence = replace(evidence, **FLAWS[flaw][0])
    decision = decide(evidence)
    assert decision.verdict is not Verdict.NEGATIVE_EXCLUDED
    assert decision.reasons


def test_missing_tiles_make_a_case_incomplete() -> None:
    assert decide(replace(CLEAN, missing=3)).verdict is Verdict.INCOMPLETE


def test_too_few_cells_on_a_fully_scanned_slide_are_unsatisfactory() -> None:
    assert decide(replace(CLEAN, cells=800)).verdict is Verdict.UNSATISFACTORY
    assert (
        decide(replace(CLEAN, cells=6_000, preparation=Preparation.SMEAR)).verdict is Verdict.UNSATISFACTORY
    )


def test_too_few_cells_in_a_region_say_nothing_about_the_slide() -> None:
    assert decide(replace(CLEAN, cells=800, region_given=True)).verdict is Verdict.REVIEW


def test_abnormal_cells_make_a_sparse_slide_a_case_for_review() -> None:
    assert decide(replace(CLEAN, cells=800, slide_score=0.5)).verdict is Verdict.REVIEW


def test_high_grade_cells_on_top_are_urgent_even_when_the_scan_has_gaps() -> None:
    evidence = replace(CLEAN, slide_score=0.95, top=(("HSIL", 0.97), ("LSIL", 0.9)), missing=1)
    decision = decide(evidence)
    assert decision.verdict is Verdict.URGENT
    assert "HSIL" in decision.reasons[0]
    assert any("not captured" in reason for reason in decision.reasons)


def test_low_grade_cells_are_not_urgent() -> None:
    evidence = replace(CLEAN, slide_score=0.95, top=(("LSIL", 0.99), ("HSIL", 0.3)))
    assert decide(evidence).verdict is Verdict.REVIEW


def test_without_a_record_nothing_is_urgent() -> None:
    evidence = replace(CLEAN, slide_score=0.95, top=(("HSIL", 0.97),), record=None)
    assert decide(evidence).verdict is Verdict.REVIEW


def test_a_record_counts_only_for_its_own_detector_and_rig() -> None:
    assert matching([RECORD], "a" * 64, "rig", "b" * 64) is RECORD
    assert matching([RECORD], "c" * 64, "rig", "b" * 64) is None
    assert matching([RECORD], "a" * 64, "other", "b" * 64) is None
    assert matching([RECORD], "a" * 64, "rig", "c" * 64) is None


def test_a_record_with_cells_taken_again_holds_where_they_are_taken_so() -> None:
    way = TakenAgain(cells=12, layers=9, layer_step_um=1.0)
    again = RECORD.model_copy(update={"again": way})
    records, rig = [RECORD, again], ("a" * 64, "rig", "b" * 64)
    assert matching(records, *rig, way) is again
    assert matching(records, *rig) is RECORD
    assert matching(records, *rig, way.model_copy(update={"cells": 8})) is RECORD
    assert matching([again], *rig) is None
    profile = read_profile(PROFILES / "simulated.yaml")
    assert taken_again(profile) is None
    asked = profile.model_copy(update={"capture_cells": CellCapture(cells=12)})
    assert taken_again(asked) == way


def test_another_camera_or_objective_is_another_rig() -> None:
    profile = read_profile(PROFILES / "simulated.yaml")
    slower = profile.model_copy(update={"camera": profile.camera.model_copy(update={"exposure_ms": 9.0})})
    measured = profile.model_copy(update={"measured": profile.measured.model_copy(update={"z_sign": None})})
    assert rig_hash(profile) != rig_hash(slower)
    assert rig_hash(profile) == rig_hash(measured)


def test_a_second_look_never_makes_a_slide_less_suspicious() -> None:
    suspicious = replace(CLEAN, slide_score=0.5)
    assert decide(replace(suspicious, score_again=0.01)) == decide(suspicious)
    assert decide(replace(CLEAN, score_again=0.01)) == decide(CLEAN)
    assert decide(replace(CLEAN, cells=10, score_again=0.5)).verdict is Verdict.REVIEW


HIDDEN: dict[str, dict[str, Any]] = {
    "blood": {"blood": 0.76},
    "unreadable": {"unreadable": 760, "with_sample": 1000},
    "few cells": {"cells": 10},
}


@pytest.mark.parametrize("why", HIDDEN)
def test_what_cannot_be_judged_is_unsatisfactory_unless_it_is_suspicious_or_was_not_all_seen(
    why: str,
) -> None:
    hidden = replace(CLEAN, **HIDDEN[why])
    assert decide(hidden).verdict is Verdict.UNSATISFACTORY
    assert decide(hidden).reasons
    assert decide(replace(hidden, slide_score=0.2)).verdict is Verdict.REVIEW
    high = replace(hidden, slide_score=0.9, top=(("HSIL", 0.95),))
    assert decide(high).verdict is Verdict.URGENT
    assert decide(replace(hidden, score_again=0.3)).verdict is Verdict.REVIEW
    assert decide(replace(hidden, sample_covered=0.9)).verdict is Verdict.REVIEW
    assert decide(replace(hidden, slide_score=None)).verdict is Verdict.REVIEW
    assert decide(replace(hidden, record=None, slide_score=0.4)).verdict is Verdict.UNSATISFACTORY
    assert decide(replace(hidden, record=None, slide_score=0.6)).verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    "partly", [{"blood": 0.5}, {"blood": 0.75}, {"unreadable": 500, "with_sample": 1000}]
)
def test_a_slide_that_is_partly_hidden_goes_to_a_person_and_says_why(partly: dict[str, Any]) -> None:
    decision = decide(replace(CLEAN, **partly))
    assert decision.verdict is Verdict.REVIEW
    assert any("50 %" in reason or "75 %" in reason for reason in decision.reasons)


def test_a_little_blood_is_no_reason() -> None:
    assert decide(replace(CLEAN, blood=0.49)) == decide(CLEAN)
