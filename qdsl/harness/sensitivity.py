"""`sensitivity.json` in the folder of a target's artifacts: what quantizing one layer costs, as it was measured."""

from __future__ import annotations

from pathlib import Path

from qdsl.harness.reading import opened
from qdsl.spec.sensitivity import FILE, Sensitivity, from_json


def read_sensitivity(folder: Path) -> Sensitivity | None:
    """What lies in a target's folder; None where nothing does. Raises QdslError measurements-file for a file that is
    not as it was written."""
    path = folder / FILE
    return opened(path, from_json, ("make it anew: `qdsl compile`",)) if path.is_file() else None
