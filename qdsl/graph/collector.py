"""Python's cycle collector, held still while big graphs are built."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collections inside. Building a graph of 20,000 nodes makes millions of objects that all stay: each collection
    walks them again and frees nothing, a fifth of the time in all. Nested use is fine; works as a decorator, too."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
