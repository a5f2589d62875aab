"""`allocation-TARGET.json` in a build's folder, read for the report."""

from __future__ import annotations

from pathlib import Path

from qdsl.harness.reading import opened
from qdsl.spec.allocation import ALLOCATION_VERSION, Allocation, file_name
from qdsl.spec.decode import decode, json_data


def read_allocation(directory: Path, target: str) -> Allocation | None:
    """What `allocate layers` tried; None where nothing lies there, another version does, or it did not come to its end.
    Raises QdslError measurements-file for a file that is not as it was written."""
    path = directory / file_name(target)
    found = opened(path, _made, ("make it anew: `qdsl compile`",)) if path.is_file() else None
    if found is None or found.version != ALLOCATION_VERSION or found.taken is None:
        return None
    return found if found.taken < len(found.trials) else None


def _made(text: str) -> Allocation:
    return decode(Allocation, json_data(text))
