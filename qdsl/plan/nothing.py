"""What is said of a plan that quantizes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.graph.view import NodeView
from qdsl.plan.context import Context
from qdsl.plan.shapes import blockless
from qdsl.spec.plan import Prediction


def nothing_quantized(context: Context, refused: Mapping[int, Prediction]) -> None:
    """Report that the plan quantizes nothing, with the reason of the first layer that could be; after other errors
    nothing more is said."""
    if context.diags.has_errors:
        return
    found = {node.name: why for node in context.view.nodes if (why := _why_float(context, refused, node))}
    name, why = next(iter(found.items()), ("", ""))
    others = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    context.diags.error(
        "nothing-to-quantize",
        f"no node of {context.view.model_name or 'the model'} can be quantized",
        context.cascade.mode.span,
        label=f"{len(context.view.nodes)} nodes, {len(context.kept)} of them kept in float"
        + (f"; {name}: {why}{others}" if found else ""),
        help=[_cure(context, why)],
    )


def _why_float(context: Context, refused: Mapping[int, Prediction], node: NodeView) -> str:
    """Why a node that has a kernel with stored weights stays float; empty where it has none."""
    if not context.rows[node.index].weights:
        return ""
    if blockless(context, node):
        return context.capability.reasons["vector_blocks"]
    return refused[node.index].because if node.index in refused else ""


def _cure(context: Context, why: str) -> str:
    if any(rule.small_because == why for rule in context.capability.dynamic):
        return "to have them in integers all the same, name them: `layers all { weights 8 bit }`"
    able = ", ".join(sorted({op for row in context.capability.rows if row.weights for op in row.ops}))
    return f"{context.capability.title} computes {able} in integers, with float32 inputs and constant weights"
