"""Are all workers alike to the road that asks them: here, in a process of their own, on a cluster?"""

import threading
from collections.abc import Callable, Iterator

import pytest

from scanner.answering import Here, Workers
from scanner.cluster import Cluster, connect
from scanner.errors import StepFailed
from scanner.stream import Road, Worker
from tests.scanner.clusters import cluster


def halved(job: int) -> int:
    """Half of an even number."""
    if job % 2:
        raise ValueError(f"cannot halve {job}")
    return job // 2


def made_here() -> Callable[[int], int]:
    return halved


def name_of(job: int) -> str:
    return f"half-{job}"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster` brings it")
    with cluster(folder=tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(params=["here", "own process", "cluster"])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers[int, int]]:
    made: Workers[int, int]
    if request.param == "here":
        made = Here(made_here, "halver")
    elif request.param == "own process":
        made = Worker(made_here, "halver")
    else:
        made = Cluster(connect(request.getfixturevalue("address")), halved, name_of)
    yield made
    made.kill()


def test_every_job_is_answered_in_order_and_what_has_none_passes_by(workers: Workers[int, int]) -> None:
    asked = [(n, None if n == 6 else n) for n in range(0, 20, 2)]
    with Road() as road:
        answered = list(road.parallel(asked, workers, 2, "halve"))
    assert answered == [(n, None if n == 6 else n // 2) for n in range(0, 20, 2)]


def test_a_job_that_fails_is_told_in_words(workers: Workers[int, int]) -> None:
    with Road() as road, pytest.raises(StepFailed, match="cannot halve 7"):
        list(road.parallel([(4, 4), (7, 7)], workers, 2, "halve"))


def test_there_is_room_for_one_and_an_answer_to_be_had_alone(workers: Workers[int, int]) -> None:
    workers.start()
    assert workers.room >= 1
    assert workers.begin(8, threading.Event()).result() == 4


def test_workers_can_be_ended_twice(workers: Workers[int, int]) -> None:
    workers.start()
    workers.kill()
    workers.kill()
    assert workers.pids == set()
