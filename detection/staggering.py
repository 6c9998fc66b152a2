"""How do works that each wait for a device a few times share it without leaving it idle? By turns, in one thread."""

from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Work = Generator[None, None, T]


def staggered(works: Iterable[Work[T]]) -> Iterator[T]:
    """The results of all works, as they come to their ends.

    A work asks something of the device, yields, and reads the answer when it goes on. Between the two the next work is
    begun and asks its own question, so that the device has something to do while an answer is read. Works are taken
    one by one, each when the one before it has paused for the first time.
    """
    under_way: list[Work[T]] = []
    for work in works:
        under_way.insert(0, work)
        yield from _a_step_each(under_way)
    while under_way:
        yield from _a_step_each(under_way)


def _a_step_each(under_way: list[Work[T]]) -> Iterator[T]:
    """The youngest first: it alone gives the device much to do."""
    for work in tuple(under_way):
        try:
            next(work)
        except StopIteration as end:
            under_way.remove(work)
            yield end.value
