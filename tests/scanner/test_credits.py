"""Is what waits on a road bounded in tiles and in bytes, however slow the detector and however long the slide?"""

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.answering import Credits, Here, Waiting
from scanner.errors import StepFailed
from scanner.model.plan import PlannedTile
from scanner.model.tile import FocusState, Frame, Judged, Pixels, Tile, TileFocus
from scanner.stream import QUEUE_BYTES, Road

C = TypeVar("C")
MB = 1_000_000
LARGE = (2816, 4096, 3)
SMALL = (1024, 1024, 3)
AHEAD = 4


def judged(number: int, shape: tuple[int, ...], dtype: str = "uint8") -> Judged:
    """A tile with raw and corrected pixels, as the judge hands it on."""
    planned = PlannedTile(tile=number, row=0, col=number, x_um=0.0, y_um=0.0)
    raw: Pixels = np.ones(shape, np.dtype(dtype))
    focus = TileFocus(FocusState.SHARP, 0.0, 0.1)
    tile = Tile(planned, 1, 1, Frame(raw, 0.0, 0.0, 0.0, 0.0, 0.0), "", 0.0, 0.0, focus, 1)
    return Judged(tile, raw + 1, 1.0, 1.0, (False,) * 4)


class Stalled:
    """Workers that answer when they are let, and count what they hold."""

    cpu_s = 0.0
    pids: set[int] = set()

    def __init__(self, room: int) -> None:
        self.room = room
        self.begun: list[int] = []
        self.go = threading.Event()

    def start(self) -> None: ...

    def kill(self) -> None:
        self.go.set()

    def begin(self, job: NDArray[np.uint8], halt: threading.Event) -> Waiting[int]:
        self.begun.append(job.nbytes)
        return Waiting(lambda: self.go.wait(60) and job.nbytes)


def test_there_is_credit_while_both_tiles_and_bytes_last_and_always_for_one() -> None:
    limit = Credits(3, 100)
    assert limit.last(0, 0, 1_000)
    assert limit.last(2, 60, 40)
    assert not limit.last(2, 60, 41)
    assert not limit.last(3, 0, 0)


def came_to_rest(count: Callable[[], int], expected: int) -> int:
    """What it counts to: waited for as long as it takes to come to ``expected``, and a little longer."""
    until = time.monotonic() + 120
    while count() < expected and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.5)
    return count()


@pytest.mark.parametrize(
    ("shape", "dtype", "made"),
    [(SMALL, "uint8", AHEAD + 1), (LARGE, "uint8", 2), ((2048, 2048, 3), "uint16", 2)],
)
def test_a_full_queue_holds_fewer_large_tiles(shape: tuple[int, ...], dtype: str, made: int) -> None:
    """One more than the queue holds is in the hands of the step before it, which waits."""
    same, given = judged(0, shape, dtype), list[int]()

    def source() -> Iterator[Judged]:
        for number in range(12):
            given.append(number)
            yield same

    with Road() as road:
        iter(road.buffered(source(), AHEAD, "stuck"))
        assert came_to_rest(lambda: len(given), made) == made


@pytest.mark.parametrize(
    ("shape", "dtype", "handed_out"), [(SMALL, "uint8", 8), (LARGE, "uint8", 5), (LARGE, "uint16", 2)]
)
def test_work_is_handed_out_while_room_and_bytes_last(
    shape: tuple[int, ...], dtype: str, handed_out: int
) -> None:
    stalled = Stalled(room=8)
    jobs = ((n, np.ones(shape, np.dtype(dtype))) for n in range(12))
    with Road() as road:
        answered = road.parallel(jobs, stalled, AHEAD, "detector")
        assert came_to_rest(lambda: len(stalled.begun), handed_out) == handed_out
        stalled.go.set()
        assert [n for n, _ in answered] == list(range(12))


def held_by_a_stuck_detector(
    shape: tuple[int, ...], made: int, queue_bytes: int = QUEUE_BYTES
) -> tuple[int, float]:
    """How many tiles are made before the road stands still, and how much memory it holds then, in tiles.

    Two branches: one goes on at once, the detector's waits. A tile counts with its raw and its corrected pixels.
    """
    given, go = list[int](), threading.Event()
    rest, held = list[int](), list[int]()

    def source() -> Iterator[Judged]:
        for number in range(made + 4):
            given.append(number)
            yield judged(number, shape)

    def asked(items: Iterator[Judged]) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
        for item in items:
            yield item.tile.planned.tile, np.asarray(item.pixels, np.uint8)

    workers: Here[NDArray[np.uint8], bool] = Here(lambda: lambda _: go.wait(120), "stuck")
    tracemalloc.start()
    try:
        with Road(queue_bytes) as road:
            drawn, searched = road.broadcast(source(), AHEAD, "judge")
            answered = road.parallel(asked(searched), workers, AHEAD, "detector")

            def watched() -> int:
                rest.append(came_to_rest(lambda: len(given), made))
                held.append(tracemalloc.get_traced_memory()[0])
                go.set()
                return sum(1 for _ in answered)

            assert road.gather(lambda: sum(1 for _ in drawn), watched) == [made + 4] * 2
        return rest[0], held[0] / (2 * np.prod(shape))
    finally:
        tracemalloc.stop()


def test_a_detector_that_stands_still_stops_the_road_and_large_tiles_sooner() -> None:
    """Of 4096 × 2816 px one is searched, one waits, one is in the hands of the judge: 3 × 69 MB."""
    made, held = held_by_a_stuck_detector(LARGE, made=3)
    assert made == 3
    assert held < 3.2
    made, held = held_by_a_stuck_detector(LARGE, made=AHEAD + 2, queue_bytes=2**40)
    assert made == AHEAD + 2
    assert held > AHEAD + 1.5


def test_small_tiles_are_as_many_ahead_as_ever() -> None:
    made, held = held_by_a_stuck_detector(SMALL, made=AHEAD + 2)
    assert made == AHEAD + 2
    assert held < AHEAD + 2.2


def raising(error: Exception) -> Callable[[], Callable[[int], int]]:
    def work(_: int) -> int:
        raise error

    return lambda: work


def test_an_error_of_a_worker_in_this_process_is_told_in_words() -> None:
    workers: Here[int, int] = Here(raising(ValueError("cannot take 7")), "here")
    with Road() as road, pytest.raises(StepFailed, match=r"here: ValueError: cannot take 7"):
        list(road.parallel([(7, 7)], workers, 1, "refuse"))
