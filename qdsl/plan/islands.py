"""Float islands: operators that stay float although integers come to them and integers leave them.

Each costs a DequantizeLinear before it and a QuantizeLinear behind it, which read and write every value once more: a
byte of integers and four of floats on either side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qdsl.graph.view import NodeView
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft
from qdsl.plan.types import Flag, Prediction

FLOAT_ISLAND = "float-island"
_MOVED = 5  # bytes for each value that a Q or DQ turns
_SHOWN = 3


@dataclass(slots=True)
class _Island:
    """Nodes that hand floats to each other, and the tensors at which integers enter and leave them."""

    nodes: list[NodeView] = field(default_factory=list)
    enter: dict[str, None] = field(default_factory=dict)
    leave: dict[str, None] = field(default_factory=dict)


def island_flags(context: Context, draft: Draft, predictions: Mapping[str, Prediction]) -> tuple[Flag, ...]:
    """One flag for all islands of a plan that no rule asked for, none where there is none."""
    found = [island for island in _islands(context, draft, predictions) if island.enter and island.leave]
    if not found:
        return ()
    nodes = sorted((node for island in found for node in island.nodes), key=lambda node: node.index)
    ops = list(dict.fromkeys(node.op for node in nodes))
    named = ", ".join(ops[:_SHOWN]) + (", ..." if len(ops) > _SHOWN else "")
    count = "1 float island stands" if len(found) == 1 else f"{len(found)} float islands stand"
    message = f"{count} between integers ({named}){_cost(context, found)}"
    return (Flag(FLOAT_ISLAND, message, tuple(node.name for node in nodes)),)


def _cost(context: Context, found: list[_Island]) -> str:
    sizes = [context.view.tensors[name].elements for island in found for name in (*island.enter, *island.leave)]
    known = [size for size in sizes if size is not None]
    if not known:
        return ""
    least = "" if len(known) == len(sizes) else "at least "
    return f": their Q and DQ move {least}{_MOVED * sum(known) / 1024:,.1f} KiB a sample"


def _islands(context: Context, draft: Draft, predictions: Mapping[str, Prediction]) -> list[_Island]:
    """In graph order; a node of several islands makes one of them."""
    at: dict[int, _Island] = {}
    for node in context.view.nodes:
        if predictions[node.name].runs != "float" or node.index in context.kept:
            continue
        own = at[node.index] = _Island([node])
        for port, name in enumerate(node.inputs):
            plan, tensor = draft.tensors.get(name), context.view.tensors.get(name)
            if plan is not None and plan.read_by(node.name, port):
                own.enter[name] = None
            elif tensor is not None and tensor.producer in at:
                own = _joined(at, at[tensor.producer], own)
        own.leave.update(dict.fromkeys(name for name in node.outputs if name in draft.tensors))
    return list({id(island): island for island in at.values()}.values())


def _joined(at: dict[int, _Island], one: _Island, other: _Island) -> _Island:
    if one is other:
        return one
    small, large = sorted((one, other), key=lambda island: len(island.nodes))
    large.nodes += small.nodes
    large.enter |= small.enter
    large.leave |= small.leave
    at.update(dict.fromkeys((node.index for node in small.nodes), large))
    return large
