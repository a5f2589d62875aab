"""What the C computes of each node, read from its integer graph, and where that is not what was predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qdsl.integer.records import Conv, Dense, Dequantize, DynamicQuantize, IntegerGraph, Op, Quantize
from qdsl.spec.plan import AS_IT_IS, Plan, Prediction
from qdsl.targets.results import KernelCount, Mismatch

INTEGER, FLOAT = "integer", "float"
_INTEGERS = ("int8", "uint8")
# What stands for Q and DQ nodes of the file, not for nodes of the float model.
_BETWEEN = (Quantize, Dequantize, DynamicQuantize)


@dataclass(frozen=True, slots=True)
class Real:
    """What a node is part of: an operator that computes in integers or in floats; `fused`: it is another node's."""

    runs: str
    fused: bool


def computed(graph: IntegerGraph) -> dict[str, Real]:
    """By the node's name in the file. What is fused into products of what is quantized at run time is done to
    floats. A node of which nothing is left, since it only says how others lie in memory, is not among them."""
    found: dict[str, Real] = {}
    for op in graph.ops:
        if not isinstance(op, _BETWEEN):
            runs = _kind(graph, op)
            dynamic = isinstance(op, Conv | Dense) and len(op.inputs) == 2
            found.update(dict.fromkeys(op.fused, Real(FLOAT if dynamic else runs, fused=True)))
            found[op.node] = Real(runs, fused=False)
    return found


def _kind(graph: IntegerGraph, op: Op) -> str:
    """Integers in or out: a product of integers may write floats, and what moves integers has them on both sides."""
    tensors = [graph.tensors[name] for name in (*op.inputs[:1], op.output)]
    return INTEGER if any(tensor.dtype in _INTEGERS for tensor in tensors) else FLOAT


def mismatches(plan: Plan, real: Mapping[str, Real]) -> tuple[Mismatch, ...]:
    """Nodes that were to run in integers and do not, and of those that multiply the reverse."""
    return tuple(_mismatches(plan, real))


def _mismatches(plan: Plan, real: Mapping[str, Real]) -> Iterator[Mismatch]:
    for node in plan.nodes:
        ran = real.get(node.node)
        if ran is None or agrees(node.prediction, ran) or (ran.runs == INTEGER and not node.macs):
            continue  # integers that are carried on where nothing is multiplied change no figure
        yield Mismatch(node.node, node.op, f"{node.prediction.runs} ({node.prediction.kernel})", ran.runs)


def agrees(predicted: Prediction, ran: Real) -> bool:
    """Whether a node runs as predicted. One that is fused into a kernel computes nothing of its own, in floats as it
    was to or in that kernel's integers; what folds into a QuantizeLinear is behind floats or integers."""
    if predicted.runs == INTEGER:
        return ran.runs == INTEGER
    if predicted.runs == "absorbed":
        return ran.runs == INTEGER or predicted.kernel == "QuantizeLinear"
    return predicted.runs == "moves" or ran.fused or ran.runs == FLOAT


def kernels(plan: Plan, real: Mapping[str, Real]) -> tuple[KernelCount, ...]:
    """Per operator of the float model: nodes that were to run in integers, of a file that is taken as it is all of
    them, and those that do."""
    there = [node for node in plan.nodes if node.node in real]
    predicted = Counter(node.op for node in there if node.prediction.runs == INTEGER)
    own = (node for node in there if node.prediction.runs in (INTEGER, FLOAT) and not real[node.node].fused)
    ran = Counter(node.op for node in own if real[node.node].runs == INTEGER)
    fused = (node for node in there if node.prediction.runs == INTEGER and real[node.node].fused)
    ran += Counter(node.op for node in fused if real[node.node].runs == INTEGER)
    if plan.mode == AS_IT_IS:  # nobody predicted it: of all that there are
        predicted = Counter(node.op for node in there if node.op in ran)
    return tuple(KernelCount(op, predicted[op], ran[op]) for op in sorted(predicted | ran))


def counts(graph: IntegerGraph) -> tuple[tuple[str, int], ...]:
    """The operators of the integer graph, by name."""
    return tuple(sorted(Counter(type(op).__name__ for op in graph.ops).items()))
