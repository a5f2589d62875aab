"""Conditions such as `out_channels < 16` or `kernel == [1, 1]`, over facts that a graph's shapes tell."""

from __future__ import annotations

import operator
from collections.abc import Callable

from qdsl.graph.structure import weighted
from qdsl.graph.view import GraphView
from qdsl.lang.selectors import Condition

_COMPARE: dict[str, Callable[[int, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
}
Fact = int | tuple[int, ...]


def facts(view: GraphView, field: str) -> dict[int, Fact]:
    """A property of every node that has it. Channels, groups, kernel and stride belong to nodes with a constant
    weight (groups, kernel and stride: to convolutions); `elements` counts the first output of any node."""
    found: dict[int, Fact] = {}
    if field == "elements":
        for node in view.nodes:
            known = view.tensors.get(node.outputs[0]) if node.outputs else None
            count = known.elements if known else None
            if count is not None:
                found[node.index] = count
        return found
    for index, weight in weighted(view).items():
        value: Fact | None = getattr(weight, field)
        if value is not None and not (field == "groups" and weight.kernel is None):
            found[index] = value
    return found


def holds(condition: Condition, fact: Fact) -> bool:
    """Whether a node with this fact meets the condition; a bare number speaks of every dimension of a list."""
    value = condition.value
    if isinstance(value, tuple):
        return (fact == value) is (condition.comparison == "==")
    bound, sizes = float(value), fact if isinstance(fact, tuple) else (fact,)
    if condition.comparison == "!=":
        return not all(size == bound for size in sizes)
    return all(_COMPARE[condition.comparison](size, bound) for size in sizes)


def spread(found: dict[int, Fact]) -> str:
    """The values that occur, for a label: a range of numbers, or the first few lists."""
    values = sorted(set(found.values()), key=lambda v: v if isinstance(v, tuple) else (v,))
    if not values:
        return "no node has this property"
    if isinstance(values[0], int):
        return f"it is {values[0]} everywhere" if len(values) == 1 else f"it lies in {values[0]}..{values[-1]}"
    shown = ", ".join(str(list(v)) for v in values[:4] if isinstance(v, tuple))
    return f"it is {shown}{', ...' if len(values) > 4 else ''}"
