"""Operators of ai.onnx that only move values: whatever they write was in a tensor that they read.

Their kernels copy integers as well as floats, a range or a bound of what they read holds for what they write, and what
follows can be told of what went in. Which of that holds for which operator is one table; who asks, asks for a property.
Not in it: Resize and Upsample, of which some modes only repeat; Scatter, which may add; Unique, which writes as many
values as there are different ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qdsl.graph.view import NodeView

# How often a value of the data is in the outputs, all of them together.
ONCE, REPEATED, ANY = "once", "at least once", "any number of times"
_FIRST, _ALL, _BEHIND_CONDITION, _AND_FILL = range(1), range(1 << 31), range(1, 3), range(0, 3, 2)
_TRAINING_MODE = 2  # the port of a Dropout


@dataclass(frozen=True, slots=True)
class Move:
    """What an operator does with values. `kept`: how often each of them is written. `data`: the ports that they come
    from. `ordered`: they lie in memory as before, under another shape. `by_value`: which of them are written depends on
    what they are (a maximum), and not on where they lie. `fills`: zeros, or a value of its own, may stand beside them.
    `first`: only the first output holds values; others hold indices or a mask."""

    kept: str
    data: range = _FIRST
    ordered: bool = False
    by_value: bool = False
    fills: bool = False
    first: bool = False


_VIEW = Move(ONCE, ordered=True)
_TURN = Move(ONCE)
_SPREAD = Move(REPEATED)
_TAKE = Move(ANY)
_EXTREME = Move(ANY, by_value=True)

MOVES: dict[str, Move] = {
    "Compress": _TAKE,
    "CenterCropPad": Move(ANY, fills=True),
    "Concat": Move(ONCE, _ALL),
    "DepthToSpace": _TURN,
    "Dropout": Move(ONCE, ordered=True, first=True),
    "Expand": _SPREAD,
    "Flatten": _VIEW,
    "Gather": _TAKE,
    "GatherElements": _TAKE,
    "GatherND": _TAKE,
    "GlobalMaxPool": _EXTREME,
    "Identity": _VIEW,
    "Max": Move(ANY, _ALL, by_value=True),
    "MaxPool": Move(ANY, by_value=True, first=True),
    "Min": Move(ANY, _ALL, by_value=True),
    "Pad": Move(ANY, _AND_FILL, fills=True),
    "ReduceMax": _EXTREME,
    "ReduceMin": _EXTREME,
    "Reshape": _VIEW,
    "ReverseSequence": _TURN,
    "Slice": _TAKE,
    "SpaceToDepth": _TURN,
    "Split": _TURN,
    "Squeeze": _VIEW,
    "Tile": _SPREAD,
    "TopK": Move(ANY, by_value=True, first=True),
    "Transpose": _TURN,
    "Trilu": Move(ANY, fills=True),
    "Unsqueeze": _VIEW,
    "Where": Move(ANY, _BEHIND_CONDITION),
}


def moving(asked: Callable[[Move], bool]) -> frozenset[str]:
    """The operators with a property."""
    return frozenset(op for op, move in MOVES.items() if asked(move))


# They lie as before: a runtime copies nothing.
RESHAPES = moving(lambda move: move.ordered)
# Of one tensor, by where the values lie.
FROM_ONE = moving(lambda move: move.data == _FIRST and not move.by_value and not move.fills)
# The only output holds exactly the values of the first input.
SAME_VALUES = moving(lambda move: move.kept == ONCE and move.data == _FIRST and not move.first) - {"Split"}


def move_of(node: NodeView) -> Move | None:
    """What `node` does with values; None where it computes some. A Dropout that may be training scales them."""
    if node.domain or (node.op == "Dropout" and any(node.inputs[_TRAINING_MODE:])):
        return None
    return MOVES.get(node.op)


def is_data_port(node: NodeView, port: int) -> bool:
    """Whether `node` writes the values that it reads at `port`, and no others."""
    move = move_of(node)
    return move is not None and not move.fills and port in move.data and bool(node.inputs[port])


def moved(node: NodeView) -> tuple[str, ...]:
    """The tensors whose values `node` writes, and no others, by port; () where it writes anything else."""
    return tuple(name for port, name in enumerate(node.inputs) if is_data_port(node, port))


def source(node: NodeView) -> str | None:
    """The one tensor whose values `node` writes, and no others: bounds of it hold for what is written."""
    names = moved(node)
    return names[0] if len(names) == 1 else None
