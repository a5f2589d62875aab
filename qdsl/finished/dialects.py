"""Whose words a finished file speaks: what its producer, its metadata and its operators show. Names, never guesses
about what the file computes."""

from __future__ import annotations

from qdsl.finished.records import Dialect
from qdsl.finished.work import Work


def dialects(work: Work) -> tuple[Dialect, ...]:
    return ()
