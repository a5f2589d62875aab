"""What `round` gained, weight by weight, as data: written beside a build, read for its report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from qdsl.spec.bounds import Figure
from qdsl.spec.decode import decode, json_data, require_version

FORMAT = 1


@dataclass(frozen=True, slots=True)
class RoundedRow:
    """One weight, read by `nodes`: how far what they write lies above what rounding it adds, in dB, `before` with every
    integer the nearest, `after` with those that were chosen."""

    tensor: str
    scheme: str
    nodes: tuple[str, ...]
    before: Figure
    after: Figure


@dataclass(frozen=True, slots=True)
class Rounding:
    """The weights of one target in graph order."""

    rows: tuple[RoundedRow, ...]


def to_json(found: Rounding) -> str:
    """One row a line; every number reads back to the same bits."""
    rows = ",\n".join(f"  {json.dumps(asdict(row), ensure_ascii=False, allow_nan=False)}" for row in found.rows)
    return f'{{\n "format": {FORMAT},\n "rows": [\n{rows}\n ]\n}}\n'


def from_json(text: str) -> Rounding:
    """What `to_json` wrote. Raises UnfitError for any other text."""
    return decode(Rounding, require_version(json_data(text), "format", FORMAT), "rounding")
