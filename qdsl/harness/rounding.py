"""`rounding-TARGET.json` in a build's folder: what `round` gained, weight by weight."""

from __future__ import annotations

from pathlib import Path

from qdsl.harness.reading import opened
from qdsl.spec.rounding import Rounding, from_json


def place_of(directory: Path, target: str) -> Path:
    """Where it lies in a build's folder: beside the artifact, which is replaced as a whole when it is made."""
    return directory / f"rounding-{target}.json"


def read_rounding(directory: Path, target: str) -> Rounding | None:
    """What lies there; None where nothing does. Raises QdslError measurements-file for a file that is not as it was
    written."""
    path = place_of(directory, target)
    return opened(path, from_json, ("make it anew: `qdsl compile`",)) if path.is_file() else None
