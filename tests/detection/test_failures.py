from detection.classes import cell_class
from detection.failures import crop_failures, false_alarms, misses
from tests.detection.seen_by_hand import ABNORMAL, NORMAL, crops, field

CLASSES = [cell_class("HSIL"), cell_class("NILM")]


def test_the_worst_misses_come_first_and_those_without_a_box_before_all() -> None:
    seen = [
        field(
            "a", [(0, ABNORMAL), (100, ABNORMAL)], [(0, NORMAL, 0.3), (1, NORMAL, 0.2), (60, ABNORMAL, 0.9)]
        ),
        field("b", [(0, ABNORMAL), (100, NORMAL)], [(0, ABNORMAL, 0.1)]),
    ]
    found = misses(seen, [ABNORMAL], CLASSES, 10)
    assert [(f.file.name, f.score and round(f.score, 3)) for f in found] == [
        ("a.png", None),
        ("b.png", 0.1),
        ("a.png", 0.3),
    ]
    assert found[0].box == (100.0, 0.0, 20.0, 20.0)
    assert len(misses(seen, [ABNORMAL], CLASSES, 2)) == 2


def test_false_alarms_say_what_lies_there() -> None:
    seen = [
        field(
            "a",
            [(0, ABNORMAL), (100, NORMAL)],
            [(0, ABNORMAL, 0.9), (8, ABNORMAL, 0.8), (100, NORMAL, 0.7), (200, ABNORMAL, 0.6)],
        )
    ]
    found = false_alarms(seen, [ABNORMAL], CLASSES, 10)
    # The box at 8 px overlaps the abnormal cell by 0.43: badly placed, not a false alarm to look at.
    assert [(round(f.score or 0, 3), f.truth) for f in found] == [
        (0.7, "NILM"),
        (0.6, "nothing labelled here"),
    ]


def test_nothing_found_and_nothing_true_is_no_failure() -> None:
    assert misses([field("a", [], [])], [ABNORMAL], CLASSES, 5) == []
    assert false_alarms([field("a", [], [(0, ABNORMAL, 0.4)])], [ABNORMAL], CLASSES, 5)[0].truth == (
        "nothing labelled here"
    )


def test_crops_are_ranked_by_how_wrong_they_are() -> None:
    seen = crops([0.9, 0.2, 0.4, 0.8, 0.1], [ABNORMAL, ABNORMAL, ABNORMAL, NORMAL, NORMAL])
    low, high = crop_failures(seen, [ABNORMAL], CLASSES, 2)
    assert [(f.file.name, f.truth) for f in low] == [("1.png", "HSIL"), ("2.png", "HSIL")]
    assert [(f.file.name, f.truth) for f in high] == [("3.png", "NILM"), ("4.png", "NILM")]
