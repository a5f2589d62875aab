"""Where an operator's answer no longer depends on what it reads: what lies there needs no integers of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qdsl.spec.bounds import OneOf, Sentence, SomeTexts

FAR, BEYOND, ROWS = "far", "exact", "rows"


@dataclass(frozen=True, slots=True)
class Flat:
    """One rule of a table, for the first input of `ops`. `kind`: "far" (so near its limit below `low` and above `high`
    that no stored value tells the difference), "exact" (the node's own limits say where) or "rows" (what lies far
    enough below the largest value of its row). `gated`: it is 0 or next to it there, so that x * op(x) is
    flat below the same bound."""

    name: Sentence
    ops: SomeTexts
    kind: Annotated[str, OneOf((FAR, BEYOND, ROWS))]
    because: Sentence
    evidence: Sentence
    low: float | None = None
    high: float | None = None
    gated: bool = False

    def problem(self) -> str:
        """What is wrong with a row as a whole, "" for nothing."""
        if (self.low is not None or self.high is not None) != (self.kind == FAR):
            return "`low` and `high` are those of kind `far`"
        if self.low is not None and self.high is not None and self.low >= self.high:
            return "`low` must lie under `high`"
        return ""
