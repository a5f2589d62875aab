"""What a plan warns of: layers in int8 or float8 of shapes for which TensorRT has no fast kernel."""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.graph.neighbours import weighted
from qdsl.graph.view import GraphView
from qdsl.predict.slow_kernels import BECAUSE, Slow, slow_kernels
from qdsl.spec.plan import Flag, Prediction
from qdsl.spec.words import count

SLOW_KERNEL = "slow-kernel"
_GROUPED_FLOAT8 = "grouped_float8"
_OF_FLOAT8 = {
    _GROUPED_FLOAT8: (
        "groups in float8",
        "TensorRT 10.13.3 says that it has no optimized kernel for them, and advises int8",
    ),
}


def slow_flags(view: GraphView, predictions: Mapping[str, Prediction]) -> tuple[Flag, ...]:
    """One flag per reason, in the order of `slow_kernels`; then what is slow in float8."""
    layers = [(view.nodes[index], weight) for index, weight in weighted(view).items()]
    int8 = {name for name, found in predictions.items() if found.runs == "integer" and found.multiplies == "integers"}
    quantized = [(node, weight) for node, weight in layers if node.name in int8]
    slow = [*slow_kernels(view, quantized)] if quantized else []
    float8 = (node for node in view.nodes if predictions[node.name].multiplies == "float8")
    grouped = tuple(node.name for node in float8 if node.op == "Conv" and node.attrs.get("group", 1) != 1)
    return tuple(map(_flag, [*slow, *([Slow(_GROUPED_FLOAT8, grouped)] if grouped else [])]))


def _flag(slow: Slow) -> Flag:
    what, why = {**BECAUSE, **_OF_FLOAT8}[slow.reason]
    few = len(slow.nodes) == 1
    told = (
        f"{count(len(slow.nodes), 'layer')} {'has' if few else 'have'} {what} ({slow.nodes[0]}{'' if few else ', ..'})"
    )
    return Flag(SLOW_KERNEL, f"{told}: {why}", slow.nodes)
