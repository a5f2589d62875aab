"""Work that threads do ahead of its reader, and how many of them this machine can run at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    work: Callable[[Given], Made], items: Iterable[Given], workers: int, *, ahead: int | None = None, name: str = "qdsl"
) -> Iterator[Made]:
    """`work` done on each item by `workers` threads, results in the order of the items; at most `ahead` (None: twice
    the workers) are under way or wait to be read. `items` is read by the caller's thread. What `work` or `items` raises
    comes out at its place in the order, and what was not begun by then never is."""
    most = 2 * workers if ahead is None else max(1, ahead)
    with ThreadPoolExecutor(workers, thread_name_prefix=name) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for future in _begun(pool, work, items):
                waiting.append(future)
                if len(waiting) >= most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _begun(pool: ThreadPoolExecutor, work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Future[Made]]:
    """One future per item, and one for what `items` raises."""
    try:
        for item in items:
            yield pool.submit(work, item)
    except Exception as error:
        failed: Future[Made] = Future()
        failed.set_exception(error)
        yield failed
