"""Are the dangerous cases first, and is nothing called negative that was not seen whole?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.offline.look_back.discordance import Judged, Kind, State, discordant
from scanner.offline.look_back.past import NOTHING_SAID, OperatingPoint, Past, Says
from scanner.offline.look_back.reading import Found

NILM = Past("NILM", Says.NEGATIVE)
HSIL = Past("HSIL", Says.ABNORMAL, 5)
ASCUS = Past("ASC-US", Says.ABNORMAL, 1)
ASKED = Past("review", Says.PERSON)
POINT = OperatingPoint(0.5, "a test")


def judged(past: Past, score: float | None, why: str = "", number: int = 1) -> Judged:
    found = Found(
        case=number,
        image=f"{number}.svs",
        content="c",
        detector="d",
        detector_hash="h",
        provider="p",
        slide_score=score,
        unreadable=why,
    )
    return Judged(found, past, POINT)


@pytest.mark.parametrize(
    ("past", "score", "why", "kind"),
    [
        (NILM, 0.5, "", Kind.MISSED_THEN),
        (NILM, 0.49, "", None),
        (NOTHING_SAID, 0.9, "", Kind.UNRECORDED),
        (NOTHING_SAID, 0.1, "", None),
        (HSIL, 0.1, "", Kind.MISSED_NOW),
        (HSIL, 0.9, "", None),
        (ASKED, 0.9, "", None),
        (ASKED, 0.1, "", None),
        (NILM, None, "damaged", Kind.UNREADABLE),
        (HSIL, 0.1, "no cells", Kind.UNREADABLE),
        (NILM, 0.9, "not completed", Kind.MISSED_THEN),
    ],
)
def test_a_case_is_discordant_where_then_and_now_differ(
    past: Past, score: float | None, why: str, kind: Kind | None
) -> None:
    assert [one.kind for one in discordant([judged(past, score, why)])] == ([kind] if kind else [])


def test_what_was_called_negative_comes_first_by_score() -> None:
    found = discordant(
        [
            judged(NILM, None, "damaged", 1),
            judged(ASCUS, 0.001, number=2),
            judged(HSIL, 0.4, number=3),
            judged(NILM, 0.6, number=4),
            judged(NOTHING_SAID, 0.99, number=5),
            judged(NILM, 0.9, number=6),
            judged(HSIL, None, "damaged", 7),
        ]
    )
    assert [one.judged.found.case for one in found] == [6, 4, 5, 3, 2, 7, 1]
    assert [one.rank for one in found] == [1, 2, 3, 4, 5, 6, 7]


def test_a_case_of_several_images_is_missed_only_where_none_is_suspicious() -> None:
    recorded = Past("HSIL", Says.ABNORMAL, 5, case=2)
    both = [judged(recorded, 0.9, number=1), judged(recorded, 0.1, number=2)]
    assert discordant(both) == ()
    assert [one.kind for one in discordant(both[1:])] == [Kind.MISSED_NOW]


@given(
    st.sampled_from([NILM, HSIL, ASCUS, ASKED, NOTHING_SAID]),
    st.one_of(st.none(), st.floats(0, 1)),
    st.sampled_from(["", "damaged"]),
)
def test_only_an_image_seen_whole_is_ever_not_suspicious(past: Past, score: float | None, why: str) -> None:
    one = judged(past, score, why)
    if one.state is State.NOT_SUSPICIOUS:
        assert score is not None
        assert not why
    if one.state is State.UNREADABLE:
        assert [line.kind for line in discordant([one])] == [Kind.UNREADABLE]
