"""Does a person read a random share of what could be excluded, the same slides after a resume, and nothing else?"""

import pytest
from pydantic import ValidationError

from detection.slide_level import SECOND_READING
from scanner.model.profile import Profile
from scanner.model.report import Outcome, RunResult, SlideResult, Verdict
from scanner.pipeline.second_reader import REASON, SecondReader, after_lot
from scanner.pipeline.verdict import Decision
from tests.scanner.again import PROFILES

EXCLUDED = Decision(Verdict.NEGATIVE_EXCLUDED, ())


def test_about_the_share_that_was_asked_for_is_read_and_never_the_same_slots() -> None:
    for share in (0.1, 0.25, 1.0):
        lots = [SecondReader(f"run {n}", share).draws(slot) for n in range(2000) for slot in range(1, 5)]
        assert sum(lots) / len(lots) == pytest.approx(share, abs=0.015)  # 4.5 sigma of 8,000 lots at 0.1
    by_slot = [sum(SecondReader(f"run {n}", 0.1).draws(slot) for n in range(2000)) for slot in range(1, 5)]
    assert all(140 < count < 260 for count in by_slot)


def test_the_lot_depends_on_slot_and_salt_alone() -> None:
    drawn = [SecondReader("a", 0.3).draws(slot) for slot in range(200)]
    assert drawn == [SecondReader("a", 0.3).draws(slot) for slot in range(200)]
    assert drawn != [SecondReader("b", 0.3).draws(slot) for slot in range(200)]


def test_who_reads_more_reads_what_he_would_have_read_anyway() -> None:
    few, many = SecondReader("a", 0.1), SecondReader("a", 0.4)
    assert all(many.draws(slot) for slot in range(500) if few.draws(slot))


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.NEGATIVE_EXCLUDED])
def test_only_what_could_be_excluded_is_drawn(verdict: Verdict) -> None:
    decision = Decision(verdict, ("why",))
    assert after_lot(decision, SecondReader("a", 1.0), 1) == (decision, False)


def test_a_drawn_slide_goes_to_review_with_the_reason_and_no_word_of_a_negative() -> None:
    decision, drawn = after_lot(EXCLUDED, SecondReader("a", 1.0), 1)
    assert drawn
    assert (decision.verdict, decision.reasons) == (Verdict.REVIEW, (REASON,))
    assert "random second reading" in REASON
    assert "negative" not in REASON
    assert "exclu" not in REASON
    assert after_lot(EXCLUDED, None, 1) == (EXCLUDED, False)


def test_less_than_a_tenth_is_refused() -> None:
    from scanner.storage.profiles import read_profile

    profile = read_profile(PROFILES / "simulated.yaml")
    assert profile.second_reading == SECOND_READING == 0.1
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.1"):
        Profile.model_validate({**profile.model_dump(), "second_reading": 0.09})


def slide(slot: int, outcome: Outcome, verdict: Verdict, drawn: bool = False) -> SlideResult:
    return SlideResult(
        slot=slot, slide_id=f"{slot}-r", outcome=outcome, verdict=verdict, second_reading=drawn
    )


def test_exclusions_are_counted_before_and_after() -> None:
    slides = (
        slide(1, Outcome.DONE, Verdict.NEGATIVE_EXCLUDED),
        slide(2, Outcome.DONE, Verdict.REVIEW, drawn=True),
        slide(3, Outcome.DONE, Verdict.REVIEW),
        slide(4, Outcome.PROCESS_REVIEW, Verdict.NEGATIVE_EXCLUDED),
    )
    counted = RunResult.of("r", slides)
    assert (counted.excluded_before, counted.excluded) == (2, 1)
