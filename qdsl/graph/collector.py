"""Python's cycle collector, held off while a graph is built."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No cycle collection inside: a graph is many long-lived objects that refer to each other, and each full collection
    walks all of them, which makes building one cost more than linear time. Memory is still freed by reference count."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
