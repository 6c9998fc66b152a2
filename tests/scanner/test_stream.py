import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from scanner.errors import CameraFault, StepFailed
from scanner.stream import Mailbox, Road, Worker

A = TypeVar("A")


def count_to(n: int, fail_at: int | None = None) -> Iterator[int]:
    for k in range(n):
        if k == fail_at:
            raise CameraFault("Camera", "no frame came")
        yield k


def twice(items: Iterable[A]) -> Iterator[tuple[A, A]]:
    """Every item as its own job."""
    return ((item, item) for item in items)


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


class Doubler:
    def __call__(self, job: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return job * 2


class Refuser:
    def __call__(self, job: int) -> int:
        raise ValueError(f"cannot take {job}")


class Process:
    def __call__(self, job: int) -> int:
        return os.getpid()


def test_a_buffered_source_arrives_whole_and_in_order() -> None:
    with Road() as road:
        assert list(road.buffered(count_to(100), 3, "numbers")) == list(range(100))


def test_a_full_queue_makes_the_source_wait() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for k in range(100):
            made.append(k)
            yield k

    with Road() as road:
        items = road.buffered(source(), 2, "slow-reader")
        next(items)
        time.sleep(0.2)
        assert len(made) <= 5


def test_an_error_in_a_source_reaches_the_reader_as_it_was() -> None:
    with Road() as road, pytest.raises(CameraFault, match="no frame came"):
        list(road.buffered(count_to(5, fail_at=3), 2, "failing"))


def test_a_foreign_error_is_told_with_its_step_and_cause() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("by nothing")

    with Road() as road, pytest.raises(StepFailed, match=r"halving.*by nothing") as told:
        list(road.buffered(source(), 2, "halving"))
    assert isinstance(told.value.__cause__, ZeroDivisionError)


def test_leaving_the_road_stops_a_source_that_nobody_reads() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with Road() as road:
        next(road.buffered(endless(), 2, "endless"))
    assert closed.wait(5)
    assert not threads_named("endless")


def test_a_broadcast_gives_every_reader_everything() -> None:
    with Road() as road:
        first, second = road.broadcast(count_to(50), 4, "both")
        assert road.gather(lambda: list(first), lambda: sum(second)) == [list(range(50)), sum(range(50))]


def test_an_error_in_one_sink_stops_the_other() -> None:
    def failing() -> int:
        raise CameraFault("Camera", "gone")

    def waiting() -> int:
        return sum(road.buffered(iter(Mailbox(road).take, None), 1, "never"))

    with pytest.raises(CameraFault), Road() as road:
        road.gather(failing, waiting)
    assert not threads_named("never")


def test_a_mailbox_hands_values_back_in_order() -> None:
    with Road() as road:
        box: Mailbox[int] = Mailbox(road)
        box.put(1)
        box.put(2)
        assert (box.take(), box.take()) == (1, 2)


@pytest.fixture
def worker_of() -> Iterator[Callable[..., Worker[object, object]]]:
    made: list[Worker[object, object]] = []

    def make(kind: Callable[[], object], **options: float) -> Worker[object, object]:
        made.append(Worker(kind, "test-worker", **options))  # type: ignore[arg-type]  # tests pass several kinds
        return made[-1]

    yield make
    for worker in made:
        worker.kill()


def test_a_worker_answers_arrays_in_order(worker_of: Callable[..., Worker[object, object]]) -> None:
    frames = [np.full((64, 64), k, np.uint8) for k in range(5)]
    with Road() as road:
        pairs = list(road.parallel(twice(frames), worker_of(Doubler), 2, "double"))
    assert [int(np.asarray(answer)[0, 0]) for _, answer in pairs] == [0, 2, 4, 6, 8]


def test_an_item_without_a_job_passes_by(worker_of: Callable[..., Worker[object, object]]) -> None:
    with Road() as road:
        assert list(road.parallel([(1, None), (2, None)], worker_of(Refuser), 2, "idle")) == [
            (1, None),
            (2, None),
        ]


def test_an_error_in_a_worker_is_told_in_words(worker_of: Callable[..., Worker[object, object]]) -> None:
    with Road() as road, pytest.raises(StepFailed, match="cannot take 7"):
        list(road.parallel([(7, 7)], worker_of(Refuser), 1, "refuse"))


def test_a_killed_worker_is_replaced_and_asked_again(
    worker_of: Callable[..., Worker[object, object]],
) -> None:
    worker = worker_of(Process)
    halt = threading.Event()
    first = worker.ask(1, halt)
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    assert worker.ask(2, halt) not in (first, os.getpid())


def test_a_road_knows_the_processes_at_work_for_it(worker_of: Callable[..., Worker[object, object]]) -> None:
    worker = worker_of(Process)
    with Road() as road:
        assert road.pids == {os.getpid()}
        road.keep(worker)
        assert road.pids == {os.getpid(), worker.pid}
    assert road.pids == {os.getpid()}


def test_a_worker_dies_with_its_road(worker_of: Callable[..., Worker[object, object]]) -> None:
    worker = worker_of(Process)
    with Road() as road:
        ((_, pid),) = road.parallel([(1, 1)], worker, 1, "brief")
    assert isinstance(pid, int)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_mailbox_gives_what_is_there_in_time_and_no_more_than_asked_for() -> None:
    with Road() as road:
        box: Mailbox[int] = Mailbox(road)
        for n in range(5):
            box.put(n)
        assert box.within(0.0, 3) == [0, 1, 2]
        begun_s = time.monotonic()
        assert box.within(60.0, 2) == [3, 4]
        assert time.monotonic() - begun_s < 30.0
        assert box.within(0.1, 1) == []


def test_waiting_for_a_mailbox_ends_with_the_road() -> None:
    with Road() as road:
        box: Mailbox[int] = Mailbox(road)
        road.buffered((box.within(600.0, 1) for _ in range(1)), 1, "waits")
    assert threads_named("waits") == []
