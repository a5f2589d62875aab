"""What a target does with float16: computes in it, stores it and computes in float32, or had better keep float32."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from qdsl.spec.bounds import OneOf, Sentence, SomeTexts

if TYPE_CHECKING:
    from qdsl.graph.view import NodeView

RUNS_HALF, RUNS_FLOAT, KEPT = "float16", "float32", "kept"
_ANY_OP = "*"


@dataclass(frozen=True, slots=True)
class Float16Row:
    """One rule of a table. `runs`: "float16" (has a kernel, and runs in it unless its neighbours draw it into
    float32), "float32" (stored as float16, widened by the runtime before it computes) or "kept" (its values would
    leave float16's range, or lose too much: it stays float32). `copies`: it only moves values."""

    name: Sentence
    ops: SomeTexts
    runs: Annotated[str, OneOf((RUNS_HALF, RUNS_FLOAT, KEPT))]
    because: Sentence
    evidence: Sentence
    copies: bool = False


def float16_for(rows: Iterable[Float16Row], node: NodeView) -> Float16Row | None:
    """The first row that names the operator of `node`, or every operator; None when the table has none."""
    return next((row for row in rows if node.op in row.ops or row.ops == (_ANY_OP,)), None)
