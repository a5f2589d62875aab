"""What is said of a plan that quantizes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qdsl.graph.view import NodeView
from qdsl.plan.context import Context
from qdsl.plan.float16 import LEAST_ELEMENTS
from qdsl.plan.shapes import blockless
from qdsl.spec import DTYPES
from qdsl.spec.words import count

_FLOAT16 = DTYPES["float16"]


def nothing_quantized(context: Context, refused: Mapping[int, str]) -> None:
    """Report that the plan quantizes nothing, with the reason of the first layer that could be; after other errors
    nothing more is said. `refused` says why nodes stay float32, by their number."""
    if context.diags.has_errors:
        return
    found = {node.name: why for node in context.view.nodes if (why := _why_float(context, refused, node))}
    name, why = next(iter(found.items()), ("", ""))
    others = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    context.diags.error(
        "nothing-to-quantize",
        f"no node of {context.view.model_name or 'the model'} can be quantized",
        context.cascade.mode.span,
        label=f"{count(len(context.view.nodes), 'node')}, {len(context.kept)} of them kept in float"
        + (f"; {name}: {why}{others}" if found else ""),
        help=[_cure(context, why)],
    )


def _why_float(context: Context, refused: Mapping[int, str], node: NodeView) -> str:
    """Why a node that has a kernel with stored weights, or was to be float16, stays float; empty for others."""
    if context.cascade.mode.kind != "float" and not context.rows[node.index].weights:
        return ""
    if context.rows[node.index].weights and blockless(context, node):
        return context.capability.reasons["vector_blocks"]
    return refused.get(node.index, "")


def _cure(context: Context, why: str) -> str:
    if any(rule.small_because == why for rule in context.capability.dynamic):
        return "to have them in integers all the same, name them: `layers all { weights 8 bit }`"
    mode = context.cascade.mode
    weights, title = mode.settings.weights, context.capability.title
    if weights is not None and weights.storage_only and mode.kind != "dynamic":
        return f"`storage_only` stores the constant float32 weights of {_storable(context)} as integers"
    if mode.kind != "float":
        able = _listed(op for row in context.capability.rows if row.weights for op in row.ops)
        return f"{title} computes {able} in integers, with float32 inputs and constant weights"
    if weights is not None and (weights.dtype is None or weights.dtype.quantized):
        able = _listed(op for row in context.capability.rows if row.weight_only for op in row.ops)
        stored = f"`storage_only` stores those of {_storable(context)}"
        return f"{title} computes {able} with integer weights and float activations; {stored}"
    if any(asked is not None and asked.dtype == _FLOAT16 for asked in (weights, mode.settings.activations)):
        return f"float16 holds float32 activations, and constants of {LEAST_ELEMENTS} values or more"
    return "say what is to be smaller: `weights float16`, `activations float16` or `weights int8 storage_only`"


def _storable(context: Context) -> str:
    """ONNX's operators whose weights may be stored as integers."""
    rows = (op for row in context.capability.rows if row.weights for op in row.ops)
    return _listed((*rows, *(op for store in context.capability.stores if not store.domain for op in store.ops)))


def _listed(ops: Iterable[str]) -> str:
    return ", ".join(sorted(set(ops)))
