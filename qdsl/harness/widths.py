"""`allocation.json` of a build, read."""

from __future__ import annotations

from pathlib import Path

from qdsl.harness.reading import opened
from qdsl.spec.widths import NAME, Allocation, from_json


def read_widths(directory: Path) -> dict[str, Allocation]:
    """By target; nothing where `allocate weights` left nothing. Raises QdslError measurements-file for a file that is
    not as it was written."""
    path = directory / NAME
    found = opened(path, from_json, ("make it anew: `qdsl compile`",)) if path.is_file() else ()
    return {each.target: each for each in found}
