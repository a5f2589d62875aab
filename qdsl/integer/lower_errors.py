"""What cannot be lowered, with the node that it is about."""

from __future__ import annotations

# A graph that contradicts itself may pass ONNX's checker: these are then told at the node where that shows.
CONTRADICTIONS = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)


class LoweringError(Exception):
    """A node that has no form in the integer graph. `node` is its name as in the file ("" for what is no node: a graph
    input or output, then `operator` says which), `operator` what it is, `reason` why not, as a clause without a full
    stop that may follow "`name` (Op): "."""

    def __init__(self, node: str, operator: str, reason: str) -> None:
        super().__init__(f"`{node[:80]}` ({operator}): {reason}" if node else f"{operator}: {reason}")
        self.node = node
        self.operator = operator
        self.reason = reason
