"""The verdict on nodes that are float16, that store their constants so, or that were asked to and stay float32."""

from __future__ import annotations

from dataclasses import replace

from qdsl.capability.float16 import RUNS_HALF, float16_for
from qdsl.plan.context import Context
from qdsl.plan.float16 import Float16Parts
from qdsl.plan.verdicts import INTEGER_RUNS, QUANTIZED, REFUSED, UNTOUCHED
from qdsl.spec.plan import Float16Node, NodePlan, Prediction


def with_float16(context: Context, halves: Float16Parts, nodes: tuple[NodePlan, ...]) -> tuple[NodePlan, ...]:
    """`nodes`, in graph order, with what `halves` changes in them."""
    if halves == Float16Parts():
        return nodes
    stored = {context.view.node_index[weight.node]: weight for weight in halves.weights}
    found = []
    for index, plan in enumerate(nodes):
        if index in halves.nodes:
            found.append(_in_float16(context, index, halves.nodes[index], plan))
        elif index in halves.refused:
            reason, origin = halves.refused[index]
            found.append(replace(plan, mark=REFUSED, note=f"stays float32: {reason}", origin=origin))
        elif index in stored:
            note = "weights stored as float16, computes in float32"
            found.append(replace(plan, mark=QUANTIZED, note=note, origin=stored[index].origin))
        elif plan.note == "float32 weights" and context.weight(index).float16:
            found.append(replace(plan, note="float32: too few weights to be worth a Cast"))
        elif index in halves.left:
            note = "stays float32: nothing beside it is float16"
            found.append(replace(plan, mark=UNTOUCHED, note=note, origin=halves.left[index]))
        else:
            found.append(plan)
        if index in stored and index in halves.refused:
            found[-1] = replace(found[-1], note=f"{found[-1].note}; weights stored as float16")
    return tuple(found)


def _in_float16(context: Context, index: int, half: Float16Node, plan: NodePlan) -> NodePlan:
    node = context.view.nodes[index]
    row = float16_for(context.capability.halves, node)
    assert row is not None
    if not half.writes:
        note = "reads float16 as it comes"
        moves = Prediction("moves", node.op, row.name, note)
        return replace(plan, mark=UNTOUCHED, note=note, origin=half.origin, prediction=moves)
    if plan.prediction.runs in INTEGER_RUNS and index not in context.kept:  # integers in, float16 out
        return replace(plan, note=f"{plan.note}   float16")
    computes = row.runs == RUNS_HALF
    prediction = Prediction("float16" if computes else "float", node.op, row.name, row.because)
    note = "float16" if computes else "stored float16, computes in float32 on this CPU"
    return replace(plan, mark=QUANTIZED, note=note, origin=half.origin, prediction=prediction)
