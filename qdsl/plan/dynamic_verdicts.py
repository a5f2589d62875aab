"""The verdict on every node of a dynamic build, with the words that say why."""

from __future__ import annotations

from qdsl.graph.view import NodeView
from qdsl.plan.context import Context
from qdsl.plan.dynamic import DynamicSettled
from qdsl.plan.verdicts import QUANTIZED, REFUSED, UNTOUCHED
from qdsl.predict.macs import macs
from qdsl.spec.plan import NodePlan, Origin, WeightPlan


def verdicts(context: Context, settled: DynamicSettled) -> tuple[NodePlan, ...]:
    """One NodePlan per node, in graph order."""
    weights = {weight.node: weight for weight in settled.draft.weights}
    return tuple(_node(context, settled, node, weights.get(node.name)) for node in context.view.nodes)


def _node(context: Context, settled: DynamicSettled, node: NodeView, weight: WeightPlan | None) -> NodePlan:
    prediction = settled.predictions[node.name]
    mark, note, origin = _judge(context, settled, node, weight)
    return NodePlan(node.name, node.op, mark, note, origin, prediction, macs(context.view, node))


def _judge(
    context: Context, settled: DynamicSettled, node: NodeView, weight: WeightPlan | None
) -> tuple[str, str, Origin]:
    kept = context.kept.get(node.index)
    if kept is not None:
        return UNTOUCHED, "float32", kept
    if weight is not None:
        activation = settled.draft.tensors[node.inputs[0]].scheme.dtype
        return QUANTIZED, f"{_short(weight)}   in {activation} at run time   out float32", weight.origin
    if node.index in settled.left:
        return (UNTOUCHED, *settled.left[node.index])
    prediction = settled.predictions[node.name]
    if node.index in settled.refused:
        return REFUSED, f"stays float: {prediction.because}", Origin(_row(context, prediction.row))
    if prediction.runs == "absorbed":
        return QUANTIZED, f"folds into {prediction.kernel}", Origin(_row(context, prediction.row))
    if not any(context.quantizable(tensor) for tensor in node.outputs if tensor):
        return UNTOUCHED, "no float32 output", Origin("default")
    return UNTOUCHED, f"stays float: {prediction.because}", Origin("default")


def _row(context: Context, name: str) -> str:
    return f"{context.capability.name}.toml, dynamic {name}"


def _short(weight: WeightPlan) -> str:
    return f"{weight.scheme.width} {weight.scheme.granularity.value}"
