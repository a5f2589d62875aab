"""`allocation-TARGET.json` in a build's folder, read for the report."""

from __future__ import annotations

from pathlib import Path

from qdsl.harness.reading import opened
from qdsl.spec.allocation import ALLOCATION_VERSION, Allocation, file_name
from qdsl.spec.decode import decode, json_data
from qdsl.spec.plan import Plan


def read_allocation(directory: Path, plan: Plan) -> Allocation | None:
    """What `allocate` chose from and tried for the build of `plan`; None where nothing lies there, or what does is of
    another version or another build, or did not come to its end. Raises QdslError measurements-file for a file that is
    not as it was written."""
    path = directory / file_name(plan.target)
    if not any(fact.kind == "allocate" for fact in plan.facts) or not path.is_file():
        return None
    found = opened(path, _made, ("make it anew: `qdsl compile`",))
    if found is None or not found.evidence or found.lines != plan.assigned:
        return None
    return found


def _made(text: str) -> Allocation | None:
    content = json_data(text)
    if isinstance(content, dict) and content.get("version") != ALLOCATION_VERSION:
        return None
    return decode(Allocation, content)
