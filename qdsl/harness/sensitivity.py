"""`sensitivity-TARGET.json` in a build's folder: what quantizing one layer costs, as it was measured."""

from __future__ import annotations

from pathlib import Path

from qdsl.harness.reading import opened
from qdsl.spec.aside import replace_file
from qdsl.spec.sensitivity import Sensitivity, from_json, to_json


def place_of(directory: Path, target: str) -> Path:
    """Where it lies in a build's folder: beside the artifact, which is replaced as a whole when it is made."""
    return directory / f"sensitivity-{target}.json"


def keep_sensitivity(directory: Path, target: str, found: Sensitivity) -> Path:
    """Write it into a build's folder, for the report and `explain`. OSError where that fails."""
    path = place_of(directory, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, to_json(found).encode("utf-8"))
    return path


def read_sensitivity(directory: Path, target: str) -> Sensitivity | None:
    """What lies there; None where nothing does. Raises QdslError measurements-file for a file that is not as it was
    written."""
    path = place_of(directory, target)
    return opened(path, from_json, ("make it anew: `qdsl compile`",)) if path.is_file() else None
