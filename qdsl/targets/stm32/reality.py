"""What the C computes of each node, read from its integer graph, and where that is not what was predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from qdsl.integer.records import Dequantize, DynamicQuantize, IntegerGraph, Op, Quantize
from qdsl.spec.plan import Plan
from qdsl.targets.results import KernelCount, Mismatch

INTEGER, FLOAT = "integer", "float"
_INTEGERS = ("int8", "uint8")
# What stands for Q and DQ nodes of the file, not for nodes of the float model.
_BETWEEN = (Quantize, Dequantize, DynamicQuantize)


def computed(graph: IntegerGraph) -> dict[str, str]:
    """What each node is part of, by its name in the file: an operator that computes in integers, or in floats. A node
    of which nothing is left, since it only says how others lie in memory, is not among them."""
    found: dict[str, str] = {}
    for op in graph.ops:
        if not isinstance(op, _BETWEEN):
            found.update(dict.fromkeys((op.node, *op.fused), _kind(graph, op)))
    return found


def _kind(graph: IntegerGraph, op: Op) -> str:
    """Integers in or out: a product of integers may write floats, and what moves integers has them on both sides."""
    tensors = [graph.tensors[name] for name in (*op.inputs[:1], op.output)]
    return INTEGER if any(tensor.dtype in _INTEGERS for tensor in tensors) else FLOAT


def mismatches(plan: Plan, real: Mapping[str, str]) -> tuple[Mismatch, ...]:
    """Nodes that were to run in integers and do not, and the reverse. A node of which nothing is left agrees with any
    prediction."""
    return tuple(_mismatches(plan, real))


def _mismatches(plan: Plan, real: Mapping[str, str]) -> Iterator[Mismatch]:
    for node in plan.nodes:
        predicted, ran = node.prediction, real.get(node.node)
        if ran is None or predicted.runs == "moves" or ran == _said(predicted.runs):
            continue
        yield Mismatch(node.node, node.op, f"{predicted.runs} ({predicted.kernel})", ran)


def _said(runs: str) -> str:
    return INTEGER if runs in ("integer", "absorbed") else FLOAT


def kernels(plan: Plan, real: Mapping[str, str]) -> tuple[KernelCount, ...]:
    """Per operator of the float model: nodes that were to run in integers, and those that do."""
    there = [node for node in plan.nodes if node.node in real]
    predicted = Counter(node.op for node in there if node.prediction.runs == INTEGER)
    ran = Counter(node.op for node in there if real[node.node] == INTEGER and node.prediction.runs in (INTEGER, FLOAT))
    return tuple(KernelCount(op, predicted[op], ran[op]) for op in sorted(predicted | ran))


def counts(graph: IntegerGraph) -> tuple[tuple[str, int], ...]:
    """The operators of the integer graph, by name."""
    return tuple(sorted(Counter(type(op).__name__ for op in graph.ops).items()))
