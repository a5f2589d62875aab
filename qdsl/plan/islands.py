"""Float islands: operators that stay float although integers come to them and integers leave them.

Each costs a DequantizeLinear before it and a QuantizeLinear behind it, which read and write every value once more: a
byte of integers and four of floats on either side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qdsl.graph.float_islands import MOVED_BYTES, FloatIsland, joined
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft
from qdsl.predict.macs_shapes import size
from qdsl.spec.plan import Flag, Island, Prediction

FLOAT_ISLAND = "float-island"
_SHOWN = 3


def islands(context: Context, draft: Draft, predictions: Mapping[str, Prediction]) -> tuple[Island, ...]:
    """The islands that no rule asked for, in graph order, each with what it costs."""
    found = [island for island in _islands(context, draft, predictions) if island.enter and island.leave]
    return tuple(_costed(context, island) for island in found)


def island_flags(context: Context, found: tuple[Island, ...]) -> tuple[Flag, ...]:
    """One flag for all islands of a plan, none where there is none."""
    if not found:
        return ()
    nodes = sorted((name for island in found for name in island.nodes), key=context.view.node_index.__getitem__)
    named = ops_of(context.view.node(name).op for name in nodes)
    count = "1 float island stands" if len(found) == 1 else f"{len(found)} float islands stand"
    moved = told(sum(island.moved for island in found), known=all(island.known for island in found))
    message = f"{count} between integers ({named}){f': their Q and DQ move {moved} a sample' if moved else ''}"
    return (Flag(FLOAT_ISLAND, message, tuple(nodes)),)


def ops_of(ops: Iterable[str]) -> str:
    """`HardSwish, Mul, ReduceMean, ...`: each once, the first of many."""
    once = list(dict.fromkeys(ops))
    return ", ".join(once[:_SHOWN]) + (", ..." if len(once) > _SHOWN else "")


def told(moved: int, *, known: bool) -> str:
    """`612.5 KiB`, `at least 612.5 KiB` where more is not known; "" where nothing is."""
    return f"{'' if known else 'at least '}{moved / 1024:,.1f} KiB" if moved else ""


def _costed(context: Context, island: FloatIsland) -> Island:
    sizes = [size(context.view, name) for name in (*island.enter, *island.leave)]
    nodes = sorted(island.nodes, key=lambda node: node.index)
    return Island(
        nodes=tuple(node.name for node in nodes),
        enter=tuple(island.enter),
        leave=tuple(island.leave),
        moved=MOVED_BYTES * sum(known for known in sizes if known is not None),
        known=None not in sizes,
    )


def _islands(context: Context, draft: Draft, predictions: Mapping[str, Prediction]) -> list[FloatIsland]:
    """In graph order; a node of several islands makes one of them."""
    at: dict[int, FloatIsland] = {}
    for node in context.view.nodes:
        if predictions[node.name].runs != "float" or node.index in context.kept:
            continue
        own = at[node.index] = FloatIsland([node])
        for port, name in enumerate(node.inputs):
            plan, tensor = draft.tensors.get(name), context.view.tensors.get(name)
            if plan is not None and plan.read_by(node.name, port):
                own.enter[name] = None
            elif tensor is not None and tensor.producer in at:
                own = joined(at, at[tensor.producer], own)
        own.leave.update(dict.fromkeys(name for name in node.outputs if name in draft.tensors))
    return list({id(island): island for island in at.values()}.values())
