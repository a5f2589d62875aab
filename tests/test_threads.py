"""Work done ahead by threads: order, how far ahead, and what is raised where."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from qdsl.spec.threads import in_order, processors


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    turns = [threading.Event() for _ in range(workers)]

    def work(item: int) -> int:
        # The first of each group waits for the last, so that results are ready backwards.
        mine = item % workers
        if mine == workers - 1:
            turns[mine].set()
        else:
            turns[workers - 1].wait(timeout=10)
        return item * item

    assert list(in_order(work, range(20), workers)) == [item * item for item in range(20)]


def test_no_more_than_asked_is_read_ahead() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            read.append(item)
            yield item

    results = in_order(lambda item: item, items(), 2, ahead=3)
    assert next(results) == 0
    assert read == [0, 1, 2]
    assert next(results) == 1
    assert read == [0, 1, 2, 3]
    results.close()


def test_what_fails_is_raised_at_its_place() -> None:
    def fails_at_two(item: int) -> int:
        if item == 2:
            raise KeyError(item)
        return item

    results = in_order(fails_at_two, range(9), 3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="2"):
        next(results)


def test_what_the_items_raise_comes_after_the_results_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("no fourth")

    results = in_order(lambda item: item, items(), 8)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no fourth"):
        next(results)


def test_this_machine_has_processors() -> None:
    assert processors() >= 1
